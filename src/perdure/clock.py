"""The three things that are passed in and found nowhere else: time, monotonic time, and entropy.

A lint rule bans `time.*`, `datetime.now`, `uuid4`, `random`, `asyncio.sleep` and `loop.time` outside this module, so that a
seed can replay a whole server.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from typing import Protocol

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


class SystemMonotonic:
    def now(self) -> float:
        return time.monotonic()


class SystemEntropy:
    def uuid(self) -> str:
        return str(uuid.UUID(bytes=os.urandom(16), version=4))

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
