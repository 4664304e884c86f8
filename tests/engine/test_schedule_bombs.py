"""Specifications made to cost time: refused, or asked no more than is reasonable."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from itertools import islice

import pytest
from temporalio.api.schedule.v1 import ScheduleSpec, StructuredCalendarSpec

from perdure.engine.schedules import spec as specs
from perdure.engine.schedules.canonical import canonical_spec
from perdure.engine.schedules.spec import Spec, TooManyExclusions
from perdure.engine.times import DAY, SECOND

NOW = 1_700_000_000 * SECOND
SEED = b"seed"


def every_second() -> ScheduleSpec:
    spec = ScheduleSpec()
    spec.interval.add().interval.seconds = 1
    return spec


def calendar(second: int, minutes: int = 59) -> StructuredCalendarSpec:
    made = StructuredCalendarSpec()
    made.second.add(start=second)
    made.minute.add(start=0, end=minutes)
    made.hour.add(start=0, end=23)
    made.day_of_month.add(start=1, end=31)
    made.month.add(start=1, end=12)
    made.day_of_week.add(start=0, end=6)
    return made


def work_of(spec: Spec, ask: Callable[[], object]) -> int:
    before = spec.work
    ask()
    return spec.work - before


def refusal(spec: ScheduleSpec) -> str:
    began = time.process_time()
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is what matters
        canonical_spec(spec)
    assert time.process_time() - began < 0.25
    return str(refused.value)


def test_specifications_of_too_many_parts_are_refused() -> None:
    many = ScheduleSpec()
    many.exclude_calendar.add().minute = "31"
    many.exclude_calendar.extend([many.exclude_calendar[0]] * 49_999)
    assert refusal(many) in (
        f"specification has {many.ByteSize()} bytes, the limit is 262144",
        "specification has 50000 calendars and intervals, the limit is 1000",
    )
    small = ScheduleSpec()
    small.interval.add()
    small.interval.extend([small.interval[0]] * 1000)
    assert refusal(small) == "specification has 1001 calendars and intervals, the limit is 1000"


def test_fields_of_too_many_ranges_are_refused() -> None:
    crons = ScheduleSpec(cron_string=[",".join(["5"] * 200_000) + " * * * *"])
    assert refusal(crons).endswith("bytes, the limit is 262144")
    ranges = ScheduleSpec()
    ranges.structured_calendar.add().second.extend([calendar(1).second[0]] * 100_000)
    assert refusal(ranges).endswith("bytes, the limit is 262144")


def test_a_time_that_all_but_everything_excludes_is_looked_for_no_longer_than_reasonable() -> None:
    wanted = every_second()
    for second in range(60):
        wanted.exclude_structured_calendar.extend([calendar(second, minutes=58)] * 10)
    spec = Spec(canonical_spec(wanted))

    def ask() -> None:
        with pytest.raises(TooManyExclusions):
            spec.next_due(NOW, SEED)

    assert work_of(spec, ask) < specs.MOST_WORK + 1000
    assert work_of(spec, ask) == 0, "what was looked through in vain is looked through once"


@pytest.mark.parametrize("jitter", [0, 10**11])
def test_many_times_of_many_calendars_cost_no_more_than_reasonable(jitter: int) -> None:
    wanted = ScheduleSpec()
    wanted.structured_calendar.extend(calendar(number % 60) for number in range(500))
    wanted.exclude_structured_calendar.extend(calendar(0, minutes=0) for _ in range(500))
    wanted.jitter.seconds = jitter
    spec = Spec(canonical_spec(wanted))
    found = 0

    def ask() -> None:
        nonlocal found
        found = len(list(islice(spec.all_due(NOW, NOW + 1000 * 365 * DAY, SEED), 1000)))

    assert work_of(spec, ask) < specs.ENOUGH_WORK + specs.MOST_WORK + 2000
    assert found > 0


def test_nothing_is_looked_for_beyond_the_end_of_a_backfill() -> None:
    wanted = ScheduleSpec(cron_string=["0 0 * * *"])
    wanted.exclude_calendar.add()
    spec = Spec(canonical_spec(wanted))

    assert work_of(spec, lambda: spec.next_nominal(NOW, NOW - DAY)) < 10
    assert spec.next_nominal(NOW, NOW + 10 * DAY) is None


def test_years_that_are_looked_through_for_a_time_count_as_work() -> None:
    daily, rare = (Spec(canonical_spec(ScheduleSpec(cron_string=[cron]))) for cron in ("0 0 * * *", "0 0 29 2 *"))
    in_march = 1_709_300_000 * SECOND  # of 2024: the next such day is four years off

    assert work_of(rare, lambda: rare.next_due(in_march, SEED)) >= work_of(daily, lambda: daily.next_due(NOW, SEED)) + 4


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_that_are_years_apart_cost_no_more_than_reasonable(zone: str) -> None:
    wanted = ScheduleSpec(cron_string=["0 0 29 2 *"] * 200, timezone_name=zone)
    wanted.jitter.seconds = 10**9
    spec = Spec(canonical_spec(wanted))
    began = time.process_time()

    found = list(islice(spec.all_due(NOW, NOW + 1000 * 365 * DAY, SEED), 1000))

    assert found
    assert time.process_time() - began < 0.7


def test_durations_that_no_number_holds_are_refused() -> None:
    assert refusal(ScheduleSpec(cron_string=["@every " + "9" * 400 + "h"])).startswith("time: invalid duration")
    assert refusal(ScheduleSpec(cron_string=["@every 99999999999h"])).startswith("time: invalid duration")


@pytest.mark.parametrize("offset", [90_000, -90_000, (1 << 31) - 1])
def test_time_zones_with_impossible_offsets_are_refused(offset: int) -> None:
    header = b"TZif2" + b"\0" * 15
    body = struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lBB", offset, 0, 0) + b"ODD\0"
    data = header + body + header + body + b"\n\n"
    spec = ScheduleSpec(cron_string=["0 0 * * *"], timezone_data=data)
    assert refusal(spec) == "malformed time zone information"


@pytest.mark.parametrize("cut", [5, 20, 44, 60])
def test_time_zones_cut_short_are_refused(cut: int) -> None:
    header = b"TZif2" + b"\0" * 15
    body = struct.pack(">6l", 0, 0, 0, 3, 1, 4) + struct.pack(">3lBBB", 1, 2, 3, 0, 0, 0)
    spec = ScheduleSpec(cron_string=["0 0 * * *"], timezone_data=(header + body + header + body)[:cut])
    assert refusal(spec) == "malformed time zone information"
