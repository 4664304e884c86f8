"""A structured calendar over local time, which is counted as though it were UTC: whole seconds since 1970."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from temporalio.api.schedule.v1 import Range, StructuredCalendarSpec

from perdure.engine.schedules.texts import LAST_YEAR

_DAY: Final = 86400
_EPOCH: Final = date(1970, 1, 1)
_LAST_DAY: Final = (date(LAST_YEAR, 12, 31) - _EPOCH).days
_FIRST_DAY: Final = (date(1, 1, 2) - _EPOCH).days


def _values(ranges: Iterable[Range]) -> tuple[int, ...]:
    found: set[int] = set()
    for part in ranges:
        found.update(range(part.start, max(part.start, part.end) + 1, part.step or 1))
    return tuple(sorted(found))


def _after(values: tuple[int, ...], least: int) -> int | None:
    """The first value that is not below `least`."""
    place = bisect_left(values, least)
    return values[place] if place < len(values) else None


class Calendar:
    """Immutable, but for what it remembers of searches. An empty field matches nothing, but every year if it is the
    year's."""

    __slots__ = (
        "_days",
        "_found",
        "_hours",
        "_minutes",
        "_months",
        "_seconds",
        "_seen",
        "_since",
        "_weekdays",
        "_whole",
        "_years",
        "steps",
    )

    def __init__(self, spec: StructuredCalendarSpec) -> None:
        self._seconds = _values(spec.second)
        self._minutes = _values(spec.minute)
        self._hours = _values(spec.hour)
        self._days = _values(spec.day_of_month)
        self._months = _values(spec.month)
        self._weekdays = frozenset(_values(spec.day_of_week))
        self._years = frozenset(_values(spec.year))
        self._seen: dict[tuple[int, int], tuple[int, ...]] = {}
        self._since: int | None = None
        self._found: int | None = None  # the first time from `_since` on
        self.steps = 0
        """Years and months looked at so far."""
        whole = 1
        if len(self._seconds) == 60:
            whole = 60
            if len(self._minutes) == 60:
                whole = 3600
                if len(self._hours) == 24:
                    whole = _DAY
        self._whole = whole

    def matches(self, at: int) -> bool:
        day, second = divmod(at, _DAY)
        return self._matches_day(day) and self._time_from(second) == second

    def matched_until(self, at: int) -> int:
        """Given a time that matches: up to where (exclusive) all do for sure."""
        return at - at % self._whole + self._whole

    def first_from(self, at: int) -> int | None:
        """The first matching time that is not before `at`; None when there is none to the end of the last year."""
        since, found = self._since, self._found
        if since is None or at < since or (found is not None and found < at):
            self._since, self._found = at, self._search(at)
        return self._found

    def _search(self, at: int) -> int | None:
        day, second = divmod(at, _DAY)
        if day > _LAST_DAY:
            return None
        if self._matches_day(day) and (found := self._time_from(second)) is not None:
            return day * _DAY + found
        first = self._time_from(0)
        next_day = None if first is None else self._day_from(day + 1)
        return None if first is None or next_day is None else next_day * _DAY + first

    def _time_from(self, second: int) -> int | None:
        """The first matching second of a day from this one on."""
        hour, rest = divmod(second, 3600)
        minute, second = divmod(rest, 60)
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        if not (hours and minutes and seconds):
            return None
        if hour in hours:
            if minute in minutes and (found := _after(seconds, second)) is not None:
                return hour * 3600 + minute * 60 + found
            if (found := _after(minutes, minute + 1)) is not None:
                return hour * 3600 + found * 60 + seconds[0]
        if (found := _after(hours, hour + 1)) is not None:
            return found * 3600 + minutes[0] * 60 + seconds[0]
        return None

    def _matches_day(self, day: int) -> bool:
        if not _FIRST_DAY <= day <= _LAST_DAY:
            return False
        at = _EPOCH + timedelta(days=day)
        if self._years and at.year not in self._years:
            return False
        return at.month in self._months and at.day in self._days_of(at.year, at.month)

    def _day_from(self, day: int) -> int | None:
        if not _FIRST_DAY <= day <= _LAST_DAY:
            return None
        at = _EPOCH + timedelta(days=day)
        for year in range(at.year, LAST_YEAR + 1):
            self.steps += 1
            if self._years and year not in self._years:
                continue
            for month in self._months:
                if year == at.year and month < at.month:
                    continue
                self.steps += 1
                least = at.day if (year, month) == (at.year, at.month) else 1
                found = _after(self._days_of(year, month), least)
                if found is not None:
                    return (date(year, month, found) - _EPOCH).days
        return None

    def _days_of(self, year: int, month: int) -> tuple[int, ...]:
        seen = self._seen.get((year, month))
        if seen is not None:
            return seen
        first = date(year, month, 1)
        length = (date(year + month // 12, month % 12 + 1, 1) - first).days
        before = first.isoweekday() - 1  # of the day before the first, with Sunday as 0
        days = tuple(day for day in self._days if day <= length and (before + day) % 7 in self._weekdays)
        if len(self._seen) > 48:
            self._seen.clear()
        self._seen[year, month] = days
        return days
