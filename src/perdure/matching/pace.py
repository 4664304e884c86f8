"""Rate limits: how often something may happen, with short bursts.

A limit of `rate` a second lets a burst of ceil(rate), at least one, through at once, and never more than that burst and
`rate` a second beyond it in any window of time. It is kept as one number, the moment at which all that was let
through would have been through at an even pace (the generic cell rate algorithm), so that nothing adds up over time.
Times are seconds of Monotonic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Final

SYSTEM_RATE: Final = 100_000.0
"""What is not limited is shown with this rate; limits beyond it are none."""


class Pace:
    __slots__ = ("_burst", "_even", "_interval", "_slack", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._even = now
        self._set(rate)

    def ready_at(self, now: float) -> float:
        """When the next one may pass: `now` or earlier if it may already; never, with a rate of zero."""
        return inf if self.rate <= 0.0 else self._even - self._slack

    def take(self, now: float) -> None:
        """One passes."""
        self._even = max(now, self._even) + self._interval

    def rested(self, now: float) -> bool:
        """Nothing that passed counts any more: it is as good as new."""
        return self._even <= now

    def give_back(self) -> None:
        """One that was let pass did not."""
        self._even -= self._interval

    def change(self, rate: float, now: float) -> None:
        """What may pass at once is no more than it was: a new rate is no new burst."""
        used = max(0.0, self._even - now) / self._interval if self._interval else 0.0
        left = min(max(0.0, self._burst - used), max(1, ceil(rate)))
        self.rate = rate
        if rate > 0.0:  # while nothing passes, the last rate tells what has passed
            self._set(rate)
            self._even = now + (self._burst - left) * self._interval

    def _set(self, rate: float) -> None:
        self._interval = 1.0 / rate if rate > 0.0 else 0.0
        self._burst = max(1, ceil(rate))
        self._slack = (self._burst - 1) * self._interval


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What UpdateTaskQueueConfig sets of a queue that matters here. Rates in tasks a second, None: no limit."""

    rate: float | None = None
    key_rate: float | None = None
    """For each fairness key, times its weight."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Fairness weights that go before those of tasks, by fairness key."""


UNSET: Final = QueueSettings()

# Where a queue's rate comes from, as numbers of RateLimitSource.
BY_API: Final = 1
BY_WORKER: Final = 2
BY_SYSTEM: Final = 3


def rate_of(settings: QueueSettings, worker_rate: float | None) -> tuple[float, int]:
    """What limits a queue, in tasks a second, and where that comes from: settings go before what workers say."""
    if settings.rate is not None:
        return min(settings.rate, SYSTEM_RATE), BY_API
    if worker_rate is not None:
        return min(worker_rate, SYSTEM_RATE), BY_WORKER
    return SYSTEM_RATE, BY_SYSTEM
