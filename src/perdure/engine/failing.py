"""Workflow tasks that end badly: failed by the worker, by a bad command, or by time.

Only the first failure in a row is stored; the attempts after it are transient. A failure on a sticky queue does not
count: the next task is a first attempt on the normal queue (reference: engine 2.4).
"""

from __future__ import annotations

import json
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskFailedRequest

from perdure.engine import failures
from perdure.engine.bad_command import BadCommand, short_cause
from perdure.engine.closing import HISTORY_SERVICE, close_started_task, terminate
from perdure.engine.items import WorkflowTask
from perdure.engine.speculative import make_normal
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Turn
from perdure.engine.updates import fail_sent, send_again
from perdure.engine.workflow_tasks import clear_sticky, schedule_workflow_task, started_task
from perdure.enums import EventType, TimeoutType, WorkflowTaskFailedCause
from perdure.errors import NotFound

_TOO_LARGE: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE
_START_TO_CLOSE: Final = TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
_SCHEDULE_TO_START: Final = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
REPORTED_PROBLEMS: Final = "TemporalReportedProblems"
"""The search attribute that tells of a workflow whose tasks fail again and again."""


def fail_workflow_task(turn: Turn, token: TaskToken, request: RespondWorkflowTaskFailedRequest) -> None:
    """RespondWorkflowTaskFailed. Raises NotFound: run closed, or the token's attempt is over."""
    if not turn.run.running:
        raise NotFound("workflow execution already completed")
    task = started_task(turn, token)
    if request.cause == _TOO_LARGE:
        terminate(turn, short_cause(request.cause), identity=HISTORY_SERVICE)
        return
    failure = None
    if request.HasField("failure"):
        failure = failures.fitting(request.failure, turn.limits.blob_size, True)
    write_failure(turn, task, request.cause, failure, request.identity, request.binary_checksum)
    schedule_workflow_task(turn)


def fail_for_bad_command(turn: Turn, task: WorkflowTask, bad: BadCommand, identity: str, binary_checksum: str) -> None:
    """The completion was undone; now its task fails, and with it perhaps the workflow."""
    failure = Failure()
    failure.message = bad.message
    failure.server_failure_info.SetInParent()
    fail_sent(turn)
    if bad.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND:
        turn.run.close_attempted = True
    write_failure(turn, task, bad.cause, failure, identity, binary_checksum)
    if bad.terminate:
        terminate(turn, bad.message, identity=HISTORY_SERVICE)
    else:
        schedule_workflow_task(turn)


def write_failure(
    turn: Turn, task: WorkflowTask, cause: int, failure: Failure | None, identity: str, binary_checksum: str = ""
) -> None:
    event: HistoryEvent | None = None
    if not task.transient:
        event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        attributes = event.workflow_task_failed_event_attributes
        attributes.scheduled_event_id = task.scheduled_event_id
        attributes.started_event_id = task.started_event_id
        attributes.cause = cause  # type: ignore[assignment] # an int of that enum
        if failure is not None:
            attributes.failure.CopyFrom(failure)
        attributes.identity = identity
        attributes.binary_checksum = binary_checksum
    problems = ["category=WorkflowTaskFailed", f"cause=WorkflowTaskFailedCause{short_cause(cause)}"]
    _end_badly(turn, task, event, problems)


def time_out_workflow_task(turn: Turn) -> None:
    """The pending task's deadline has come: its worker is too slow, or nobody took it from the sticky queue."""
    task = turn.run.workflow_task
    assert task is not None
    write_timeout(turn, task)
    schedule_workflow_task(turn)


def write_timeout(turn: Turn, task: WorkflowTask) -> None:
    if task.speculative:
        make_normal(turn, offer=False)
    event: HistoryEvent | None = None
    if not task.transient:
        event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
        attributes = event.workflow_task_timed_out_event_attributes
        attributes.scheduled_event_id = task.scheduled_event_id
        attributes.started_event_id = task.started_event_id
        attributes.timeout_type = _START_TO_CLOSE if task.started_event_id else _SCHEDULE_TO_START
    if not task.started_event_id:  # the worker is gone, the workflow is not at fault
        clear_sticky(turn)
        if event is not None:
            turn.emit(event)
        return
    problems = ["category=WorkflowTaskTimedOut", "cause=WorkflowTaskTimedOutCauseStartToClose"]
    _end_badly(turn, task, event, problems)


def _end_badly(turn: Turn, task: WorkflowTask, event: HistoryEvent | None, problems: list[str]) -> None:
    run = turn.run
    if event is not None:
        turn.emit(event)
    run.workflow_task = None
    send_again(run)
    if task.force_closing:
        run.close_attempted = False
    if run.sticky_queue:
        run.workflow_task_attempt = 1
        clear_sticky(turn)
    else:
        run.workflow_task_attempt = task.attempt + 1
    if task.attempt == turn.limits.reported_problems_after:
        value = Payload()
        value.metadata["encoding"] = b"json/plain"
        value.metadata["type"] = b"KeywordList"
        value.data = json.dumps(problems, separators=(",", ":")).encode()
        run.search_attributes[REPORTED_PROBLEMS] = value.SerializeToString(deterministic=True)
        run.changes.visibility = True
    turn.touch()


def overflow(turn: Turn) -> None:
    """More is buffered than may wait for the started task: it fails, so that the events get their place in history."""
    close_started_task(turn)
    turn.run.workflow_task_attempt = 1
    schedule_workflow_task(turn)
