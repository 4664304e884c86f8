"""The one stored form of a specification: structured calendars and intervals, every range with start, end and step.

Source: temporal/api/schedule/v1/message.proto, ScheduleSpec. Errors are ValueError, with the words that follow
"Invalid schedule spec: ".
"""

from __future__ import annotations

from typing import Final

from temporalio.api.schedule.v1 import IntervalSpec, ScheduleSpec, StructuredCalendarSpec

from perdure.engine.schedules.texts import COMMENT_BYTES, FIELDS, Field, parse_calendar, parse_cron
from perdure.engine.schedules.zones import load_zone
from perdure.engine.times import SECOND, duration_us, make_legal

SPEC_BYTES: Final = 256 * 1024
MAX_PARTS: Final = 1000
"""Calendars, cron strings, intervals and exclusions: all of them are asked for each time."""
_PARTS: Final = (
    "structured_calendar",
    "exclude_structured_calendar",
    "calendar",
    "exclude_calendar",
    "cron_string",
    "interval",
)
_CONFLICT: Final = "conflicting timezone names"


def canonical_spec(wanted: ScheduleSpec) -> ScheduleSpec:
    """A new specification that means the same, checked as a whole. Raises ValueError."""
    size = wanted.ByteSize()
    if size > SPEC_BYTES:
        raise ValueError(f"specification has {size} bytes, the limit is {SPEC_BYTES}")
    parts = sum(len(getattr(wanted, name)) for name in _PARTS)
    if parts > MAX_PARTS:
        raise ValueError(f"specification has {parts} calendars and intervals, the limit is {MAX_PARTS}")
    spec = ScheduleSpec()
    spec.CopyFrom(wanted)
    del spec.calendar[:]
    del spec.exclude_calendar[:]
    del spec.cron_string[:]
    spec.structured_calendar.extend(parse_calendar(calendar) for calendar in wanted.calendar)
    spec.exclude_structured_calendar.extend(parse_calendar(calendar) for calendar in wanted.exclude_calendar)
    _take_cron(spec, wanted)
    for calendar in spec.structured_calendar:
        _check_calendar(calendar)
    for calendar in spec.exclude_structured_calendar:
        _check_calendar(calendar)
    for interval in spec.interval:
        _check_interval(interval)
    load_zone(spec.timezone_name, spec.timezone_data)
    make_legal(spec, "start_time", "end_time", "jitter")
    return spec


def _take_cron(spec: ScheduleSpec, wanted: ScheduleSpec) -> None:
    zones = set()
    for text in wanted.cron_string:
        cron = parse_cron(text)
        zones.add(cron.zone)
        if cron.calendar is not None:
            spec.structured_calendar.append(cron.calendar)
        if cron.interval is not None:
            spec.interval.append(cron.interval)
    if len(zones) > 1:
        raise ValueError(_CONFLICT)
    zone = zones.pop() if zones else ""
    if zone:
        if spec.timezone_name not in ("", zone):
            raise ValueError(_CONFLICT)
        spec.timezone_name = zone


def _check_calendar(calendar: StructuredCalendarSpec) -> None:
    wrong: list[str] = []
    for field in FIELDS:
        _check_ranges(calendar, field, wrong)
    if len(calendar.comment.encode()) > COMMENT_BYTES:
        wrong.append("comment is too long")
    if wrong:
        raise ValueError("invalid calendar spec: " + ", ".join(wrong))


def _check_ranges(calendar: StructuredCalendarSpec, field: Field, wrong: list[str]) -> None:
    """Also fills what a range leaves out: its end is its start, its step is one."""
    bounds = f"[{field.first}-{field.last}]"
    for part in getattr(calendar, field.attribute):
        if not field.first <= part.start <= field.last:
            wrong.append(f"{field.name} Start is not in range {bounds}")
        elif part.end and not part.start <= part.end <= field.last:
            wrong.append(f"{field.name} End is before Start or not in range {bounds}")
        if part.step < 0:
            wrong.append(f"{field.name} has invalid Step")
        part.end = max(part.start, part.end)
        part.step = part.step or 1


def _check_interval(interval: IntervalSpec) -> None:
    length = duration_us(interval.interval)
    phase = duration_us(interval.phase)
    if length < SECOND:
        raise ValueError("interval is too small")
    if phase < 0:
        raise ValueError("phase is negative")
    if phase >= length:
        raise ValueError("phase cannot be greater than Interval")
    make_legal(interval, "interval", "phase")
