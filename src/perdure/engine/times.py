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
_LAST = 253_402_300_800 * SECOND - 1
"""What the messages are defined for: ten thousand years, and the years 1 to 9999. Sums of them fit into 64 bits."""

NEVER = 0
"""A deadline of 0 means: none."""


def set_timestamp(target: Timestamp, at: int) -> None:
    seconds, rest = divmod(at, SECOND)
    target.seconds = seconds
    target.nanos = rest * 1000


def timestamp_us(value: Timestamp) -> int:
    """Microseconds. Requests may say anything: what no Timestamp is for becomes the nearest that is."""
    at = value.seconds * SECOND + value.nanos // 1000
    return at if _FIRST <= at <= _LAST else max(_FIRST, min(at, _LAST))


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
