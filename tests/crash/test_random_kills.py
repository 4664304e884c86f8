"""SIGKILL at any moment loses nothing that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.harness import endure, kills_at_random


@pytest.mark.timeout(240)
async def test_twenty_kills_under_load_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    endured = await endure(kills_at_random(seed, 20), tmp_path / "perdure.db", seed)

    print(endured)
    assert endured.kills == 20
    assert endured.starts >= 10
    assert endured.notes >= 10
    assert endured.completions >= 10


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_number", range(10))
async def test_hundreds_of_kills_lose_nothing_acknowledged(tmp_path: Path, seed: int, round_number: int) -> None:
    seed += round_number

    endured = await endure(kills_at_random(seed, 60, longest=4), tmp_path / "perdure.db", seed)

    print(endured)
    assert endured.kills == 60
