"""Cron schedules of workflows: five fields, `@` descriptors, `@every <duration>`, and a time zone in front.

The five fields are croniter's; this module keeps it to what the reference server takes (no seconds, no years, no `L`,
`#` or random fields, whose meaning differs between libraries). Source: reference engine 6.4.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from perdure.engine.times import SECOND
from perdure.errors import InvalidArgument

_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)", re.DOTALL)
DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_NUMERIC: Final = re.compile(r"[\d*?,/-]+")
_MONTH: Final = re.compile(r"(?:[\d*?,/-]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)+", re.IGNORECASE)
_WEEKDAY: Final = re.compile(r"(?:[\d*?,/-]|SUN|MON|TUE|WED|THU|FRI|SAT)+", re.IGNORECASE)
_FIELDS: Final = (_NUMERIC, _NUMERIC, _NUMERIC, _MONTH, _WEEKDAY)
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)")
_UNITS: Final = {"ns": 0.001, "us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_LONGEST: Final = (1 << 63) / 1000
"""What the reference server can hold: 292 years."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Every:
    """`@every <duration>`: whole seconds, at least one."""

    __slots__ = ("interval",)

    def __init__(self, interval: int) -> None:
        self.interval = interval

    def first_after(self, after: int, not_before: int) -> int:
        fire = after - after % SECOND + self.interval
        if fire < not_before:
            fire += -(-(not_before - fire) // self.interval) * self.interval
        return fire


class Fields:
    """Minute, hour, day of month, month, day of week, in a time zone."""

    __slots__ = ("expression", "zone")

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        self.expression = expression
        self.zone = zone

    def first_after(self, after: int, not_before: int) -> int:
        """Raises CroniterBadDateError when the schedule never fires."""
        base = max(after, not_before - 1)
        local = (_EPOCH + timedelta(microseconds=base)).astimezone(self.zone)
        fire: datetime = croniter(self.expression, local).get_next(datetime)
        return int((fire - _EPOCH) // timedelta(microseconds=1))


@lru_cache(maxsize=1024)
def parse(spec: str) -> Every | Fields:
    """Raises InvalidArgument for what is no schedule."""
    zone = ZoneInfo("UTC")
    expression = spec.strip()
    if match := _ZONE.fullmatch(expression):
        expression = match[2].strip()
        try:
            zone = ZoneInfo(match[1])
        except (KeyError, ValueError, OSError) as error:  # unknown, malformed, a directory's name
            raise InvalidArgument("invalid CronSchedule.") from error
    if expression.startswith("@every "):
        return Every(_go_duration(expression.removeprefix("@every ").strip()))
    expression = DESCRIPTORS.get(expression, expression)
    fields = expression.split()
    if len(fields) != 5 or not all(form.fullmatch(field) for form, field in zip(_FIELDS, fields, strict=True)):
        raise InvalidArgument("invalid CronSchedule.")
    expression = " ".join(fields).replace("?", "*")
    if not croniter.is_valid(expression):
        raise InvalidArgument("invalid CronSchedule.")
    return Fields(expression, zone)


def _go_duration(text: str) -> int:
    pieces = _DURATION.findall(text)
    if not pieces or "".join(pieces) != text:
        raise InvalidArgument("invalid CronSchedule.")
    length = 0.0
    for piece in pieces:
        unit = piece.lstrip("0123456789.")
        length += float(piece[: -len(unit)]) * _UNITS[unit]
    if length > _LONGEST:
        raise InvalidArgument("invalid CronSchedule.")
    return max(int(length) // SECOND, 1) * SECOND


def validate(spec: str) -> None:
    """Raises InvalidArgument for a schedule that cannot be parsed or never fires. An empty one is none at all."""
    if not spec:
        return
    try:
        parse(spec).first_after(0, 0)
    except CroniterBadDateError as error:
        raise InvalidArgument("invalid CronSchedule, no time can be found to satisfy the schedule") from error


def next_backoff(spec: str, scheduled_from: int, now: int) -> int:
    """How long a run waits for its next firing, in microseconds: a whole number of seconds, rounded up.

    Firings are those strictly after `scheduled_from` (when the previous run was due, or now for the first run); those
    before `now` are skipped: no overlap, no catching up. 0 for an empty spec. Raises InvalidArgument as `validate`.
    """
    if not spec:
        return 0
    try:
        fire = parse(spec).first_after(scheduled_from, now)
    except CroniterBadDateError as error:
        raise InvalidArgument("invalid CronSchedule, no time can be found to satisfy the schedule") from error
    return -(-(fire - now) // SECOND) * SECOND
