"""What others may know of queues: who polls, how many tasks wait, come and go, and whether more pollers would help."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.matching.queue import HISTORY_SECONDS, Queue
from perdure.matching.scaling import IDLE_SECONDS, OLD_MICROSECONDS, Advice
from perdure.matching.tasks import Poller, PollerInfo, QueueKey, QueueStats


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

    def has_recent_poller(self, queue: QueueKey, now: float, within: float) -> bool:
        """A poll is parked, or came or ended in the last `within` seconds (10 for sticky queues, 20 for queries)."""
        found = self._queues.get(queue)
        if found is None:
            return False
        if found.line:
            return True
        return any(now - history.last_access <= within for history in found.history.values())

    def backlog_count(self, queue: QueueKey) -> int:
        """Tasks waiting in memory: the hint in poll answers."""
        found = self._queues.get(queue)
        return len(found.backlog) + len(found.volatile) if found is not None else 0

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

    def advise(self, poller: Poller, from_backlog: bool, now: float, time: int) -> int:
        """How many pollers more (1) or fewer (-1) the worker of `poller`, about to be answered, should have; 0: no
        advice. `time` is that of tasks, in microseconds."""
        queue = self._queues.get(poller.queue)
        if queue is None:
            return 0
        advice = queue.advice
        if advice is None:
            advice = queue.advice = Advice(now)
        if not from_backlog and now - poller.since >= IDLE_SECONDS:
            more = -1
        elif queue.pace is not None and queue.pace.ready_at(now) > now:
            return 0
        else:
            oldest = queue.backlog.oldest_created() if queue.backlog.waiting else None
            if not (oldest is not None and time - oldest > OLD_MICROSECONDS) and not advice.grows(queue.flows, now):
                return 0
            more = 1
        return more if advice.may(len(queue.history), now) else 0
