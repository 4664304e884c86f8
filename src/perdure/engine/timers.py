"""Timers: a workflow asks to be woken once, after a duration, under an ID it chose.

Source: temporal/api/command/v1/message.proto, StartTimerCommandAttributes, CancelTimerCommandAttributes; reference:
engine 3.3.
"""

from __future__ import annotations

from typing import Final

from temporalio.api.command.v1 import Command
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.apply import remove_timer
from perdure.engine.bad_command import BadCommand
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.items import Timer
from perdure.engine.state import BUFFERED
from perdure.engine.times import MAX_DURATION, set_duration, valid_duration
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import EventType, WorkflowTaskFailedCause
from perdure.errors import InvalidArgument

_STARTED: Final = int(EventType.EVENT_TYPE_TIMER_STARTED)
_FIRED: Final = int(EventType.EVENT_TYPE_TIMER_FIRED)
_CANCELED: Final = int(EventType.EVENT_TYPE_TIMER_CANCELED)
_BAD_START: Final = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES)
_BAD_CANCEL: Final = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES)
_DUPLICATE: Final = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID)


def start_timer(completion: Completion, command: Command) -> None:
    if not command.HasField("start_timer_command_attributes"):
        raise attributes_missing(_BAD_START, "StartTimer")
    wanted = command.start_timer_command_attributes
    timer_id = wanted.timer_id
    _check_id(completion, timer_id, _BAD_START, "StartTimerCommand")
    try:
        timeout = valid_duration(wanted.start_to_fire_timeout)
    except InvalidArgument as error:
        detail = f"An invalid StartToFireTimeout is set on StartTimerCommand: {error.message}. TimerId={timer_id}"
        raise BadCommand(_BAD_START, detail) from error
    if timer_id in completion.turn.run.timers:
        raise BadCommand(
            _DUPLICATE, f"invalid history builder state for action: add-timer-started-event, TimerID: {timer_id}"
        )
    event = completion.event(_STARTED, command)
    attributes = event.timer_started_event_attributes
    attributes.timer_id = timer_id
    if timeout == MAX_DURATION:
        set_duration(attributes.start_to_fire_timeout, timeout)
    elif wanted.HasField("start_to_fire_timeout"):
        attributes.start_to_fire_timeout.CopyFrom(wanted.start_to_fire_timeout)
    attributes.workflow_task_completed_event_id = completion.event_id
    completion.turn.emit(event)


def cancel_timer(completion: Completion, command: Command) -> None:
    """Also takes back a firing that the worker could not know of yet, because it is buffered."""
    if not command.HasField("cancel_timer_command_attributes"):
        raise attributes_missing(_BAD_CANCEL, "CancelTimer")
    timer_id = command.cancel_timer_command_attributes.timer_id
    _check_id(completion, timer_id, _BAD_CANCEL, "CancelTimerCommand")
    turn = completion.turn
    timer = turn.run.timers.get(timer_id)
    started_event_id = timer.started_event_id if timer is not None else _take_back_firing(turn, timer_id)
    if not started_event_id:
        raise BadCommand(
            _BAD_CANCEL, f"invalid history builder state for action: add-timer-canceled-event, TimerID: {timer_id}"
        )
    event = completion.event(_CANCELED, command)
    attributes = event.timer_canceled_event_attributes
    attributes.timer_id = timer_id
    attributes.started_event_id = started_event_id
    attributes.workflow_task_completed_event_id = completion.event_id
    attributes.identity = completion.identity
    turn.emit(event)


def _check_id(completion: Completion, timer_id: str, cause: int, command: str) -> None:
    if not timer_id:
        raise BadCommand(cause, f"TimerId is not set on {command}.")
    length = len(timer_id.encode())
    limit = completion.turn.limits.id_length
    if length > limit:
        raise BadCommand(
            cause, f"TimerId on {command} exceeds length limit. TimerId={timer_id} Length={length} Limit={limit}"
        )


def _take_back_firing(turn: Turn, timer_id: str) -> int:
    """Removes the buffered firing of a timer; the ID of the event that started it, 0 when none is buffered."""
    for index, blob in enumerate(turn.run.buffered):
        event = HistoryEvent.FromString(blob)
        if event.event_type == _FIRED and event.timer_fired_event_attributes.timer_id == timer_id:
            del turn.run.buffered[index]
            turn.dirty(BUFFERED, "")
            return event.timer_fired_event_attributes.started_event_id
    return 0


def fire(turn: Turn, timer: Timer) -> None:
    event = turn.event(_FIRED)
    attributes = event.timer_fired_event_attributes
    attributes.timer_id = timer.timer_id
    attributes.started_event_id = timer.started_event_id
    turn.buffer(event)
    remove_timer(turn.run, timer.timer_id, timer.started_event_id)
    schedule_workflow_task(turn)
