"""Advice on the number of pollers: one fewer, one more, or none."""

from __future__ import annotations

from perdure.matching import Matching, Poller, QueueKey, Task
from perdure.matching.pace import QueueSettings

CHARGES: QueueKey = ("ns", "charges", 2)
SECOND = 1_000_000


def task(number: int, created: int = 0) -> Task:
    return Task(CHARGES, number, f"order-{number}", "run", 5, created=created)


def park(matching: Matching, now: float) -> Poller:
    poller = Poller(CHARGES, "worker", None, since=now)
    assert matching.poll(poller, now) is None
    while load := matching.begin_load(CHARGES):
        assert matching.loaded(load, [], True, now) == []
    return poller


def with_backlog(*tasks: Task) -> tuple[Matching, Poller]:
    """A poll that just took the first of these tasks."""
    matching = Matching()
    matching.cancel(park(matching, 0.0), 0.0)
    for each in tasks:
        assert matching.reserve(each, 0.0) is None
        matching.offer(each, 0.0)
    poller = Poller(CHARGES, "worker", None, since=0.0)
    assert matching.poll(poller, 0.0) is tasks[0]
    return matching, poller


def test_a_poll_that_waited_long_for_a_new_task_was_one_too_many() -> None:
    matching = Matching()
    poller = park(matching, 0.0)
    assert matching.reserve(task(1), 1.0) is poller

    assert matching.survey.advise(poller, False, 1.0, 0) == -1


def test_a_poll_that_was_soon_answered_is_just_right() -> None:
    matching = Matching()
    poller = park(matching, 0.0)
    assert matching.reserve(task(1), 0.9) is poller

    assert matching.survey.advise(poller, False, 0.9, 0) == 0


def test_an_old_backlog_asks_for_one_more() -> None:
    matching, poller = with_backlog(task(1), task(2, created=5 * SECOND))

    assert matching.survey.advise(poller, True, 0.0, 5 * SECOND + 200_000) == 0
    assert matching.survey.advise(poller, True, 0.0, 5 * SECOND + 200_001) == 1


def test_more_that_comes_than_goes_asks_for_one_more() -> None:
    matching, poller = with_backlog(*(task(number) for number in range(1, 6)))
    assert matching.survey.advise(poller, True, 0.0, 0) == 0, "nothing went yet: there is no proportion"
    matching.confirm(poller, 0.0)
    other = Poller(CHARGES, "worker", None, since=0.0)
    matching.poll(other, 0.0)

    assert matching.survey.advise(other, True, 0.5, 0) == 0, "rates were compared a moment ago"
    assert matching.survey.advise(other, True, 1.0, 0) == 1


def test_a_queue_held_back_by_its_rate_asks_for_none() -> None:
    matching, poller = with_backlog(task(1), task(2))
    matching.rate_limits.configure(CHARGES, QueueSettings(rate=0.0), 0.0)

    assert matching.survey.advise(poller, True, 0.0, SECOND) == 0


def test_advice_is_rare_enough_to_show_its_effect() -> None:
    matching, poller = with_backlog(task(1), task(2))

    given = [matching.survey.advise(poller, True, 0.0, SECOND) for _ in range(30)]

    assert given == [1] * 10 + [0] * 20
    assert matching.survey.advise(poller, True, 0.1, SECOND) == 1


def test_nothing_is_advised_for_a_queue_that_is_gone() -> None:
    assert Matching().survey.advise(Poller(CHARGES, "worker", None), False, 9.0, 0) == 0
