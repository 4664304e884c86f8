"""Fairness keys share a queue's pollers: in proportion to their weights, whatever the length of their backlogs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.matching import Matching, Poller, QueueKey, Task
from perdure.matching.fairness import KEYS, STRIDE, Turns

ORDERS: QueueKey = ("ns", "orders", 1)


class Line:
    """A queue, its rows in the order of a store, and what was dispatched."""

    def __init__(self, capacity: int = 1_000) -> None:
        self.capacity = capacity
        self.matching = Matching(capacity)
        self.rows: dict[int, Task] = {}
        self.number = 0
        self.rows_read = 0

    def add(self, fairness_key: str = "", count: int = 1, weight: float = 1.0, priority: int = 3) -> None:
        for _ in range(count):
            self.number += 1
            task = Task(
                ORDERS,
                self.number,
                f"order-{self.number}",
                "run",
                5,
                priority=priority,
                fairness_key=fairness_key,
                fairness_weight=weight,
            )
            assert self.matching.reserve(task, 0.0) is None
            if not self.matching.place(task, 0.0):
                alike = [row for row in self.rows.values() if row.priority == priority]
                last = [row.fairness_pass for row in alike if row.fairness_key == fairness_key]
                stored = (min(row.fairness_pass for row in alike), max(last, default=-1)) if alike else None
                self.matching.learn(task, stored, 0.0)
                assert self.matching.place(task, 0.0)
            self.matching.offer(task, 0.0)
            self.rows[self.number] = task
            self.matching.rows.committed([self.number], [])

    def take(self, count: int) -> list[Task]:
        taken = []
        for _ in range(count):
            poller = Poller(ORDERS, "worker", None)
            task = self.matching.poll(poller, 0.0)
            while load := self.matching.begin_load(ORDERS):
                rows = sorted((r for r in self.rows.values() if r.order > load.after), key=lambda r: r.order)
                page = rows[: load.limit]
                self.rows_read += len(page)
                for match in self.matching.loaded(load, page, len(rows) <= load.limit, 0.0):
                    assert task is None
                    task, _ = match
            assert task is not None
            self.matching.confirm(poller, 0.0)
            del self.rows[task.task_no]
            self.matching.rows.committed([], [task.task_no])
            taken.append(task)
        return taken

    def restart(self) -> None:
        self.matching = Matching(self.capacity)
        for number, row in self.rows.items():
            self.rows[number] = Task(
                ORDERS,
                number,
                row.execution_id,
                "run",
                5,
                priority=row.priority,
                fairness_key=row.fairness_key,
                fairness_pass=row.fairness_pass,
                fairness_weight=row.fairness_weight,
            )


def keys(tasks: list[Task]) -> str:
    return "".join(task.fairness_key for task in tasks)


def test_without_keys_the_first_come_is_the_first_served() -> None:
    line = Line()
    line.add(count=5)

    assert [task.task_no for task in line.take(5)] == [1, 2, 3, 4, 5]


def test_a_late_key_does_not_wait_for_the_backlog_of_another() -> None:
    line = Line()
    line.add("a", 100)
    line.take(50)
    line.add("b", 3)

    assert keys(line.take(8)) == "bababaaa"


def test_keys_are_served_in_proportion_to_their_weights() -> None:
    line = Line()
    line.add("a", 100, weight=1.0)
    line.add("b", 100, weight=3.0)

    counted = Counter(keys(line.take(80)))

    assert counted["b"] == pytest.approx(60, abs=3)


def test_a_key_that_was_away_has_saved_up_no_turns() -> None:
    line = Line()
    line.add("a", 1_000)
    line.take(900)
    line.add("b", 50)

    assert Counter(keys(line.take(40)))["b"] == pytest.approx(20, abs=1)


def test_priority_goes_before_fairness() -> None:
    line = Line()
    line.add("a", 3)
    line.add("b", 2, priority=1)
    line.add("c", 1, priority=5)

    assert keys(line.take(6)) == "bbaaac"


@pytest.mark.parametrize("weight", [-1.0, 0.0])
def test_a_weight_that_says_nothing_counts_as_one(weight: float) -> None:
    turns = Turns()

    turns.take("a", weight)

    assert turns.take("a", weight) == STRIDE


def test_weights_have_bounds() -> None:
    turns = Turns()

    turns.take("tiny", 1e-9)
    turns.take("huge", 1e9)

    assert turns.take("tiny", 1.0) == 1_000 * STRIDE
    assert turns.take("huge", 1.0) == STRIDE // 1_000


def test_a_large_backlog_of_one_key_is_neither_read_whole_nor_ahead_of_another_after_a_restart() -> None:
    line = Line(capacity=50)
    line.add("a", 5_000)
    line.take(100)
    line.restart()
    line.take(1)
    line.add("b", 10)
    line.add("a", 1)

    taken = line.take(25)

    assert keys(taken).count("b") == 10
    assert line.rows_read < 500
    assert [task.task_no for task in taken if task.fairness_key == "a"] == list(range(102, 117))


def test_tasks_without_a_key_go_behind_what_waits_after_a_restart() -> None:
    line = Line(capacity=50)
    line.add("", 100)
    line.restart()
    line.add("", 10)

    assert [task.task_no for task in line.take(110)] == list(range(1, 111))


def test_many_keys_are_not_remembered_for_ever() -> None:
    turns = Turns(whole=True)

    for number in range(3 * KEYS):
        turns.take(f"key-{number}", 1.0)

    assert len(turns.turn) <= KEYS
    assert not turns.whole


@given(
    backlogs=st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0, 5.0]), st.integers(30, 60)), min_size=2, max_size=4),
    capacity=st.sampled_from([10, 1_000]),
)
def test_no_key_is_ever_behind_its_share_by_more_than_a_turn_of_each(
    backlogs: list[tuple[float, int]], capacity: int
) -> None:
    line = Line(capacity)
    for index, (weight, count) in enumerate(backlogs):
        line.add("abcd"[index], count, weight)
    served: Counter[str] = Counter()

    for task in line.take(sum(count for _, count in backlogs)):
        served[task.fairness_key] += 1
        waiting = [
            served["abcd"[index]] / weight
            for index, (weight, count) in enumerate(backlogs)
            if served["abcd"[index]] < count
        ]
        if waiting:
            slowest = max(1 / weight for weight, _ in backlogs)
            assert max(waiting) - min(waiting) <= 2 * slowest
