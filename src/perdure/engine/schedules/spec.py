"""When a schedule is due: the next time of a canonical specification.

*Nominal* times are whole seconds that a calendar or an interval names and none of the exclusions does. An *action time*
is a nominal time plus its jitter: a delay that depends on nothing but the schedule and that time, and that never
reaches the following one. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from temporalio.api.schedule.v1 import ScheduleSpec

from perdure.engine.schedules.calendars import Calendar
from perdure.engine.schedules.texts import LAST_YEAR
from perdure.engine.schedules.zones import Zone, load_zone
from perdure.engine.times import MAX_DURATION, SECOND, duration_us, timestamp_us

_MILLISECOND: Final = SECOND // 1000
_END: Final = 4_133_980_800
"""Seconds: the first moment of the year after LAST_YEAR."""
_EXCLUSIONS: Final = 10_000
"""So many candidates in a row may be excluded before a specification is called unusable."""
MOST_WORK: Final = 50_000
"""Calendars, intervals and exclusions that may be asked, and their years and months, to find one time: less than a
tenth of a second."""
ENOUGH_WORK: Final = 50_000
"""After which those who look for many times leave it at those they found, or go on later."""

assert LAST_YEAR == 2100, "_END is its end"


class TooManyExclusions(Exception):
    def __init__(self) -> None:
        super().__init__(
            "the schedule calendar specification has too many exclusions. Please modify the specification."
        )


class Due(NamedTuple):
    nominal: int
    actual: int
    """The action time."""


class Spec:
    """A canonical specification, ready to be asked. The zone must be one that loads (see `canonical`)."""

    __slots__ = (
        "_barren",
        "_calendars",
        "_exclusions",
        "_first",
        "_intervals",
        "_jitter",
        "_last",
        "_most",
        "_zone",
        "work",
    )

    def __init__(self, spec: ScheduleSpec) -> None:
        self._zone: Zone = load_zone(spec.timezone_name, spec.timezone_data)
        self._calendars = [Calendar(calendar) for calendar in spec.structured_calendar]
        self._exclusions = [Calendar(calendar) for calendar in spec.exclude_structured_calendar]
        self._intervals = [
            (duration_us(each.interval) // SECOND, duration_us(each.phase) // SECOND) for each in spec.interval
        ]
        self._jitter = max(0, min(duration_us(spec.jitter), MAX_DURATION))
        self._first = -(-timestamp_us(spec.start_time) // SECOND) if spec.HasField("start_time") else None
        last = timestamp_us(spec.end_time) // SECOND if spec.HasField("end_time") else _END - 1
        self._last = min(last, _END - 1)
        self.work = 0
        """As MOST_WORK counts it, so far."""
        self._most = 0
        self._barren: deque[tuple[int, int]] = deque(maxlen=8)
        """Where searches were given up: from this second up to that one all are excluded."""

    def next_due(self, after: int, seed: bytes) -> Due | None:
        """The first action time later than `after`; `seed` says whose jitter it is. Raises TooManyExclusions."""
        self._most = self.work + MOST_WORK
        if self._jitter:
            begun = self._last_nominal(after)
            if begun is not None:
                due = self._with_jitter(begun, seed)
                if due.actual > after:
                    return due
        nominal = self._next_nominal(after // SECOND + 1)
        return None if nominal is None else self._with_jitter(nominal, seed)

    def all_due(self, after: int, until: int, seed: bytes) -> Iterator[Due]:
        """Action times in (after, until], in order, as far as they are found with reasonable work."""
        enough = self.work + ENOUGH_WORK
        due = self.next_due(after, seed)
        while due is not None and due.actual <= until:
            yield due
            if self.work > enough:
                return
            due = self.next_due(due.actual, seed)

    def next_nominal(self, least: int, last: int) -> int | None:
        """The first nominal time in [least, last]. Raises TooManyExclusions."""
        self._most = self.work + MOST_WORK
        found = self._next_nominal(-(-least // SECOND), last // SECOND)
        return None if found is None else found * SECOND

    # ---- jitter
    def _last_nominal(self, at: int) -> int | None:
        """The last nominal second up to `at` whose jitter may reach beyond it."""
        now = at // SECOND
        most = self._jitter // SECOND + 1
        back = 1
        while not self._any_within(now - back + 1, now):
            if back == most or self.work > self._most:
                return None
            back = min(2 * back, most)
        low, high = now - back + 1, now + 1  # the last one is not before `low`, and is before `high`
        while high - low > 1:
            middle = (low + high) // 2
            if self._any_within(middle, now):
                low = middle
            else:
                high = middle
        return low

    def _any_within(self, first: int, last: int) -> bool:
        found = self._next_nominal(first)
        return found is not None and found <= last

    def _with_jitter(self, nominal: int, seed: bytes) -> Due:
        at = nominal * SECOND
        if not self._jitter:
            return Due(at, at)
        room = self._jitter
        following = self._candidate(nominal + 1)
        if following is not None:
            room = min(room, (following - nominal) * SECOND)
        digest = blake2b(nominal.to_bytes(8, "big", signed=True), key=seed[:64], digest_size=8, salt=b"jitter")
        share = int.from_bytes(digest.digest(), "big")
        return Due(at, at + (share * (room // _MILLISECOND) >> 64) * _MILLISECOND)

    # ---- nominal times, in seconds
    def _next_nominal(self, least: int, last: int = _END) -> int | None:
        """The first nominal second in [least, last]."""
        if self._first is not None:
            least = max(least, self._first)
        first = least
        if any(since <= first < until <= last for since, until in self._barren):
            raise TooManyExclusions
        for _ in range(_EXCLUSIONS):
            found = self._candidate(least)
            if found is None or found > last:
                return None
            least = self._excluded_until(found)
            if least == found:
                return found
            if self.work > self._most:
                break
        self._barren.append((first, least))
        raise TooManyExclusions

    def _candidate(self, least: int) -> int | None:
        """The same without exclusions."""
        best = self._last + 1
        self.work += len(self._intervals) + len(self._calendars)
        for length, phase in self._intervals:
            best = min(best, least + (phase - least) % length)
        for calendar in self._calendars:
            found = self._calendar_time(calendar, least, best)
            if found is not None:
                best = min(best, found)
        return best if best <= self._last else None

    def _calendar_time(self, calendar: Calendar, least: int, best: int) -> int | None:
        """The first time of a calendar from `least` on, if it is before `best`.

        Each stretch of constant offset is searched by itself. What was found in one and lies beyond its end is what the
        next one finds too, unless its clocks were put back behind where the search began.
        """
        searched = None
        found = None
        while least < best:
            offset, end = self._zone.stretch(least)
            local = least + offset
            if searched is None or local < searched or (found is not None and local > found):
                before = calendar.steps
                found = calendar.first_from(local)
                self.work += calendar.steps - before
                searched = local
            if found is not None and (end is None or found - offset < end):
                return found - offset
            if end is None or (found is None and not _repeats(self._zone, end, offset)):
                return None
            least = end
        return None

    def _excluded_until(self, at: int) -> int:
        """`at` itself when no exclusion names it, else a later second up to which all are excluded."""
        if not self._exclusions:
            return at
        offset, end = self._zone.stretch(at)
        self.work += len(self._exclusions)
        for calendar in self._exclusions:
            if calendar.matches(at + offset):
                until = calendar.matched_until(at + offset) - offset
                return until if end is None else min(until, end)
        return at


def _repeats(zone: Zone, at: int, before: int) -> bool:
    """Whether the clocks are put back there: what was past comes again."""
    return zone.stretch(at)[0] < before


@lru_cache(maxsize=4096)
def compile_spec(stored: bytes) -> Spec:
    """By its serialised canonical form: most schedules of a kind share theirs."""
    return Spec(ScheduleSpec.FromString(stored))
