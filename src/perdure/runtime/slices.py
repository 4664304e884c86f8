"""How long the loop may go on with what is due before callers have their turn.

Any number of runs can be due at the same instant. They are woken in slices. A slice lasts a third of the time that
others were at work since the one before (their commits cost the loop about as much again), within narrow bounds: a call
comes by in several turns of the loop, and each may have to wait for a slice. None begins while much is decided and not
written, so that a caller's commit stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.clock import Monotonic

LEAST_SECONDS: Final = 0.001
MOST_SECONDS: Final = 0.005
TURNS: Final = 8
"""Turns of the loop between two slices."""
PAUSE_SECONDS: Final = 0.002
"""How soon to look again whether there is room."""


class Slices:
    """`room` says whether more may be decided now."""

    def __init__(self, monotonic: Monotonic, room: Callable[[], bool]) -> None:
        self._monotonic = monotonic
        self.room = room
        self._ended = 0.0
        self._until = 0.0

    def begin(self) -> None:
        now = self._monotonic.now()
        self._until = now + min(max((now - self._ended) / 3, LEAST_SECONDS), MOST_SECONDS)

    def more(self) -> bool:
        return self.room() and self._monotonic.now() < self._until

    def end(self) -> None:
        self._ended = self._monotonic.now()
