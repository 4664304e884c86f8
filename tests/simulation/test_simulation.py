"""Whatever the store, the network, the workers and the clocks do, the promises hold.

20 seeds of 1,000 steps here; `make soak` goes on for 20 minutes. A failing seed says how to replay it.
"""

from __future__ import annotations

import time

import pytest

from tests.simulation.__main__ import replay
from tests.simulation.loop import run
from tests.simulation.simulation import Simulation

SEEDS = 20
STEPS = 1000


def simulate(seed: int, *, skipping: bool) -> Simulation:
    simulation = Simulation(seed, STEPS, skipping=skipping)
    try:
        run(simulation.run())
    except BaseException as error:
        error.add_note(replay(simulation))
        raise
    return simulation


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_the_promises_hold_under_any_seed(seed: int) -> None:
    """Every second server skips time."""
    simulation = simulate(seed, skipping=seed % 2 == 0)

    assert simulation.network.served > 100, "hardly anything happened"
    assert simulation.ledger.signals, "no signal was ever acknowledged"


def test_a_seed_is_the_same_story_every_time() -> None:
    one, other = simulate(7, skipping=False), simulate(7, skipping=False)

    assert one.ledger == other.ledger
    assert one.network.trace.hexdigest() == other.network.trace.hexdigest()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_promises_hold_for_twenty_minutes() -> None:
    end = time.monotonic() + 1200
    seed = 1000
    while time.monotonic() < end:
        simulate(seed, skipping=seed % 2 == 0)
        seed += 1
