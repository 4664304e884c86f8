"""Advice to workers that scale their pollers: one fewer, one more, or none.

Source: the reference server's poller scaling decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perdure.matching.pace import Pace
from perdure.matching.rates import Flow

IDLE_SECONDS: Final = 1.0
"""A poll that waited so long for a new task was one too many."""
OLD_MICROSECONDS: Final = 200_000
"""A backlog older than this could do with one more."""
GROWTH: Final = 1.2
"""So could a queue to which that much more is added than is dispatched."""
DECISIONS_A_SECOND: Final = 10.0
"""For each poller that was there lately; more would be answered before their effect shows."""
LOOK_SECONDS: Final = 1.0
"""How often rates are compared: it costs more than the rest of an answer's bookkeeping."""


class Advice:
    """What a queue has advised lately."""

    __slots__ = ("_growing", "_looked", "_pace")

    def __init__(self, now: float) -> None:
        self._pace = Pace(DECISIONS_A_SECOND, now)
        self._growing = False
        self._looked = now - LOOK_SECONDS

    def may(self, pollers: int, now: float) -> bool:
        """Whether one more decision may go out; it is counted if so."""
        pace = self._pace
        rate = DECISIONS_A_SECOND * max(1, pollers)
        if rate != pace.rate:
            pace.change(rate, now)
        if pace.ready_at(now) > now:
            return False
        pace.take(now)
        return True

    def grows(self, flows: Mapping[int, Flow], now: float) -> bool:
        """Whether clearly more tasks come to the queue than leave it, as it was when last looked at."""
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            added = sum(flow.added.rate(now) for flow in flows.values())
            dispatched = sum(flow.dispatched.rate(now) for flow in flows.values())
            self._growing = dispatched > 0.0 and added / dispatched > GROWTH
        return self._growing
