"""Signals and cancel requests from one workflow to another (reference: engine 3.9, 3.10).

The sender notes the request and sends a message; the target's execution takes it and answers with the result, which
becomes an event of the sender if it is still open.
"""

from __future__ import annotations

import re
from typing import Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine import signals
from perdure.engine.apply import remove_external
from perdure.engine.bad_command import BadCommand
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.effects import Send
from perdure.engine.items import External
from perdure.engine.messages import CancelExternal, ExternalResult, SignalExternal
from perdure.engine.state import CANCEL, SIGNAL
from perdure.engine.turn import Shared, Turn
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import (
    CancelExternalWorkflowExecutionFailedCause,
    EventType,
    SignalExternalWorkflowExecutionFailedCause,
)
from perdure.enums import WorkflowTaskFailedCause as Cause
from perdure.errors import InvalidArgument, NotFound

_E = EventType
_SIGNAL_INITIATED: Final = int(_E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
_SIGNALED: Final = int(_E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
_SIGNAL_FAILED: Final = int(_E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
_CANCEL_INITIATED: Final = int(_E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
_CANCEL_REQUESTED: Final = int(_E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
_CANCEL_FAILED: Final = int(_E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
_BAD_SIGNAL: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES)
_TOO_MANY_SIGNALS: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_SIGNALS_LIMIT_EXCEEDED)
_BAD_CANCEL: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES)
_TOO_MANY_CANCELS: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED)
_S = SignalExternalWorkflowExecutionFailedCause
_SIGNAL_NOT_FOUND: Final = int(_S.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND)
_SIGNAL_COUNT: Final = int(_S.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED)
_CANCEL_NOT_FOUND: Final = int(
    CancelExternalWorkflowExecutionFailedCause.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
)
_HISTORY_SERVICE: Final = "history-service"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


# ---- the commands
def signal_external(completion: Completion, command: Command) -> None:
    if not command.HasField("signal_external_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD_SIGNAL, "SignalExternalWorkflowExecution")
    wanted = command.signal_external_workflow_execution_command_attributes
    turn = completion.turn
    run = turn.run
    limits = turn.limits
    namespace, namespace_id = completion.target_namespace(wanted.namespace, _BAD_SIGNAL)
    on = "SignalExternalWorkflowExecutionCommand."
    if not wanted.HasField("execution"):
        raise BadCommand(_BAD_SIGNAL, f"Execution is not set on {on}")
    workflow_id, run_id, name = wanted.execution.workflow_id, wanted.execution.run_id, wanted.signal_name
    if not workflow_id:
        raise BadCommand(
            _BAD_SIGNAL,
            f"WorkflowId is not set on {on} Namespace={wanted.namespace} RunId={run_id} SignalName={name}",
        )
    _check_length(completion, _BAD_SIGNAL, "WorkflowId", workflow_id, on)
    if run_id and not _UUID.fullmatch(run_id):
        raise BadCommand(
            _BAD_SIGNAL,
            f"Invalid RunId set on {on} WorkflowId={workflow_id} Namespace={wanted.namespace} RunId={run_id} "
            f"SignalName={name}",
        )
    if not name:
        raise BadCommand(
            _BAD_SIGNAL,
            f"SignalName is not set on {on} WorkflowId={workflow_id} Namespace={wanted.namespace} RunId={run_id}",
        )
    _check_length(completion, _BAD_SIGNAL, "SignalName", name, on)
    completion.check_size(
        wanted.input,
        limits.blob_size,
        _BAD_SIGNAL,
        "SignalExternalWorkflowExecutionCommandAttributes.Input exceeds size limit.",
    )
    _check_count(_TOO_MANY_SIGNALS, "signals to external workflows", len(run.signals), limits.pending_signals)
    event = completion.event(_SIGNAL_INITIATED, command)
    attributes = event.signal_external_workflow_execution_initiated_event_attributes
    attributes.namespace = namespace
    attributes.namespace_id = namespace_id
    attributes.workflow_execution.CopyFrom(wanted.execution)
    attributes.signal_name = name
    attributes.control = wanted.control
    attributes.child_workflow_only = wanted.child_workflow_only
    attributes.workflow_task_completed_event_id = completion.event_id
    if wanted.HasField("input"):
        attributes.input.CopyFrom(wanted.input)
    if wanted.HasField("header"):
        attributes.header.CopyFrom(wanted.header)
    turn.emit(event)
    completion.messages.append(
        SignalExternal(
            to_namespace_id=namespace_id,
            to_workflow_id=workflow_id,
            to_run_id=run_id,
            from_namespace=run.namespace,
            from_namespace_id=run.namespace_id,
            from_workflow_id=run.workflow_id,
            from_run_id=run.run_id,
            initiated=event.SerializeToString(deterministic=True),
        )
    )


def cancel_external(completion: Completion, command: Command) -> None:
    if not command.HasField("request_cancel_external_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD_CANCEL, "RequestCancelExternalWorkflowExecution")
    wanted = command.request_cancel_external_workflow_execution_command_attributes
    turn = completion.turn
    run = turn.run
    namespace, namespace_id = completion.target_namespace(wanted.namespace, _BAD_CANCEL)
    workflow_id, run_id = wanted.workflow_id, wanted.run_id
    on = "RequestCancelExternalWorkflowExecutionCommand."
    if not workflow_id:
        raise BadCommand(_BAD_CANCEL, f"WorkflowId is not set on {on} Namespace={wanted.namespace} RunId={run_id}")
    _check_length(completion, _BAD_CANCEL, "WorkflowId", workflow_id, on)
    if run_id and not _UUID.fullmatch(run_id):
        raise BadCommand(
            _BAD_CANCEL,
            f"Invalid RunId set on {on} WorkflowId={workflow_id} RunId={run_id} Namespace={wanted.namespace}",
        )
    if workflow_id in completion.new_children:
        raise BadCommand(
            _BAD_CANCEL,
            "Start and RequestCancel for child workflow is not allowed in same workflow task. "
            f"WorkflowId={workflow_id} RunId={run_id} Namespace={wanted.namespace}",
        )
    _check_count(
        _TOO_MANY_CANCELS, "requests to cancel external workflows", len(run.cancels), turn.limits.pending_cancels
    )
    event = completion.event(_CANCEL_INITIATED, command)
    attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
    attributes.namespace = namespace
    attributes.namespace_id = namespace_id
    attributes.workflow_execution.workflow_id = workflow_id
    attributes.workflow_execution.run_id = run_id
    attributes.control = wanted.control
    attributes.child_workflow_only = wanted.child_workflow_only
    attributes.reason = wanted.reason
    attributes.workflow_task_completed_event_id = completion.event_id
    turn.emit(event)
    completion.messages.append(
        CancelExternal(
            to_namespace_id=namespace_id,
            to_workflow_id=workflow_id,
            to_run_id=run_id,
            from_namespace=run.namespace,
            from_namespace_id=run.namespace_id,
            from_workflow_id=run.workflow_id,
            from_run_id=run.run_id,
            initiated=event.SerializeToString(deterministic=True),
        )
    )


def _check_length(completion: Completion, cause: int, name: str, value: str, on: str) -> None:
    length = len(value.encode())
    limit = completion.turn.limits.id_length
    if length > limit:
        raise BadCommand(
            cause, f"{name} on {on[:-1]} exceeds length limit. {name}={value} Length={length} Limit={limit}"
        )


def _check_count(cause: int, what: str, count: int, limit: int) -> None:
    if count >= limit:
        raise BadCommand(cause, f"the number of pending {what}, {count}, has reached the per-workflow limit of {limit}")


# ---- the target receives
def receive_signal(shared: Shared, turn: Turn | None, message: SignalExternal) -> None:
    """`turn` is on the target run, None when there is no such run. Answers the sender either way."""
    initiated = HistoryEvent.FromString(message.initiated)
    attributes = initiated.signal_external_workflow_execution_initiated_event_attributes
    cause = _SIGNAL_NOT_FOUND
    if turn is not None and _may_reach(turn, message, attributes.child_workflow_only):
        try:
            signals.signal_workflow(
                turn,
                signal_name=attributes.signal_name,
                input=attributes.input if attributes.HasField("input") else None,
                header=attributes.header if attributes.HasField("header") else None,
                identity=_HISTORY_SERVICE,
                external=_sender(message),
            )
            cause = 0
        except NotFound:  # closed
            cause = _SIGNAL_NOT_FOUND
        except InvalidArgument:
            cause = _SIGNAL_COUNT
    _reply(shared, message, initiated.event_id, cancel=False, cause=cause)


def receive_cancel(shared: Shared, turn: Turn | None, message: CancelExternal) -> None:
    """A closed target, or one that was asked before, counts as reached."""
    initiated = HistoryEvent.FromString(message.initiated)
    attributes = initiated.request_cancel_external_workflow_execution_initiated_event_attributes
    cause = _CANCEL_NOT_FOUND
    if turn is not None and _may_reach(turn, message, attributes.child_workflow_only):
        signals.request_cancel(
            turn,
            reason=attributes.reason,
            identity=_HISTORY_SERVICE,
            external=_sender(message),
            external_initiated_event_id=initiated.event_id,
        )
        cause = 0
    _reply(shared, message, initiated.event_id, cancel=True, cause=cause)


def _may_reach(turn: Turn, message: SignalExternal | CancelExternal, child_workflow_only: bool) -> bool:
    """No workflow reaches itself as an external one; `child_workflow_only` reaches children of the sending run."""
    if message.from_namespace_id == message.to_namespace_id and message.from_workflow_id == message.to_workflow_id:
        return False
    if not child_workflow_only:
        return True
    parent = turn.run.parent
    return (
        parent is not None
        and parent.namespace_id == message.from_namespace_id
        and parent.workflow_id == message.from_workflow_id
        and parent.run_id == message.from_run_id
    )


def _sender(message: SignalExternal | CancelExternal) -> WorkflowExecution:
    sender = WorkflowExecution()
    sender.workflow_id = message.from_workflow_id
    sender.run_id = message.from_run_id
    return sender


def _reply(
    shared: Shared, message: SignalExternal | CancelExternal, initiated_event_id: int, *, cancel: bool, cause: int
) -> None:
    shared.effects.append(
        Send(
            ExternalResult(
                to_namespace_id=message.from_namespace_id,
                to_workflow_id=message.from_workflow_id,
                to_run_id=message.from_run_id,
                initiated_event_id=initiated_event_id,
                cancel=cancel,
                failed_cause=cause,
            )
        )
    )


# ---- the sender hears
def record_result(turn: Turn, message: ExternalResult) -> None:
    run = turn.run
    sort, pending = (CANCEL, run.cancels) if message.cancel else (SIGNAL, run.signals)
    external = pending.get(message.initiated_event_id)
    if not run.running or external is None:
        return
    if message.cancel:
        event = _cancel_result(turn, external, message.failed_cause)
    else:
        event = _signal_result(turn, external, message.failed_cause)
    turn.buffer(event)
    remove_external(run, sort, external.initiated_event_id)
    schedule_workflow_task(turn)


def _signal_result(turn: Turn, external: External, failed_cause: int) -> HistoryEvent:
    if failed_cause:
        event = turn.event(_SIGNAL_FAILED)
        failed = event.signal_external_workflow_execution_failed_event_attributes
        failed.cause = failed_cause  # type: ignore[assignment] # an int of that enum
        failed.initiated_event_id = external.initiated_event_id
        failed.namespace = external.namespace
        failed.namespace_id = external.namespace_id
        failed.workflow_execution.workflow_id = external.workflow_id
        failed.workflow_execution.run_id = external.run_id
        failed.control = external.control
        return event
    event = turn.event(_SIGNALED)
    reached = event.external_workflow_execution_signaled_event_attributes
    reached.initiated_event_id = external.initiated_event_id
    reached.namespace = external.namespace
    reached.namespace_id = external.namespace_id
    reached.workflow_execution.workflow_id = external.workflow_id
    reached.workflow_execution.run_id = external.run_id
    reached.control = external.control
    return event


def _cancel_result(turn: Turn, external: External, failed_cause: int) -> HistoryEvent:
    if failed_cause:
        event = turn.event(_CANCEL_FAILED)
        failed = event.request_cancel_external_workflow_execution_failed_event_attributes
        failed.cause = failed_cause  # type: ignore[assignment] # an int of that enum
        failed.initiated_event_id = external.initiated_event_id
        failed.namespace = external.namespace
        failed.namespace_id = external.namespace_id
        failed.workflow_execution.workflow_id = external.workflow_id
        failed.workflow_execution.run_id = external.run_id
        return event
    event = turn.event(_CANCEL_REQUESTED)
    reached = event.external_workflow_execution_cancel_requested_event_attributes
    reached.initiated_event_id = external.initiated_event_id
    reached.namespace = external.namespace
    reached.namespace_id = external.namespace_id
    reached.workflow_execution.workflow_id = external.workflow_id
    reached.workflow_execution.run_id = external.run_id
    return event
