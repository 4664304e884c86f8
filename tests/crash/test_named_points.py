"""A server that dies at a named point of a commit keeps what it acknowledged, and never half a decision."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.crash.harness import POINTS_OF_A_COMMIT, Kill, KillAt, KillWorker, endure

DEATHS_EACH = 5


@pytest.mark.timeout(240)
async def test_five_deaths_at_each_point_of_a_commit_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    points = list(POINTS_OF_A_COMMIT) * DEATHS_EACH
    random.shuffle(points)
    deaths: list[Kill] = []
    for number, point in enumerate(points):
        deaths.append(KillAt(point, random.randint(1, 60)))
        if number % 8 == 7:
            deaths.append(KillWorker(number))

    endured = await endure(deaths, tmp_path, seed)

    print(endured)
    assert [endured.kills[point] for point in POINTS_OF_A_COMMIT] == [DEATHS_EACH] * len(POINTS_OF_A_COMMIT)
    assert all(endured.told.values()), "a family was never seen to its end"
    assert min(endured.signals, endured.completions, endured.updates) >= 5
