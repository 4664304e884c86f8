"""The child's side of child workflows: created by a message, it waits for its parent, and outlives it or not.

Reference: engine 3.8, 7.1.
"""

from __future__ import annotations

from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine import cron
from perdure.engine.activity_commands import merged_priority
from perdure.engine.apply import copy_values
from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.effects import Send
from perdure.engine.execution import Current
from perdure.engine.finishing import finish
from perdure.engine.messages import ChildStarted, ChildStartFailed, Message, ParentClosed, StartChild
from perdure.engine.signals import request_cancel
from perdure.engine.start import create_run
from perdure.engine.times import SECOND, duration_us, later, set_duration, set_timestamp
from perdure.engine.turn import Shared, Turn
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import (
    ContinueAsNewInitiator,
    ParentClosePolicy,
    StartChildWorkflowExecutionFailedCause,
    WorkflowExecutionStatus,
    WorkflowIdReusePolicy,
)

_ALREADY_EXISTS: Final = int(
    StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
)
_CRON: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
_FAILED_ONLY: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
_REJECT: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
_SUCCEEDED: Final = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
)
_TERMINATE: Final = ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE
_REQUEST_CANCEL: Final = ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL
_MILLISECOND: Final = SECOND // 1000


def create_child(shared: Shared, message: StartChild) -> None:
    """Create the run unless the ID is taken, and answer the parent either way."""
    initiated = HistoryEvent.FromString(message.initiated)
    wanted = initiated.start_child_workflow_execution_initiated_event_attributes
    request_id = f"{message.from_run_id}:{initiated.event_id}:{initiated.version}"
    current = shared.execution.current
    if current is not None and (
        current.create_request_id == request_id or _started_for_ancestor(current, message, initiated)
    ):
        _reply(shared, message, _started(message, initiated, current.run_id))
        return
    if current is not None and _refuses(current, wanted.workflow_id_reuse_policy):
        failed = ChildStartFailed(initiated_event_id=initiated.event_id, cause=_ALREADY_EXISTS, control=wanted.control)
        _reply(shared, message, failed)
        return
    run_id = shared.entropy.uuid()
    backoff = cron.next_backoff(wanted.cron_schedule, shared.now, shared.now)

    def fill(event: HistoryEvent) -> None:
        _fill_started(shared, event, message, initiated, run_id, backoff)

    turn = create_run(shared, run_id, request_id, fill, schedule_first_task=False, awaits_parent=True)
    finish(turn)
    _reply(shared, message, _started(message, initiated, run_id))


def _started_for_ancestor(current: Current, message: StartChild, initiated: HistoryEvent) -> bool:
    """Whether this very child runs already: started for a run that the parent was reset from."""
    return current.running and any(
        current.create_request_id == f"{run_id}:{initiated.event_id}:{initiated.version}"
        for run_id in message.ancestors
    )


def _refuses(current: Current, policy: int) -> bool:
    if current.running or policy == _REJECT:
        return True
    return policy == _FAILED_ONLY and current.status in _SUCCEEDED


def _started(message: StartChild, initiated: HistoryEvent, run_id: str) -> ChildStarted:
    attributes = initiated.start_child_workflow_execution_initiated_event_attributes
    return ChildStarted(
        initiated_event_id=initiated.event_id,
        child_workflow_id=message.to_workflow_id,
        child_run_id=run_id,
        header=attributes.header.SerializeToString(deterministic=True) if attributes.HasField("header") else b"",
        child_namespace_id=message.to_namespace_id,
    )


def _reply(shared: Shared, message: StartChild, reply: Message) -> None:
    addressed = reply.replace(
        to_namespace_id=message.from_namespace_id,
        to_workflow_id=message.from_workflow_id,
        to_run_id=message.from_run_id,
    )
    shared.effects.append(Send(addressed))


def _fill_started(
    shared: Shared, event: HistoryEvent, message: StartChild, initiated: HistoryEvent, run_id: str, backoff: int
) -> None:
    wanted = initiated.start_child_workflow_execution_initiated_event_attributes
    attributes = event.workflow_execution_started_event_attributes
    attributes.workflow_id = wanted.workflow_id
    attributes.workflow_type.CopyFrom(wanted.workflow_type)
    attributes.task_queue.CopyFrom(wanted.task_queue)
    for name in (
        "input",
        "header",
        "retry_policy",
        "versioning_override",
        "workflow_execution_timeout",
        "workflow_run_timeout",
        "workflow_task_timeout",
    ):
        if wanted.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(wanted, name))
    copy_values(wanted.memo.fields, attributes.memo.fields)
    copy_values(wanted.search_attributes.indexed_fields, attributes.search_attributes.indexed_fields)
    execution_timeout = duration_us(wanted.workflow_execution_timeout)
    if execution_timeout:
        expires = later(shared.now, execution_timeout + _MILLISECOND // 2)
        set_timestamp(attributes.workflow_execution_expiration_time, expires // _MILLISECOND * _MILLISECOND)
    set_duration(attributes.first_workflow_task_backoff, backoff)
    attributes.attempt = 1
    attributes.original_execution_run_id = run_id
    attributes.first_execution_run_id = run_id
    attributes.cron_schedule = wanted.cron_schedule
    if wanted.cron_schedule:
        attributes.initiator = _CRON
    attributes.parent_workflow_namespace = message.from_namespace
    attributes.parent_workflow_namespace_id = message.from_namespace_id
    attributes.parent_workflow_execution.workflow_id = message.from_workflow_id
    attributes.parent_workflow_execution.run_id = message.from_run_id
    attributes.parent_initiated_event_id = initiated.event_id
    attributes.parent_initiated_event_version = initiated.version
    attributes.root_workflow_execution.workflow_id = message.root_workflow_id
    attributes.root_workflow_execution.run_id = message.root_run_id
    if message.parent_priority or wanted.HasField("priority"):
        attributes.priority.CopyFrom(merged_priority(message.parent_priority, wanted.priority))
    if initiated.HasField("user_metadata"):
        event.user_metadata.CopyFrom(initiated.user_metadata)


def parent_is_ready(turn: Turn) -> None:
    """The parent knows of this run: its first workflow task may come."""
    run = turn.run
    if not run.running or not run.awaits_parent:
        return
    run.awaits_parent = False
    turn.touch()
    schedule_workflow_task(turn)


def parent_closed(turn: Turn, message: ParentClosed) -> None:
    """Parent close policy, if this run's chain was started by that very parent run, or is the one that the parent knows
    by its first run (the parent may have been reset since); else the ID means somebody else."""
    run = turn.run
    parent = run.parent
    if (
        not run.running
        or parent is None
        or parent.namespace_id != message.from_namespace_id
        or parent.workflow_id != message.from_workflow_id
        or (run.first_run_id != message.child_run_id if message.child_run_id else parent.run_id != message.from_run_id)
    ):
        return
    if message.policy == _TERMINATE:
        terminate(turn, "by parent close policy", identity=HISTORY_SERVICE)
    elif message.policy == _REQUEST_CANCEL:
        sender = WorkflowExecution()
        sender.workflow_id = message.from_workflow_id
        sender.run_id = message.from_run_id
        request_cancel(turn, identity=HISTORY_SERVICE, external=sender)
