"""Rate limits of queues: how much passes, in what order, and when it goes on."""

from __future__ import annotations

from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.matching import Matching, Poller, QueueKey, Task
from perdure.matching.pace import BY_API, BY_SYSTEM, BY_WORKER, Pace, QueueSettings

CHARGES: QueueKey = ("ns", "charges", 2)


def task(number: int, priority: int = 3) -> Task:
    return Task(CHARGES, number, f"order-{number}", "run", 5, priority=priority)


def park(matching: Matching, count: int, now: float, rate: float | None = None) -> list[Task]:
    """Polls that come; the tasks they got."""
    taken = []
    for _ in range(count):
        found = matching.poll(Poller(CHARGES, "worker", None, rate=rate), now)
        if found is not None:
            taken.append(found)
        while load := matching.begin_load(CHARGES):
            assert matching.loaded(load, [], True, now) == []
    return taken


def offer(matching: Matching, *tasks: Task, now: float) -> list[int]:
    """Tasks that come; the numbers of those that were matched at once."""
    matched = []
    for each in tasks:
        poller = matching.reserve(each, now)
        if poller is not None:
            matching.confirm(poller, now)
            matched.append(each.task_no)
        else:
            matching.offer(each, now)
    return matched


def admit(matching: Matching, now: float) -> list[int]:
    return [found.task_no for key in matching.rate_limits.ready(now) for found, _ in matching.admit(key, now)]


@given(
    rate=st.floats(0.1, 50.0),
    gaps=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60),
)
def test_no_window_sees_more_than_the_burst_and_the_rate(rate: float, gaps: list[float]) -> None:
    now = 1_000.0
    pace = Pace(rate, now)
    passed: list[float] = []
    for gap in gaps:
        now += gap
        while pace.ready_at(now) <= now:
            pace.take(now)
            passed.append(now)
    for first, start in enumerate(passed):
        for count, end in enumerate(passed[first:], 1):
            assert count <= max(1, ceil(rate)) + rate * (end - start) + 1e-6


@given(rates=st.lists(st.sampled_from([0.0, 1.0, 3.5, 20.0]), min_size=2, max_size=20))
def test_changing_the_rate_makes_no_new_burst(rates: list[float]) -> None:
    pace = Pace(20.0, 0.0)
    passed = 0

    for rate in rates:
        pace.change(rate, 0.0)
        while pace.ready_at(0.0) <= 0.0:
            pace.take(0.0)
            passed += 1

    assert passed <= 20


def test_what_was_given_back_may_pass_again() -> None:
    pace = Pace(1.0, 0.0)
    pace.take(0.0)
    assert pace.ready_at(0.0) == 1.0

    pace.give_back()

    assert pace.ready_at(0.0) == 0.0


def test_a_limit_of_zero_lets_nothing_through() -> None:
    assert Pace(0.0, 0.0).ready_at(5.0) == inf


def test_the_rate_of_the_latest_poll_holds_for_the_whole_queue() -> None:
    matching = Matching()
    park(matching, 3, 0.0)
    park(matching, 2, 0.0, rate=2.0)

    assert offer(matching, *map(task, range(1, 6)), now=0.0) == [1, 2]
    assert matching.rate_limits.limit(CHARGES, 0.0) == (2.0, BY_WORKER, True)
    assert matching.throttled == {CHARGES: 0.5}


def test_what_was_held_back_goes_on_in_order_at_the_rate() -> None:
    matching = Matching()
    park(matching, 6, 0.0, rate=2.0)
    offer(matching, task(1), task(2), task(3), task(4), task(5, priority=1), now=0.0)

    assert admit(matching, 0.4) == []
    assert admit(matching, 0.5) == [5]
    assert admit(matching, 1.6) == [3, 4]
    assert not matching.throttled


def test_a_new_task_does_not_overtake_what_is_held_back() -> None:
    matching = Matching()
    park(matching, 4, 0.0, rate=1.0)
    offer(matching, task(1), task(2), now=0.0)

    assert offer(matching, task(3), now=1.0) == []

    assert admit(matching, 1.0) == [2]
    assert admit(matching, 2.0) == [3]


def test_a_poll_gets_nothing_while_the_rate_is_used_up() -> None:
    matching = Matching()
    park(matching, 1, 0.0, rate=1.0)
    offer(matching, task(1), task(2), now=0.0)

    assert park(matching, 1, 0.2) == []
    assert [found.task_no for found in park(matching, 1, 1.0)] == [2]


def test_a_stale_task_does_not_count() -> None:
    matching = Matching()
    park(matching, 1, 0.0, rate=1.0)
    offer(matching, task(1), task(2), task(3), now=0.0)
    poller = Poller(CHARGES, "worker", None)
    assert matching.poll(poller, 1.0) is not None

    after = matching.release(poller, 1.0)

    assert after is not None
    assert after.task_no == 3


def test_settings_go_before_what_workers_say_and_can_be_taken_back() -> None:
    matching = Matching()
    matching.rate_limits.configure(CHARGES, QueueSettings(rate=0.0), 0.0)
    park(matching, 3, 0.0, rate=50.0)

    assert offer(matching, task(1), now=0.0) == []
    assert matching.rate_limits.limit(CHARGES, 0.0) == (0.0, BY_API, True)
    assert matching.throttled == {CHARGES: inf}

    matching.rate_limits.configure(CHARGES, QueueSettings(), 3.0)
    assert matching.rate_limits.limit(CHARGES, 3.0) == (50.0, BY_WORKER, False)
    assert admit(matching, 3.0) == [1]


def test_queries_are_not_held_back() -> None:
    matching = Matching()
    matching.rate_limits.configure(CHARGES, QueueSettings(rate=0.0), 0.0)
    park(matching, 1, 0.0)

    assert matching.reserve(Task(CHARGES, 0, "order", "run", 0, query="status?"), 0.0) is not None


def test_where_rates_do_not_hold_they_are_only_shown() -> None:
    matching = Matching(paced=False)
    park(matching, 3, 0.0, rate=1.0)

    assert offer(matching, task(1), task(2), now=0.0) == [1, 2]
    assert matching.rate_limits.limit(CHARGES, 0.0) == (1.0, BY_WORKER, False)


def test_a_queue_nobody_knows_has_the_rate_of_its_settings() -> None:
    matching = Matching()
    assert matching.rate_limits.limit(CHARGES, 0.0) == (100_000.0, BY_SYSTEM, False)

    matching.rate_limits.configure(CHARGES, QueueSettings(rate=7.0), 0.0)

    assert matching.rate_limits.limit(CHARGES, 0.0) == (7.0, BY_API, False)


@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_a_queue_is_not_forgotten_while_a_new_one_would_start_a_new_burst(rate: float) -> None:
    matching = Matching()
    matching.rate_limits.configure(CHARGES, QueueSettings(rate=0.001), 0.0)
    park(matching, 1, 0.0, rate=rate)
    offer(matching, task(1), now=0.0)

    matching.expire(600.0)

    assert not matching._queues[CHARGES].line
    assert offer(matching, task(2), now=600.0) == []
    assert park(matching, 1, 600.0) == []
