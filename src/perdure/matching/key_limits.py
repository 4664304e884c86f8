"""Rate limits of fairness keys: each key of a queue has its own, the default of the queue times the key's weight.

Tasks of a key whose limit is used up are *held*: taken out of line, so that those of other keys go on, and kept first
come first served by key. Of each key only a few are held in memory. When there are more, the key is *deferred*: its
tasks after the last one held are left to the store, and read by key when the held ones run low. Tasks without a key
have no such limit.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from operator import attrgetter
from typing import Final

from perdure.matching.fairness import weight_of
from perdure.matching.pace import Pace
from perdure.matching.tasks import Task, TaskOrder

PACES: Final = 10_000
HELD: Final = 10_000
"""Tasks held in all; with more keys than that, one of each."""

Place = tuple[int, str]
"""(priority, fairness key)."""

_order = attrgetter("order")


class KeyLimits:
    """How often tasks of each key may pass. `rate` is for a key of weight 1, in tasks a second."""

    __slots__ = ("_paces", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._paces: dict[str, Pace] = {}

    def ready_at(self, task: Task, now: float) -> float:
        if not task.fairness_key:
            return -inf
        return self._pace(task, now).ready_at(now)

    def take(self, task: Task, now: float) -> None:
        if task.fairness_key:
            self._pace(task, now).take(now)

    def give_back(self, task: Task) -> None:
        pace = self._paces.get(task.fairness_key)
        if pace is not None:
            pace.give_back()

    def _pace(self, task: Task, now: float) -> Pace:
        rate = self.rate * weight_of(task.fairness_weight)
        pace = self._paces.get(task.fairness_key)
        if pace is None:
            if len(self._paces) >= PACES:
                self._paces = {key: pace for key, pace in self._paces.items() if not pace.rested(now)}
            pace = self._paces[task.fairness_key] = Pace(rate, now)
        elif pace.rate != rate:
            pace.change(rate, now)
        return pace


class Held:
    """Tasks of one backlog that wait for their keys."""

    __slots__ = ("_due", "_soonest", "_tasks", "after", "count", "of_key")

    def __init__(self, of_key: int) -> None:
        self.of_key = of_key
        """Tasks of one key and priority that are held in memory."""
        self._tasks: dict[Place, list[Task]] = {}
        self._due: dict[Place, float] = {}  # when to look at a key again
        self._soonest: dict[
            int, list[tuple[float, str]]
        ] = {}  # the same as a heap for each priority, with older entries
        self.after: dict[Place, TaskOrder] = {}
        """Where deferred keys are cut: later tasks of theirs are out of memory."""
        self.count = 0

    def leaves_out(self, task: Task) -> bool:
        """Whether a task's key is deferred from before it."""
        after = self.after.get((task.priority, task.fairness_key))
        return after is not None and task.order > after

    def add(self, task: Task, ready_at: float) -> bool:
        """Hold a task; False if there are enough of its key, which is deferred then."""
        place = (task.priority, task.fairness_key)
        if self.leaves_out(task):
            return False
        tasks = self._tasks.get(place)
        if tasks and task.order > tasks[-1].order and len(tasks) >= min(self.of_key, HELD // len(self._tasks) or 1):
            self.after[place] = tasks[-1].order
            return False
        self.put(task, ready_at)
        return True

    def put(self, task: Task, ready_at: float) -> None:
        """Hold a task, however many there are of its key."""
        place = (task.priority, task.fairness_key)
        tasks = self._tasks.setdefault(place, [])
        if not tasks:
            self._wait(place, ready_at)
        tasks.insert(bisect(tasks, task.order, key=_order), task)
        self.count += 1

    def put_before(self, task: Task) -> bool:
        """Hold a task that comes back when later ones of its key are held; False when there are none."""
        tasks = self._tasks.get((task.priority, task.fairness_key))
        if not tasks or task.order > tasks[-1].order:
            return False
        self.put(task, -inf)
        return True

    def holds_key(self, task: Task) -> bool:
        return (task.priority, task.fairness_key) in self._tasks

    def next(self, priority: int, limits: KeyLimits, now: float) -> Task | None:
        """The first task of a key that may go on."""
        heap = self._soonest.get(priority)
        while heap and heap[0][0] <= now:
            due, fairness_key = heappop(heap)
            place = (priority, fairness_key)
            if self._due.get(place) != due:
                continue
            del self._due[place]
            tasks = self._tasks[place]
            if not tasks:
                continue
            ready_at = limits.ready_at(tasks[0], now)
            if ready_at > now:
                self._wait(place, ready_at)
                continue
            return tasks[0]
        return None

    def took(self, task: Task, limits: KeyLimits, now: float) -> None:
        """`next` gave out this task, and it was counted by its key's limit."""
        place = (task.priority, task.fairness_key)
        tasks = self._tasks[place]
        self.remove(task)
        if tasks:
            self._wait(place, limits.ready_at(tasks[0], now))

    def remove(self, task: Task) -> bool:
        """True if it was held."""
        place = (task.priority, task.fairness_key)
        tasks = self._tasks.get(place)
        if tasks is None or task not in tasks:
            return False
        tasks.remove(task)
        self.count -= 1
        if not tasks:
            self._emptied(place)
        return True

    def soonest(self) -> float:
        """When a key may go on, at the earliest; never, if none is held."""
        return min((heap[0][0] for heap in self._soonest.values() if heap), default=inf)

    def hurry(self, now: float) -> None:
        """Limits have changed: look at all keys again."""
        self._soonest, self._due = {}, {}
        for place, tasks in self._tasks.items():
            if tasks:
                self._wait(place, now)

    def wanted(self) -> tuple[Place, TaskOrder] | None:
        """A deferred key of which few tasks are left in memory, and where it goes on."""
        for place, after in self.after.items():
            if len(self._tasks.get(place, ())) <= self.of_key // 4:
                return place, after
        return None

    def resume(self, place: Place, after: TaskOrder | None) -> None:
        """What follows was read up to `after`; None: all of it that is before the boundary."""
        if after is not None:
            self.after[place] = after
            return
        del self.after[place]
        if not self._tasks.get(place, True):
            self._emptied(place)

    def cut(self, after: TaskOrder) -> list[Task]:
        """Memory ends at `after` now: give up what is past it. (Deferred keys that go on past it are read in line.)"""
        gone: list[Task] = []
        for place, order in list(self.after.items()):
            if order > after:
                self.resume(place, None)
        for place, tasks in list(self._tasks.items()):
            if place[0] < after[0]:
                continue
            while tasks and tasks[-1].order > after:
                gone.append(tasks.pop())
                self.count -= 1
            if not tasks:
                self._emptied(place)
        return gone

    def __iter__(self) -> Iterator[Task]:
        for tasks in self._tasks.values():
            yield from tasks

    def _emptied(self, place: Place) -> None:
        """The last task in memory went."""
        if place not in self.after:
            del self._tasks[place]
        self._due.pop(place, None)

    def _wait(self, place: Place, ready_at: float) -> None:
        self._due[place] = ready_at
        heappush(self._soonest.setdefault(place[0], []), (ready_at, place[1]))
