"""A server that dies at a named point of a commit keeps what it acknowledged, and never half a decision."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.crash.harness import POINTS_OF_A_COMMIT, KillAt, endure

POINTS = POINTS_OF_A_COMMIT


@pytest.mark.timeout(240)
async def test_two_deaths_at_each_point_of_a_commit_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    deaths = [KillAt(point, random.randint(1, 120)) for point in POINTS * 2]

    endured = await endure(deaths, tmp_path / "perdure.db", seed)

    print(endured)
    assert endured.kills == len(deaths)
    assert endured.completions >= 5


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("point", POINTS)
async def test_forty_deaths_at_a_point_lose_nothing_acknowledged(tmp_path: Path, seed: int, point: str) -> None:
    random = Random(f"{seed}:{point}")
    deaths = [KillAt(point, random.randint(1, 500)) for _ in range(40)]

    endured = await endure(deaths, tmp_path / "perdure.db", seed)

    print(endured)
    assert endured.kills == len(deaths)
