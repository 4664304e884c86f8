"""A sync fails: nothing that it was for may be believed, now or ever, however well the disk works again.

What it was to write counts as clean afterwards. It can be read, the next sync succeeds, and the power takes it away.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.power.outages import Trial

SEEDS = 6


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.storage.sqlite.writer.CHECKPOINT_PAGES", 60)
    monkeypatch.setattr("perdure.storage.sqlite.writer.LONG_LOG_PAGES", 300)


@pytest.mark.parametrize("kind", ["-wal", "database"])
async def test_what_the_next_process_acknowledges_survives_a_loss_of_power(kind: str, tmp_path: Path) -> None:
    failed = [await Trial(seed, tmp_path / f"{seed}").fail_a_sync(kind) for seed in range(1, SEEDS + 1)]

    assert any(failed)
