"""Calendars as text: the strings of a CalendarSpec and cron strings, read into structured calendars and intervals.

Source: temporal/api/schedule/v1/message.proto, CalendarSpec and ScheduleSpec.cron_string. Every function raises
ValueError with the words that a caller of CreateSchedule reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from temporalio.api.schedule.v1 import CalendarSpec, IntervalSpec, Range, StructuredCalendarSpec

from perdure.engine.cron import DESCRIPTORS
from perdure.engine.times import DAY, HOUR, MINUTE, SECOND, set_duration

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
COMMENT_BYTES: Final = 200

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a calendar: its name in texts, the values it takes, what an empty string stands for, and the names
    of values (the first for `first`), which may be shortened to `letters` of them."""

    name: str
    attribute: str
    first: int
    last: int
    default: str
    names: tuple[str, ...] = ()
    letters: int = 0


DAY_OF_WEEK: Final = Field("DayOfWeek", "day_of_week", 0, 6, "*", _DAYS, 2)
YEAR: Final = Field("Year", "year", FIRST_YEAR, LAST_YEAR, "*")
FIELDS: Final = (
    Field("Second", "second", 0, 59, "0"),
    Field("Minute", "minute", 0, 59, "0"),
    Field("Hour", "hour", 0, 23, "0"),
    Field("DayOfMonth", "day_of_month", 1, 31, "*"),
    Field("Month", "month", 1, 12, "*", _MONTHS, 3),
    DAY_OF_WEEK,
    YEAR,
)
SUNDAY_AGAIN: Final = 7
"""In strings, Sunday is 0 and 7."""

_CRON_ORDER: Final = {
    5: ("minute", "hour", "day_of_month", "month", "day_of_week"),
    6: ("minute", "hour", "day_of_month", "month", "day_of_week", "year"),
    7: ("second", "minute", "hour", "day_of_month", "month", "day_of_week", "year"),
}
_PIECE: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)")
_UNITS: Final = {
    "ns": 0.001, "us": 1, "µs": 1, "μs": 1, "ms": 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY,
}  # fmt: skip
_LONGEST: Final = (1 << 63) // 1000
"""Microseconds: Go's durations are nanoseconds in 64 bits."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron string says one of the two, and perhaps the zone of the whole specification."""

    calendar: StructuredCalendarSpec | None
    interval: IntervalSpec | None
    zone: str


def parse_cron(text: str) -> Cron:
    """Five fields as cron has them; six: with a year at the end; seven: with seconds before all. `@hourly` and such,
    `@every 90m/5m` (interval and phase). `TZ=` or `CRON_TZ=` may come first, `# a comment` last."""
    text = text.strip()
    zone = ""
    if text.startswith(("TZ=", "CRON_TZ=")):
        name, space, text = text.partition(" ")
        if not space:
            raise ValueError("CronString has time zone but missing fields")
        zone = name.partition("=")[2]
    text, _, comment = text.partition("#")
    text = text.strip()
    if text.startswith("@every"):
        return Cron(None, _every(text), zone)
    words = DESCRIPTORS.get(text, text).split()
    order = _CRON_ORDER.get(len(words))
    if order is None:
        raise ValueError("CronString does not have 5-7 fields")
    calendar = CalendarSpec()
    calendar.comment = comment.strip()
    for attribute, word in zip(order, words, strict=True):
        setattr(calendar, attribute, word)
    return Cron(parse_calendar(calendar), None, zone)


def _every(text: str) -> IntervalSpec:
    words = text.split()
    if len(words) != 2 or words[0] != "@every":
        raise ValueError("CronString does not have interval after @every")
    length, slash, phase = words[1].partition("/")
    interval = IntervalSpec()
    set_duration(interval.interval, parse_duration(length))
    if slash:
        set_duration(interval.phase, parse_duration(phase))
    return interval


def parse_duration(text: str) -> int:
    """Microseconds of a duration as Go writes them (`1h30m`), where `d` is 24 hours."""
    sign = -1 if text.startswith("-") else 1
    bare = text.removeprefix("-").removeprefix("+")
    if bare == "0":
        return 0
    pieces = _PIECE.findall(bare)
    if not pieces or "".join(number + unit for number, unit in pieces) != bare:
        raise ValueError(f'time: invalid duration "{text}"')
    length = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if length > _LONGEST:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * round(length)


def parse_calendar(calendar: CalendarSpec) -> StructuredCalendarSpec:
    structured = StructuredCalendarSpec()
    structured.comment = calendar.comment
    wrong = []
    for field in FIELDS:
        try:
            getattr(structured, field.attribute).extend(_ranges(getattr(calendar, field.attribute), field))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("invalid calendar spec: " + ", ".join(wrong))
    return structured


def _ranges(text: str, field: Field) -> list[Range]:
    text = text.strip() or field.default
    if text == "*" and field is YEAR:
        return []  # all years are said by saying none
    ranges: list[Range] = []
    for part in text.split(","):
        part, *steps = part.split("/")
        if len(steps) > 1:
            raise ValueError(f"{field.name} has too many slashes")
        step = _step(steps[0], field) if steps else 1
        start, end = field.first, field.last
        if part != "*":
            first, *lasts = part.split("-")
            if len(lasts) > 1:
                raise ValueError(f"{field.name} has too many dashes")
            start = _value(first, field)
            if lasts:
                end = _value(lasts[0], field)
                if end < start:
                    raise ValueError(f"{field.name} End is before Start or not in range {_bounds(field)}")
            elif not steps:
                end = start
        if end == SUNDAY_AGAIN and field is DAY_OF_WEEK:
            if (end - start) % step == 0:
                ranges.append(_range(0, 0, 1))
            if start == SUNDAY_AGAIN:
                continue
            end = field.last
        ranges.append(_range(start, end, step))
    return ranges


def _range(start: int, end: int, step: int) -> Range:
    made = Range()
    made.start = start
    made.end = end
    made.step = step
    return made


def _step(text: str, field: Field) -> int:
    if not text:
        raise ValueError(f"{field.name} is missing step value")
    step = _number(text)
    if step < 1:
        raise ValueError(f"{field.name} has invalid Step")
    return step


def _value(text: str, field: Field) -> int:
    text = text.strip()
    if field.names and len(text) >= field.letters:
        for place, name in enumerate(field.names):
            if name.startswith(text.lower()):
                return field.first + place
    value = _number(text)
    last = SUNDAY_AGAIN if field is DAY_OF_WEEK else field.last
    if not field.first <= value <= last:
        raise ValueError(f"{field.name} is not in range [{field.first}-{last}]")
    return value


def _bounds(field: Field) -> str:
    return f"[{field.first}-{field.last}]"


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
