"""The state that a history leads to, against the one that is stored.

What history does not hold (attempts, heartbeats, stickiness, stamps) is not compared. What took effect before its event
has a place in history (the event is buffered) is applied to the replayed state first, as it was to the live one.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import astuple
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import ResetPoints

from perdure.doctor.subject import UNREADABLE, Subject, shown
from perdure.engine.apply import apply_event
from perdure.engine.failing import REPORTED_PROBLEMS
from perdure.engine.items import Activity, Child, External, Update
from perdure.engine.pause_info import PAUSE_INFO
from perdure.engine.state import Run
from perdure.enums import EventType

_E = EventType
_LATE: Final = frozenset(
    (
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED,
    )
)
"""Buffered events that take effect only when they enter the history."""
_FACTS: Final = (
    "workflow_type",
    "task_queue",
    "first_run_id",
    "original_run_id",
    "root_workflow_id",
    "root_run_id",
    "parent",
    "status",
    "original_started_at",
    "closed_at",
    "attempt",
    "execution_timeout",
    "run_timeout",
    "task_timeout",
    "cron_schedule",
    "has_retry_policy",
    "previous_started_event_id",
    "completed_tasks",
    "cancel_requested",
    "signal_count",
    "memo",
    "user_metadata",
    "priority",
    "priority_key",
    "fairness_key",
    "fairness_weight",
    "worker_version",
    "successor_run_id",
    "start_carries",
    "versioning_override",
)
_TIMES: Final = ("started_at", "execution_at", "run_expires_at", "execution_expires_at")
"""Of a run that was reset these begin anew with the reset."""
_CHECK: Final = "state"


def compare(subject: Subject, replayed: Run) -> None:
    run = subject.workflow
    if not _apply_buffered(subject, replayed):
        return
    names = _FACTS if run.ancestors else _FACTS + _TIMES
    for name in names:
        stored, derived = getattr(run, name), getattr(replayed, name)
        if stored != derived:
            _report(subject, name.replace("_", " "), stored, derived)
    _compare_search_attributes(subject, run.search_attributes, replayed.search_attributes)
    if _points(run.reset_points) != _points(replayed.reset_points):
        _report(subject, "reset points", _points(run.reset_points), _points(replayed.reset_points))
    _compare_backoff(subject, replayed)
    _compare_task(subject, replayed)
    _compare_pending(subject, replayed)


def _report(subject: Subject, what: str, stored: Any, derived: Any) -> None:
    subject.report(_CHECK, f"{what}: stored is {shown(stored)}, history says {shown(derived)}")


def _apply_buffered(subject: Subject, replayed: Run) -> bool:
    run = subject.workflow
    for blob in run.buffered:
        try:
            event = HistoryEvent.FromString(blob)
            if event.event_type not in _LATE:
                apply_event(replayed, event)
        except UNREADABLE as error:
            subject.report("buffer-unreadable", f"an event that waits for its place cannot be read ({error})")
            return False
    task = run.workflow_task
    if run.buffered and (task is None or not task.started_event_id):
        subject.report("buffer", f"{len(run.buffered)} events wait for a workflow task to end, but none is started")
    return True


def _compare_search_attributes(subject: Subject, stored: dict[str, bytes], derived: dict[str, bytes]) -> None:
    for name in sorted(stored.keys() | derived.keys()):
        if name not in (PAUSE_INFO, REPORTED_PROBLEMS) and stored.get(name) != derived.get(name):
            _report(subject, f"search attribute {name}", stored.get(name), derived.get(name))


def _points(blob: bytes) -> list[tuple[str, str, str, int]]:
    return [
        (point.binary_checksum, point.build_id, point.run_id, point.first_workflow_task_completed_id)
        for point in ResetPoints.FromString(blob).points
    ]


def _compare_backoff(subject: Subject, replayed: Run) -> None:
    """A pause, the close and a child's parent may end the wait without an event."""
    run = subject.workflow
    ended = run.paused or run.awaits_parent or not run.running
    if run.backoff_until != replayed.backoff_until and not (ended and not run.backoff_until):
        _report(subject, "time of the first workflow task", run.backoff_until, replayed.backoff_until)


def _compare_task(subject: Subject, replayed: Run) -> None:
    run = subject.workflow
    task, derived = run.workflow_task, replayed.workflow_task
    if task is not None and not run.running:
        subject.report(_CHECK, "it is closed, and has a workflow task")
    elif task is None or task.transient:
        if derived is not None:
            _report(subject, "workflow task", None, derived.scheduled_event_id)
        if task is not None and task.started_event_id and task.scheduled_event_id != run.next_event_id:
            _report(subject, "event of the workflow task's attempt", task.scheduled_event_id, run.next_event_id)
    elif derived is None:
        _report(subject, "workflow task", task.scheduled_event_id, None)
    else:
        for name in ("scheduled_event_id", "started_event_id", "attempt", "scheduled_at", "started_at"):
            if getattr(task, name) != getattr(derived, name):
                what = f"workflow task's {name.replace('_', ' ')}"
                _report(subject, what, getattr(task, name), getattr(derived, name))


def _compare_pending(subject: Subject, replayed: Run) -> None:
    run = subject.workflow
    items: tuple[tuple[str, dict[Any, Any], dict[Any, Any]], ...] = (
        ("activity", run.activities, replayed.activities),
        ("child", run.children, replayed.children),
    )
    if run.running:
        items += (
            ("timer", run.timers, replayed.timers),
            ("signal to another workflow", run.signals, replayed.signals),
            ("cancel request to another workflow", run.cancels, replayed.cancels),
        )
    else:
        for name in ("timers", "signals", "cancels", "buffered"):
            if getattr(run, name):
                subject.report(_CHECK, f"it is closed, and has {name} pending")
    for what, stored, derived in (*items, ("update", run.updates, replayed.updates)):
        for key in stored.keys() | derived.keys():
            one, other = stored.get(key), derived.get(key)
            if one is None and _may_be_forgotten(run, other):
                continue
            if one is None or other is None or _core(one) != _core(other):
                _report(subject, f"pending {what} {key!r}", _maybe(one), _maybe(other))


def _may_be_forgotten(run: Run, item: Any) -> bool:
    """An update that a reset brought and the workflow rejected; and what ended while the run's last workflow task was
    under way, whose event was dropped with the buffer."""
    if isinstance(item, Update):
        return not item.accepted_event_id
    return not run.running


def _core(item: Any) -> Any:
    """What history says of it."""
    if isinstance(item, Activity):
        return item.activity_id, item.activity_type, item.cancel_requested, item.cancel_event_id
    if isinstance(item, Child):
        return item.workflow_id, item.namespace_id, item.run_id, item.started_event_id, item.parent_close_policy
    if isinstance(item, External):
        return item.workflow_id, item.namespace_id, item.run_id, item.control
    return astuple(item)


def _maybe(item: Any) -> Any:
    return None if item is None else _core(item)
