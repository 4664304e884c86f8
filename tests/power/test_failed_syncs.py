"""A sync fails: nothing that it was for may be believed, now or ever, however well the disk works again.

What it was to write counts as clean afterwards. It can be read, the next sync succeeds, and the power takes it away.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.power.outages import Trial

SEEDS = 3


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.storage.sqlite.writer.CHECKPOINT_PAGES", 60)
    monkeypatch.setattr("perdure.storage.sqlite.writer.LONG_LOG_PAGES", 300)


@pytest.mark.parametrize(
    ("thread", "of"),
    [("perdure-writer", "-wal"), ("perdure-checkpoints", "-wal"), ("perdure-checkpoints", "database")],
)
async def test_what_the_next_process_acknowledges_survives_a_loss_of_power(
    thread: str, of: str, tmp_path: Path
) -> None:
    failed = [await Trial(seed, tmp_path / f"{seed}").fail_a_sync(thread, of) for seed in range(1, SEEDS + 1)]

    assert any(failed)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_checkpoint_whose_sync_failed_is_not_completed_by_the_close(seed: int, tmp_path: Path) -> None:
    """SQLite remembers how much of the log it has copied, synced or not; the close would copy the rest, remove it."""
    await Trial(seed, tmp_path).fail_the_sync_of_a_long_checkpoint()
