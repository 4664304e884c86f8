"""When schedules are due: every time that an independent reading of the clocks finds, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.schedule.v1 import CalendarSpec, Range, ScheduleSpec, StructuredCalendarSpec

from perdure.engine.schedules.canonical import canonical_spec
from perdure.engine.schedules.spec import Spec, TooManyExclusions, compile_spec
from perdure.engine.times import HOUR, SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SEED = b"namespace-schedule"
FULL = {
    "second": (0, 0), "minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 31), "month": (1, 12),
    "day_of_week": (0, 6),
}  # fmt: skip


def us(*when: int) -> int:
    return (datetime(*when, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)  # type: ignore[misc,arg-type]


def at(time: int) -> str:
    return (EPOCH + timedelta(microseconds=time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def cron(*texts: str, **fields: Any) -> ScheduleSpec:
    return ScheduleSpec(cron_string=texts, **fields)


def spec_of(spec: ScheduleSpec) -> Spec:
    return compile_spec(canonical_spec(spec).SerializeToString(deterministic=True))


def nominal(spec: ScheduleSpec, after: int, until: int) -> list[int]:
    return [due.nominal for due in spec_of(spec).all_due(after, until, SEED)]


def until_too_many(spec: ScheduleSpec, after: int, until: int) -> list[int]:
    """The same; exclusions that leave nothing for days end it."""
    found = []
    with suppress(TooManyExclusions):
        found.extend(due.nominal for due in spec_of(spec).all_due(after, until, SEED))
    return found


def shown(spec: ScheduleSpec, after: int, until: int) -> list[str]:
    return [at(time) for time in nominal(spec, after, until)]


def wrong(spec: ScheduleSpec) -> str:
    try:
        canonical_spec(spec)
    except ValueError as error:
        return str(error)
    return "nothing"


# ---- an independent reading: look at the clock every second (or minute) of a range
def within(value: int, ranges: Any) -> bool:
    return any(r.start <= value <= max(r.start, r.end) and (value - r.start) % (r.step or 1) == 0 for r in ranges)


def reads(calendar: StructuredCalendarSpec, local: datetime) -> bool:
    return (
        within(local.second, calendar.second)
        and within(local.minute, calendar.minute)
        and within(local.hour, calendar.hour)
        and within(local.day, calendar.day_of_month)
        and within(local.month, calendar.month)
        and within(local.isoweekday() % 7, calendar.day_of_week)
        and (not calendar.year or within(local.year, calendar.year))
    )


def oracle(spec: ScheduleSpec, after: int, until: int, step: int) -> Iterator[int]:
    zone = ZoneInfo(spec.timezone_name or "UTC")
    for time in range(after // (step * SECOND) * step + step, until // SECOND + 1, step):
        utc = EPOCH + timedelta(seconds=time)
        local = utc.astimezone(zone)
        if utc.year > 2100:  # the last year of schedules
            return
        if spec.HasField("start_time") and time < spec.start_time.seconds:
            continue
        if spec.HasField("end_time") and time > spec.end_time.seconds:
            continue
        if any(reads(calendar, local) for calendar in spec.exclude_structured_calendar):
            continue
        if any(reads(calendar, local) for calendar in spec.structured_calendar) or any(
            (time - each.phase.seconds) % each.interval.seconds == 0 for each in spec.interval
        ):
            yield time * SECOND


ZONES = {
    "Europe/Berlin": [(2024, 3, 31, 1), (2024, 10, 27, 1)],
    "America/New_York": [(2024, 3, 10, 7), (2024, 11, 3, 6)],
    "Australia/Lord_Howe": [(2024, 4, 6, 15), (2024, 10, 5, 15, 30)],
    "America/St_Johns": [(2010, 3, 14, 3, 31), (2010, 11, 7, 2, 31)],
    "Pacific/Apia": [(2011, 12, 30, 10), (2024, 7, 1, 0)],
    "Africa/Casablanca": [(2024, 3, 10, 2), (2024, 4, 14, 2)],
    "Asia/Kolkata": [(2024, 2, 29, 0), (2023, 12, 31, 18, 30)],
    "UTC": [(2024, 2, 29, 0), (2100, 12, 31, 20)],
}
"""Zones with moments at which something happens to their clocks (or their calendar)."""


@st.composite
def ranges(draw: st.DrawFn, first: int, last: int) -> list[Range]:
    made = []
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(first, last))
        end = draw(st.integers(start, last))
        made.append(Range(start=start, end=end, step=draw(st.integers(1, max(1, last - first) // 2 + 1))))
    return made


@st.composite
def calendars(draw: st.DrawFn) -> StructuredCalendarSpec:
    calendar = StructuredCalendarSpec()
    for field, (first, last) in FULL.items():
        full = [Range(start=first, end=last, step=1)]
        drawn = full if field == "second" else draw(st.one_of(st.just(full), ranges(first, last)))
        getattr(calendar, field).extend(drawn)
    return calendar


@st.composite
def specs(draw: st.DrawFn) -> tuple[ScheduleSpec, int]:
    zone = draw(st.sampled_from(sorted(ZONES)))
    moment = us(*draw(st.sampled_from(ZONES[zone])))
    spec = ScheduleSpec(timezone_name=zone)
    spec.structured_calendar.extend(draw(st.lists(calendars(), min_size=1, max_size=2)))
    spec.exclude_structured_calendar.extend(draw(st.lists(calendars(), max_size=1)))
    if draw(st.booleans()):
        interval = spec.interval.add()
        minutes = draw(st.integers(7, 600))
        interval.interval.seconds = minutes * 60
        interval.phase.seconds = draw(st.integers(0, minutes - 1)) * 60
    if draw(st.booleans()):
        spec.start_time.seconds = moment // SECOND + draw(st.integers(-24 * 60, 24 * 60)) * 60
    if draw(st.booleans()):
        spec.end_time.seconds = moment // SECOND + draw(st.integers(-24 * 60, 24 * 60)) * 60
    return spec, moment


@settings(max_examples=30, deadline=None)
@given(specs())
def test_all_times_around_a_change_of_clocks_are_those_that_the_clocks_show(drawn: tuple[ScheduleSpec, int]) -> None:
    spec, moment = drawn
    after, until = moment - 20 * HOUR, moment + 30 * HOUR

    assert until_too_many(spec, after, until) == list(oracle(canonical_spec(spec), after, until, 60))


@settings(max_examples=25, deadline=None)
@given(specs(), st.integers(0, 7200))
def test_single_seconds_are_found_too(drawn: tuple[ScheduleSpec, int], before: int) -> None:
    spec, moment = drawn
    for calendar in spec.structured_calendar:
        calendar.second[0].step = 7
    after = moment - before * SECOND

    assert until_too_many(spec, after, after + 2 * HOUR) == list(
        oracle(canonical_spec(spec), after, after + 2 * HOUR, 1)
    )


@settings(max_examples=30, deadline=None)
@given(specs(), st.integers(1, 30 * 3600), st.integers(-20_000_000, 20_000_000))
def test_jitter_delays_every_time_and_loses_none(drawn: tuple[ScheduleSpec, int], jitter: int, offset: int) -> None:
    spec, moment = drawn
    spec.ClearField("start_time")
    del spec.exclude_structured_calendar[:]
    plain = nominal(spec, moment - 9 * HOUR, moment + 6 * HOUR)
    spec.jitter.seconds = jitter
    compiled = spec_of(spec)
    due = [
        each
        for each in compiled.all_due(moment - 9 * HOUR - SECOND, moment + 6 * HOUR, SEED)
        if each.nominal in set(plain)
    ]

    assert [each.nominal for each in due] == plain[: len(due)]
    for each, following in zip(due, [*plain[1 : len(due)], None][: len(due)], strict=True):
        assert each.nominal <= each.actual < each.nominal + jitter * SECOND
        assert following is None or each.actual < following
    # Wherever one begins to look, the next is the one that any walk would come to.
    start = moment + offset * 1000
    expected = next((each for each in due if each.actual > start), None)
    if due and due[0].actual <= start and expected is not None:
        assert compiled.next_due(start, SEED) == expected


# ---- by example
def test_a_local_time_that_does_not_exist_is_left_out() -> None:
    spec = cron("30 2 * * *", timezone_name="Europe/Berlin")

    assert shown(spec, us(2024, 3, 30), us(2024, 4, 2)) == ["2024-03-30T01:30:00Z", "2024-04-01T00:30:00Z"]


def test_a_local_time_that_comes_twice_fires_twice() -> None:
    spec = cron("30 2 * * *", timezone_name="Europe/Berlin")

    assert shown(spec, us(2024, 10, 26, 12), us(2024, 10, 28, 0)) == ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"]


def test_the_last_time_of_all_may_come_twice() -> None:
    spec = cron("0 30 2 27 10 * 2024", timezone_name="Europe/Berlin")

    assert shown(spec, us(2024, 1, 1), us(2030, 1, 1)) == ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"]


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    assert shown(cron("0 0 13 * FRI"), us(2024, 1, 1), us(2025, 1, 1)) == [
        "2024-09-13T00:00:00Z",
        "2024-12-13T00:00:00Z",
    ]


def test_a_yearly_calendar_is_found_over_a_century() -> None:
    spec = cron("0 0 0 29 2 * 2000-2100", timezone_name="Europe/Berlin")

    found = nominal(spec, us(2000, 3, 1), us(2100, 12, 31))

    assert len(found) == 24  # 2100 is no leap year
    assert at(found[0]) == "2004-02-28T23:00:00Z"


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 * * * 2001"])
def test_an_impossible_calendar_is_never_due_and_says_so_at_once(text: str) -> None:
    spec = spec_of(cron(text, timezone_name="America/New_York"))

    for year in range(2020, 2100):
        assert spec.next_due(us(year, 1, 1), SEED) is None


def test_nothing_is_due_after_the_year_2100() -> None:
    spec = ScheduleSpec()
    spec.interval.add().interval.seconds = 1

    assert shown(spec, us(2100, 12, 31, 23, 59, 58), us(2101, 6, 1)) == ["2100-12-31T23:59:59Z"]


def test_an_empty_specification_is_never_due() -> None:
    assert spec_of(ScheduleSpec()).next_due(us(2024, 1, 1), SEED) is None


def test_a_structured_calendar_without_seconds_matches_nothing() -> None:
    calendar = StructuredCalendarSpec()
    for field, (first, last) in FULL.items():
        if field != "second":
            getattr(calendar, field).add(start=first, end=last)

    assert spec_of(ScheduleSpec(structured_calendar=[calendar])).next_due(us(2024, 1, 1), SEED) is None


def test_intervals_are_aligned_to_1970_plus_their_phase() -> None:
    assert shown(cron("@every 7d/3h"), us(2024, 1, 1), us(2024, 1, 20)) == [
        "2024-01-04T03:00:00Z",
        "2024-01-11T03:00:00Z",
        "2024-01-18T03:00:00Z",
    ]


def test_start_and_end_belong_to_the_schedule() -> None:
    spec = cron("0 * * * *")
    spec.start_time.seconds = us(2024, 1, 1, 3) // SECOND
    spec.end_time.seconds = us(2024, 1, 1, 5) // SECOND

    assert shown(spec, us(2023, 1, 1), us(2025, 1, 1)) == [f"2024-01-01T0{hour}:00:00Z" for hour in (3, 4, 5)]


def test_weekends_of_a_calendar_of_seconds_are_skipped_as_a_whole() -> None:
    spec = cron("* * * * * * *")
    spec.exclude_structured_calendar.extend(canonical_spec(cron("* * * * * SAT-7 *")).structured_calendar)

    due = spec_of(spec).next_due(us(2024, 6, 7, 23, 59, 59), SEED)

    assert due is not None
    assert at(due.nominal) == "2024-06-10T00:00:00Z"


def test_what_excludes_too_much_is_an_error_and_no_endless_search() -> None:
    spec = cron("@every 1s")
    spec.exclude_structured_calendar.extend(
        canonical_spec(cron("*/2 * * * * * *", "1-59/2 * * * * * *")).structured_calendar
    )

    with pytest.raises(TooManyExclusions, match="too many exclusions"):
        spec_of(spec).next_due(us(2024, 1, 1), SEED)


def test_jitter_is_the_schedules_own_and_always_the_same() -> None:
    spec = cron("0 9 * * *")
    spec.jitter.seconds = 3600
    compiled = spec_of(spec)

    def delays(seed: bytes) -> list[int]:
        return [due.actual - due.nominal for due in compiled.all_due(us(2024, 1, 1), us(2024, 1, 11), seed)]

    assert delays(b"one") == delays(b"one")
    assert delays(b"one") != delays(b"two")
    assert len(set(delays(b"one"))) == 10
    assert all(delay % 1000 == 0 and delay < HOUR for delay in delays(b"one"))


def test_the_content_of_a_zone_file_wins_over_the_name() -> None:
    data = resources.files("tzdata.zoneinfo.Asia").joinpath("Tokyo").read_bytes()
    spec = cron("0 9 * * *", timezone_name="Europe/Berlin", timezone_data=data)

    assert shown(spec, us(2023, 12, 31, 12), us(2024, 1, 1, 12)) == ["2024-01-01T00:00:00Z"]


def test_nine_oclock_on_weekdays_over_three_years() -> None:
    spec = cron("0 9 * * 1-5", timezone_name="Europe/Berlin")
    found = nominal(spec, us(2024, 1, 1), us(2027, 1, 1))

    days = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(1096)]
    assert len(found) == sum(day.weekday() < 5 for day in days) == 784
    assert {(EPOCH + timedelta(microseconds=t)).astimezone(ZoneInfo("Europe/Berlin")).hour for t in found} == {9}
    assert {(EPOCH + timedelta(microseconds=t)).hour for t in found} == {7, 8}


# ---- texts
def fields(calendar: StructuredCalendarSpec) -> dict[str, list[tuple[int, int, int]]]:
    return {
        name: [(r.start, r.end, r.step) for r in getattr(calendar, name)]
        for name in (*FULL, "year")
        if [(r.start, r.end, r.step) for r in getattr(calendar, name)] != [(*FULL.get(name, (0, 0)), 1)]
        and getattr(calendar, name)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 12 * * *", {"minute": [(30, 30, 1)], "hour": [(12, 12, 1)]}),
        ("*/15 8-18/2 * * MON-FRI", {"minute": [(0, 59, 15)], "hour": [(8, 18, 2)], "day_of_week": [(1, 5, 1)]}),
        ("5/20 0 1,15 jan,July * 2030", {
            "minute": [(5, 59, 20)], "hour": [(0, 0, 1)], "day_of_month": [(1, 1, 1), (15, 15, 1)],
            "month": [(1, 1, 1), (7, 7, 1)], "year": [(2030, 2030, 1)],
        }),
        ("10 5 4 3 2 1 2001", {
            "second": [(10, 10, 1)], "minute": [(5, 5, 1)], "hour": [(4, 4, 1)], "day_of_month": [(3, 3, 1)],
            "month": [(2, 2, 1)], "day_of_week": [(1, 1, 1)], "year": [(2001, 2001, 1)],
        }),
        ("0 0 * * 7", {"minute": [(0, 0, 1)], "hour": [(0, 0, 1)], "day_of_week": [(0, 0, 1)]}),
        ("0 0 * * 5-7", {"minute": [(0, 0, 1)], "hour": [(0, 0, 1)], "day_of_week": [(0, 0, 1), (5, 6, 1)]}),
        ("@weekly", {"minute": [(0, 0, 1)], "hour": [(0, 0, 1)], "day_of_week": [(0, 0, 1)]}),
        ("@hourly", {"minute": [(0, 0, 1)]}),
        ("@yearly # new year", {
            "minute": [(0, 0, 1)], "hour": [(0, 0, 1)], "day_of_month": [(1, 1, 1)], "month": [(1, 1, 1)],
        }),
    ],
)  # fmt: skip
def test_cron_strings_become_structured_calendars(text: str, expected: dict[str, list[tuple[int, int, int]]]) -> None:
    spec = canonical_spec(cron(text))

    assert not spec.cron_string
    assert fields(spec.structured_calendar[0]) == expected


def test_comments_and_zones_of_cron_strings_are_kept() -> None:
    spec = canonical_spec(cron("CRON_TZ=Asia/Tokyo 0 9 * * *  # the first mail", "TZ=Asia/Tokyo @every 1h30m/5m"))

    assert spec.timezone_name == "Asia/Tokyo"
    assert spec.structured_calendar[0].comment == "the first mail"
    assert (spec.interval[0].interval.seconds, spec.interval[0].phase.seconds) == (5400, 300)


def test_the_older_strings_become_structured_calendars() -> None:
    spec = canonical_spec(
        ScheduleSpec(
            calendar=[CalendarSpec(hour="9", day_of_week="Mon-Fri", comment="work")],
            exclude_calendar=[CalendarSpec(hour="*", month="dec", day_of_month="24-26")],
        )
    )

    assert not spec.calendar
    assert not spec.exclude_calendar
    assert fields(spec.structured_calendar[0]) == {
        "minute": [(0, 0, 1)], "hour": [(9, 9, 1)], "day_of_week": [(1, 5, 1)],
    }  # fmt: skip
    assert spec.structured_calendar[0].comment == "work"
    assert fields(spec.exclude_structured_calendar[0]) == {
        "minute": [(0, 0, 1)], "day_of_month": [(24, 26, 1)], "month": [(12, 12, 1)],
    }  # fmt: skip


def test_ranges_get_their_end_and_step() -> None:
    spec = ScheduleSpec(
        structured_calendar=[StructuredCalendarSpec(hour=[Range(start=3)], minute=[Range(start=1, end=9)])]
    )

    canonical = canonical_spec(spec).structured_calendar[0]

    assert canonical.hour[0] == Range(start=3, end=3, step=1)
    assert canonical.minute[0] == Range(start=1, end=9, step=1)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0 0 * *", "CronString does not have 5-7 fields"),
        ("", "CronString does not have 5-7 fields"),
        ("@fortnightly", "CronString does not have 5-7 fields"),
        ("TZ=Europe/Berlin", "CronString has time zone but missing fields"),
        ("TZ=Mars/Olympus 0 0 * * *", "unknown time zone Mars/Olympus"),
        ("@every", "CronString does not have interval after @every"),
        ("@every soon", 'time: invalid duration "soon"'),
        ("@every 10ms", "interval is too small"),
        ("@every 1m/-1s", "phase is negative"),
        ("@every 1m/2m", "phase cannot be greater than Interval"),
        ("60 0 * * *", "invalid calendar spec: Minute is not in range [0-59]"),
        ("0 24 32 13 8", "invalid calendar spec: Hour is not in range [0-23], DayOfMonth is not in range [1-31], "
            "Month is not in range [1-12], DayOfWeek is not in range [0-7]"),
        ("0 0 * * * 1999", "invalid calendar spec: Year is not in range [2000-2100]"),
        ("9-5 0 * * *", "invalid calendar spec: Minute End is before Start or not in range [0-59]"),
        ("1-2-3 0 * * *", "invalid calendar spec: Minute has too many dashes"),
        ("*/2/3 0 * * *", "invalid calendar spec: Minute has too many slashes"),
        ("*/ 0 * * *", "invalid calendar spec: Minute is missing step value"),
        ("*/0 0 * * *", "invalid calendar spec: Minute has invalid Step"),
        ("x 0 * * *", 'invalid calendar spec: strconv.Atoi: parsing "x": invalid syntax'),
        ("0 0 * Ja *", 'invalid calendar spec: strconv.Atoi: parsing "Ja": invalid syntax'),
    ],
)  # fmt: skip
def test_a_bad_cron_string_is_named(text: str, error: str) -> None:
    assert wrong(cron(text)) == error


def test_zones_must_agree() -> None:
    both = cron("TZ=Europe/Berlin 0 0 * * *", "TZ=Asia/Tokyo 0 0 * * *")

    assert wrong(both) == "conflicting timezone names"
    assert wrong(cron("TZ=Europe/Berlin 0 0 * * *", "0 1 * * *")) == "conflicting timezone names"
    assert wrong(cron("TZ=Europe/Berlin 0 0 * * *", timezone_name="UTC")) == "conflicting timezone names"
    assert wrong(ScheduleSpec(timezone_name="No/Where")) == "unknown time zone No/Where"
    assert wrong(ScheduleSpec(timezone_data=b"no zone file")) == "malformed time zone information"
    assert canonical_spec(cron("0 0 * * *", timezone_name="Asia/Tokyo")).timezone_name == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("calendar", "error"),
    [
        (StructuredCalendarSpec(hour=[Range(start=24)]), "Hour Start is not in range [0-23]"),
        (StructuredCalendarSpec(hour=[Range(start=5, end=3)]), "Hour End is before Start or not in range [0-23]"),
        (StructuredCalendarSpec(day_of_week=[Range(start=5, end=7)]),
            "DayOfWeek End is before Start or not in range [0-6]"),
        (StructuredCalendarSpec(month=[Range(start=1, step=-1)]), "Month has invalid Step"),
        (StructuredCalendarSpec(comment="x" * 201), "comment is too long"),
    ],
)  # fmt: skip
def test_a_bad_structured_calendar_is_named(calendar: StructuredCalendarSpec, error: str) -> None:
    assert wrong(ScheduleSpec(structured_calendar=[calendar])) == f"invalid calendar spec: {error}"
    assert wrong(ScheduleSpec(exclude_structured_calendar=[calendar])) == f"invalid calendar spec: {error}"
