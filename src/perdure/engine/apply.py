"""Events to state: the only writer of history-made state. No validation here: history is the truth, deciding came
before.

Replaying a stored history (`fold`) and continuing a live run take the same path. What history does not hold (attempts,
heartbeats, stickiness, request IDs, stamps) is noted by the deciding modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from temporalio.api.common.v1 import Memo, Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import WorkflowExecutionPauseInfo

from perdure.engine.items import Activity, Child, External, Parent, Timer, Update, WorkflowTask
from perdure.engine.state import ACTIVITY, BACKOFF, CANCEL, CHILD, RUN, SIGNAL, TIMER, UPDATE, WORKFLOW_TASK, Run
from perdure.engine.times import SECOND, duration_of, duration_us, later, timestamp_us
from perdure.enums import EventType, WorkflowExecutionStatus

INSTANT = SECOND // 2
"""When a timer without a duration fires. The reference's timers are up to a second late, and what its clients do right
after such a completion comes first (recorded: workflow_task_bad_commands)."""
_RUNNING = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
_PAUSED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED
STICKY = 2
"""enums.TaskQueueKind.TASK_QUEUE_KIND_STICKY."""


def apply_event(run: Run, event: HistoryEvent) -> None:
    """Move `run` past one event."""
    apply = APPLY.get(event.event_type)
    if apply is not None:
        apply(run, event)


def fold(events: Iterable[HistoryEvent]) -> Run:
    """The history-made state after `events`, which must start at event 1 and have no gaps."""
    run = Run()
    for event in events:
        if event.event_id != run.next_event_id:
            raise ValueError(f"history has a gap: event {run.next_event_id} is missing before {event.event_id}")
        apply_event(run, event)
        run.next_event_id = event.event_id + 1
    return run


def is_null(payload: Payload) -> bool:
    """Whether a memo or search attribute value means "remove": no data, or `[]`. A JSON `null` is kept as it is
    (recorded: upsert_search_attributes_and_memo)."""
    return payload.data in (b"", b"[]")


def copy_values(given: Mapping[str, Payload], fields: Any) -> None:
    """What a new run has of a memo or of search attributes: `fields` get all but what is null."""
    for name, value in given.items():
        if not is_null(value):
            fields[name].CopyFrom(value)


def stored_values(given: Mapping[str, Payload]) -> dict[str, bytes]:
    """The same serialised, for a record."""
    return {name: value.SerializeToString(deterministic=True) for name, value in given.items() if not is_null(value)}


# ---- life cycle
def _started(run: Run, event: HistoryEvent) -> None:
    a = event.workflow_execution_started_event_attributes
    at = timestamp_us(event.event_time)
    run.workflow_id = a.workflow_id or run.workflow_id
    run.workflow_type = a.workflow_type.name
    run.task_queue = a.task_queue.name
    run.original_run_id = a.original_execution_run_id
    run.first_run_id = a.first_execution_run_id
    run.attempt = a.attempt
    run.execution_timeout = duration_of(a, "workflow_execution_timeout")
    run.run_timeout = duration_of(a, "workflow_run_timeout")
    run.task_timeout = duration_us(a.workflow_task_timeout)
    run.cron_schedule = a.cron_schedule
    run.has_retry_policy = a.HasField("retry_policy")
    backoff = duration_us(a.first_workflow_task_backoff)
    run.started_at = run.original_started_at = at
    run.execution_at = at
    if backoff:
        run.execution_at = run.backoff_until = later(at, backoff)
        run.arm(run.backoff_until, 0, BACKOFF)
    if a.HasField("workflow_execution_expiration_time"):
        run.execution_expires_at = timestamp_us(a.workflow_execution_expiration_time)
    if run.run_timeout:
        run.run_expires_at = later(at, backoff + run.run_timeout)
        if run.execution_expires_at:
            run.run_expires_at = min(run.run_expires_at, run.execution_expires_at)
        run.arm(run.run_expires_at, 1 << 62, RUN)
    if a.HasField("parent_workflow_execution"):
        run.parent = Parent(
            namespace=a.parent_workflow_namespace,
            namespace_id=a.parent_workflow_namespace_id,
            workflow_id=a.parent_workflow_execution.workflow_id,
            run_id=a.parent_workflow_execution.run_id,
            initiated_event_id=a.parent_initiated_event_id,
        )
    if a.HasField("root_workflow_execution"):
        run.root_workflow_id = a.root_workflow_execution.workflow_id
        run.root_run_id = a.root_workflow_execution.run_id
    if a.HasField("memo"):
        run.memo = a.memo.SerializeToString(deterministic=True)
    if a.HasField("search_attributes"):
        for name, value in a.search_attributes.indexed_fields.items():
            run.search_attributes[name] = value.SerializeToString(deterministic=True)
    if event.HasField("user_metadata"):
        run.user_metadata = event.user_metadata.SerializeToString(deterministic=True)
    if a.HasField("priority"):
        run.priority = a.priority.SerializeToString(deterministic=True)
        run.priority_key = a.priority.priority_key
        run.fairness_key = a.priority.fairness_key
        run.fairness_weight = a.priority.fairness_weight
    if a.HasField("prev_auto_reset_points"):
        run.reset_points = a.prev_auto_reset_points.SerializeToString(deterministic=True)
    run.start_carries = bool(event.links or a.completion_callbacks)
    if a.HasField("versioning_override"):
        run.versioning_override = a.versioning_override.SerializeToString(deterministic=True)
    run.changes.visibility = True


def _closes(status: int, attributes: str, successor: bool) -> Callable[[Run, HistoryEvent], None]:
    def closed(run: Run, event: HistoryEvent) -> None:
        run.status = status
        run.running = False
        run.closed_at = timestamp_us(event.event_time)
        if successor:
            run.successor_run_id = getattr(event, attributes).new_execution_run_id
        run.workflow_task = None
        run.changes.visibility = True

    return closed


def apply_pause(run: Run, event: HistoryEvent) -> None:
    """Of a Paused event, also before it has its place in history: a pause holds at once."""
    a = event.workflow_execution_paused_event_attributes
    info = WorkflowExecutionPauseInfo()
    info.identity = a.identity
    info.reason = a.reason
    info.paused_time.CopyFrom(event.event_time)
    run.status = _PAUSED
    run.pause_info = info.SerializeToString(deterministic=True)
    run.pause_request_id = a.request_id
    run.changes.visibility = run.changes.status = True


def apply_unpause(run: Run, event: HistoryEvent) -> None:
    """The same of an Unpaused event."""
    run.status = _RUNNING
    run.pause_info = b""
    run.pause_request_id = ""
    run.changes.visibility = run.changes.status = True


def apply_options(run: Run, event: HistoryEvent) -> None:
    """The same of an OptionsUpdated event."""
    a = event.workflow_execution_options_updated_event_attributes
    if a.HasField("versioning_override"):
        run.versioning_override = a.versioning_override.SerializeToString(deterministic=True)
    elif a.unset_versioning_override:
        run.versioning_override = b""
    if a.HasField("priority"):
        run.priority = a.priority.SerializeToString(deterministic=True)
        run.priority_key = a.priority.priority_key
        run.fairness_key = a.priority.fairness_key
        run.fairness_weight = a.priority.fairness_weight


# ---- workflow task
def _task_scheduled(run: Run, event: HistoryEvent) -> None:
    a = event.workflow_task_scheduled_event_attributes
    at = timestamp_us(event.event_time)
    run.backoff_until = 0
    run.workflow_task = WorkflowTask(
        scheduled_event_id=event.event_id,
        attempt=a.attempt,
        scheduled_at=at,
        original_scheduled_at=at,
        start_to_close=duration_us(a.start_to_close_timeout),
        queue=a.task_queue.name,
        sticky=a.task_queue.kind == STICKY,
    )


def _task_started(run: Run, event: HistoryEvent) -> None:
    a = event.workflow_task_started_event_attributes
    task = run.workflow_task
    if task is None:
        raise ValueError("a workflow task started that was not scheduled")
    task = task.replace(
        started_event_id=event.event_id,
        started_at=timestamp_us(event.event_time),
        request_id=a.request_id,
        identity=a.identity,
    )
    run.workflow_task = task
    run.arm(task.started_at + task.start_to_close, 0, WORKFLOW_TASK)


def _task_completed(run: Run, event: HistoryEvent) -> None:
    a = event.workflow_task_completed_event_attributes
    run.previous_started_event_id = a.started_event_id
    run.completed_tasks += 1
    run.workflow_task = None


def _task_ended(run: Run, event: HistoryEvent) -> None:
    run.workflow_task = None


# ---- activities
def _activity_scheduled(run: Run, event: HistoryEvent) -> None:
    a = event.activity_task_scheduled_event_attributes
    at = timestamp_us(event.event_time)
    activity = Activity(
        scheduled_event_id=event.event_id,
        activity_id=a.activity_id,
        activity_type=a.activity_type.name,
        queue=a.task_queue.name,
        scheduled_at=at,
        attempt_scheduled_at=at,
        schedule_to_close=duration_of(a, "schedule_to_close_timeout"),
        schedule_to_start=duration_us(a.schedule_to_start_timeout),
        start_to_close=duration_us(a.start_to_close_timeout),
        heartbeat_timeout=duration_us(a.heartbeat_timeout),
        retry_policy=a.retry_policy.SerializeToString(deterministic=True),
        priority=run.priority_key,
        fairness_key=run.fairness_key,
        fairness_weight=run.fairness_weight,
    )
    if a.HasField("priority"):
        own = a.priority
        activity.priority = own.priority_key or run.priority_key
        activity.fairness_key = own.fairness_key or run.fairness_key
        activity.fairness_weight = own.fairness_weight or run.fairness_weight
    run.activities[event.event_id] = activity
    run.activity_ids[activity.activity_id] = event.event_id
    run.changes.items.add((ACTIVITY, str(event.event_id)))
    for timeout in (activity.schedule_to_start, activity.schedule_to_close):
        if timeout:
            run.arm(at + timeout, event.event_id, ACTIVITY, str(event.event_id))


def _activity_cancel_requested(run: Run, event: HistoryEvent) -> None:
    scheduled = event.activity_task_cancel_requested_event_attributes.scheduled_event_id
    activity = run.activities.get(scheduled)
    if activity is not None:  # else its close is buffered already
        run.activities[scheduled] = activity.replace(cancel_requested=True, cancel_event_id=event.event_id)
        run.changes.items.add((ACTIVITY, str(scheduled)))


def remove_activity(run: Run, scheduled_event_id: int) -> None:
    """Forget a pending activity: at its close event, or before, when that event is buffered."""
    activity = run.activities.pop(scheduled_event_id, None)
    if activity is not None:
        if run.activity_ids.get(activity.activity_id) == scheduled_event_id:
            del run.activity_ids[activity.activity_id]
        run.changes.items.add((ACTIVITY, str(scheduled_event_id)))


def _activity_closed(attributes: str) -> Callable[[Run, HistoryEvent], None]:
    def closed(run: Run, event: HistoryEvent) -> None:
        remove_activity(run, getattr(event, attributes).scheduled_event_id)

    return closed


# ---- timers
def _timer_started(run: Run, event: HistoryEvent) -> None:
    a = event.timer_started_event_attributes
    due = timestamp_us(event.event_time) + (duration_us(a.start_to_fire_timeout) or INSTANT)
    run.timers[a.timer_id] = Timer(timer_id=a.timer_id, started_event_id=event.event_id, due=due)
    run.changes.items.add((TIMER, a.timer_id))
    run.arm(due, event.event_id, TIMER, a.timer_id)


def remove_timer(run: Run, timer_id: str, started_event_id: int) -> None:
    """Forget a timer (of that start: its ID may be in use again while an older firing is buffered)."""
    timer = run.timers.get(timer_id)
    if timer is not None and timer.started_event_id == started_event_id:
        del run.timers[timer_id]
        run.changes.items.add((TIMER, timer_id))


def _timer_ended(attributes: str) -> Callable[[Run, HistoryEvent], None]:
    def ended(run: Run, event: HistoryEvent) -> None:
        a = getattr(event, attributes)
        remove_timer(run, a.timer_id, a.started_event_id)

    return ended


# ---- children
def _child_initiated(run: Run, event: HistoryEvent) -> None:
    a = event.start_child_workflow_execution_initiated_event_attributes
    run.children[event.event_id] = Child(
        initiated_event_id=event.event_id,
        workflow_id=a.workflow_id,
        workflow_type=a.workflow_type.name,
        namespace=a.namespace,
        namespace_id=a.namespace_id,
        parent_close_policy=a.parent_close_policy,
    )
    run.changes.items.add((CHILD, str(event.event_id)))


def _child_started(run: Run, event: HistoryEvent) -> None:
    a = event.child_workflow_execution_started_event_attributes
    child = run.children.get(a.initiated_event_id)
    if child is not None:  # else its close is in the same flush
        run.children[a.initiated_event_id] = child.replace(
            run_id=a.workflow_execution.run_id, started_event_id=event.event_id
        )
        run.changes.items.add((CHILD, str(a.initiated_event_id)))


def remove_child(run: Run, initiated_event_id: int) -> None:
    if run.children.pop(initiated_event_id, None) is not None:
        run.changes.items.add((CHILD, str(initiated_event_id)))


def _child_ended(attributes: str) -> Callable[[Run, HistoryEvent], None]:
    def ended(run: Run, event: HistoryEvent) -> None:
        remove_child(run, getattr(event, attributes).initiated_event_id)

    return ended


# ---- external signals and cancel requests
def _external_initiated(sort: int, attributes: str, control: bool) -> Callable[[Run, HistoryEvent], None]:
    def initiated(run: Run, event: HistoryEvent) -> None:
        a = getattr(event, attributes)
        external = External(
            initiated_event_id=event.event_id,
            namespace=a.namespace,
            namespace_id=a.namespace_id,
            workflow_id=a.workflow_execution.workflow_id,
            run_id=a.workflow_execution.run_id,
            control=a.control if control else "",
        )
        (run.signals if sort == SIGNAL else run.cancels)[event.event_id] = external
        run.changes.items.add((sort, str(event.event_id)))

    return initiated


def remove_external(run: Run, sort: int, initiated_event_id: int) -> None:
    """`sort` is SIGNAL or CANCEL."""
    if (run.signals if sort == SIGNAL else run.cancels).pop(initiated_event_id, None) is not None:
        run.changes.items.add((sort, str(initiated_event_id)))


def _external_ended(sort: int, attributes: str) -> Callable[[Run, HistoryEvent], None]:
    def ended(run: Run, event: HistoryEvent) -> None:
        remove_external(run, sort, getattr(event, attributes).initiated_event_id)

    return ended


# ---- updates
def _update_admitted(run: Run, event: HistoryEvent) -> None:
    update_id = event.workflow_execution_update_admitted_event_attributes.request.meta.update_id
    run.updates[update_id] = Update(update_id=update_id, admitted_event_id=event.event_id)
    run.changes.items.add((UPDATE, update_id))


def _update_accepted(run: Run, event: HistoryEvent) -> None:
    update_id = event.workflow_execution_update_accepted_event_attributes.protocol_instance_id
    update = run.updates.get(update_id) or Update(update_id=update_id)
    run.updates[update_id] = update.replace(accepted_event_id=event.event_id)
    run.changes.items.add((UPDATE, update_id))


def _update_completed(run: Run, event: HistoryEvent) -> None:
    update_id = event.workflow_execution_update_completed_event_attributes.meta.update_id
    run.updates[update_id] = run.updates[update_id].replace(completed_event_id=event.event_id)
    run.changes.items.add((UPDATE, update_id))


def remove_update(run: Run, update_id: str) -> None:
    """Forget an update that a reset brought along and the workflow now rejected."""
    del run.updates[update_id]
    run.changes.items.add((UPDATE, update_id))


# ---- signals, cancel, attributes
def _signaled(run: Run, event: HistoryEvent) -> None:
    run.signal_count += 1


def _cancel_requested(run: Run, event: HistoryEvent) -> None:
    run.cancel_requested = True


def _search_attributes_upserted(run: Run, event: HistoryEvent) -> None:
    fields: Any = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    for name, value in fields.items():
        if is_null(value):
            run.search_attributes.pop(name, None)
        else:
            run.search_attributes[name] = value.SerializeToString(deterministic=True)
    run.changes.visibility = True


def _properties_modified(run: Run, event: HistoryEvent) -> None:
    memo = Memo.FromString(run.memo)
    for name, value in event.workflow_properties_modified_event_attributes.upserted_memo.fields.items():
        if is_null(value):
            memo.fields.pop(name, None)
        else:
            memo.fields[name].CopyFrom(value)
    run.memo = memo.SerializeToString(deterministic=True)
    run.changes.visibility = True


_E = EventType
_S = WorkflowExecutionStatus
APPLY: dict[int, Callable[[Run, HistoryEvent], None]] = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: _started,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: _closes(
        _S.WORKFLOW_EXECUTION_STATUS_COMPLETED, "workflow_execution_completed_event_attributes", True
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: _closes(
        _S.WORKFLOW_EXECUTION_STATUS_FAILED, "workflow_execution_failed_event_attributes", True
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: _closes(
        _S.WORKFLOW_EXECUTION_STATUS_TIMED_OUT, "workflow_execution_timed_out_event_attributes", True
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: _closes(
        _S.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW, "workflow_execution_continued_as_new_event_attributes", True
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: _closes(_S.WORKFLOW_EXECUTION_STATUS_CANCELED, "", False),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: _closes(_S.WORKFLOW_EXECUTION_STATUS_TERMINATED, "", False),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED: apply_pause,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED: apply_unpause,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED: apply_options,
    _E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: _task_scheduled,
    _E.EVENT_TYPE_WORKFLOW_TASK_STARTED: _task_started,
    _E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: _task_completed,
    _E.EVENT_TYPE_WORKFLOW_TASK_FAILED: _task_ended,
    _E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: _task_ended,
    _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _activity_scheduled,
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED: _activity_cancel_requested,
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: _activity_closed("activity_task_completed_event_attributes"),
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: _activity_closed("activity_task_failed_event_attributes"),
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: _activity_closed("activity_task_timed_out_event_attributes"),
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: _activity_closed("activity_task_canceled_event_attributes"),
    _E.EVENT_TYPE_TIMER_STARTED: _timer_started,
    _E.EVENT_TYPE_TIMER_FIRED: _timer_ended("timer_fired_event_attributes"),
    _E.EVENT_TYPE_TIMER_CANCELED: _timer_ended("timer_canceled_event_attributes"),
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: _child_initiated,
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: _child_ended(
        "start_child_workflow_execution_failed_event_attributes"
    ),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: _child_started,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: _child_ended(
        "child_workflow_execution_completed_event_attributes"
    ),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: _child_ended("child_workflow_execution_failed_event_attributes"),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: _child_ended("child_workflow_execution_canceled_event_attributes"),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: _child_ended(
        "child_workflow_execution_timed_out_event_attributes"
    ),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: _child_ended(
        "child_workflow_execution_terminated_event_attributes"
    ),
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: _external_initiated(
        SIGNAL, "signal_external_workflow_execution_initiated_event_attributes", True
    ),
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _external_ended(
        SIGNAL, "signal_external_workflow_execution_failed_event_attributes"
    ),
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: _external_ended(
        SIGNAL, "external_workflow_execution_signaled_event_attributes"
    ),
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: _external_initiated(
        CANCEL, "request_cancel_external_workflow_execution_initiated_event_attributes", False
    ),
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _external_ended(
        CANCEL, "request_cancel_external_workflow_execution_failed_event_attributes"
    ),
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _external_ended(
        CANCEL, "external_workflow_execution_cancel_requested_event_attributes"
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED: _update_admitted,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: _update_accepted,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: _update_completed,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _signaled,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _cancel_requested,
    _E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _search_attributes_upserted,
    _E.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: _properties_modified,
}
