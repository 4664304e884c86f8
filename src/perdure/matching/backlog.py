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

When fairness keys have rate limits, tasks before the boundary may also be out of line, held or deferred for their key:
`key_limits.py`.

So each waiting task is in exactly one place: in memory, beyond, or a durable row past the boundary, not departed.

A read need not be instantaneous: between `begin_load` and `loaded` nothing is pushed out, and commits are noted but not
acted upon (`Rows.committed`). The rows may then be of any moment in between.

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
from perdure.matching.key_limits import Held, KeyLimits, Place
from perdure.matching.tasks import LOWEST_PRIORITY, Task, TaskOrder

BEGINNING: Final[TaskOrder] = (0, 0, 0)
HOLES: Final = 64


class Backlog:
    __slots__ = (
        "_capacity",
        "_departed",
        "_holes",
        "_lanes",
        "_reread",
        "_turns",
        "_unstored",
        "after",
        "beyond",
        "held",
        "loading",
        "overflow",
        "waiting",
    )

    def __init__(self, capacity: int, unstored: dict[int, Task], departed: dict[int, Task | None]) -> None:
        """`unstored` and `departed` are those of `rows.py`, shared by all queues."""
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
        self.held: Held | None = None
        """Tasks out of line, waiting for the rate limits of their fairness keys; None without such limits."""
        self._reread: TaskOrder | None = None

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
        if (self.overflow and task.order > self.after) or (self.held is not None and self.held.leaves_out(task)):
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

    def pop_limited(self, limits: KeyLimits, now: float) -> Task | None:
        """Take the first task whose fairness key may go on; others that come before it are held."""
        held = self.held
        assert held is not None, "limits begin with `begin_limits`"
        for priority, lane in enumerate(self._lanes, 1):
            task = held.next(priority, limits, now)
            if task is not None:
                limits.take(task, now)
                held.took(task, limits, now)
                self._out_of_line(task)
                self._dispatched(task)
                return task
            while lane:
                task = lane.popleft()
                if not task.in_line:
                    self._holes -= 1
                    continue
                ready_at = limits.ready_at(task, now)
                if ready_at <= now and not held.holds_key(task):
                    limits.take(task, now)
                    self._out_of_line(task)
                    self._dispatched(task)
                    return task
                if not held.add(task, ready_at):
                    self._leave(task)
                    self._leave_out(lane, held)
        return None

    def _leave_out(self, lane: deque[Task], held: Held) -> None:
        """A key is deferred: the rest of its tasks in line go as well."""
        kept = []
        for task in lane:
            if task.in_line and held.leaves_out(task):
                self._leave(task)
            else:
                kept.append(task)
        lane.clear()
        lane.extend(kept)

    def begin_limits(self) -> None:
        if self.held is None:
            self.held = Held(max(2, self._capacity // 50))

    def end_limits(self) -> None:
        """What was held is in line again; what was deferred is read again."""
        held, self.held = self.held, None
        if held is None:
            return
        for task in held:
            self._line_up(task)
        if held.after:
            first = min(held.after.values())
            self._reread = first if self._reread is None else min(first, self._reread)
            self._read_again()
        self._trim()

    def _read_again(self) -> None:
        """Move the boundary down to where tasks may be missing in memory."""
        first = self._reread
        if first is None or self.loading:
            return
        self._reread = None
        if self.overflow and self.after <= first:
            return
        self.overflow = True
        self.after = first
        for lane in self._lanes:
            while lane and (not lane[-1].in_line or lane[-1].order > first):
                task = lane.pop()
                if task.in_line:
                    self._leave(task)
                else:
                    self._holes -= 1
        if self.held is not None:
            for task in self.held.cut(first):
                self._leave(task)

    def drop(self, task_no: int) -> Task | None:
        """Forget a task, wherever it is in memory."""
        task = self.waiting.pop(task_no, None)
        if task is None:
            return self.beyond.pop(task_no, None)
        task.in_line = False
        if self.held is not None and self.held.remove(task):
            return task
        self._holes += 1
        if self._holes > HOLES and self._holes > len(self.waiting):
            self._lanes = [deque(kept for kept in lane if kept.in_line) for lane in self._lanes]
            self._holes = 0
        return task

    def room(self) -> int:
        """How many rows should be read now; 0: none."""
        in_line = self._in_line()
        if not self.overflow or self.loading or in_line * 2 >= self._capacity:
            return 0
        return self._capacity - in_line

    @property
    def known_until(self) -> TaskOrder | None:
        """There may be tasks after this that memory does not know of; None: it knows all."""
        ends = [] if self.held is None else list(self.held.after.values())
        if self.overflow:
            ends.append(self.after)
        if self._reread is not None:
            ends.append(self._reread)
        return min(ends, default=None)

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
        held = self.held
        for task in sorted(found.values(), key=_order):
            if held is not None and held.leaves_out(task):
                continue
            self.beyond.pop(task.task_no, None)
            if task.task_no in self._departed:
                self._departed[task.task_no] = task  # known in full now, should its deletion be refused
            else:
                self._insert(task)
        self._trim()
        self._read_again()

    def add_key_rows(self, place: Place, rows: list[Task], complete: bool, ready_at: float) -> None:
        """Continue a deferred key with its rows that follow, in order; `complete`: no more follow."""
        held = self.held
        if held is not None and place in held.after:
            found = {task.task_no: task for task in rows if not self.overflow or task.order <= self.after}
            last: TaskOrder | None = None
            if not complete and found and len(found) == len(rows):
                last = next(reversed(found.values())).order
            for task in self.beyond.values():
                end = last or (self.after if self.overflow else None)
                if (task.priority, task.fairness_key) == place and (end is None or task.order <= end):
                    found[task.task_no] = task
            held.resume(place, last)
            for task in sorted(found.values(), key=_order):
                self.beyond.pop(task.task_no, None)
                if task.task_no in self._departed:
                    self._departed[task.task_no] = task
                elif task.task_no not in self.waiting:  # or it is in line, not looked at yet
                    held.put(task, ready_at)
                    task.in_line = True
                    self.waiting[task.task_no] = task
        self._trim()
        self._read_again()

    def oldest_created(self) -> int | None:
        heads = (next((task.created for task in lane if task.in_line), None) for lane in self._lanes)
        known = [created for created in heads if created is not None]
        known.extend(task.created for task in self.beyond.values())
        known.extend(task.created for task in self.held or ())
        return min(known, default=None)

    def __len__(self) -> int:
        return len(self.waiting) + len(self.beyond)

    def __iter__(self) -> Iterator[Task]:
        """All tasks in memory, in the order of dispatch."""
        held: list[list[Task]] = [[] for _ in range(LOWEST_PRIORITY)]
        for task in self.held or ():
            held[task.priority - 1].append(task)
        for lane, of_keys in zip(self._lanes, held, strict=False):
            in_line = [task for task in lane if task.in_line]
            yield from sorted((*in_line, *of_keys), key=_order) if of_keys else in_line
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
        if self.held is None or not self.held.put_before(task):
            self._line_up(task)
        task.in_line = True
        self.waiting[task_no] = task

    def _line_up(self, task: Task) -> None:
        if not self._lanes:
            self._lanes = [deque() for _ in range(LOWEST_PRIORITY)]
        lane = self._lanes[task.priority - 1]
        if not lane or lane[-1].order < task.order:
            lane.append(task)
        elif lane[0].order > task.order:
            lane.appendleft(task)
        else:
            lane.insert(bisect(lane, task.order, key=_order), task)

    def _in_line(self) -> int:
        return len(self.waiting) if self.held is None else len(self.waiting) - self.held.count

    def _out_of_line(self, task: Task) -> None:
        task.in_line = False
        del self.waiting[task.task_no]

    def _leave(self, task: Task) -> None:
        """Give a task up to the store."""
        self._out_of_line(task)
        if task.task_no in self._unstored:
            self.beyond[task.task_no] = task

    def _trim(self) -> None:
        """Push out what is too much, last first. During a read the boundary stands still."""
        while self._in_line() > self._capacity and not self.loading:
            task = self._pop_last()
            self.overflow = True
            self.after = (task.priority, task.fairness_pass, task.task_no - 1)
            if task.task_no in self._unstored:
                self.beyond[task.task_no] = task
            if self.held is not None:
                for other in self.held.cut(self.after):
                    self._leave(other)

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
