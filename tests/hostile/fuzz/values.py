"""Values for fields: plausible ones by the field's name, and odd ones by its type."""

from __future__ import annotations

import random

MAX_ID = 1000
KIB = 1024

INT32 = (0, 1, -1, 2, 7, 100, 1001, (1 << 31) - 1, -(1 << 31))
INT64 = (*INT32, 1 << 40, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, 1e-9)

TEXTS = (
    "",
    " ",
    "x" * MAX_ID,
    "x" * (MAX_ID + 1),
    "é" * (MAX_ID // 2),
    "é" * (MAX_ID // 2 + 1),
    "\u0000",
    "a\u0000b",
    "\U0001f600\u202e\ufffe",
    "../../etc/passwd",
    "'; drop table runs; --",
    "%s%n%d{}{0}",
    "/_sys/orders/1",
    "/_sys/",
    "temporal-sys-odd",
    "__temporal_odd",
    "00000000-0000-0000-0000-000000000000",
    "not-a-uuid",
    "\n\r\t",
    "NaN",
    "-1",
    "1e400",
    "*",
    "x" * (70 * KIB),
)

BLOBS = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"[" * 5000,
    b"\x93\x01\x02\x03",
    b"\xc1",
    b"x" * 300,
)

SECONDS = (0, 1, -1, 2, 10, 60, 3600, 86_400, 10**9, 315_576_000_000, -315_576_000_000, (1 << 63) - 1, -(1 << 63))
NANOS = (0, 0, 0, 0, 1, -1, 999_999_999, 1_000_000_000, (1 << 31) - 1, -(1 << 31))
STAMPS = (
    *SECONDS,
    1_700_000_000,
    1_900_000_000,
    4_000_000_000,
    253_402_300_799,  # the last second of year 9999
    253_402_300_800,
    -62_135_596_800,  # the first of year 1
    -62_135_596_801,
    9_223_372_036,  # where nanoseconds no longer fit 64 bits
    9_223_372_037,
)

CRONS = (
    "",
    "* * * * *",
    "@every 1s",
    "@every 1ns",
    "@every -5s",
    "@every 99999999h",
    "@yearly",
    "@reboot",
    "0 0 31 2 *",
    "0 0 29 2 *",
    "60 * * * *",
    "*/0 * * * *",
    "1-0 * * * *",
    "CRON_TZ=Mars/Olympus * * * * *",
    "CRON_TZ=Europe/Rome 30 2 * * *",
    "0 0 1 1 * 2999",
    "1,2,3,4,5,6,7,8,9/2 * * * *",
    "* * * * * * *",
    "L * * * *",
    "99999999999999999999 * * * *",
    "#" * 200,
    ",".join(str(n % 60) for n in range(5000)) + " * * * *",
)
CALENDAR_FIELDS = (
    "",
    "*",
    "0",
    "5",
    "*/5",
    "1-5",
    "5-1",
    "*/0",
    "1-9999999999",
    "mon",
    "january",
    "2000-2100/3",
    "31",
    "-1",
    "L",
    "*" * 50,
)
ZONES = (
    "",
    "UTC",
    "Europe/Rome",
    "America/New_York",
    "Nowhere/Land",
    "../../etc/passwd",
    "Local",
    "\u0000",
    "Etc/GMT+12",
)

ENCODINGS = (b"json/plain", b"binary/plain", b"binary/null", b"json/protobuf", b"odd")
TYPES = (b"Keyword", b"Text", b"Int", b"Double", b"Bool", b"Datetime", b"KeywordList", b"Odd", b"")
DATA = (
    b'"text"',
    b"5",
    b"5.5",
    b"true",
    b"null",
    b'["a","b"]',
    b'["a",5,null]',
    b'"2024-01-01T00:00:00Z"',
    b'"9999999-01-01T00:00:00Z"',
    b"1e400",
    b"-9223372036854775809",
    b"NaN",
    b'{"a":{"b":[1]}}',
    b"",
    b"\xff",
    b"[" * 2000 + b"]" * 2000,
    b'"\\u0000"',
    b'"\\ud800"',
    b"9" * 5000,
)
ATTRIBUTES = (
    "CustomerId",
    "Amount",
    "Ratio",
    "Paid",
    "Due",
    "Tags",
    "Notes",
    "Nowhere",
    "WorkflowId",
    "ExecutionStatus",
    "BuildIds",
    "TemporalChangeVersion",
    "TemporalNamespaceDivision",
    "",
)
OPERATORS = (
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "<>",
    "in",
    "not in",
    "between",
    "is",
    "is not",
    "starts_with",
    "like",
    "and",
)
LITERALS = (
    "'a'",
    '"a"',
    "5",
    "-5",
    "5.5",
    "1e999",
    "true",
    "null",
    "'Running'",
    "'2024-01-01T00:00:00Z'",
    "'x''y'",
    "99999999999999999999",
    "('a','b')",
    "(1,2,3)",
    "1 and 2",
    "'a' and 'b'",
    "()",
    "'",
    "\u0000",
    "`a`",
    "0x1F",
    "'" + "z" * 3000 + "'",
)
FILTER_NAMES = (
    *ATTRIBUTES,
    "WorkflowType",
    "StartTime",
    "CloseTime",
    "ExecutionTime",
    "ExecutionDuration",
    "HistoryLength",
    "RunId",
    "TaskQueue",
    "ParentWorkflowId",
    "TemporalScheduledById",
    "TemporalSchedulePaused",
    "WorkerInstanceKey",
    "Status",
    "`CustomerId`",
    "count(*)",
)

ENDS = (
    " group by ExecutionStatus",
    " group by WorkflowType, TaskQueue",
    " order by StartTime",
    " limit 5",
    ";",
    " --",
    ")",
)


def odd_text(chance: random.Random) -> str:
    if chance.random() < 0.2:
        return "".join(
            chr(chance.choice((chance.randrange(0x20, 0x7F), chance.randrange(1, 0xD7FF)))) for _ in range(8)
        )
    return chance.choice(TEXTS)


def filter_text(chance: random.Random, depth: int = 0) -> str:
    """Something like a list filter."""
    roll = chance.random()
    if depth == 0 and roll < 0.12:
        return _heavy_filter(chance)
    if roll < 0.55 or depth > 6:
        return f"{chance.choice(FILTER_NAMES)} {chance.choice(OPERATORS)} {chance.choice(LITERALS)}"
    if roll < 0.75:
        joint = chance.choice(("and", "or", "AND", "OR"))
        return f"{filter_text(chance, depth + 1)} {joint} {filter_text(chance, depth + 1)}"
    if roll < 0.87:
        return f"({filter_text(chance, depth + 1)})"
    if roll < 0.93:
        return f"not {filter_text(chance, depth + 1)}"
    if roll < 0.97:
        return filter_text(chance, depth + 1) + chance.choice(
            (
                " group by ExecutionStatus",
                " order by StartTime",
                " limit 5",
                " group by WorkflowType, TaskQueue",
                ";",
                " --",
                ")",
            )
        )
    return odd_text(chance)


def _heavy_filter(chance: random.Random) -> str:
    many = chance.choice((90, 101, 3000, 100_000))
    one = "WorkflowId = 'a'"
    return chance.choice(
        (
            lambda: "(" * many + one + ")" * many,
            lambda: "(" * many,
            lambda: "not " * many + one,
            lambda: " or ".join([one] * min(many, 3000)),
            lambda: f"WorkflowId in ({','.join(['1'] * many)})",
            lambda: "WorkflowId = '" + "a" * many + "'",
            lambda: "a" * many,
            lambda: "-" * many + "1",
            lambda: "CustomerId = " + "(" * many + "'a'" + ")" * many,
        )
    )()


def near(value: bytes, chance: random.Random) -> bytes:
    """`value` with a bit flipped, a byte put in or taken away, or its end missing."""
    if not value:
        return b"\x00"
    at = chance.randrange(len(value))
    match chance.randrange(5):
        case 0:
            return value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]
        case 1:
            return value[:at] + bytes([chance.randrange(256)]) + value[at:]
        case 2:
            return value[:at] + value[at + 1 :]
        case 3:
            return value[:at]
        case _:
            return value + value[:at]
