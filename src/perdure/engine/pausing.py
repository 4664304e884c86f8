"""Workflows that are paused: nothing of theirs is given to workers until they are unpaused (reference: engine 5.6).

What a worker holds already may end. Signals, timers and ends of activities are recorded; the workflow hears of them
once it goes on. Time goes on too: timeouts hold.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.activity_operations import offer
from perdure.engine.apply import apply_pause, apply_unpause
from perdure.engine.pause_info import note_pauses
from perdure.engine.state import ACTIVITY
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import EventType, WorkflowTaskFailedCause
from perdure.errors import FailedPrecondition, NotFound

_HISTORY_SERVICE: Final = "history-service"
_NOT_STARTED: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED


def pause_workflow(turn: Turn, *, identity: str, reason: str, request_id: str) -> None:
    """Raises NotFound (closed), FailedPrecondition (paused by another request, or by one without an ID)."""
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    if run.paused:
        if request_id and request_id == run.pause_request_id:
            return
        raise FailedPrecondition("workflow is already paused.")
    _take_back_workflow_task(turn)
    event = turn.event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED)
    event.worker_may_ignore = True
    attributes = event.workflow_execution_paused_event_attributes
    attributes.identity = identity
    attributes.reason = reason
    attributes.request_id = request_id
    turn.buffer(event)
    apply_pause(run, event)  # at once, also while the event is buffered
    hold_activities(turn)
    note_pauses(turn)


def unpause_workflow(turn: Turn, *, identity: str, reason: str, request_id: str) -> None:
    """Raises NotFound (closed), FailedPrecondition (not paused)."""
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    if not run.paused:
        raise FailedPrecondition("workflow is not paused.")
    event = turn.event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED)
    event.worker_may_ignore = True
    attributes = event.workflow_execution_unpaused_event_attributes
    attributes.identity = identity
    attributes.reason = reason
    attributes.request_id = request_id
    turn.buffer(event)
    apply_unpause(run, event)
    for activity in list(run.activities.values()):
        if not activity.started_at and not activity.paused:
            offer(turn, activity.replace())
    note_pauses(turn)
    schedule_workflow_task(turn)


def hold_activities(turn: Turn) -> None:
    """Take attempts back that wait for a worker."""
    run = turn.run
    for activity in list(run.activities.values()):
        if not activity.started_at and activity.offered:
            run.activities[activity.scheduled_event_id] = activity.replace(stamp=turn.next_stamp(), offered=False)
            turn.dirty(ACTIVITY, activity.scheduled_event_id)


def _take_back_workflow_task(turn: Turn) -> None:
    """The task that nobody took fails; of an attempt that history does not know, history gets nothing."""
    run = turn.run
    task = run.workflow_task
    if task is None or task.started_event_id:
        return
    if not task.transient and not task.speculative:
        event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        attributes = event.workflow_task_failed_event_attributes
        attributes.scheduled_event_id = task.scheduled_event_id
        attributes.cause = _NOT_STARTED
        attributes.identity = _HISTORY_SERVICE
        turn.emit(event)
    run.workflow_task = None
    run.workflow_task_attempt = 1
    turn.touch()
