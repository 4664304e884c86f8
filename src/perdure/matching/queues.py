"""Matching: connects waiting tasks to waiting pollers. Pure; the runtime carries out what is decided here.

Theory of operation
-------------------
One rule: **no task waits while a poller is parked** (but for the moment in which rows are being read, and while a rate
limit holds tasks back). So a queue has a line of parked pollers, or a backlog, and a call that would leave it with both
matches them instead.

A new task:

    poller = matching.reserve(task, now)
    poller found:   decide the start; its row is never written.
                    started, answered            -> confirm(poller)
                    the task turned out stale    -> release(poller): it may come back with the next task
                    the poller turned out gone   -> cancel(poller), and again from the top
    no poller:      place(task, now), write its row, offer(task)

A poll:

    task = matching.poll(poller, now)
    while load := matching.begin_load(queue):    # also after `release`; costs a look-up when there is nothing to read
        rows = store.load_tasks(..., load.after, load.limit)
        matches += matching.loaded(load, rows, complete=len(rows) < load.limit, now)

A task that `poll`, `release`, `put_back`, `loaded` or `refused` hands out is *taken*: it comes with a reserved poller,
and is started (a batch deletes its row), dropped as stale (likewise), or put back because the poller is gone. A poll is
answered at most once: a poller is new, parked, reserved, and then answered or cancelled; `release` leads back from
reserved to parked.

A batch: after its commit, `rows.committed(numbers of task rows added, numbers of rows deleted)`; refused,
`refused(...)` with the same. A row that was added and deleted before it was ever written counts in both. Tasks are
offered and withdrawn before their batch is committed, and a task number is offered once. How the backlog in memory and
the rows in the store make one order, and why matching must hear of commits: see `backlog.py`.

Tasks without a number (`task_no` 0: direct queries, speculative workflow tasks) have a caller waiting and no row. They
go ahead of the backlog, first come first served, and are lost with the process.

A queue with a rate limit that is used up is in `throttled`, with the moment from which it goes on. The runtime calls
`admit` then. (It looks after each call that may end with a task waiting: poll, release, offer, put_back, loaded,
refused, configure.) Queues without a limit, nearly all, pay for that with a look at an attribute.

Pollers are served first come first served. Times are seconds of Monotonic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import dataclass
from math import inf
from typing import Final

from perdure.matching.backlog import BEGINNING, Backlog
from perdure.matching.fairness import Passes
from perdure.matching.key_limits import Place
from perdure.matching.pace import SYSTEM_RATE
from perdure.matching.queue import HISTORY_SECONDS, Queue
from perdure.matching.rate_limits import RateLimits
from perdure.matching.rows import Rows
from perdure.matching.survey import Survey
from perdure.matching.tasks import (
    ANSWERED,
    CANCELLED,
    NEW,
    PARKED,
    RESERVED,
    Match,
    Poller,
    PollerHistory,
    QueueKey,
    Task,
    TaskOrder,
)

CAPACITY: Final = 1_000
HISTORY_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Load:
    """A read of rows that the runtime owes: up to `limit` waiting tasks of `queue`, ordered, strictly after `after`.
    With a `place`, those of that priority and fairness key alone."""

    queue: QueueKey
    after: TaskOrder
    limit: int
    target: Queue
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What a dead queue leaves behind."""

    tasks: list[Task]
    """Waiting tasks, in order; they count as taken. Those with a number have a row to delete."""
    after: TaskOrder | None
    """Rows strictly after it wait as well; None: there are none. Rows of tasks taken lately may still be among them."""
    pollers: list[Poller]
    """Were parked, now cancelled: to be answered empty."""


class Matching:
    """All queues of one server."""

    def __init__(self, capacity: int = CAPACITY, paced: bool = True) -> None:
        """`capacity`: the tasks a queue keeps in memory; those whose rows are not durable yet come on top. `paced`:
        whether rate limits hold."""
        self._capacity = capacity
        self._queues: dict[QueueKey, Queue] = {}
        self.survey = Survey(self._queues)
        self.rate_limits = RateLimits(self._queues, paced)
        self.throttled = self.rate_limits.throttled
        """Queues where tasks wait for their rate limit, and until when."""
        self.rows = Rows(self._queues)

    # ---- polls

    def poll(self, poller: Poller, now: float) -> Task | None:
        """Reserve `poller` for the first waiting task, or park it behind the others. Then `begin_load`.

        A cancelled poller gets None and is not parked.
        """
        if poller.state == CANCELLED:
            return None
        assert poller.state == NEW, f"{poller} polls twice"
        queue = self._open(poller.queue, now)
        history = queue.history.get(poller.identity)
        if history is None:
            history = self._remember(queue, poller, now)
        poller.history = history
        history.last_access = queue.last_used = now
        if poller.rate is not None:
            history.rate = poller.rate
            if poller.rate != queue.worker_rate:
                queue.worker_rate = poller.rate
                self.rate_limits.renew(queue, now)
        return self._serve(queue, poller, False, now)

    def confirm(self, poller: Poller, now: float) -> None:
        """The reserved poller was answered with its task: forget it."""
        task = poller.task
        assert task is not None, f"{poller} holds no task"
        poller.task = None
        if poller.state == RESERVED:
            poller.state = ANSWERED
        if task.query is None:
            queue = self._queues.get(poller.queue)
            if queue is not None:
                queue.flow(task.priority, now).dispatched.add(now)

    def release(self, poller: Poller, now: float) -> Task | None:
        """The reserved poller's task was not started: give it the next one, or park it at the front. Then `begin_load`.

        A poller cancelled meanwhile gets None and is not parked. Its former task is the caller's: dropped or put back.
        """
        task = poller.task
        if task is not None and task.paced:
            self.rate_limits.give_back(task, now)
        poller.task = None
        if poller.state == CANCELLED:
            return None
        assert poller.state == RESERVED, f"{poller} is not reserved"
        return self._serve(self._open(poller.queue, now), poller, True, now)

    def cancel(self, poller: Poller, now: float) -> bool:
        """The caller went away or its time is over. True if it was parked, False if it holds a task or was answered.

        A poller that holds a task keeps it until `release` or `confirm`; `poller.cancelled` tells.
        """
        if poller.state == ANSWERED:
            return False
        parked = poller.state == PARKED
        poller.state = CANCELLED
        if parked:
            queue = self._queues[poller.queue]
            del queue.line[poller]
            self._left(queue, poller, now)
        return parked

    def cancel_worker(
        self, namespace_id: str, worker_instance_key: str, kinds: Collection[int], now: float
    ) -> list[Poller]:
        """A worker shuts down: its parked polls, now cancelled, to be answered empty."""
        gone = [
            poller
            for queue in self._queues.values()
            if queue.key[0] == namespace_id and queue.key[2] in kinds
            for poller in queue.line
            if poller.worker_instance_key == worker_instance_key
        ]
        for poller in gone:
            self.cancel(poller, now)
        return gone

    def cancel_all(self, now: float) -> list[Poller]:
        """The server shuts down: all parked polls, now cancelled, to be answered empty."""
        gone = [poller for queue in self._queues.values() for poller in queue.line]
        for poller in gone:
            self.cancel(poller, now)
        return gone

    # ---- tasks

    def reserve(self, task: Task, now: float) -> Poller | None:
        """The poller that waited longest, for a new task; None if there is none, or rows not read yet may go first."""
        queue = self._queues.get(task.queue)
        if queue is None or not queue.line:
            return None
        poller = self._reserve(queue, task, now)
        if poller is not None and task.query is None:
            queue.flow(task.priority, now).added.add(now)
        return poller

    def place(self, task: Task, now: float) -> bool:
        """Give a new task for which `reserve` found no poller its place in line, `task.order`.

        False when that depends on what the store holds of its fairness key: `learn` it and place the task again.
        """
        queue = self._open(task.queue, now)
        weights = queue.settings.weights
        if weights and task.fairness_key in weights:
            task.fairness_weight = weights[task.fairness_key]
        return queue.backlog.place(task, task.fairness_weight)

    def learn(self, task: Task, stored: Passes, now: float) -> None:
        self._open(task.queue, now).backlog.learn(task, stored)

    def offer(self, task: Task, now: float) -> bool:
        """A new task for which `reserve` found no poller; its row, if it has a number, is in a batch not yet committed.

        Returns False if it is past the boundary of memory: it is read when its turn comes.
        """
        queue = self._open(task.queue, now)
        if task.query is None:
            queue.flow(task.priority, now).added.add(now)
        if not task.task_no:
            self._wait_volatile(queue, task)
            return True
        self.rows.unstored[task.task_no] = task
        return queue.backlog.push(task)

    def put_back(self, task: Task, now: float) -> Poller | None:
        """A taken task could not be started for its poller's reason: the next poller, or None after it waits again.

        It waits where it did before. Its row, if it has a number, was not deleted.
        """
        queue = self._open(task.queue, now)
        self.rows.departed.pop(task.task_no, None)
        if queue.line:
            poller = self._reserve(queue, task, now)
            if poller is not None:
                if task.task_no:
                    self.rows.departed[task.task_no] = task
                return poller
        if task.task_no:
            queue.backlog.push(task)
        else:
            self._wait_volatile(queue, task, front=True)
        return None

    def take_again(self, task: Task) -> bool:
        """The start of a taken task was undone with a refused batch, and is decided again. False: the task does not
        wait in memory; another poller has it, or its row has yet to be read, or never came to be."""
        found = self._queues.get(task.queue)
        if found is None or found.backlog.drop(task.task_no) is None:
            return False
        self.rows.departed[task.task_no] = task
        return True

    def stored(self, task: Task) -> None:
        """A task that `reserve` found a poller for gets a row after all, as its start has to wait. A batch not yet
        committed adds the row; the start deletes it."""
        self.rows.departed[task.task_no] = task

    def withdraw(self, queue: QueueKey, task_no: int) -> bool:
        """Drop a waiting task whose row a batch not yet committed deletes. True if it was in memory.

        A task that was taken already stays taken.
        """
        found = self._queues.get(queue)
        task = found.backlog.drop(task_no) if found is not None else None
        if task is not None:
            self.rows.departed[task_no] = task
        else:
            self.rows.departed.setdefault(task_no, None)
        return task is not None

    def withdraw_volatile(self, task: Task) -> bool:
        """Drop a waiting task without a number. True if it waited."""
        queue = self._queues.get(task.queue)
        if queue is None or task not in queue.volatile:
            return False
        del queue.volatile[task]
        return True

    # ---- the store

    def begin_load(self, queue: QueueKey) -> Load | None:
        """The next read this queue needs, if any. The runtime carries it out and calls `loaded`."""
        found = self._queues.get(queue)
        if found is None:
            return None
        backlog = found.backlog
        if not backlog.overflow and backlog.held is None:
            return None
        limit = backlog.room()
        if limit:
            load = Load(queue, backlog.after, limit, found)
        elif backlog.held is None or backlog.loading or (wanted := backlog.held.wanted()) is None:
            return None
        else:
            place, after = wanted
            load = Load(queue, after, backlog.held.of_key, found, place)
        backlog.loading = True
        self.rows.read_begins()
        return load

    def loaded(self, load: Load, rows: Iterable[Task], complete: bool, now: float) -> list[Match]:
        """The rows of `load`, in order; `complete`: no rows follow them. Returns tasks for pollers that were parked.

        If the queue was unloaded meanwhile they change nothing: it has no pollers, and a new queue reads for itself.
        """
        queue = load.target
        queue.backlog.loading = False
        matches: list[Match] = []
        if load.place is None:
            queue.backlog.add_rows(rows, complete)
        else:
            queue.backlog.add_key_rows(load.place, list(rows), complete, now)
        self._match(queue, matches, now)
        self.rows.read_ended()
        return matches

    def unread(self, load: Load) -> None:
        """The rows of `load` cannot be read just now. `begin_load` asks for them again."""
        load.target.backlog.loading = False
        self.rows.read_ended()

    # ---- rates

    def admit(self, queue: QueueKey, now: float) -> list[Match]:
        """A queue's rate limit goes on: tasks for pollers that were parked. Then `begin_load`."""
        self.throttled.pop(queue, None)
        matches: list[Match] = []
        found = self._queues.get(queue)
        if found is not None:
            self._match(found, matches, now)
        return matches

    def _match(self, queue: Queue, matches: list[Match], now: float) -> None:
        while queue.line and (task := self._next(queue, now)) is not None:
            matches.append((task, self._take_poller(queue, task, now)))

    def is_loaded(self, queue: QueueKey) -> bool:
        """False until the queue's rows were first read."""
        found = self._queues.get(queue)
        return found is not None and not (found.backlog.overflow and found.backlog.after == BEGINNING)

    def refused(self, added: Collection[int], deleted: Collection[int], now: float) -> list[Match]:
        """A batch did not land: tasks it would have added are gone, those it would have deleted wait again.

        Leave out of `deleted` what is decided again with the same poller. Returns tasks for parked pollers.
        """
        matches: list[Match] = []
        for task in self.rows.refused(added, deleted):
            task = copy(task)  # the withdrawn one may still be a hole in its lane, and must stay one
            poller = self.put_back(task, now)
            if poller is not None:
                matches.append((task, poller))
        return matches

    # ---- ends

    def unload(self, queue: QueueKey, now: float) -> Unloaded:
        """A sticky queue's worker is shutting down: forget the queue, and hand back all that waits in it."""
        found = self._queues.get(queue)
        if found is None:
            return Unloaded([], BEGINNING, [])
        pollers = list(found.line)
        for poller in pollers:
            self.cancel(poller, now)
        tasks = [*found.volatile, *found.backlog]
        known_until = found.backlog.known_until
        for task in tasks:
            if task.task_no:
                found.backlog.drop(task.task_no)
                self.rows.departed[task.task_no] = task
        del self._queues[queue]
        return Unloaded(tasks, known_until, pollers)

    def expire(self, now: float) -> None:
        """Forget pollers not seen for five minutes, and queues without pollers and tasks in memory for as long."""
        for key, queue in list(self._queues.items()):
            parked = {poller.identity for poller in queue.line}
            queue.history = {
                identity: history
                for identity, history in queue.history.items()
                if identity in parked or now - history.last_access <= HISTORY_SECONDS
            }
            used = queue.line or queue.history or queue.volatile or len(queue.backlog) or queue.backlog.loading
            if queue.pace is not None and now < queue.pace.ready_at(now) < inf:
                used = True  # a new one would start with a new burst
            if not used and now - queue.last_used > HISTORY_SECONDS:
                del self._queues[key]

    # ----

    def _open(self, key: QueueKey, now: float) -> Queue:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(key, Backlog(self._capacity, self.rows.unstored, self.rows.departed), now)
            settings = self.rate_limits.settings.get(key)
            if settings is not None:
                self.rate_limits.set(queue, settings, now)
        return queue

    def _serve(self, queue: Queue, poller: Poller, front: bool, now: float) -> Task | None:
        task = self._next(queue, now)
        if task is None:
            poller.state = PARKED
            queue.line[poller] = None
            if front:
                queue.line.move_to_end(poller, last=False)
            return None
        poller.state = RESERVED
        poller.task = task
        return task

    def _next(self, queue: Queue, now: float) -> Task | None:
        if queue.volatile:
            return queue.volatile.popitem(last=False)[0]
        pace = queue.pace
        if pace is not None and queue.backlog.waiting and not self.rate_limits.may_pass(queue, pace, now):
            return None
        limits = queue.key_limits
        if limits is None:
            task = queue.backlog.pop()
        else:
            task = self.rate_limits.next_of_keys(queue, limits, now)
        if task is not None:
            self.rows.departed[task.task_no] = task
            if pace is not None:
                pace.take(now)
                task.paced = True
        return task

    def _reserve(self, queue: Queue, task: Task, now: float) -> Poller | None:
        # With a poller parked nothing waits in memory, but rows being read may be as urgent as the task.
        backlog = queue.backlog
        if backlog.overflow and backlog.after[0] <= task.priority and task.query is None:
            return None
        limited = queue.pace is not None or queue.key_limits is not None
        if limited and task.query is None and not self.rate_limits.may_start(queue, task, now):
            return None
        return self._take_poller(queue, task, now)

    def _take_poller(self, queue: Queue, task: Task, now: float) -> Poller:
        poller, _ = queue.line.popitem(last=False)
        poller.state = RESERVED
        poller.task = task
        self._left(queue, poller, now)
        return poller

    def _left(self, queue: Queue, poller: Poller, now: float) -> None:
        """A parked call was alive until now."""
        queue.last_used = now
        if poller.history is not None:
            poller.history.last_access = now

    def _wait_volatile(self, queue: Queue, task: Task, front: bool = False) -> None:
        queue.volatile[task] = None
        if front:
            queue.volatile.move_to_end(task, last=False)

    def _remember(self, queue: Queue, poller: Poller, now: float) -> PollerHistory:
        if len(queue.history) >= HISTORY_LIMIT:
            del queue.history[min(queue.history, key=lambda identity: queue.history[identity].last_access)]
        history = queue.history[poller.identity] = PollerHistory(now, SYSTEM_RATE)
        return history
