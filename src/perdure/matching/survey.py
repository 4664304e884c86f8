"""What DescribeTaskQueue tells of queues: who polls them, and how many tasks wait, come and go."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.matching.queue import HISTORY_SECONDS, Queue
from perdure.matching.tasks import PollerInfo, QueueKey, QueueStats


class Survey:
    """Of the queues that `Matching` has open; of others it knows nothing."""

    def __init__(self, queues: Mapping[QueueKey, Queue]) -> None:
        self._queues = queues

    def pollers(self, queue: QueueKey, now: float) -> list[PollerInfo]:
        """Who polled in the last five minutes, by identity."""
        found = self._queues.get(queue)
        if found is None:
            return []
        parked = {poller.identity for poller in found.line}
        return [
            PollerInfo(identity, history.last_access, history.rate)
            for identity, history in sorted(found.history.items())
            if identity in parked or now - history.last_access <= HISTORY_SECONDS
        ]

    def levels(self, queue: QueueKey) -> tuple[int, int]:
        """Numbers of tasks in memory: just before the lowest, and the highest."""
        found = self._queues.get(queue)
        numbers = [] if found is None else [task.task_no for task in found.backlog]
        return min(numbers, default=1) - 1, max(numbers, default=0)

    def stats(self, queue: QueueKey, now: float) -> QueueStats:
        found = self._queues.get(queue)
        if found is None:
            return QueueStats(0, True, None, 0.0, 0.0)
        return QueueStats(
            backlog_count=len(found.backlog),
            overflow=found.backlog.known_until is not None,
            oldest_created=found.backlog.oldest_created(),
            add_rate=sum(flow.added.rate(now) for flow in found.flows.values()),
            dispatch_rate=sum(flow.dispatched.rate(now) for flow in found.flows.values()),
        )

    def stats_by_priority(self, queue: QueueKey, now: float) -> dict[int, QueueStats]:
        """One entry for each priority seen lately."""
        found = self._queues.get(queue)
        if found is None:
            return {}
        created: dict[int, list[int]] = {priority: [] for priority in found.flows}
        for task in found.backlog:
            created.setdefault(task.priority, []).append(task.created)
        return {
            priority: QueueStats(
                backlog_count=len(times),
                overflow=found.backlog.known_until is not None,
                oldest_created=min(times, default=None),
                add_rate=found.flow(priority, now).added.rate(now),
                dispatch_rate=found.flow(priority, now).dispatched.rate(now),
            )
            for priority, times in sorted(created.items())
        }
