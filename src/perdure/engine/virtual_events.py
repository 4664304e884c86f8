"""Scheduled and Started of transient and speculative workflow tasks: in no history until the task ends well, shown to
the worker and to readers with the IDs they would get.
"""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.framing import frame
from perdure.engine.items import WorkflowTask
from perdure.engine.state import Run
from perdure.engine.times import set_duration, set_timestamp
from perdure.engine.turn import Turn
from perdure.enums import EventType, TaskQueueKind

_SCHEDULED = EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_NORMAL = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
_STICKY = TaskQueueKind.TASK_QUEUE_KIND_STICKY


def virtual_events(run: Run) -> bytes:
    """The framed Scheduled (and Started) of a pending transient or speculative task, with the IDs they would get now;
    else empty.

    Readers of a running history see them after its last stored event.
    """
    task = run.workflow_task
    if task is None or not (task.transient or task.speculative):
        return b""
    first = run.next_event_id
    blob = frame(virtual_scheduled(run, task, first))
    if task.started_event_id:
        blob += frame(virtual_started(task, first, ""))
    return blob


def store_transient(turn: Turn, identity: str) -> None:
    """Write Scheduled and Started of the started transient task, now that it ended well."""
    run = turn.run
    task = run.workflow_task
    assert task is not None
    turn.emit(virtual_scheduled(run, task, 0))
    turn.emit(virtual_started(task, task.scheduled_event_id, identity))


def virtual_scheduled(run: Run, task: WorkflowTask, event_id: int) -> HistoryEvent:
    event = HistoryEvent()
    event.event_id = event_id
    event.event_type = _SCHEDULED
    set_timestamp(event.event_time, task.scheduled_at)
    attributes = event.workflow_task_scheduled_event_attributes
    if task.scheduled_on_sticky:
        attributes.task_queue.name = task.scheduled_on_sticky
        attributes.task_queue.kind = _STICKY
        attributes.task_queue.normal_name = run.task_queue
    else:
        attributes.task_queue.name = run.task_queue
        attributes.task_queue.kind = _NORMAL
    set_duration(attributes.start_to_close_timeout, task.start_to_close)
    attributes.attempt = task.attempt
    return event


def virtual_started(task: WorkflowTask, scheduled_event_id: int, identity: str) -> HistoryEvent:
    event = HistoryEvent()
    event.event_id = scheduled_event_id + 1
    event.event_type = _STARTED
    set_timestamp(event.event_time, task.started_at)
    fill_started(
        event,
        scheduled_event_id,
        identity,
        task.request_id,
        task.worker_version,
        task.history_size,
        list(task.suggest_reasons),
    )
    return event


def fill_started(
    event: HistoryEvent,
    scheduled_event_id: int,
    identity: str,
    request_id: str,
    worker_version: bytes,
    size: int,
    reasons: list[int],
) -> None:
    """The attributes of a Started event, real or virtual. `worker_version`: a serialised WorkerVersionStamp, or
    empty."""
    attributes = event.workflow_task_started_event_attributes
    attributes.scheduled_event_id = scheduled_event_id
    attributes.identity = identity
    attributes.request_id = request_id
    attributes.history_size_bytes = size
    if reasons:
        attributes.suggest_continue_as_new = True
        attributes.suggest_continue_as_new_reasons.extend(reasons)  # type: ignore[arg-type] # ints of that enum
    if worker_version:
        attributes.worker_version.MergeFromString(worker_version)
