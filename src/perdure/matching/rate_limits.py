"""Which queues have rate limits, what those let pass, and which queues wait for them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from perdure.matching.key_limits import KeyLimits
from perdure.matching.pace import BY_SYSTEM, SYSTEM_RATE, UNSET, Pace, QueueSettings, rate_of
from perdure.matching.queue import Queue
from perdure.matching.tasks import QueueKey, Task


class RateLimits:
    """Of the queues that `Matching` has open. `paced`: whether limits hold at all."""

    def __init__(self, queues: Mapping[QueueKey, Queue], paced: bool) -> None:
        self._queues = queues
        self._paced = paced
        self.settings: dict[QueueKey, QueueSettings] = {}
        self.throttled: dict[QueueKey, float] = {}
        """Queues where tasks wait for their rate limit, and until when."""

    def configure(self, queue: QueueKey, settings: QueueSettings, now: float) -> None:
        """Set what limits a queue, for as long as this object lives."""
        if settings == UNSET:
            self.settings.pop(queue, None)
        else:
            self.settings[queue] = settings
        found = self._queues.get(queue)
        if found is not None:
            self.set(found, settings, now)

    def set(self, queue: Queue, settings: QueueSettings, now: float) -> None:
        queue.settings = settings
        self.renew(queue, now)

    def renew(self, queue: Queue, now: float) -> None:
        """After a change of what limits the queue."""
        rate, source = rate_of(queue.settings, queue.worker_rate)
        if not self._paced or source == BY_SYSTEM or rate >= SYSTEM_RATE:
            queue.pace = None
        elif queue.pace is None:
            queue.pace = Pace(rate, now)
        else:
            queue.pace.change(rate, now)
        key_rate = queue.settings.key_rate if self._paced else None
        if key_rate is None:
            queue.key_limits = None
            queue.backlog.end_limits()
        elif queue.key_limits is None:
            queue.key_limits = KeyLimits(key_rate)
            queue.backlog.begin_limits()
        else:
            queue.key_limits.rate = key_rate
            if queue.backlog.held is not None:
                queue.backlog.held.hurry(now)
        if queue.line and (queue.backlog.overflow or len(queue.backlog)):
            self.throttled[queue.key] = -inf

    def ready(self, now: float) -> list[QueueKey]:
        """Throttled queues that may go on: `Matching.admit` each."""
        return [key for key, ready_at in self.throttled.items() if ready_at <= now]

    def limit(self, queue: QueueKey, now: float) -> tuple[float, int, bool]:
        """Tasks a second, where that comes from (RateLimitSource), and whether it holds tasks back now."""
        found = self._queues.get(queue)
        if found is None:
            return *rate_of(self.settings.get(queue, UNSET), None), False
        pace = found.pace
        waits = len(found.backlog) > 0
        holds = waits and (self.throttled.get(queue, now) > now or (pace is not None and pace.ready_at(now) > now))
        return *rate_of(found.settings, found.worker_rate), holds

    # ---- what passes

    def may_pass(self, queue: Queue, pace: Pace, now: float) -> bool:
        """Whether the rate limit lets a task through now; if not, the queue is throttled."""
        ready_at = pace.ready_at(now)
        if ready_at <= now:
            return True
        self.throttled[queue.key] = ready_at
        return False

    def may_start(self, queue: Queue, task: Task, now: float) -> bool:
        """Whether the limits of a queue that has some let a task go to a poller at once; it is counted if so."""
        pace, limits = queue.pace, queue.key_limits
        if pace is not None and not self.may_pass(queue, pace, now):
            return False
        if queue.backlog.waiting or (limits is not None and limits.ready_at(task, now) > now):
            self.throttled[queue.key] = -inf  # what waits is looked at in its order, and this task with it
            return False
        if pace is not None:
            pace.take(now)
        if limits is not None:
            limits.take(task, now)
        task.paced = True
        return True

    def next_of_keys(self, queue: Queue, limits: KeyLimits, now: float) -> Task | None:
        """The first waiting task whose key's limit lets it through, counted by that."""
        held = queue.backlog.held
        task = queue.backlog.pop_limited(limits, now)
        if task is not None:
            task.paced = True
        elif held is not None and held.count:
            self.throttled[queue.key] = held.soonest()
        return task

    def give_back(self, task: Task, now: float) -> None:
        """A task that was counted was not started."""
        task.paced = False
        queue = self._queues.get(task.queue)
        if queue is None:
            return
        if queue.pace is not None:
            queue.pace.give_back()
        if queue.key_limits is not None:
            queue.key_limits.give_back(task)
            if queue.backlog.held is not None:
                queue.backlog.held.hurry(now)
        if queue.key in self.throttled:
            self.throttled[queue.key] = -inf
