"""Event for event, reply for reply: what the reference server was recorded to do, this server does.

A differing scenario fails with its diff. Alone: `pytest tests/conformance -k timer_fire`, or against any server:
`python -m tests.conformance.corpus --address HOST:PORT --scenario timer_fire`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.corpus import Outcome, play, recorded
from tests.support.server_process import free_port


@pytest.mark.timeout(600)  # the first test waits for the whole round
@pytest.mark.parametrize("store", ["memory", "file"])
@pytest.mark.parametrize("scenario", recorded())
def test_the_server_does_what_was_recorded(
    scenario: str, store: str, outcome_of: Callable[[str, str], Outcome]
) -> None:
    outcome = outcome_of(store, scenario)

    if outcome.diff:
        pytest.fail("\n".join(outcome.diff[:120]), pytrace=False)


def test_a_server_that_is_not_there_is_one_clear_failure_and_not_a_difference() -> None:
    with pytest.raises(RuntimeError, match=r"the scenarios could not be run: cannot connect to 127\.0\.0\.1:\d+"):
        play(f"127.0.0.1:{free_port()}", ["simple_complete"])
