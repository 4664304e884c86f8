"""What becomes of starts that wait, by overlap policy."""

from __future__ import annotations

import pytest

from perdure.engine.schedules.overlap import (
    ALLOW_ALL,
    BUFFER_ALL,
    BUFFER_ONE,
    CANCEL_OTHER,
    TERMINATE_OTHER,
    Round,
    sort_out,
)
from perdure.engine.schedules.state import SKIP


def starts(*policies: int) -> list[list[object]]:
    return [[number, number, policy, False] for number, policy in enumerate(policies, start=1)]


def numbers(found: Round) -> tuple[object, list[object], list[object], int]:
    alone = None if found.alone is None else found.alone[0]
    return alone, [start[0] for start in found.beside], [start[0] for start in found.waiting], found.skipped


@pytest.mark.parametrize(
    ("policy", "free", "occupied"),
    [
        (SKIP, (1, [], [], 2), (None, [], [], 3)),
        (BUFFER_ONE, (1, [], [2], 1), (None, [], [1], 2)),
        (BUFFER_ALL, (1, [], [2, 3], 0), (None, [], [1, 2, 3], 0)),
        (CANCEL_OTHER, (3, [], [], 0), (None, [], [1, 2, 3], 0)),
        (TERMINATE_OTHER, (3, [], [], 0), (None, [], [1, 2, 3], 0)),
        (ALLOW_ALL, (None, [1, 2, 3], [], 0), (None, [1, 2, 3], [], 0)),
    ],
)
def test_three_starts_of_one_policy(policy: int, free: object, occupied: object) -> None:
    assert numbers(sort_out(starts(policy, policy, policy), False, SKIP)) == free
    assert numbers(sort_out(starts(policy, policy, policy), True, SKIP)) == occupied


def test_a_start_without_a_policy_has_the_schedules_as_it_is_now() -> None:
    waiting = starts(0, 0)

    assert numbers(sort_out(waiting, True, BUFFER_ALL)) == (None, [], [1, 2], 0)
    assert numbers(sort_out(waiting, True, SKIP)) == (None, [], [], 2)
    assert numbers(sort_out(waiting, True, 0)) == (None, [], [], 2)


def test_what_runs_is_asked_to_make_way_only_when_somebody_waits_for_that() -> None:
    assert not sort_out(starts(SKIP, BUFFER_ALL), True, SKIP).cancel
    cancel = sort_out(starts(CANCEL_OTHER), True, SKIP)
    assert (cancel.cancel, cancel.terminate) == (True, False)
    both = sort_out(starts(CANCEL_OTHER, TERMINATE_OTHER), True, SKIP)
    assert both.terminate
    assert not sort_out(starts(TERMINATE_OTHER), False, SKIP).terminate


def test_the_first_start_goes_at_once_whatever_its_policy_and_each_is_judged_by_its_own() -> None:
    found = sort_out(starts(SKIP, BUFFER_ALL, SKIP, ALLOW_ALL, BUFFER_ONE, BUFFER_ONE), False, SKIP)

    assert numbers(found) == (1, [4], [2, 5], 2)
