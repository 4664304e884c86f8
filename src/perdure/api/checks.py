"""What many RPCs check of a request before anything else, in the reference's words."""

from __future__ import annotations

import re
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.api.call import Call
from perdure.clock import Monotonic
from perdure.engine.limits import Limits
from perdure.errors import FailedPrecondition, InvalidArgument

RESERVED_QUEUE_PREFIX: Final = "/_sys/"

MIN_POLL_SECONDS: Final = 2.0

UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def check_execution(execution: WorkflowExecution, present: bool) -> None:
    """`present`: whether the request's field is set at all."""
    if not present:
        raise InvalidArgument("Execution is not set on request.")
    check_workflow_id(execution.workflow_id)
    check_run_id(execution.run_id)


def check_workflow_id(workflow_id: str) -> None:
    if not workflow_id:
        raise InvalidArgument("WorkflowId is not set on request.")


def check_run_id(run_id: str) -> None:
    """Empty means the current run."""
    if run_id and UUID.fullmatch(run_id) is None:
        raise InvalidArgument("Invalid RunId.")


def check_identity(identity: str, limits: Limits) -> None:
    limit = limits.id_length
    if len(identity) * 4 > limit and longer_than(identity, limit):
        raise InvalidArgument("Identity length exceeds limit.")


def longer_than(text: str, limit: int) -> bool:
    """In UTF-8 bytes; counted only when the number of characters leaves it open."""
    return len(text) * 4 > limit and len(text.encode()) > limit


def check_task_queue(task_queue: TaskQueue, present: bool, limits: Limits) -> str:
    """The queue's name."""
    if not present:
        raise InvalidArgument("taskQueue is not set")
    name = task_queue.name
    if not name:
        raise InvalidArgument("missing task queue name")
    limit = limits.id_length
    if len(name) * 4 > limit and longer_than(name, limit):
        raise InvalidArgument("taskQueue length exceeds limit")
    if name.startswith(RESERVED_QUEUE_PREFIX):
        raise InvalidArgument(f"task queue name cannot start with reserved prefix {RESERVED_QUEUE_PREFIX}")
    return name


def check_poll_deadline(call: Call, monotonic: Monotonic) -> None:
    """A poll must say how long it waits: what is never answered in time would only tie up the worker's poller."""
    deadline = call.deadline
    if deadline is None:
        raise InvalidArgument("Context timeout is not set.")
    if deadline - monotonic.now() < MIN_POLL_SECONDS:
        raise FailedPrecondition("Context timeout is too short.")
