"""Random tasks, polls, withdrawals, commits, refusals, slow reads and crashes, against a model that is plain sets.

The model knows for each task whether it waits, and for the store which rows are durable; memory limits and boundaries
are unknown to it. So it says what must be dispatched, whatever is in memory.
"""

from __future__ import annotations

from math import ceil

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perdure.matching import Load, Matching, Poller, QueueKey, Task
from perdure.matching.pace import QueueSettings
from perdure.matching.tasks import CANCELLED, PARKED

CAPACITY = 4
QUEUES: list[QueueKey] = [("ns", "orders", 1), ("ns", "orders", 2)]
queues = st.sampled_from(QUEUES)
priorities = st.integers(1, 5)
fairness_keys = st.sampled_from(["", "ann", "bob"])
weights = st.sampled_from([1.0, 0.5, 3.0])


class MatchingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.matching = Matching(CAPACITY)
        self.number = 0
        self.now = 0.0
        self.waiting: dict[int, Task] = {}
        self.taken: dict[Poller, Task] = {}
        self.parked: list[Poller] = []
        self.rows: dict[int, Task] = {}
        self.added: dict[int, Task] = {}
        self.deleted: set[int] = set()
        self.reads: list[tuple[Load, list[Task], bool]] = []
        self.limits: dict[QueueKey, tuple[float, float]] = {}  # rate, since when
        self.passed = dict.fromkeys(QUEUES, 0)
        self.rates: dict[QueueKey, float | None] = {}
        self.key_rates: dict[QueueKey, float | None] = {}
        self.of_keys: set[QueueKey] = set()  # queues whose fairness keys have limits
        self.loose = False  # such limits ended while rows were read

    # ---- the model

    def head(self, queue: QueueKey) -> Task | None:
        waiting = [task for task in self.waiting.values() if task.queue == queue]
        return min(waiting, key=lambda task: task.order, default=None)

    def line(self, queue: QueueKey) -> list[Poller]:
        return [poller for poller in self.parked if poller.queue == queue]

    def take(self, poller: Poller, task: Task) -> None:
        if poller.queue in self.of_keys:  # others of another key may have to wait
            alike = [other for other in self.waiting.values() if self.alike(other, task)]
            expected = min(alike, key=lambda task: task.order)
        else:
            head = self.head(poller.queue)
            assert head is not None
            expected = head
        assert self.loose or expected.task_no == task.task_no, f"{task} overtook {expected}"
        assert task.task_no in self.waiting
        del self.waiting[task.task_no]
        assert poller.task is task
        assert poller not in self.taken
        self.taken[poller] = task
        self.passed[poller.queue] += 1

    def alike(self, task: Task, other: Task) -> bool:
        return (task.queue, task.priority, task.fairness_key) == (other.queue, other.priority, other.fairness_key)

    def held_back(self, queue: QueueKey) -> bool:
        return self.matching.throttled.get(queue, -1.0) > self.now

    def heed_limits(self) -> None:
        """What the runtime does after each call."""
        while ready := self.matching.rate_limits.ready(self.now):
            for queue in ready:
                for task, poller in self.matching.admit(queue, self.now):
                    assert poller is self.line(queue)[0]
                    self.parked.remove(poller)
                    self.take(poller, task)
                while self.begin_read(queue):
                    self.end_read(-1)

    def delete_row(self, task: Task) -> None:
        self.deleted.add(task.task_no)

    def begin_read(self, queue: QueueKey) -> bool:
        load = self.matching.begin_load(queue)
        if load is None:
            return False
        rows = sorted(
            (
                task
                for task in self.rows.values()
                if task.queue == queue
                and task.order > load.after
                and (load.place is None or load.place == (task.priority, task.fairness_key))
            ),
            key=lambda task: task.order,
        )
        page = [copy_of(task) for task in rows[: load.limit]]
        self.reads.append((load, page, len(rows) <= load.limit))
        return True

    def reading(self, queue: QueueKey) -> bool:
        return any(load.target is self.matching._queues.get(queue) for load, _, _ in self.reads)

    def end_read(self, index: int) -> None:
        load, page, complete = self.reads.pop(index)
        for task, poller in self.matching.loaded(load, page, complete, self.now):
            assert poller is self.line(load.queue)[0], "pollers are served in order"
            self.parked.remove(poller)
            self.take(poller, task)
        self.heed_limits()

    def serve(self, poller: Poller, task: Task | None, slow: bool, front: bool = False) -> None:
        if task is not None:
            self.take(poller, task)
        elif front:
            self.parked.insert(0, poller)
        else:
            self.parked.append(poller)
        while self.begin_read(poller.queue):
            if slow:
                break
            self.end_read(-1)
        self.heed_limits()

    # ---- what happens

    @rule(queue=queues, wanted=st.lists(st.tuples(priorities, fairness_keys, weights), min_size=2, max_size=8))
    def tasks_come(self, queue: QueueKey, wanted: list[tuple[int, str, float]]) -> None:
        for priority, fairness_key, weight in wanted:
            self.a_task_comes(queue, priority, fairness_key, weight)

    @rule(queue=queues, priority=priorities, fairness_key=fairness_keys, weight=weights)
    def a_task_comes(self, queue: QueueKey, priority: int, fairness_key: str, weight: float) -> None:
        self.number += 1
        task = Task(
            queue, self.number, "order", "run", 5, 1, 0, priority, fairness_key=fairness_key, fairness_weight=weight
        )
        poller = self.matching.reserve(task, self.now)
        if poller is not None:
            assert poller is self.line(queue)[0]
            ahead = self.head(queue)
            of_keys = queue in self.of_keys
            assert of_keys or ahead is None or ahead.priority > priority, "a new task overtook the backlog"
            assert task.fairness_pass == 0
            self.passed[queue] += 1
            self.parked.remove(poller)
            self.matching.confirm(poller, self.now)
            return
        assert not self.line(queue) or self.reading(queue) or queue in self.matching.throttled
        if not self.matching.place(task, self.now):
            self.matching.learn(task, self.passes(task), self.now)
            assert self.matching.place(task, self.now)
        alike = [other.order for other in self.waiting.values() if self.alike(other, task)]
        assert all(order < task.order for order in alike), "a key's tasks go first come, first served"
        self.waiting[task.task_no] = task
        self.added[task.task_no] = task
        self.matching.offer(task, self.now)
        self.heed_limits()

    def passes(self, task: Task) -> tuple[int, int] | None:
        """What a store would tell of the rows that are durable."""
        rows = [row for row in self.rows.values() if (row.queue, row.priority) == (task.queue, task.priority)]
        of_key = [row.fairness_pass for row in rows if row.fairness_key == task.fairness_key or not task.fairness_key]
        return (min(row.fairness_pass for row in rows), max(of_key, default=-1)) if rows else None

    @rule(queue=queues, slow=st.booleans())
    def a_worker_polls(self, queue: QueueKey, slow: bool) -> None:
        poller = Poller(queue, "worker", None)
        task = self.matching.poll(poller, self.now)
        if task is None and not self.reading(queue) and not slow:
            expected = self.head(queue)
            self.serve(poller, None, slow=False)
            waits = expected is not None and poller not in self.taken
            assert not waits or self.held_back(queue), "a task waits while a poller is parked"
        else:
            self.serve(poller, task, slow)

    @rule(queue=queues, pollers=st.integers(2, 6))
    def workers_poll(self, queue: QueueKey, pollers: int) -> None:
        for _ in range(pollers):
            self.a_worker_polls(queue, slow=False)

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def a_read_returns(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.reads) - 1))
        queue = self.reads[index][0].queue
        self.end_read(index)
        while self.begin_read(queue):
            self.end_read(-1)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def a_task_is_started(self, data: st.DataObject) -> None:
        poller, task = self.draw_taken(data)
        self.delete_row(task)
        self.matching.confirm(poller, self.now)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), slow=st.booleans())
    def a_task_was_stale(self, data: st.DataObject, slow: bool) -> None:
        poller, task = self.draw_taken(data)
        self.delete_row(task)
        self.passed[task.queue] -= 1
        self.serve(poller, self.matching.release(poller, self.now), slow, front=True)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def a_poller_is_gone_before_its_task_starts(self, data: st.DataObject) -> None:
        poller, task = self.draw_taken(data)
        assert not self.matching.cancel(poller, self.now)
        assert self.matching.release(poller, self.now) is None
        self.passed[task.queue] -= 1
        self.waiting[task.task_no] = task
        other = self.matching.put_back(task, self.now)
        if other is not None:
            assert other is self.line(task.queue)[0]
            self.parked.remove(other)
            self.take(other, task)
        self.heed_limits()

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def a_poll_times_out(self, data: st.DataObject) -> None:
        poller = data.draw(st.sampled_from(self.parked))
        assert self.matching.cancel(poller, self.now)
        self.parked.remove(poller)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_task_is_withdrawn(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        task = self.waiting.pop(number)
        self.matching.withdraw(task.queue, number)
        self.delete_row(task)

    @rule()
    def the_batch_commits(self) -> None:
        self.rows |= self.added
        for number in self.deleted:
            del self.rows[number]
        added, deleted = list(self.added), list(self.deleted)
        self.added, self.deleted = {}, set()
        self.matching.rows.committed(added, deleted)

    @rule()
    def the_batch_is_refused(self) -> None:
        added, deleted = self.added, self.deleted
        self.added, self.deleted = {}, set()
        for number in added:
            self.waiting.pop(number, None)
        for poller in [poller for poller, task in self.taken.items() if task.task_no in added]:
            del self.taken[poller]  # its start is refused as well
            self.matching.cancel(poller, self.now)
        for number in deleted - set(added):
            self.waiting[number] = self.rows[number]
        for task, poller in self.matching.refused(list(added), sorted(deleted), self.now):
            assert poller is self.line(task.queue)[0]
            self.parked.remove(poller)
            assert self.waiting.pop(task.task_no)
            self.taken[poller] = task
            self.passed[task.queue] += 1
        self.heed_limits()

    @rule(rate=st.sampled_from([None, 0.0, 0.5, 2.0]))
    def the_rate_limit_is_set(self, rate: float | None) -> None:
        queue = QUEUES[1]
        self.rates[queue] = rate
        self.configure(queue)
        self.limits.pop(queue, None)
        if rate is not None:
            self.limits[queue] = rate, self.now
        self.passed[queue] = 0
        self.heed_limits()

    @rule(rate=st.sampled_from([None, 0.0, 0.5, 2.0]))
    def the_rate_limit_of_keys_is_set(self, rate: float | None) -> None:
        queue = QUEUES[1]
        self.key_rates[queue] = rate
        if rate is not None:
            self.of_keys.add(queue)
        else:
            self.loose |= queue in self.of_keys and self.reading(queue)
            self.of_keys.discard(queue)
        self.configure(queue)
        self.heed_limits()

    def configure(self, queue: QueueKey) -> None:
        settings = QueueSettings(self.rates.get(queue), self.key_rates.get(queue))
        self.matching.rate_limits.configure(queue, settings, self.now)

    @rule(seconds=st.sampled_from([0.25, 1.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.heed_limits()

    @rule(queue=queues)
    def the_queue_is_unloaded(self, queue: QueueKey) -> None:
        left = self.matching.unload(queue, self.now)
        assert set(left.pollers) == set(self.line(queue))
        self.parked = [poller for poller in self.parked if poller.queue != queue]
        for task in left.tasks:
            assert self.waiting.pop(task.task_no).queue == queue
            self.delete_row(task)
        remaining = [task for task in self.waiting.values() if task.queue == queue]
        assert all(left.after is not None and task.order > left.after for task in remaining)
        assert not self.matching.survey.has_recent_poller(queue, self.now, 10.0)
        if queue in self.limits:  # it starts anew, with a burst
            self.limits[queue] = self.limits[queue][0], self.now
            self.passed[queue] = 0

    @precondition(lambda self: self.number % 7 == 6)
    @rule()
    def the_server_crashes(self) -> None:
        self.matching = Matching(CAPACITY)
        self.limits, self.rates, self.key_rates, self.of_keys, self.loose = {}, {}, {}, set(), False
        self.added, self.deleted = {}, set()
        self.taken, self.parked, self.reads = {}, [], []
        self.waiting = {number: copy_of(task) for number, task in self.rows.items()}

    def draw_taken(self, data: st.DataObject) -> tuple[Poller, Task]:
        poller = data.draw(st.sampled_from(list(self.taken)))
        return poller, self.taken.pop(poller)

    # ---- what always holds

    @invariant()
    def no_task_waits_while_a_poller_is_parked(self) -> None:
        for queue in QUEUES:
            assert not (self.line(queue) and self.head(queue)) or self.reading(queue) or self.held_back(queue)

    @invariant()
    def no_more_passes_than_the_limit_allows(self) -> None:
        for queue, (rate, since) in self.limits.items():
            burst = max(1, ceil(rate)) if rate else 0
            assert self.passed[queue] <= burst + rate * (self.now - since) + 1e-6

    @invariant()
    def parked_is_what_matching_says(self) -> None:
        for queue in QUEUES:
            found = self.matching._queues.get(queue)
            assert (list(found.line) if found else []) == self.line(queue)
        assert all(poller.state == PARKED for poller in self.parked)
        assert all(poller.state != CANCELLED for poller in self.taken)

    @invariant()
    def memory_is_bounded(self) -> None:
        matching = self.matching
        if not self.reads:
            assert set(matching.rows.unstored) == set(self.added)
            in_flight = self.deleted | {task.task_no for task in self.taken.values()}
            assert set(matching.rows.departed) == in_flight
        for queue in matching._queues.values():
            backlog = queue.backlog
            assert backlog.loading or backlog._in_line() <= CAPACITY
            assert backlog.held is None or backlog.held.count == len(list(backlog.held))
            assert set(backlog.beyond) <= set(matching.rows.unstored)
            assert sum(map(len, backlog._lanes)) <= 2 * len(backlog.waiting) + 66
            assert {task.task_no for task in backlog} == {*backlog.waiting, *backlog.beyond}

    def teardown(self) -> None:
        """Whatever still waits is delivered, each task once and in order."""
        while self.reads:
            queue = self.reads[0][0].queue
            self.end_read(0)
            while self.begin_read(queue):
                self.end_read(-1)
        self.matching.rate_limits.configure(QUEUES[1], QueueSettings(), self.now)
        self.limits, self.of_keys = {}, set()
        self.heed_limits()
        while self.reads:
            queue = self.reads[0][0].queue
            self.end_read(0)
            while self.begin_read(queue):
                self.end_read(-1)
        for queue in QUEUES:
            for poller in self.line(queue):
                self.matching.cancel(poller, self.now)
            self.parked = []
            while self.head(queue) is not None:
                poller = Poller(queue, "last", None)
                self.serve(poller, self.matching.poll(poller, self.now), slow=False)
                assert poller in self.taken, "a task was lost"
            last = Poller(queue, "last", None)
            self.serve(last, self.matching.poll(last, self.now), slow=False)
            assert last not in self.taken, "a task was doubled"


def copy_of(task: Task) -> Task:
    """What a read makes of a row: another object."""
    return Task(
        task.queue,
        task.task_no,
        task.execution_id,
        task.run_id,
        task.scheduled_event_id,
        priority=task.priority,
        fairness_key=task.fairness_key,
        fairness_pass=task.fairness_pass,
    )


TestMatching = MatchingMachine.TestCase
TestMatching.settings = settings(max_examples=200, stateful_step_count=80, deadline=None)
