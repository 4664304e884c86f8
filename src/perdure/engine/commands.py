"""What a workflow decided: the commands of a completion, carried out in order (reference: engine 3, 9.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from temporalio.api.command.v1 import Command
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine import activity_commands, attributes, chains, children, externals, timers, update_messages
from perdure.engine.apply import remove_child
from perdure.engine.bad_command import BadCommand
from perdure.engine.closing import after_close
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.continuing import continue_as_new
from perdure.engine.effects import OfferActivityTask
from perdure.engine.turn import Turn
from perdure.enums import CommandType, EventType, WorkflowTaskFailedCause
from perdure.errors import InvalidArgument

_T = CommandType
_CLOSING: Final = frozenset(
    {
        _T.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        _T.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
        _T.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
        _T.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
    }
)
_COMPLETED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
_FAILED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
_CANCELED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED)
_C = WorkflowTaskFailedCause
_UNHANDLED: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)
_BAD_COMPLETE: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES)
_BAD_FAIL: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES)
_BAD_CANCEL: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES)
# The reference server reports an oversized result under the activity's cause.
_RESULT_TOO_LARGE: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES)


def check_sequence(commands: Iterable[Command]) -> None:
    """Raises InvalidArgument, before anything is written: the workflow task does not fail of it, it stays started."""
    types = [int(command.command_type) for command in commands]
    for closing in types[:-1]:
        if closing in _CLOSING:
            names = ", ".join(_short(command_type) for command_type in types)
            raise InvalidArgument(
                f"invalid command sequence: [{names}], command {_short(closing)} must be the last command."
            )
    for command_type in types:
        if command_type not in _RUN:
            raise InvalidArgument(f"unknown command type: {_short(command_type)}")


def _short(command_type: int) -> str:
    if command_type not in CommandType.values():
        return str(command_type)
    name = CommandType.Name(command_type)  # type: ignore[arg-type] # an int of that enum
    return "".join(word.capitalize() for word in name.removeprefix("COMMAND_TYPE_").split("_"))


def run_commands(turn: Turn, request: RespondWorkflowTaskCompletedRequest, completed_event_id: int) -> Completion:
    """Carry out the commands of a completion whose sequence was checked.

    Raises BadCommand (what was written must be taken back, the workflow task fails) or NamespaceNotFound (taken back as
    well, but the task stays started).
    """
    completion = Completion(turn, request, completed_event_id)
    if request.messages:
        completion.messages_left = {message.id: message for message in request.messages}
    for command in request.commands:
        _RUN[command.command_type](completion, command)
    if not completion.closed:
        if completion.messages_left:
            update_messages.carry_out_rest(completion)
        for scheduled_event_id in completion.offers:
            turn.effect(OfferActivityTask(turn.run, scheduled_event_id))
        for message in completion.messages:
            turn.send(message)
    return completion


# ---- closing the run
def _begin_close(completion: Completion) -> None:
    """Raises BadCommand when something came in that the worker does not know of."""
    if completion.turn.run.buffered:
        raise BadCommand(_UNHANDLED)


def _end_close(completion: Completion) -> None:
    completion.closed = True
    update_messages.carry_out_rejections(completion)
    after_close(completion.turn)


def _drop_unsent(completion: Completion) -> None:
    """What this very completion caused (the end of an activity it cancelled, a child it started) never comes to be: the
    close event is the last one."""
    turn = completion.turn
    turn.drop_buffer()
    for initiated_event_id in completion.new_children.values():
        remove_child(turn.run, initiated_event_id)


def _complete(completion: Completion, command: Command) -> None:
    _begin_close(completion)
    if not command.HasField("complete_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD_COMPLETE, "CompleteWorkflowExecution")
    wanted = command.complete_workflow_execution_command_attributes
    turn = completion.turn
    completion.check_size(
        wanted.result,
        turn.limits.blob_size,
        _RESULT_TOO_LARGE,
        "CompleteWorkflowExecutionCommandAttributes.Result exceeds size limit.",
    )
    successor = chains.after_completion(turn, wanted.result if wanted.HasField("result") else None)
    _drop_unsent(completion)
    event = completion.event(_COMPLETED, command)
    attributes = event.workflow_execution_completed_event_attributes
    attributes.workflow_task_completed_event_id = completion.event_id
    attributes.new_execution_run_id = successor.run_id
    if wanted.HasField("result"):
        attributes.result.CopyFrom(wanted.result)
    turn.emit(event)
    _end_close(completion)
    successor.create()


def _fail(completion: Completion, command: Command) -> None:
    _begin_close(completion)
    if not command.HasField("fail_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD_FAIL, "FailWorkflowExecution")
    wanted = command.fail_workflow_execution_command_attributes
    if not wanted.HasField("failure"):
        raise BadCommand(_BAD_FAIL, "Failure is not set on FailWorkflowExecutionCommand.")
    turn = completion.turn
    completion.check_size(
        wanted.failure,
        turn.limits.blob_size,
        _BAD_FAIL,
        "FailWorkflowExecutionCommandAttributes.Failure exceeds size limit.",
    )
    successor = chains.retry_or_cron(turn, wanted.failure)
    _drop_unsent(completion)
    event = completion.event(_FAILED, command)
    attributes = event.workflow_execution_failed_event_attributes
    attributes.workflow_task_completed_event_id = completion.event_id
    attributes.failure.CopyFrom(wanted.failure)
    attributes.retry_state = successor.retry_state  # type: ignore[assignment] # an int of that enum
    attributes.new_execution_run_id = successor.run_id
    turn.emit(event)
    _end_close(completion)
    successor.create()


def _cancel(completion: Completion, command: Command) -> None:
    _begin_close(completion)
    if not command.HasField("cancel_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD_CANCEL, "CancelWorkflowExecution")
    wanted = command.cancel_workflow_execution_command_attributes
    _drop_unsent(completion)
    event = completion.event(_CANCELED, command)
    attributes = event.workflow_execution_canceled_event_attributes
    attributes.workflow_task_completed_event_id = completion.event_id
    if wanted.HasField("details"):
        attributes.details.CopyFrom(wanted.details)
    completion.turn.emit(event)
    _end_close(completion)


def _continue_as_new(completion: Completion, command: Command) -> None:
    _begin_close(completion)
    event, successor = continue_as_new(completion, command)
    _drop_unsent(completion)
    completion.turn.emit(event)
    _end_close(completion)
    successor.create()


_RUN: Final[dict[int, Callable[[Completion, Command], None]]] = {
    _T.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: activity_commands.schedule_activity,
    _T.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK: activity_commands.request_cancel_activity,
    _T.COMMAND_TYPE_START_TIMER: timers.start_timer,
    _T.COMMAND_TYPE_CANCEL_TIMER: timers.cancel_timer,
    _T.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: _complete,
    _T.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: _fail,
    _T.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION: _cancel,
    _T.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: _continue_as_new,
    _T.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: externals.cancel_external,
    _T.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: externals.signal_external,
    _T.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: children.start_child,
    _T.COMMAND_TYPE_RECORD_MARKER: attributes.record_marker,
    _T.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: attributes.upsert_search_attributes,
    _T.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES: attributes.modify_properties,
    _T.COMMAND_TYPE_PROTOCOL_MESSAGE: update_messages.carry_out_command,
}

SERVED_COMMANDS: Final = frozenset(_RUN)
"""Command types that a workflow may send."""
