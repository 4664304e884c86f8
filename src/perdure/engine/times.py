"""Engine times are integers in microseconds; these turn them into protobuf's Timestamp and Duration and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.errors import InvalidArgument

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MAX_DURATION = 100 * 365 * DAY
"""Longer durations are silently capped to this, as the reference server does."""

_LONGEST = 315_576_000_000 * SECOND
_FIRST = -62_135_596_800 * SECOND
LAST_MOMENT = 253_402_300_800 * SECOND - 1
"""9999-12-31T23:59:59.999999Z. What the messages are defined for: ten thousand years, and the years 1 to 9999. Sums of
them fit into 64 bits. SDKs refuse to read what is beyond."""

NEVER = 0
"""A deadline of 0 means: none."""


def set_timestamp(target: Timestamp, at: int) -> None:
    seconds, rest = divmod(at, SECOND)
    target.seconds = seconds
    target.nanos = rest * 1000


def later(at: int, length: int) -> int:
    """The moment `length` after `at`, or the last that a Timestamp can hold: for what clients are told."""
    return min(at + length, LAST_MOMENT)


def timestamp_us(value: Timestamp) -> int:
    """Microseconds. Requests may say anything: what no Timestamp is for becomes the nearest that is."""
    at = value.seconds * SECOND + value.nanos // 1000
    return at if _FIRST <= at <= LAST_MOMENT else max(_FIRST, min(at, LAST_MOMENT))


def make_legal(message: Message, *names: str) -> None:
    """Of timestamps and durations that are given back to clients as they came: what none is for becomes the nearest
    that is. A field that is not set, or is legal, stays as it is."""
    for name in names:
        if not message.HasField(name):
            continue
        value = getattr(message, name)
        if isinstance(value, Timestamp):
            if not (0 <= value.nanos < 1_000_000_000 and _FIRST <= value.seconds * SECOND <= LAST_MOMENT):
                set_timestamp(value, timestamp_us(value))
        elif abs(value.seconds) * SECOND > _LONGEST:
            set_duration(value, duration_us(value))


def set_duration(target: Duration, length: int) -> None:
    """Sets also a zero duration as present: the reference always writes it."""
    if not length:
        target.Clear()
        target.SetInParent()
        return
    seconds, rest = divmod(length, SECOND)
    target.seconds = seconds
    target.nanos = rest * 1000


def duration_us(value: Duration) -> int:
    """Microseconds, of either sign; nanoseconds round up so that a tiny positive duration stays positive. What no
    Duration is for becomes the nearest that is."""
    length = value.seconds * SECOND + -(-value.nanos // 1000)
    return length if -_LONGEST <= length <= _LONGEST else max(-_LONGEST, min(length, _LONGEST))


def duration_of(message: Message, name: str) -> int:
    """The same of a message's field; 0 when it is not set, which is told without making an object of it."""
    return duration_us(getattr(message, name)) if message.HasField(name) else 0


def valid_duration(value: Duration) -> int:
    """Microseconds of a duration from a request, capped at 100 years.

    Raises InvalidArgument with the bare cause (`negative duration`), for the caller to wrap.
    """
    seconds, nanos = value.seconds, value.nanos
    if (seconds > 0 > nanos) or (seconds < 0 < nanos):
        raise InvalidArgument("duration has seconds and nanos with different signs")
    if seconds < 0 or nanos < 0:
        raise InvalidArgument("negative duration")
    return min(seconds * SECOND + -(-nanos // 1000), MAX_DURATION)


def capped_duration(value: Duration) -> int:
    """The same; also the message is capped."""
    length = valid_duration(value)
    if length == MAX_DURATION:
        set_duration(value, length)
    return length
