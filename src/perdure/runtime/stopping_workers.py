"""A worker stops: its polls, parked or yet to come, are answered empty; its sticky queue's tasks go to the normal
queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.call import PENDING, Pending
from perdure.engine.execution import WORKFLOW
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import sticky_unavailable
from perdure.matching import Task
from perdure.runtime.inputs import Insistent
from perdure.runtime.polls import WORKFLOW_QUEUE
from perdure.runtime.query_tasks import QueryTask
from perdure.runtime.start_tasks import Lost

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

ROWS_AT_ONCE = 100


def stop_worker(
    runtime: Runtime, namespace_id: str, sticky_queue: str, worker_instance_key: str, kinds: list[int]
) -> None:
    """`kinds`: of the task queues that it polls no more."""
    matching = runtime.matching
    now = runtime.monotonic.now()
    if worker_instance_key:
        runtime.dispatch.stopped.add(namespace_id, worker_instance_key, kinds, now)
        for poller in matching.cancel_worker(namespace_id, worker_instance_key, kinds, now):
            poller.waiter.empty()
    if sticky_queue:
        key = (namespace_id, sticky_queue, WORKFLOW_QUEUE)
        unloaded = matching.unload(key, now)
        for poller in unloaded.pollers:
            poller.waiter.empty()
        for task in unloaded.tasks:
            _leave_sticky(runtime, task)
        after = unloaded.after
        while after is not None:
            rows = runtime.store.load_tasks(key[0], key[1], key[2], after, ROWS_AT_ONCE)
            for row in rows:
                matching.withdraw(key, row.task_no)
                task = Task(key, row.task_no, row.execution_id, row.run_id, row.scheduled_event_id, stamp=row.stamp)
                _leave_sticky(runtime, task)
            last = rows[-1] if len(rows) == ROWS_AT_ONCE else None
            after = None if last is None else (last.priority, last.fairness_pass, last.task_no)


def _leave_sticky(runtime: Runtime, task: Task) -> None:
    if isinstance(task.query, QueryTask):
        runtime.queries.to_normal_queue(task.query)
        return
    if isinstance(task.query, Lost):
        return  # its start-to-close timeout decides
    runtime.enter(_LeaveSticky(runtime, task))


class _LeaveSticky(Insistent):
    """The task goes to the normal queue, and its row with it."""

    __slots__ = ("_task",)

    def __init__(self, runtime: Runtime, task: Task) -> None:
        super().__init__(runtime, (task.queue[0], WORKFLOW, task.execution_id), task.run_id, self._move)
        self._task = task

    def _move(self, turn: Turn) -> Pending:
        sticky_unavailable(turn, self._task.stamp)
        return PENDING

    def decided(self) -> None:
        if self._task.task_no:
            self.runtime.committer.task_done(self._task.task_no)
