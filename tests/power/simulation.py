"""The simulated server of `tests/simulation`, on a file whose disk loses power.

Wherever a process dies the power may have failed too, and it may fail in the middle of a commit or a checkpoint. What
the successor finds is then one of the things that the disk may have kept.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import apsw

from perdure.doctor.examination import examine
from perdure.storage.sqlite import SqliteStore
from perdure.storage.sqlite.connection import open_file, reported
from perdure.storage.sqlite.store import make_ready
from perdure.storage.store import Batch, Done, StoreFailed
from tests.power import disk as power
from tests.power.vfs import PowerVFS
from tests.simulation import store as simulated
from tests.simulation.ledger import Broken
from tests.simulation.loop import run
from tests.simulation.simulation import Simulation

CHECKPOINT_COMMITS = 40


class StoreWithoutThreads(SqliteStore):
    """A file's store as a simulation needs it: one connection, batches inline, as in memory."""

    def __init__(self, vfs: PowerVFS, pragmas: Mapping[str, str]) -> None:
        super().__init__(None)
        self.file = str(vfs.folder / "perdure.db")
        self._on = vfs
        self._with = pragmas
        self._commits = 0

    def _open_memory(self) -> apsw.Connection:
        with reported(self.file):
            connection = open_file(self.file, self._with, self._on.name)
            self._connections = [connection]
            make_ready(connection, self.file, self._on.name)
        return connection

    def submit(self, batch: Batch, done: Done) -> None:
        super().submit(batch, done)
        self._commits += 1
        if self._commits % CHECKPOINT_COMMITS == 0:
            self._main.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


class FailingDisk(simulated.Disk):
    def __init__(self, folder: Path, chance: Random, pragmas: Mapping[str, str], failed: Callable[[], None]) -> None:
        super().__init__()
        self.losses = 0
        self.in_the_middle = 0
        self.left: power.Image | None = None
        """What the power left, once it has failed."""
        self._in_doubt: set[str] = set()
        """The IDs of runs whose removal was written when the power failed, or after."""
        self.steady = True
        """The power does not fail by itself."""
        self._folder = folder
        self._chance = chance
        self._pragmas = pragmas
        self._failed = failed
        self._put_in(power.Disk())

    def _put_in(self, disk: power.Disk) -> None:
        self._disk = disk
        self._vfs = PowerVFS(self._folder / f"{self.losses}", disk)
        self.store = StoreWithoutThreads(self._vfs, self._pragmas)
        disk.watch = self._watch

    def _watch(self, operation: str, name: str) -> None:
        often = 0.015 if operation == "sync" or not name.endswith("-wal") else 0.001
        if not self.steady and self.left is None and self._chance.random() < often:
            self.in_the_middle += 1
            self.fail()
            self._failed()

    def write(self, batch: Batch) -> Any:
        outcome = super().write(batch)
        if self.left is not None:
            self._in_doubt |= {delete.run_id for delete in batch.run_deletes}
        return outcome

    def fail(self) -> None:
        """The power fails, unless it has already."""
        if self.left is None:
            self.left = self._disk.at_power_loss(self._chance)

    async def come_back(self) -> None:
        self.steady = True
        if self.left is not None:
            await self.store.close()
            self.losses += 1
            self._put_in(power.Disk(self.left))
            self.left = None
            try:
                await self.store.open()
            except StoreFailed as failure:
                raise Broken(str(failure)) from None
            if faults := examine(self.store.file).faults:
                raise Broken(f"after a loss of power: {faults}")
            there = {run_id for (run_id,) in self.rows("select run_id from runs")}
            if back := (self.removed - self._in_doubt) & there:
                raise Broken(f"removed runs are there again: {back}")
            self.removed -= there
            self._in_doubt.clear()


class PowerSimulation(Simulation):
    disk: FailingDisk

    def __init__(
        self, seed: int, steps: int, folder: Path, *, skipping: bool = False, pragmas: Mapping[str, str] | None = None
    ) -> None:
        self._fate = Random(f"{seed} power")
        disk = FailingDisk(folder, self._fate, pragmas or {}, self._power_failed)
        super().__init__(seed, steps, skipping=skipping, disk=disk)

    def _power_failed(self) -> None:
        """In the midst of a call of the store: what it answers is heard by nobody."""
        asyncio.get_running_loop().call_soon(lambda runtime=self.runtime: self._end(runtime))  # type: ignore[misc]

    def _end(self, runtime: Any) -> None:
        if runtime is not None and self.runtime is runtime:
            self.die("power")

    async def boot(self) -> None:
        if self._processes and self._fate.random() < 0.5:
            self.disk.fail()
        await self.disk.come_back()
        await super().boot()

    async def _step(self) -> None:
        self.disk.steady = self.runtime is None  # starts are for the store's own tests to cut
        await super()._step()

    async def _heal(self) -> None:
        self.disk.steady = True
        await super()._heal()


def simulate(seed: int, steps: int, folder: Path, pragmas: Mapping[str, str] | None = None) -> PowerSimulation:
    """Every second server skips time."""
    simulation = PowerSimulation(seed, steps, folder, skipping=seed % 2 == 0, pragmas=pragmas)
    try:
        run(simulation.run())
    except BaseException as error:
        error.add_note(f"replay: python -m tests.power.simulation {seed} {steps}")
        raise
    return simulation


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = simulate(int(sys.argv[1]), int(sys.argv[2]), Path(folder))
        print(f"{done.network.served} calls, {done.disk.commits} commits, {done.disk.losses} losses of power")
