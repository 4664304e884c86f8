"""The backlog of one queue: its most urgent tasks in memory, the rest as rows in the store.

Theory of operation
-------------------
Tasks are dispatched in the order of (priority, fairness pass, task_no). Every stored task has a row; memory holds the
front of that order, at most `capacity` tasks. How a task comes by its pass is in `fairness.py`. Where memory ends is
the *boundary*:

    in memory, dispatched in order      `after`      rows only
    ────────────────────────────────────────┃──────────────────────────
    key <= after                            ┃  key > after

`overflow` says whether there may be rows past the boundary. Without it the boundary is at infinity: memory is all there
is. A queue nobody has read since the server started is one with `overflow` and `after` at the very beginning; there is
no further state for "not loaded".

* A new task before the boundary goes to memory. If that makes one too many, the last one in memory is pushed out and
  the boundary moves down to just before it. A new task past the boundary stays out.
* When memory runs low, the next rows after the boundary are read, and it moves up to the last of them; when there are
  no more, to infinity.

The store lags behind memory in both directions, because rows are written and deleted with the batch that is still open:

* A task whose row is not durable yet would not be found by a read. While it is `unstored` and past the boundary, it is
  kept aside (`beyond`), so that a read can add it. Durable, it is let go.
* A task that was taken or withdrawn may still have a row. It is `departed` until the row's deletion is durable, and
  skipped when read. (The boundary may have moved below it since: urgent tasks push it down.)

So each waiting task is in exactly one place: in memory, beyond, or a durable row past the boundary, not departed.

A read need not be instantaneous: between `begin_load` and `loaded` nothing is pushed out, and commits are noted but not
acted upon (`Matching.committed`). The rows may then be of any moment in between.

Costs: push, pop and drop are O(1), amortised, for tasks of one fairness key. Only a task that comes between others of
its priority costs O(capacity). Dropped tasks leave a hole in their lane; there are never many more
holes than tasks.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final

from perdure.matching.fairness import Passes, Turns
from perdure.matching.tasks import LOWEST_PRIORITY, Task, TaskOrder

BEGINNING: Final[TaskOrder] = (0, 0, 0)
HOLES: Final = 64


class Backlog:
    __slots__ = (
        "_capacity",
        "_departed",
        "_holes",
        "_lanes",
        "_turns",
        "_unstored",
        "after",
        "beyond",
        "loading",
        "overflow",
        "waiting",
    )

    def __init__(self, capacity: int, unstored: dict[int, Task], departed: dict[int, Task | None]) -> None:
        """`unstored` and `departed` are shared by all queues: task numbers are unique in a store."""
        self._capacity = capacity
        self._unstored = unstored
        self._departed = departed
        self._lanes: list[deque[Task]] = []  # one a priority, in order; made with the first task
        self._turns: dict[int, Turns] = {}  # by priority
        self._holes = 0
        self.waiting: dict[int, Task] = {}
        self.beyond: dict[int, Task] = {}
        self.overflow = True
        self.after = BEGINNING
        self.loading = False

    def place(self, task: Task, weight: float) -> bool:
        """Give a new task its pass. False: what the store holds of its key must be told first, by `learn`."""
        turns = self._turns.get(task.priority)
        fairness_key = task.fairness_key
        if turns is None or (fairness_key not in turns.turn and not turns.whole):
            return False
        fairness_pass = task.fairness_pass = turns.take(fairness_key, weight)
        task.order = (task.priority, fairness_pass, task.task_no)
        return True

    def learn(self, task: Task, stored: Passes) -> None:
        """What waits of the key and priority of `task`, beside what is not stored yet. `place` gives it a pass then."""
        turns = self._turns.get(task.priority)
        if turns is None:
            turns = self._turns[task.priority] = Turns(0 if stored is None else stored[0])
        unstored = [
            other
            for other in self._unstored.values()
            if other.priority == task.priority and other.queue == task.queue and other is not task
        ]
        if stored is None and not unstored:
            turns.whole = True
            return
        last = max(
            (other.fairness_pass for other in unstored if other.fairness_key == task.fairness_key),
            default=-1,
        )
        if stored is not None:
            last = max(last, stored[1])
        turns.follow(task.fairness_key, last)

    def push(self, task: Task) -> bool:
        """Add a waiting task. Returns False if it is past the boundary and will be read when its turn comes."""
        if self.overflow and task.order > self.after:
            if task.task_no in self._unstored:
                self.beyond[task.task_no] = task
            return False
        self._insert(task)
        self._trim()
        return task.in_line

    def pop(self) -> Task | None:
        """Take the first task."""
        if not self.waiting:
            return None
        for lane in self._lanes:
            while lane:
                task = lane.popleft()
                if task.in_line:
                    task.in_line = False
                    del self.waiting[task.task_no]
                    self._dispatched(task)
                    return task
                self._holes -= 1
        raise AssertionError("a waiting task is in no lane")

    def drop(self, task_no: int) -> Task | None:
        """Forget a task, wherever it is in memory."""
        task = self.waiting.pop(task_no, None)
        if task is None:
            return self.beyond.pop(task_no, None)
        task.in_line = False
        self._holes += 1
        if self._holes > HOLES and self._holes > len(self.waiting):
            self._lanes = [deque(kept for kept in lane if kept.in_line) for lane in self._lanes]
            self._holes = 0
        return task

    def room(self) -> int:
        """How many rows should be read now; 0: none."""
        if not self.overflow or self.loading or len(self.waiting) * 2 >= self._capacity:
            return 0
        return self._capacity - len(self.waiting)

    def add_rows(self, rows: Iterable[Task], complete: bool) -> None:
        """Continue memory with the rows that follow the boundary, in order; `complete`: no more follow."""
        found = {task.task_no: task for task in rows}
        if complete:
            self.overflow = False
        elif found:
            last = next(reversed(found.values()))
            self.after = last.order
        for task in self.beyond.values():
            if complete or task.order <= self.after:
                found[task.task_no] = task
        for task in sorted(found.values(), key=_order):
            self.beyond.pop(task.task_no, None)
            if task.task_no in self._departed:
                self._departed[task.task_no] = task  # known in full now, should its deletion be refused
            else:
                self._insert(task)
        self._trim()

    def oldest_created(self) -> int | None:
        heads = (next((task.created for task in lane if task.in_line), None) for lane in self._lanes)
        known = [created for created in heads if created is not None]
        known.extend(task.created for task in self.beyond.values())
        return min(known, default=None)

    def __len__(self) -> int:
        return len(self.waiting) + len(self.beyond)

    def __iter__(self) -> Iterator[Task]:
        """All tasks in memory, in the order of dispatch."""
        for lane in self._lanes:
            yield from (task for task in lane if task.in_line)
        yield from sorted(self.beyond.values(), key=_order)

    def _dispatched(self, task: Task) -> None:
        turns = self._turns.get(task.priority)
        if turns is None:
            turns = self._turns[task.priority] = Turns()
        if task.fairness_pass > turns.at:
            turns.at = task.fairness_pass

    def _insert(self, task: Task) -> None:
        task_no = task.task_no
        assert task_no not in self.waiting, f"{task} waits already"
        if not self._lanes:
            self._lanes = [deque() for _ in range(LOWEST_PRIORITY)]
        lane = self._lanes[task.priority - 1]
        if not lane or lane[-1].order < task.order:
            lane.append(task)
        elif lane[0].order > task.order:
            lane.appendleft(task)
        else:
            lane.insert(bisect(lane, task.order, key=_order), task)
        task.in_line = True
        self.waiting[task_no] = task

    def _trim(self) -> None:
        """Push out what is too much, last first. During a read the boundary stands still."""
        while len(self.waiting) > self._capacity and not self.loading:
            task = self._pop_last()
            self.overflow = True
            self.after = (task.priority, task.fairness_pass, task.task_no - 1)
            if task.task_no in self._unstored:
                self.beyond[task.task_no] = task

    def _pop_last(self) -> Task:
        for lane in reversed(self._lanes):
            while lane:
                task = lane.pop()
                if task.in_line:
                    task.in_line = False
                    del self.waiting[task.task_no]
                    return task
                self._holes -= 1
        raise AssertionError("a waiting task is in no lane")


_order = attrgetter("order")
