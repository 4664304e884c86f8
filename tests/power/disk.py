"""What an operating system and its disk may have kept of a few files when the power goes.

The model is of a page cache over a disk:

* `sync` of a file makes what was written to it so far durable. Nothing else does.
* What was written since the last sync is kept, or not, sector by sector (512 bytes) or page by page (4 KiB), in any
  order: a later write may be on the disk and an earlier one not. A sector holds one of the contents it had in the cache
  since the sync, or the beginning of one and the end of another (a torn write).
* The length is one of the lengths since the sync. Where the file is longer than what was kept, there are zeros, noise,
  or what another file left on the disk.
* A name is made, or removed, for good when its directory is synced. Until then it may be there or not, whatever
  happened to the contents.
* A sync that fails may have written some of it. The rest counts as clean: it can still be read, and no later sync
  writes it. Only writing it again makes it dirty again. Whoever else has the file open hears of the failure at his own
  next sync. (What Linux does, since 4.13.)

What is assumed is what SQLite assumes (https://sqlite.org/atomiccommit.html section 2, https://sqlite.org/psow.html):
a sync that succeeds tells the truth; bytes outside the range of a write do not change ("powersafe overwrite", SQLite's
default on Unix: two contents of a sector differ only where it was written, so a torn one keeps the rest); bytes at rest
do not rot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

SECTOR = 512
PAGE = 4096

T = TypeVar("T")

Image = dict[str, bytes]
"""Names of files and their contents."""


@dataclass
class File:
    """One file's contents, whatever names it has."""

    disk: Disk
    durable: bytearray = field(default_factory=bytearray)
    cache: bytearray = field(default_factory=bytearray)
    """What reading it gives."""
    dirty: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    """Sector number: (moment, contents) since the last sync."""
    lengths: list[tuple[int, int]] = field(default_factory=list)
    """(moment, length) since the last sync."""
    failures: int = 0
    """How many syncs failed."""

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.cache):
            self.cache += bytes(end - len(self.cache))
        self.lengths.append((self.disk.moment, len(self.cache)))
        self.cache[offset:end] = data
        for sector in range(offset // SECTOR, -(-end // SECTOR)):
            content = bytes(self.cache[sector * SECTOR : (sector + 1) * SECTOR])
            self.dirty.setdefault(sector, []).append((self.disk.moment, content))

    def truncate(self, length: int) -> None:
        for sector in range(length // SECTOR, -(-len(self.cache) // SECTOR)):
            content = bytes(self.cache[sector * SECTOR : min(length, (sector + 1) * SECTOR)])
            self.dirty.setdefault(sector, []).append((self.disk.moment, content))
        del self.cache[length:]
        self.cache += bytes(length - len(self.cache))
        self.lengths.append((self.disk.moment, length))

    def sync(self) -> None:
        length = self.lengths[-1][1] if self.lengths else len(self.durable)
        del self.durable[length:]
        self.durable += bytes(length - len(self.durable))
        for sector in self.dirty:
            part = slice(sector * SECTOR, (sector + 1) * SECTOR)
            self.durable[part] = self.cache[part]
        self._is_clean()

    def fail_to_sync(self, chance: Random) -> None:
        self.failures += 1
        if chance.random() < 0.5:  # else nothing was written
            self.durable[:] = self.at_power_loss(chance, Mood(chance, self.disk.moment))
        self._is_clean()

    def at_power_loss(self, chance: Random, mood: Mood) -> bytes:
        content = bytearray(self.durable)
        length = _latest(self.lengths, mood.moment(chance), len(self.durable))
        if length > len(content):
            content += self._leftovers(chance, len(content), length)
        unit = mood.unit // SECTOR
        moments: dict[int, int] = {}
        for sector, contents in self.dirty.items():
            place = sector // unit
            if place not in moments:
                moments[place] = mood.moment(chance)
            kept = _latest(contents, moments[place], None)
            if kept is not None and mood.tears and chance.random() < 0.1:
                other = _latest(contents, mood.moment(chance), bytes(self.durable[sector * SECTOR :][:SECTOR]))
                split = chance.randrange(SECTOR)
                kept = kept[:split] + other[split:]
            if kept is not None:
                self._keep(content, sector, kept)
        del content[length:]
        return bytes(content)

    def _leftovers(self, chance: Random, start: int, end: int) -> bytes:
        match chance.randrange(3):
            case 0:
                return bytes(end - start)
            case 1:
                return chance.randbytes(end - start)
            case _:
                old = self.disk.scrap[start:end]
                return old + bytes(end - start - len(old))

    def _is_clean(self) -> None:
        self.dirty.clear()
        self.lengths.clear()

    @staticmethod
    def _keep(content: bytearray, sector: int, kept: bytes) -> None:
        start = sector * SECTOR
        if len(content) < start:
            content += bytes(start - len(content))
        content[start : start + len(kept)] = kept


def _latest(history: list[tuple[int, T]], moment: int, before: T) -> T:
    for then, value in reversed(history):
        if then <= moment:
            return value
    return before


class Mood:
    """How a disk was getting on with its work when the power went. `now` is the moment of that."""

    def __init__(self, chance: Random, now: int) -> None:
        self._now = now
        self._kind = chance.choice(["idle", "eager", "orderly", "any", "mostly old", "mostly new"])
        self._reached = now - min(int(chance.expovariate(1 / 8)), now)
        self.unit = chance.choice([SECTOR, PAGE])
        self.tears = chance.random() < 0.3

    def moment(self, chance: Random) -> int:
        """Up to when a part of a file is on the disk, beyond what was synced."""
        match self._kind:
            case "idle":
                return -1
            case "eager":
                return self._now
            case "orderly":
                return self._reached
            case "mostly old":
                return self._now if chance.random() < 0.1 else -1
            case "mostly new":
                return self._now if chance.random() < 0.9 else -1
            case _:
                return chance.choice([-1, self._now, self._now - min(int(chance.expovariate(1 / 8)), self._now)])


class Disk:
    """Files by name. `watch` is called before each operation that changes or syncs something, with the operation
    ("write", "sync", "truncate", "create", "delete") and the file's name: it may look at what a loss of power would
    leave now, or raise."""

    def __init__(self, image: Image | None = None) -> None:
        self.moment = 0
        self.watch: Callable[[str, str], None] = lambda operation, name: None
        self.lock = threading.RLock()
        self.chance = Random(0)
        """What a sync that fails leaves behind."""
        self.scrap = b""
        self._names: dict[str, File] = {}
        self._durable_names: dict[str, list[File | None]] = {}
        """Name: what it stands for on the disk, then what it came to stand for since its directory was synced."""
        for name, content in (image or {}).items():
            file = File(self, bytearray(content), bytearray(content))
            self._names[name] = file
            self._durable_names[name] = [file]

    def copy(self) -> Disk:
        """The same disk and cache, for another life of the machine: that of a process which was killed just now."""
        other = Disk()
        other.moment, other.scrap = self.moment, self.scrap
        twins: dict[int, File] = {}

        def twin(file: File) -> File:
            if id(file) not in twins:
                dirty = {sector: list(contents) for sector, contents in file.dirty.items()}
                twins[id(file)] = File(other, file.durable[:], file.cache[:], dirty, file.lengths[:])
            return twins[id(file)]

        other._names = {name: twin(file) for name, file in self._names.items()}
        for name, stood_for in self._durable_names.items():
            other._durable_names[name] = [None if file is None else twin(file) for file in stood_for]
        return other

    @property
    def contents(self) -> Image:
        """What the files hold for those who read them now."""
        return {name: bytes(file.cache) for name, file in self._names.items()}

    def about_to(self, operation: str, name: str) -> None:
        self.moment += 1
        self.watch(operation, name)

    def file(self, name: str) -> File:
        return self._names[name]

    def create(self, name: str) -> File:
        self.about_to("create", name)
        file = self._names[name] = File(self)
        self._durable_names.setdefault(name, [None]).append(file)
        return file

    def delete(self, name: str) -> None:
        self.scrap = bytes(self._names.pop(name).cache)
        self._durable_names[name].append(None)

    def sync_directory(self) -> None:
        for name, stood_for in self._durable_names.items():
            self._durable_names[name] = stood_for[-1:]

    def at_power_loss(self, chance: Random) -> Image:
        """One of the many states that the disk may be in if the power fails now."""
        mood = Mood(chance, self.moment)
        image: Image = {}
        for name, stood_for in self._durable_names.items():
            file = chance.choice(stood_for)
            if file is not None:
                image[name] = file.at_power_loss(chance, mood)
        return image
