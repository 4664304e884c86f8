"""A whole server under load loses its power again and again: clients and workers find what they were told.

Clients, workers and promises are those of `tests/simulation`.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.power.simulation import simulate

STEPS = 300
IN_VAIN = 4


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_all_that_callers_were_told_survives_losses_of_power(seed: int, tmp_path: Path) -> None:
    simulation = simulate(seed, STEPS, tmp_path)

    assert simulation.disk.losses >= 2
    assert simulation.network.served > 100


def test_without_syncs_callers_were_told_what_is_not_true(tmp_path: Path) -> None:
    for seed in range(1, IN_VAIN + 1):
        try:
            simulate(seed, STEPS, tmp_path / f"{seed}", {"synchronous": "off"})
        except Exception:  # Broken as a rule; actors stumble too over what is gone
            return
    pytest.fail(f"synchronous=OFF passed {IN_VAIN} seeds: the test proves nothing")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_servers_lose_their_power_for_minutes(tmp_path: Path) -> None:
    """PERDURE_POWER_MINUTES of it, from seed PERDURE_POWER_SEED on."""
    end = time.monotonic() + 60 * float(os.environ.get("PERDURE_POWER_MINUTES", "10"))
    first = seed = int(os.environ.get("PERDURE_POWER_SEED", "1000"))
    losses = 0
    while time.monotonic() < end:
        losses += simulate(seed, 1000, tmp_path / f"{seed}").disk.losses
        shutil.rmtree(tmp_path / f"{seed}")
        seed += 1
    print(f"{seed - first} seeds, {losses} losses of power")
