"""When the open batch is sealed: at the end of this turn of the event loop, or a little later when there is a crowd.

A commit costs the disk the same for one run and for fifty. While few are at work it is not worth waiting for company;
while many are, those who come in the next milliseconds would each wait for a commit of their own. There is no timer
otherwise: while a batch is written, the next one fills.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.clock import Monotonic
from perdure.runtime.open_batch import OpenBatch

CROWD = 4
"""Runs written in a window from which on a commit is worth waiting for company."""
WINDOW_SECONDS = 0.02
PAUSE_SECONDS = 0.005
GLANCE_SECONDS = 0.002
GATHER_RUNS = 64
"""A batch waits no longer than the pause, not when a glance saw nobody join, and not beyond so many runs."""


class Gathering:
    """`seal` is called when it is time."""

    __slots__ = (
        "_busy_before",
        "_gathered",
        "_gathers",
        "_monotonic",
        "_patience",
        "_seal",
        "_window_began",
        "batch",
        "busy_now",
        "enough",
        "glance",
        "pause",
        "scheduled",
    )

    def __init__(self, batch: OpenBatch, monotonic: Monotonic, seal: Callable[[], None], gathers: bool) -> None:
        self.batch = batch
        """The open one."""
        self._monotonic = monotonic
        self._seal = seal
        self._gathers = gathers
        self.scheduled = False
        """It will be sealed, or has to wait for the one that is being written."""
        self.pause: asyncio.TimerHandle | None = None
        self.enough = 0
        """With so many runs the pause is over."""
        self._patience = 0.0
        self._gathered = -1
        self.glance = GLANCE_SECONDS
        self.busy_now: set[str] = set()
        """Runs that were decided on in this window."""
        self._busy_before = 0
        self._window_began = 0.0

    def schedule(self) -> None:
        """Seal soon: at the end of this turn of the event loop, or a little later when many runs are being worked
        on."""
        if self.scheduled:
            return
        self.scheduled = True
        loop = asyncio.get_running_loop()
        now = self._monotonic.now()
        if now - self._window_began > WINDOW_SECONDS:
            self._busy_before = len(self.busy_now) if now - self._window_began <= 2 * WINDOW_SECONDS else 0
            self.busy_now.clear()
            self._window_began = now
        busy = max(self._busy_before, len(self.busy_now))
        if busy < CROWD or not self._gathers:
            loop.call_soon(self._seal)
        else:
            self.enough = min(GATHER_RUNS, busy)
            self._patience = now + PAUSE_SECONDS
            self._gathered = -1
            self._gather()

    def _gather(self) -> None:
        """Wait a little longer while others keep coming."""
        gathered = len(self.batch.runs) + len(self.batch.followers)
        if gathered == self._gathered or self._monotonic.now() >= self._patience:
            self._seal()
            return
        self._gathered = gathered
        self.pause = asyncio.get_running_loop().call_later(self.glance, self._gather)

    def hasten(self) -> None:
        """A task left the backlog: pollers are scarce, and each one that waits for this commit holds up the rest."""
        self.glance = GLANCE_SECONDS / 2

    def seal_early(self) -> None:
        """The batch has gathered what was hoped for."""
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None
            asyncio.get_running_loop().call_soon(self._seal)
