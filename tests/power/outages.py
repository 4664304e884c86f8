"""A store at work, and all that its disk might be left with if the power failed at this or that moment.

One life of a store is watched operation by operation. At random ones two questions are asked, without disturbing it:
what could be on the disk if the power failed now, and what would a process find that was started because this one was
killed now? Each answer is opened as the next life would open it, held against what was acknowledged at that moment, and
some of them are lived on in, so that recoveries are interrupted too.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw

from perdure.storage.sqlite import SqliteStore
from perdure.storage.sqlite.connection import open_file, reported
from perdure.storage.sqlite.reads import high_water
from perdure.storage.sqlite.store import make_ready
from perdure.storage.store import Batch, StoreFailed
from tests.power.disk import Disk
from tests.power.story import Contents, contents, contents_after_each, tell
from tests.power.vfs import PowerVFS
from tests.storage.rows import outcome

LENGTH = 40
LIVES = 3
OUTAGES_OF_A_LIFE = 12
OFTEN = {"write -wal": 0.02, "write database": 0.05}
"""How often a moment is asked about; all others are rare, and more telling."""


class Lost(AssertionError):
    """A promise was broken."""


@dataclass
class Outage:
    """The end of a store's life: what its successor finds, and what was promised by then."""

    disk: Disk
    acknowledged: int
    """The newest batch that was."""
    submitted: int
    moment: str


@dataclass
class Tally:
    outages: Counter[str] = field(default_factory=Counter)
    """By the operation and the file that they came before."""
    unacknowledged: int = 0
    """How often a batch landed that nobody had been told of."""


class Sample:
    """Some of many, each as likely as the other."""

    def __init__(self, chance: Random, size: int) -> None:
        self._chance = chance
        self._size = size
        self._offered = 0
        self.taken: list[Outage] = []

    def add(self, make: Callable[[], Outage]) -> None:
        self._offered += 1
        if len(self.taken) < self._size:
            self.taken.append(make())
        elif (place := self._chance.randrange(self._offered)) < self._size:
            self.taken[place] = make()


@dataclass
class _Life:
    acknowledged: int
    submitted: int
    failure: StoreFailed | None = None


class Trial:
    """`pragmas` as for a store. Raises Lost."""

    def __init__(self, seed: int, folder: Path, pragmas: Mapping[str, str] | None = None) -> None:
        self._chance = Random(seed)
        self._seed = seed
        self._folder = folder
        self._pragmas = pragmas or {}
        self._worlds = 0
        self._after: list[Contents] = []
        self._told: list[Batch] = []
        self.tally = Tally()

    async def run(self) -> Tally:
        await self._prepare()
        disk, acknowledged, landed = Disk(), 0, 0
        for _ in range(LIVES):
            outages = await self._live(disk, acknowledged, landed)
            if not outages:
                break
            chosen = self._chance.randrange(len(outages))
            for index, outage in enumerate(outages):
                there = self._check(outage, outage.disk.copy(), again=index == chosen)
                if index == chosen:
                    disk, acknowledged, landed = outage.disk, outage.acknowledged, there
        return self.tally

    async def check(self, outages: Iterable[Outage]) -> Tally:
        """Each of `outages` of a store of this story."""
        await self._prepare()
        for index, outage in enumerate(outages):
            self._check(outage, outage.disk, again=index % 4 == 0)
        return self.tally

    async def cut_stop(self) -> list[Outage]:
        """The outages between the order to close and its end, one at each operation."""
        await self._prepare()
        disk = Disk()
        store = await self._open(disk)
        assert store._writer is not None
        checkpoints = store._writer._checkpoints
        with checkpoints._at_work:  # so that something is left for the end to copy
            for batch in self._told[:20]:
                store.submit(batch, lambda outcome: None)
            await outcome(store, self._told[20])
            checkpoints._stopping = True
        outages: list[Outage] = []

        def watch(operation: str, name: str) -> None:
            if operation != "write" or len(outages) % 2:
                left = Disk(disk.at_power_loss(self._chance))
                outages.append(Outage(left, 21, 21, _moment(operation, name)))
            else:
                outages.append(Outage(disk.copy(), 21, 21, _moment(operation, name)))

        disk.watch = watch
        await store.close()
        return outages

    async def follow_a_killed_start(self) -> None:
        """A start is killed when it has made its log and synced nothing yet. The next one finds the log there, batches
        are acknowledged, and the power fails."""
        await self._prepare()
        disk = Disk()
        killed: list[Disk] = []

        def kill(operation: str, name: str) -> None:
            if _moment(operation, name) == "write -wal" and not killed:
                killed.append(disk.copy())

        disk.watch = kill
        await (await self._open(disk)).close()
        (successor,), life = killed, _Life(0, 0)

        def watch(operation: str, name: str) -> None:
            if _moment(operation, name) == "write database":
                raise apsw.FullError("database or disk is full")  # so that the log is all there is

        successor.watch = watch
        store = await self._open(successor)
        await self._write(store, life, 10)
        with successor.lock:
            left = [Disk(successor.at_power_loss(self._chance)) for _ in range(OUTAGES_OF_A_LIFE)]
        successor.watch = lambda operation, name: None
        await store.close()
        for disk in left:
            self._check(Outage(disk, life.acknowledged, life.submitted, "after a killed start"), disk)

    async def fail_a_sync(self, thread: str, of: str) -> bool:
        """A sync of `of` ("-wal" or "database") on `thread` fails, the disk works again, the store's process is
        replaced, and after a while the power fails. False when no such sync came."""
        await self._prepare()
        chance = self._chance
        disk, life = Disk(), _Life(0, 0)
        disk.chance = chance
        store = await self._open(disk)
        failed = threading.Event()
        left = chance.randrange(20 if thread == "perdure-writer" else 4)

        def fail(operation: str, name: str) -> None:
            nonlocal left
            if _moment(operation, name) == f"sync {of}" and threading.current_thread().name == thread:
                # A commit's: not that of a log's new head alone.
                left -= thread != "perdure-writer" or len(disk.file(name).dirty) > 1
                if left < 0 and life.failure is None and not failed.is_set():
                    failed.set()
                    raise apsw.IOError("disk I/O error")

        disk.watch = fail
        await self._write(store, life, 34)
        successor = disk.copy()  # as the process leaves it that ends with one line
        await store.close()
        if life.failure is None:
            return False
        if chance.random() < 0.5:
            successor = disk.copy()  # as a program leaves it that closes what it embeds
        acknowledged, life = life.acknowledged, _Life(0, 0)
        asked = Sample(chance, OUTAGES_OF_A_LIFE)
        moment = f"a later moment than a failed sync of {of}"

        def watch(operation: str, name: str) -> None:
            if life.submitted:
                asked.add(lambda: self._outage(successor, life, moment))
            if of == "-wal" and _moment(operation, name) == "write database":
                raise apsw.FullError("database or disk is full")  # so that the log is all there is

        successor.watch = watch
        store = await self._open(successor)
        life.acknowledged = life.submitted = store.high_water()[0]
        if life.acknowledged < acknowledged:
            raise Lost(f"{acknowledged} batches were acknowledged and {life.acknowledged} are there")
        await self._write(store, life, life.acknowledged + 5)
        successor.watch = lambda operation, name: None
        await store.close()
        for outage in asked.taken:
            self._check(outage, outage.disk)
        return True

    async def fail_the_sync_of_a_long_checkpoint(self) -> None:
        """A reader is in the way of checkpoints, so that the log is copied in pieces, which need no sync of their own.
        Then the sync for all of them fails, the program closes its store, and the power fails."""
        await self._prepare()
        disk, life = Disk(), _Life(0, 0)
        disk.chance = self._chance
        store = await self._open(disk)
        await self._write(store, life, 10)
        reader = store._connect(str(self._folder / "1" / "perdure.db"))
        reader.execute("begin")
        reader.execute("select count(*) from runs").fetchall()
        await self._write(store, life, 20)
        broke = threading.Event()

        def fail(operation: str, name: str) -> None:
            if _moment(operation, name) == "sync database" and not broke.is_set():
                broke.set()
                raise apsw.IOError("disk I/O error")

        disk.watch = fail  # before the reader gives way: the checkpoint may come at once, on its own thread
        reader.execute("rollback")
        await self._write(store, life, 34)
        assert await asyncio.to_thread(broke.wait, 30), "no checkpoint was synced"
        await store.close()
        for _ in range(OUTAGES_OF_A_LIFE):
            left = Disk(disk.at_power_loss(self._chance))
            self._check(Outage(left, life.acknowledged, life.submitted, "after a failed checkpoint"), left)

    async def _prepare(self) -> None:
        self._told = tell(self._seed, LENGTH)
        self._after = await contents_after_each(self._told)

    def _machine(self, disk: Disk) -> PowerVFS:
        self._worlds += 1
        return PowerVFS(self._folder / f"{self._worlds}", disk)

    async def _live(self, disk: Disk, acknowledged: int, landed: int) -> list[Outage]:
        """Open, write what has not landed, close; return some of the ways that this might have ended. What landed
        unheard of is told of when the store is open, which syncs it, and not before."""
        life = _Life(acknowledged, landed)
        asked = Sample(self._chance, OUTAGES_OF_A_LIFE)

        def watch(operation: str, name: str) -> None:
            moment = _moment(operation, name)
            if self._chance.random() < OFTEN.get(moment, 0.2):
                asked.add(lambda: self._outage(disk, life, moment))

        disk.watch = watch
        store = await self._open(disk)
        life.acknowledged = landed
        await self._write(store, life, len(self._told))
        assert life.failure is None, life.failure
        await store.close()
        disk.watch = lambda operation, name: None
        return asked.taken

    def _outage(self, disk: Disk, life: _Life, moment: str) -> Outage:
        left = Disk(disk.at_power_loss(self._chance)) if self._chance.random() < 0.8 else disk.copy()
        return Outage(left, life.acknowledged, life.submitted, moment)

    async def _open(self, disk: Disk) -> SqliteStore:
        vfs = self._machine(disk)
        store = SqliteStore(str(vfs.folder / "perdure.db"), pragmas=self._pragmas, vfs=vfs.name)
        await store.open()
        return store

    async def _write(self, store: SqliteStore, life: _Life, last: int) -> None:
        """Batches up to `last`, or until the store has failed."""

        def done(result: object) -> None:
            if result is None and life.failure is None:
                life.acknowledged += 1
            else:
                assert isinstance(result, StoreFailed), result
                life.failure = result

        while life.submitted < last and life.failure is None:
            together = self._told[life.submitted : min(life.submitted + self._chance.choice([1, 1, 2, 5]), last)]
            life.submitted += len(together)
            for batch in together[:-1]:
                store.submit(batch, done)
            if self._chance.random() < 0.2:
                store.sweep(20, lambda rows: None)
            done(await outcome(store, together[-1]))

    def _check(self, outage: Outage, disk: Disk, *, again: bool = False) -> int:
        """The newest batch that is there after `outage`."""
        vfs = self._machine(disk)
        path = str(vfs.folder / "perdure.db")
        about = f"at {outage.moment} after batch {outage.acknowledged}, in {vfs.folder}"
        # As a store opens it, without its threads and its other connections.
        try:
            with reported(path), closing(open_file(path, self._pragmas, vfs.name)) as connection:
                make_ready(connection, path, vfs.name)
                landed = high_water(connection)[0]
                found = contents(connection)
                whole = connection.pragma("integrity_check")
                seen = Disk(disk.at_power_loss(self._chance))
        except StoreFailed as failure:
            raise Lost(f"{failure} ({about})") from None
        if landed < outage.acknowledged:
            raise Lost(f"only {landed} batches are there ({about})")
        if whole != "ok":
            raise Lost(f"{whole} ({about})")
        if landed > outage.submitted or found != self._after[landed]:
            raise Lost(f"what is there is not what {landed} batches wrote ({about})")
        shutil.rmtree(vfs.folder)
        self.tally.outages[outage.moment] += 1
        self.tally.unacknowledged += landed > outage.acknowledged
        if again:
            # Whoever asked has seen it: should the power fail once more, it must stay.
            again_seen = Outage(seen, landed, landed, f"recovery after {outage.moment}")
            self._check(again_seen, seen)
        return landed


def _moment(operation: str, name: str) -> str:
    return f"{operation} {name.removeprefix('perdure.db') or 'database'}"
