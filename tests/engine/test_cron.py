"""Cron schedules: which are taken, and how long the next firing is away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perdure.engine.cron import next_backoff, validate
from perdure.engine.times import DAY, HOUR, MINUTE, SECOND
from perdure.errors import InvalidArgument


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * SECOND)


NOON = at("2026-01-01T12:00:00")  # a Thursday


@pytest.mark.parametrize(
    ("spec", "wait"),
    [
        ("* * * * *", MINUTE),
        ("*/15 * * * *", 15 * MINUTE),
        ("0 0 * * ?", 12 * HOUR),
        ("30 13 * * MON-FRI", 90 * MINUTE),
        ("0 12 * * fri", DAY),
        ("0 0 1 FEB *", 30 * DAY + 12 * HOUR),
        ("0 12 3 * 5", DAY),  # day of month or day of week, whichever comes first
        ("@hourly", HOUR),
        ("@daily", 12 * HOUR),
        ("@weekly", 2 * DAY + 12 * HOUR),
        ("@every 90s", 90 * SECOND),
        ("@every 1h30m", 90 * MINUTE),
        ("@every 500ms", SECOND),
        ("CRON_TZ=America/New_York 0 12 * * *", 5 * HOUR),
        ("TZ=Asia/Tokyo 0 22 * * *", HOUR),
    ],
)
def test_the_next_firing_is_found(spec: str, wait: int) -> None:
    validate(spec)
    assert next_backoff(spec, NOON, NOON) == wait


def test_the_wait_is_rounded_up_to_whole_seconds() -> None:
    assert next_backoff("* * * * *", NOON + 300_000, NOON + 300_000) == MINUTE
    assert next_backoff("@every 1s", NOON, NOON + 10_000) == SECOND


def test_missed_firings_are_skipped() -> None:
    assert next_backoff("@every 10s", NOON, NOON + 25 * SECOND) == 5 * SECOND
    assert next_backoff("0 * * * *", NOON, NOON + 150 * MINUTE) == 30 * MINUTE


def test_a_firing_right_now_is_not_missed() -> None:
    assert next_backoff("0 * * * *", NOON, NOON + HOUR) == 0


def test_no_schedule_means_no_wait() -> None:
    validate("")
    assert next_backoff("", NOON, NOON) == 0


@pytest.mark.parametrize(
    "spec",
    [
        "not a cron",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "@never",
        "@every",
        "@every -1s",
        "@every 5",
        "TZ=Mars/Base * * * * *",
        "R * * * *",
        "* * L * *",
        "* * * * 1#2",
        "H * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(spec: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate(spec)
    assert refused.value.message == "invalid CronSchedule."


def test_a_schedule_that_never_fires_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate("0 0 31 2 *")
    assert refused.value.message == "invalid CronSchedule, no time can be found to satisfy the schedule"


def test_firings_follow_the_zone_over_the_change_of_clocks() -> None:
    spec = "TZ=Europe/Berlin 0 9 * * *"
    winter = at("2026-03-28T08:00:00")
    assert next_backoff(spec, winter, winter) == 23 * HOUR
