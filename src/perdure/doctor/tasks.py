"""Rows of tasks against what runs wait for. The run is the truth: a row too many is dropped when a poller comes for it,
but a task that no row tells of would wait for ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perdure.doctor.subject import Subject
from perdure.engine.execution import ACTIVITY, WORKFLOW
from perdure.engine.items import Activity
from perdure.storage.store import TaskWrite

WORKFLOW_QUEUE, ACTIVITY_QUEUE = 1, 2
Wanted = tuple[int, int, int]
"""(queue kind, scheduled event ID, stamp)"""


def wanted_tasks(subject: Subject) -> Iterator[tuple[Wanted, str, int]]:
    """(task, its queue, its attempt) of each that waits for a poller."""
    run = subject.run
    if not run.running:
        return
    if subject.row.kind == ACTIVITY:
        attempt: Activity = run.state.attempt
        if _waits(attempt):
            yield (ACTIVITY_QUEUE, 0, attempt.stamp), attempt.queue, attempt.attempt
    if subject.row.kind != WORKFLOW or run.paused:
        return
    task = run.workflow_task
    if task is not None and not task.started_event_id:
        yield (WORKFLOW_QUEUE, task.scheduled_event_id, task.stamp), task.queue, task.attempt
    for activity in run.activities.values():
        if _waits(activity):
            yield (ACTIVITY_QUEUE, activity.scheduled_event_id, activity.stamp), activity.queue, activity.attempt


def _waits(activity: Activity) -> bool:
    return activity.offered and not activity.started_at and not activity.paused


def check_tasks(subject: Subject, rows: Sequence[TaskWrite]) -> int:
    """`rows` are all of the run. Returns how many of them nobody wants."""
    missing = {task: (queue, attempt) for task, queue, attempt in wanted_tasks(subject)}
    found: set[Wanted] = set()
    stale = 0
    for row in rows:
        task = (row.kind, row.scheduled_event_id, row.stamp)
        wanted = missing.pop(task, None)
        if wanted is None:
            if task in found:
                subject.report("task-twice", f"{_name(task)} has two rows", "harmless: the second one is dropped")
            stale += 1
            continue
        found.add(task)
        subject.differs("task", f"queue of the row of {_name(task)}", row.queue, wanted[0])
        subject.differs("task", f"attempt of the row of {_name(task)}", row.attempt, wanted[1])
        place = (row.namespace_id, row.execution_id)
        subject.differs("task", f"place of the row of {_name(task)}", place, subject.row.key[::2])
    for task, (queue, _) in missing.items():
        subject.report(
            "task-lost",
            f"{_name(task)} waits for a poller of task queue {queue!r}, but no row says so",
            "reset the workflow, or reset the activity, to have the task offered anew",
        )
    return stale


def check_stamps(subject: Subject) -> None:
    """No two attempts have a stamp in common, nor will the next one: a stamp is what tells a live task from a dead one.
    (Workflow tasks are told apart by their events too, and may have a stamp that was drawn.)"""
    run = subject.run
    if subject.row.kind == ACTIVITY:
        stamps, last = [run.state.attempt.stamp], run.state.stamp
    elif subject.row.kind == WORKFLOW:
        stamps, last = [activity.stamp for activity in run.activities.values()], run.stamp
    else:
        return
    if len(set(stamps)) < len(stamps):
        subject.report("stamp", "two of its activities have the same stamp")
    if stamps and max(stamps) > last:
        subject.report("stamp", f"an activity has stamp {max(stamps)}, and the next one gets {last + 1}")


def _name(task: Wanted) -> str:
    kind, scheduled_event_id, _ = task
    if kind == WORKFLOW_QUEUE:
        return f"the workflow task of event {scheduled_event_id}"
    return f"the activity task of event {scheduled_event_id}" if scheduled_event_id else "the activity's task"


class TasksByRun:
    """Walks along rows that come by run ID, while somebody walks along runs in the same order."""

    def __init__(self, rows: Iterable[TaskWrite]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)
        self.count = 0
        self.of_no_run = 0
        """Rows whose run is gone: dropped like all that no run wants."""

    def take(self, run_id: str) -> list[TaskWrite]:
        """Those of `run_id`; those of runs before it, which is not there, are passed over."""
        taken = []
        while self._next is not None and self._next.run_id <= run_id:
            if self._next.run_id == run_id:
                taken.append(self._next)
            else:
                self.of_no_run += 1
            self._advance()
        return taken

    def end(self) -> None:
        while self._next is not None:
            self.of_no_run += 1
            self._advance()

    def _advance(self) -> None:
        self.count += 1
        self._next = next(self._rows, None)
