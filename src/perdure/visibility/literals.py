"""What a literal of a filter means for the attribute it is compared with.

Source: the reference server's list filter: statuses by name or number, datetimes in RFC 3339 or nanoseconds, durations
in nanoseconds, Go's notation or hh:mm:ss.
"""

from __future__ import annotations

import re
from calendar import timegm

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import BOOL, DATETIME, DOUBLE, INT, KEYWORD, KEYWORD_LIST, TEXT, TYPE_NAMES
from perdure.visibility.query import Scalar
from perdure.visibility.syntax import MAX_DIGITS, as_number
from perdure.visibility.text import tokens
from perdure.visibility.vocabulary import Vocabulary

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION = re.compile(r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d)", re.ASCII)
_BEYOND = 1000 * ((1 << 63) - 1)
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}


class BadExpression(InvalidArgument):
    """A filter that is well formed and makes no sense."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"invalid query: invalid expression: {problem}")


def convert(name: str, attribute: str, value_type: int, value: Scalar, text: str, vocabulary: Vocabulary) -> Scalar:
    """The value to compare with. `name` and `text` are attribute and literal as written. Raises BadExpression."""
    if attribute == "ExecutionStatus":
        return _status(value, text, vocabulary)
    if attribute == "ExecutionDuration":
        return _microseconds(_duration(value, text))
    match value_type:
        case _ if value_type == DATETIME:
            return as_datetime(value, text)
        case _ if value_type == TEXT:
            if not isinstance(value, str):
                raise _unexpected(name, value_type, value)
            if not tokens(value):
                raise BadExpression(f"unexpected value for Text type search attribute (no tokens found in '{value}')")
            return value
        case _ if value_type in (KEYWORD, KEYWORD_LIST):
            if isinstance(value, bool):
                raise _unexpected(name, value_type, value)
            return value if isinstance(value, str) else text
        case _ if value_type in (INT, DOUBLE):
            if isinstance(value, bool):
                raise _unexpected(name, value_type, value)
            return _number(value)
        case _ if value_type == BOOL:
            return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
        case _:
            raise _unexpected(name, value_type, value)


def _unexpected(name: str, value_type: int, value: Scalar) -> BadExpression:
    kind = {str: "string", bool: "bool", int: "int64", float: "float64"}[type(value)]
    return BadExpression(
        f"unexpected value type {kind} for search attribute {name} (its type is {TYPE_NAMES[value_type]})"
    )


def _number(value: str | int | float) -> Scalar:
    # The reference accepts any text here. A number in quotes is that number; other text is equal to no number.
    if not isinstance(value, str):
        return value
    return as_number(value) if _NUMBER.fullmatch(value) else value


def _status(value: Scalar, text: str, vocabulary: Vocabulary) -> int:
    number = vocabulary.status(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or number not in vocabulary.status_names:
        raise BadExpression(f"invalid ExecutionStatus value '{value if isinstance(value, str) else text}'")
    return number


def as_datetime(value: Scalar, text: str) -> int | float:
    """Microseconds since 1970 UTC."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _microseconds(value)
    parsed = None if not isinstance(value, str) else parse_datetime(value)
    if parsed is None:
        written = value if isinstance(value, str) else text
        raise BadExpression(f"unable to parse datetime '{written}'{_missing_in_datetime(written)}")
    return _microseconds(parsed)


_NEARLY = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?))?(?:[Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


def _missing_in_datetime(written: str) -> str:
    """How to write what is nearly RFC 3339."""
    found = _NEARLY.fullmatch(written)
    if found is None:
        return ""
    time = found[2] or "00:00:00"
    meant = f"{found[1]}T{time if time.count(':') == 2 else time + ':00'}Z"
    if parse_datetime(meant) is None:
        return " (there is no such day or time)"
    return f" (date, time and zone are needed, as in '{meant}')"


def parse_datetime(text: str) -> int | None:
    """Nanoseconds since 1970 UTC of an RFC 3339 time with a zone; None when it is none."""
    if (found := _RFC3339.fullmatch(text)) is None:
        return None
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    if not (year and 1 <= month <= 12 and 1 <= day <= _days(year, month) and hour < 24 and minute < 60 and second < 60):
        return None
    offset = 0
    if found[8]:
        if int(found[9]) > 23 or int(found[10]) > 59:
            return None
        offset = (int(found[9]) * 3600 + int(found[10]) * 60) * (1 if found[8] == "+" else -1)
    seconds = timegm((year, month, day, hour, minute, second)) - offset
    return seconds * 1_000_000_000 + int((found[7] or "").ljust(9, "0"))


def _days(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def _duration(value: Scalar, text: str) -> int:
    """Nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= MAX_DIGITS:
        sign = -1 if value.startswith("-") else 1
        bare = value.lstrip("+-") if value[:1] in ("+", "-") else value
        if bare == "0":
            return 0
        if found := _CLOCK.fullmatch(bare):
            hours, minutes, seconds = (int(part) for part in found.groups())
            return sign * (hours * 3600 + minutes * 60 + seconds) * 1_000_000_000
        if _DURATION.fullmatch(bare):
            return sign * sum(_part(number, unit) for number, unit in _DURATION_PART.findall(bare))
    raise BadExpression(
        f"invalid value for search attribute ExecutionDuration: '{value if isinstance(value, str) else text}' "
        "is neither nanoseconds, nor a duration such as '1h30m', nor hh:mm:ss"
    )


def _part(number: str, unit: str) -> int:
    whole, _, fraction = number.partition(".")
    scale = _NANOSECONDS[unit]
    return int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def _microseconds(nanoseconds: int) -> int | float:
    """Stored are whole microseconds: a fraction of one equals none of them, and still has its place in their order.
    What no 64 bits hold is beyond all that is stored."""
    whole, rest = divmod(max(-_BEYOND, min(nanoseconds, _BEYOND)), 1000)
    return whole if rest == 0 else whole + 0.5
