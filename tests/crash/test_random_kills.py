"""SIGKILL at any moment loses nothing that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.harness import endure, kills_at_random


@pytest.mark.timeout(240)
async def test_twenty_kills_under_load_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    endured = await endure(kills_at_random(seed, 20), tmp_path, seed)

    print(endured)
    assert endured.kills["KillAfter"] + endured.kills.get("KillWhileStarting", 0) == 20
    assert all(endured.told.values()), "a family was never seen to its end"
    assert min(endured.signals, endured.completions, endured.updates) >= 10
