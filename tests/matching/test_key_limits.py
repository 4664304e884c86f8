"""Rate limits of fairness keys: each key at its own pace, and none in the way of another."""

from __future__ import annotations

from collections import Counter

from perdure.matching import Matching, Poller, Task
from perdure.matching.pace import QueueSettings
from tests.matching.test_fairness import ORDERS, Line, keys


class Limited(Line):
    """A line that is worked on by one poll after the other, as far as limits let it."""

    def __init__(self, rate: float, capacity: int = 1_000) -> None:
        super().__init__(capacity)
        self.settings = QueueSettings(key_rate=rate)
        self.matching.rate_limits.configure(ORDERS, self.settings, 0.0)

    def work(self, now: float, most: int = 1_000) -> list[Task]:
        """What passes at this moment."""
        passed: list[Task] = []
        while len(passed) < most:
            poller = Poller(ORDERS, "worker", None)
            task = self.matching.poll(poller, now)
            while load := self.matching.begin_load(ORDERS):
                rows = sorted((r for r in self.rows.values() if r.order > load.after), key=lambda r: r.order)
                if load.place is not None:
                    rows = [row for row in rows if (row.priority, row.fairness_key) == load.place]
                page = rows[: load.limit]
                self.rows_read += len(page)
                for match in self.matching.loaded(load, page, len(rows) <= load.limit, now):
                    assert task is None
                    task, _ = match
            if task is None:
                for key in self.matching.rate_limits.ready(now):
                    for match in self.matching.admit(key, now):
                        task, _ = match
            if task is None:
                self.matching.cancel(poller, now)
                return passed
            self.matching.confirm(poller, now)
            del self.rows[task.task_no]
            self.matching.rows.committed([], [task.task_no])
            passed.append(task)
        return passed


def test_each_key_passes_at_its_own_rate() -> None:
    line = Limited(rate=2.0)
    line.add("a", 10)
    line.add("b", 3)

    assert Counter(keys(line.work(0.0))) == {"a": 2, "b": 2}
    assert Counter(keys(line.work(0.5))) == {"a": 1, "b": 1}
    assert Counter(keys(line.work(5.0))) == {"a": 2}


def test_a_key_of_more_weight_passes_more_often() -> None:
    line = Limited(rate=1.0)
    line.add("a", 100, weight=1.0)
    line.add("b", 100, weight=5.0)

    passed = [task for second in range(11) for tick in range(10) for task in line.work(second + tick / 10)]

    counted = Counter(keys(passed))
    assert 10 <= counted["a"] <= 12
    assert 50 <= counted["b"] <= 60


def test_tasks_without_a_key_are_not_held_back() -> None:
    line = Limited(rate=1.0)
    line.add("a", 5)
    line.add("", 5)

    assert len([task for task in line.work(0.0) if not task.fairness_key]) == 5


def test_the_runtime_is_told_when_the_next_key_goes_on() -> None:
    line = Limited(rate=0.5)
    line.add("a", 3)
    line.work(0.0)

    assert line.matching.throttled == {ORDERS: 2.0}
    assert line.matching.rate_limits.limit(ORDERS, 1.0)[2]
    assert not line.work(1.9)
    assert len(line.work(2.0)) == 1


def test_a_large_backlog_of_a_key_held_back_is_neither_read_nor_in_the_way() -> None:
    line = Limited(rate=1.0, capacity=50)
    line.add("a", 3_000)
    line.add("b", 10)

    passed = line.work(0.0)
    for second in range(1, 31):
        passed += line.work(float(second))
        line.add("c", 1)
        passed += line.work(float(second))

    counted = Counter(keys(passed))
    assert counted == {"a": 31, "b": 10, "c": 30}
    assert [task.task_no for task in passed if task.fairness_key == "a"] == list(range(1, 32))
    assert line.rows_read < 3_300, "what is left out is looked at once"
    backlog = line.matching._queues[ORDERS].backlog
    assert len(backlog.waiting) < 100


def test_when_limits_are_lifted_all_that_was_held_back_goes_in_order() -> None:
    line = Limited(rate=0.0, capacity=50)
    line.add("a", 200)
    line.add("", 5)
    assert keys(line.work(0.0)) == ""

    line.matching.rate_limits.configure(ORDERS, QueueSettings(), 1.0)

    assert [task.task_no for task in line.work(1.0) if task.fairness_key] == list(range(1, 201))


def test_a_stale_task_is_given_back_to_its_key() -> None:
    line = Limited(rate=1.0)
    line.add("a", 2)
    matching = line.matching
    poller = Poller(ORDERS, "worker", None)
    assert matching.poll(poller, 0.0) is None
    load = matching.begin_load(ORDERS)
    assert load is not None
    [(first, _)] = matching.loaded(load, sorted(line.rows.values(), key=lambda row: row.order), True, 0.0)

    second = matching.release(poller, 0.0)

    assert second is not None
    assert (first.task_no, second.task_no) == (1, 2)


def test_rates_of_keys_do_not_hold_where_time_skips() -> None:
    matching = Matching(paced=False)
    matching.rate_limits.configure(ORDERS, QueueSettings(key_rate=0.0), 0.0)
    poller = Poller(ORDERS, "worker", None)
    matching.poll(poller, 0.0)
    while load := matching.begin_load(ORDERS):
        matching.loaded(load, [], True, 0.0)

    assert matching.reserve(Task(ORDERS, 1, "order", "run", 5, fairness_key="a"), 0.0) is poller
