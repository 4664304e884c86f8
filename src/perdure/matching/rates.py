"""Rates over the last 30 seconds, counted in buckets of 5."""

from __future__ import annotations

from typing import Final

BUCKET_SECONDS: Final = 5
BUCKETS: Final = 6


class RateWindow:
    """Counts what happened in the current bucket and the five before it."""

    __slots__ = ("_bucket", "_counts", "_first")

    def __init__(self, now: float) -> None:
        self._counts = [0] * BUCKETS
        self._bucket = int(now // BUCKET_SECONDS)
        self._first = now

    def add(self, now: float) -> None:
        bucket = int(now // BUCKET_SECONDS)
        if bucket != self._bucket:
            self._advance(bucket)
        self._counts[bucket % BUCKETS] += 1

    def rate(self, now: float) -> float:
        """Occurrences a second. A window younger than a second counts as one second, so that one task is no burst."""
        bucket = int(now // BUCKET_SECONDS)
        if bucket != self._bucket:
            self._advance(bucket)
        covered = (BUCKETS - 1) * BUCKET_SECONDS + now % BUCKET_SECONDS
        return sum(self._counts) / max(1.0, min(covered, now - self._first))

    def _advance(self, bucket: int) -> None:
        for passed in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
            self._counts[passed % BUCKETS] = 0
        self._bucket = bucket


class Flow:
    """Tasks of one priority that came to a queue and left it."""

    __slots__ = ("added", "dispatched")

    def __init__(self, now: float) -> None:
        self.added = RateWindow(now)
        self.dispatched = RateWindow(now)
