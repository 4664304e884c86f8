"""The three things that are passed in and found nowhere else: time, monotonic time, and entropy.

A lint rule bans `time.*`, `datetime.now`, `uuid4`, `random`, `asyncio.sleep` and `loop.time` outside this module, so
that a seed can replay a whole server.
"""

from __future__ import annotations

import os
import random
import re
import time
import uuid
from typing import Final, Protocol

SECOND = 1_000_000
"""One second in microseconds, the unit of all engine times."""


class Time(Protocol):
    """What stamps events and sets deadlines of workflows: wall, skipping or simulated."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC. Never goes back."""


class Monotonic(Protocol):
    """What measures calls, poller liveness and rates. Never skips."""

    def now(self) -> float:
        """Seconds since an arbitrary moment."""


class Entropy(Protocol):
    """IDs and jitter."""

    def uuid(self) -> str:
        """A random UUID (version 4) in its canonical text form."""

    def jitter(self) -> float:
        """A number in [0, 1)."""


class WallTime:
    """The system's clock, held so that it never goes back."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        now = time.time_ns() // 1000
        if now < self._last:
            return self._last
        self._last = now
        return now


FOREVER = 1 << 62
"""A moment that never comes."""


class SkippingTime:
    """Virtual time: the wall's pace from a point that jumps ahead. `runtime/skipping.py` decides when.

    It never goes back, and it never runs past the moment it is held at (the earliest deadline that has not been carried
    out yet), so that whatever is due happens exactly when it is due, however late the loop gets to it.
    """

    LAST: Final = 221_845_392_000 * SECOND
    """9000-01-01T00:00:00Z: it is not to jump further. Timestamps end with the year 9999, and what is set by this
    clock needs room: the longest wait that a client can ask for is `@every` 292 years, all others are capped at a
    century, and deadlines are sums of two or three of them."""

    def __init__(self, wall: Time | None = None) -> None:
        self._wall = wall or WallTime()
        self._offset = 0
        self._held_at = FOREVER
        self._frozen_at: int | None = None
        self._last = 0

    @property
    def offset(self) -> int:
        """Microseconds that this time is ahead of the wall; it grows with every jump."""
        return self._offset

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def now(self) -> int:
        now = self._wall.now() + self._offset if self._frozen_at is None else self._frozen_at
        if now > self._held_at:
            now = self._held_at
        if now < self._last:
            return self._last
        self._last = now
        return now

    def resume(self, offset: int) -> None:
        """Take up the offset of an earlier process, before anything was stamped."""
        self._offset = max(self._offset, offset)

    def hold(self, at: int) -> None:
        """Do not run past `at` until told otherwise."""
        self._held_at = at

    def jump(self, to: int) -> None:
        """It is now `to`, exactly, until `hold` gives a later moment. A moment that has passed changes nothing."""
        if to <= self.now():
            return
        if self._frozen_at is None:
            self._offset = max(self._offset, to - self._wall.now())
        else:
            self._frozen_at = to
        self._held_at = to

    def freeze(self) -> None:
        """Stand still but for jumps."""
        if self._frozen_at is None:
            self._frozen_at = self.now()

    def thaw(self) -> None:
        """Run on from where it stood."""
        if self._frozen_at is not None:
            self._offset = self._frozen_at - self._wall.now()
            self._frozen_at = None


class SystemMonotonic:
    now = staticmethod(time.monotonic)


def thread_seconds() -> float:
    """Processor time that the calling thread has taken."""
    return time.thread_time()


_MANY = 256
_RANDOM = int.from_bytes(bytes.fromhex("ffffffffffff0fff3fffffffffffffff") * _MANY)
_VERSION_4 = int.from_bytes(bytes.fromhex("00000000000040008000000000000000") * _MANY)
_PARTS = re.compile("(.{8})(.{4})(.{4})(.{4})(.{12})")


class SystemEntropy:
    """IDs are made 256 at a time: a call for each to draw its random bytes costs more than the ID."""

    def __init__(self) -> None:
        self._drawn: list[tuple[str, ...]] = []

    def uuid(self) -> str:
        if not self._drawn:
            number = int.from_bytes(os.urandom(_MANY * 16)) & _RANDOM | _VERSION_4
            self._drawn = _PARTS.findall(number.to_bytes(_MANY * 16).hex())
        return "-".join(self._drawn.pop())

    def jitter(self) -> float:
        return random.random()


class SeededEntropy:
    """Reproducible IDs and jitter, for tests and simulation."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def jitter(self) -> float:
        return self._random.random()
