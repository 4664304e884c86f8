"""Deadlines of calls: one heap and one loop timer for all of them, no task and no future."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from msgspec import Struct

from perdure.clock import Monotonic


class Alarm(Struct, eq=False):
    """A callback due once at a moment of `Monotonic`."""

    due: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class Alarms:
    """Cancelled alarms stay in the heap until due, or until they are the larger half of it."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._heap: list[tuple[float, int, Alarm]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._swept = 64
        self._closed = False

    def at(self, due: float, callback: Callable[[], None]) -> Alarm:
        alarm = Alarm(due, callback)
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, alarm))
        if (self._handle is None or due < self._armed_for) and not self._closed:
            self._arm()
        if len(self._heap) > 2 * self._swept:
            self._sweep()
        return alarm

    def after(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        return self.at(self._monotonic.now() + seconds, callback)

    def close(self) -> None:
        """Nothing rings any more, also not what comes later."""
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._heap.clear()

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._swept = max(64, len(self._heap))

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        due = self._heap[0][0]
        self._armed_for = due
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(max(0.0, due - self._monotonic.now()), self._ring)

    def _ring(self) -> None:
        self._handle = None
        now = self._monotonic.now()
        while self._heap and self._heap[0][0] <= now:
            alarm = heapq.heappop(self._heap)[2]
            callback = alarm.callback
            if callback is not None:
                alarm.callback = None
                try:
                    callback()
                except Exception:
                    self._arm_rest()  # the others must not wait for the next call of `at`
                    raise
        self._arm_rest()

    def _arm_rest(self) -> None:
        if self._heap and not self._closed:
            self._arm()
