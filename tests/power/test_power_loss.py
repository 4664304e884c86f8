"""The power fails while a store writes: what was acknowledged is there, whole, and nothing is there by half.

A killed process proves little about that: what it wrote is in the system's cache. Here the cache is the test's own, and
the disk keeps of what was not synced whatever it likes. That the tests can fail is shown by stores that sync less.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from perdure.storage.sqlite import SqliteStore
from tests.power.disk import Disk
from tests.power.outages import OUTAGES_OF_A_LIFE, Lost, Outage, Trial
from tests.power.vfs import PowerVFS

SEEDS = 4
IN_VAIN = 5
"""Seeds within which a store that syncs too little must be caught. One is enough, as a rule."""


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs start over every few batches."""
    monkeypatch.setattr("perdure.storage.sqlite.writer.CHECKPOINT_PAGES", 60)
    monkeypatch.setattr("perdure.storage.sqlite.writer.LONG_LOG_PAGES", 300)


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_what_was_acknowledged_is_there_whole_after_a_loss_of_power(seed: int, tmp_path: Path) -> None:
    tally = await Trial(seed, tmp_path).run()

    assert sum(tally.outages.values()) > OUTAGES_OF_A_LIFE, "only one of its lives was cut short"


async def test_a_first_start_can_be_cut_anywhere(tmp_path: Path) -> None:
    disk = Disk()
    outages: list[Outage] = []
    chance = Random(1)

    def watch(operation: str, name: str) -> None:
        if operation == "write" and chance.random() < 0.6:
            return  # one page of many
        left = disk.copy() if len(outages) % 3 == 0 else Disk(disk.at_power_loss(chance))
        outages.append(Outage(left, 0, 0, f"{operation} {name}"))

    disk.watch = watch
    vfs = PowerVFS(tmp_path / "first", disk)
    store = SqliteStore(str(vfs.folder / "perdure.db"), vfs=vfs.name)
    await store.open()
    disk.watch = lambda operation, name: None
    await store.close()

    await Trial(1, tmp_path).check(outages)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_log_that_a_killed_start_made_is_as_good_as_ones_own(seed: int, tmp_path: Path) -> None:
    """Its name is not on the disk yet, and the next process does not make it: it must sync it all the same."""
    await Trial(seed, tmp_path).follow_a_killed_start()


async def test_a_clean_stop_can_be_cut_anywhere(tmp_path: Path) -> None:
    trial = Trial(2, tmp_path)

    tally = await trial.check(await trial.cut_stop())

    assert tally.outages["delete -wal"]
    assert tally.outages["sync database"]


async def test_without_syncs_the_same_test_fails(tmp_path: Path) -> None:
    broken = await _broken_promises(tmp_path, "off")

    assert broken, f"synchronous=OFF passed {IN_VAIN} seeds: the test proves nothing"


async def test_with_a_sync_a_checkpoint_commits_are_lost_but_never_torn(tmp_path: Path) -> None:
    """What `synchronous=NORMAL` means with a log: not enough for us."""
    broken = await _broken_promises(tmp_path, "normal")

    assert broken
    for failure in broken:
        assert "batches are there" in failure


async def _broken_promises(folder: Path, synchronous: str) -> list[str]:
    """Of the first two seeds that broke any."""
    broken: list[str] = []
    for seed in range(1, IN_VAIN + 1):
        try:
            await Trial(seed, folder / f"{seed}", {"synchronous": synchronous}).run()
        except Lost as failure:
            broken.append(str(failure))
        if len(broken) == 2:
            break
    return broken


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_the_power_fails_for_minutes(tmp_path: Path) -> None:
    """PERDURE_POWER_MINUTES of it, from seed PERDURE_POWER_SEED on."""
    end = time.monotonic() + 60 * float(os.environ.get("PERDURE_POWER_MINUTES", "10"))
    first = seed = int(os.environ.get("PERDURE_POWER_SEED", "1000"))
    outages: Counter[str] = Counter()
    while time.monotonic() < end:
        outages += (await Trial(seed, tmp_path / f"{seed}").run()).outages
        shutil.rmtree(tmp_path / f"{seed}")
        seed += 1
    print(f"{seed - first} seeds, {sum(outages.values())} outages: {dict(outages)}")
