"""Rows of tasks: written with the batch that schedules them, read when their turn comes.

A page of them that cannot be read is tried again in a moment. Until then the queue's parked polls stay where they are,
and its new tasks wait behind those that are not read yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.matching import Load, QueueKey, Task
from perdure.runtime.inputs import RETRY_SECONDS
from perdure.storage.store import StoreFailed, TaskWrite

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

PAGES_AT_ONCE = 8
PAGES_PAUSE_SECONDS = 0.01


class TaskRows:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._matching = runtime.matching
        self.unreadable: set[QueueKey] = set()
        """Queues that are read again in a moment."""

    def write(self, task: Task, now: float) -> None:
        """Have the open batch write the task's row. Raises StoreFailed when its place in line cannot be found out."""
        runtime = self._runtime
        key = task.queue
        if not self._matching.place(task, now):
            passed = runtime.store.task_passes(key[0], key[1], key[2], task.priority, task.fairness_key)
            self._matching.learn(task, passed, now)
            self._matching.place(task, now)
        runtime.committer.add_task(
            TaskWrite(
                task.task_no,
                key[0],
                key[1],
                key[2],
                task.priority,
                task.fairness_key,
                task.execution_id,
                task.run_id,
                task.scheduled_event_id,
                task.attempt,
                task.stamp,
                task.created,
                task.fairness_pass,
                task.fairness_weight,
            )
        )

    def load(self, key: QueueKey) -> None:
        """Carry out the reads of stored tasks that matching asks for."""
        if key in self.unreadable:
            return
        runtime = self._runtime
        pages = 0
        while pages < PAGES_AT_ONCE and (load := self._matching.begin_load(key)) is not None:
            pages += 1
            try:
                tasks = self._read(load)
            except StoreFailed as failure:
                self._matching.unread(load)
                runtime.log.error("tasks of a queue cannot be read, will retry", queue=key[1], reason=str(failure))
                self.unreadable.add(key)
                runtime.alarms.after(RETRY_SECONDS, lambda: self._again(key))
                return
            now = runtime.monotonic.now()
            for task, poller in self._matching.loaded(load, tasks, len(tasks) < load.limit, now):
                runtime.dispatch.take(task, poller)
        if pages == PAGES_AT_ONCE:  # many tasks of keys held back stand before others: let the loop do other things
            runtime.alarms.after(PAGES_PAUSE_SECONDS, lambda: self.load(key))
        if self._matching.throttled:
            runtime.dispatch.heed_limits()

    def _again(self, key: QueueKey) -> None:
        self.unreadable.discard(key)
        self.load(key)

    def _read(self, load: Load) -> list[Task]:
        store = self._runtime.store
        key = load.queue
        if load.place is None:
            rows = store.load_tasks(key[0], key[1], key[2], load.after, load.limit)
        else:
            rows = store.load_tasks_of_key(*key, *load.place, load.after[1:], load.limit)
        return [
            Task(
                key,
                row.task_no,
                row.execution_id,
                row.run_id,
                row.scheduled_event_id,
                row.attempt,
                row.stamp,
                row.priority,
                row.fairness_key,
                row.created,
                None,
                row.fairness_pass,
                row.fairness_weight,
            )
            for row in rows
        ]
