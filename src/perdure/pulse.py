"""How well a server's event loop breathes: by how much it is late, and what the garbage collector holds up.

Everything a server does goes through one loop, so its lateness is what every caller waits at least. A clock strikes
every few milliseconds; how late it is heard is the lag. The same again by the processor time that the loop's own thread
took meanwhile tells apart what this server did from what others on its machine did.
"""

from __future__ import annotations

import asyncio
import gc
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final

from perdure.clock import Monotonic

STRIKE_SECONDS: Final = 0.005
BOUNDS: Final = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
"""Seconds: the upper ends of a histogram's buckets."""
_LONGEST: Final = 10.0
"""A stall is counted as no longer than this."""


class Histogram:
    """Durations in seconds, by bucket."""

    __slots__ = ("counts", "largest", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
        if seconds > self.largest:
            self.largest = seconds


class Pulse:
    """`thread_seconds` is the processor time of the calling thread. Costs some tenths of a percent of a processor while
    it runs, nothing otherwise."""

    def __init__(self, monotonic: Monotonic, thread_seconds: Callable[[], float]) -> None:
        self.lag = Histogram()
        """At each strike of the clock, how late it was heard."""
        self.own_lag = Histogram()
        """As much of it as the loop's own thread was running."""
        self.collections = Histogram()
        """Pauses for the garbage collector."""
        self._monotonic = monotonic
        self._thread_seconds = thread_seconds
        self._loop: asyncio.AbstractEventLoop
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._spent = 0.0
        self._collecting = 0.0

    def start(self) -> None:
        """Measure the running loop from now on."""
        self._loop = asyncio.get_running_loop()
        gc.callbacks.append(self._collected)
        self._wind()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            gc.callbacks.remove(self._collected)

    def _wind(self) -> None:
        self._due = self._monotonic.now() + STRIKE_SECONDS
        self._spent = self._thread_seconds()
        self._handle = self._loop.call_later(STRIKE_SECONDS, self._strike)

    def _strike(self) -> None:
        late = max(0.0, self._monotonic.now() - self._due)
        own = min(late, self._thread_seconds() - self._spent)
        self.lag.add(late)
        self.own_lag.add(own)
        # A stall hides the strikes that fell into it: whoever had come then would have waited for the rest of it.
        for _ in range(int(min(late, _LONGEST) / STRIKE_SECONDS)):
            late -= STRIKE_SECONDS
            self.lag.add(late)
            self.own_lag.add(max(0.0, min(late, own)))
        self._wind()

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._collecting = self._monotonic.now()
        else:
            self.collections.add(self._monotonic.now() - self._collecting)
