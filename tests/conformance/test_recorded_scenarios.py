"""Event for event, reply for reply: what the reference server was recorded to do, this server does.

A differing scenario fails with its diff. Alone: `pytest tests/conformance -k timer_fire`, or against any server:
`python -m tests.conformance.corpus --address HOST:PORT --scenario timer_fire`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.corpus import Outcome, play, recorded
from tests.support.server_process import free_port

NOT_YET = {
    "batch_terminate": "batch operations come in a later release",
}
"""Scenarios of features this release lacks. Strict: one that starts to pass fails here, and leaves the table."""


def scenario(name: str) -> object:
    if name not in NOT_YET:
        return pytest.param(name)
    differs = pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason=NOT_YET[name])
    return pytest.param(name, marks=differs)


@pytest.mark.timeout(600)  # the first test waits for the whole round
@pytest.mark.parametrize("scenario", [scenario(name) for name in recorded()])
def test_the_server_does_what_was_recorded(scenario: str, outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of(scenario)

    if outcome.diff:
        pytest.fail("\n".join(outcome.diff[:120]), pytrace=False)


def test_every_scenario_that_is_expected_to_differ_exists() -> None:
    assert set(NOT_YET) <= set(recorded())


def test_a_server_that_is_not_there_is_one_clear_failure_and_not_a_difference() -> None:
    with pytest.raises(RuntimeError, match=r"the scenarios could not be run: cannot connect to 127\.0\.0\.1:\d+"):
        play(f"127.0.0.1:{free_port()}", ["simple_complete"])
