"""Schedules over raw gRPC: what each RPC answers, and in which words it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.schedule.v1 import BackfillRequest, Schedule, SchedulePatch

from perdure import Server
from tests.api.client import NAMESPACE, Api, Refused
from tests.support.schedules import create, delete, describe, listed, matching, moment, patch, schedule, update

NEVER = "0 0 1 1 * 2100"


def payload(value: Any) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


async def refused(api: Api, request: Message) -> Refused:
    rpc = type(request).__name__.removesuffix("Request")
    with pytest.raises(Refused) as failure:
        await getattr(api, rpc)(request)
    return failure.value


def changed(change: Callable[[Schedule], object]) -> Schedule:
    made = schedule(NEVER)
    change(made)
    return made


# ---- describe
async def test_a_described_schedule_has_its_canonical_form_and_all_defaults(api: Api) -> None:
    made = schedule("TZ=Europe/Berlin 0 9 * * MON-FRI # reports")
    request = create(made)
    request.memo.fields["owner"].CopyFrom(payload("anna"))
    request.search_attributes.indexed_fields["CustomKeyword"].CopyFrom(payload("blue"))
    created = await api.CreateSchedule(request)

    said = await api.DescribeSchedule(describe())

    assert said.conflict_token == created.conflict_token
    assert list(said.schedule.spec.cron_string) == []
    assert said.schedule.spec.timezone_name == "Europe/Berlin"
    (calendar,) = said.schedule.spec.structured_calendar
    assert calendar.comment == "reports"
    assert [(r.start, r.end, r.step) for r in calendar.day_of_week] == [(1, 5, 1)]
    assert said.schedule.policies.overlap_policy == 1
    assert said.schedule.policies.catchup_window.seconds == 365 * 86400
    assert said.schedule.HasField("state")
    assert said.memo.fields["owner"].data == b'"anna"'
    assert dict(said.search_attributes.indexed_fields.items()).keys() == {"CustomKeyword"}
    assert len(said.info.future_action_times) == 10
    assert said.info.HasField("create_time")
    assert not said.info.HasField("update_time")


async def test_short_catchup_windows_are_raised(api: Api) -> None:
    made = schedule(NEVER)
    made.policies.catchup_window.seconds = 1
    await api.CreateSchedule(create(made))

    assert (await api.DescribeSchedule(describe())).schedule.policies.catchup_window.seconds == 10


# ---- refused
@pytest.mark.parametrize(
    ("made", "text"),
    [
        (schedule("0 0 * *"), "Invalid schedule spec: CronString does not have 5-7 fields"),
        (schedule("0 0 32 * *"), "Invalid schedule spec: invalid calendar spec: DayOfMonth is not in range [1-31]"),
        (schedule("TZ=Nowhere/Land 0 0 * * *"), "Invalid schedule spec: unknown time zone Nowhere/Land"),
        (changed(lambda s: s.spec.interval.add()), "Invalid schedule spec: interval is too small"),
        (changed(lambda s: s.action.start_workflow.ClearField("workflow_type")), "WorkflowType is not set on request."),
        (changed(lambda s: s.action.start_workflow.ClearField("task_queue")), "taskQueue is not set"),
        (
            changed(lambda s: setattr(s.action.start_workflow, "cron_schedule", "* * * * *")),
            "Scheduled workflow must not contain CronSchedule",
        ),
        (
            changed(lambda s: setattr(s.action.start_workflow, "workflow_id_reuse_policy", 3)),
            "Scheduled workflow must not contain WorkflowIDReusePolicy",
        ),
        (
            changed(lambda s: setattr(s.action.start_workflow, "workflow_id", "x" * 980)),
            "WorkflowId length exceeds limit.",
        ),
        (
            changed(lambda s: setattr(s.action.start_workflow.workflow_run_timeout, "seconds", -1)),
            "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative duration",
        ),
        (
            changed(lambda s: setattr(s.action.start_workflow.retry_policy, "maximum_attempts", -1)),
            "MaximumAttempts cannot be negative on retry policy.",
        ),
        (
            changed(
                lambda s: s.action.start_workflow.search_attributes.indexed_fields["NoSuch"].CopyFrom(payload("x"))
            ),
            "Namespace default has no mapping defined for search attribute NoSuch",
        ),
        (schedule(NEVER, notes="n" * 1001), "Schedule notes exceeds limit."),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused_at_creation_and_update(
    api: Api, made: Schedule, text: str
) -> None:
    error = await refused(api, create(made))
    assert (error.code, error.message) == ("INVALID_ARGUMENT", text)
    error = await refused(api, update(made))
    assert (error.code, error.message) == ("INVALID_ARGUMENT", text)
    assert (await refused(api, describe())).code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (create(schedule(NEVER), request_id=""), "INVALID_ARGUMENT", "RequestId is not set on request."),
        (create(schedule(NEVER), ""), "INVALID_ARGUMENT", "ScheduleId is not set on request."),
        (create(schedule(NEVER), "x" * 980), "INVALID_ARGUMENT", "ScheduleId length exceeds limit."),
        (describe("none"), "NOT_FOUND", "workflow not found for ID: temporal-sys-scheduler:none"),
        (patch("none", pause="x"), "NOT_FOUND", "workflow not found for ID: temporal-sys-scheduler:none"),
        (delete("none"), "NOT_FOUND", "workflow not found for ID: temporal-sys-scheduler:none"),
        (update(schedule(NEVER), "none"), "NOT_FOUND", "workflow not found for ID: temporal-sys-scheduler:none"),
        (matching(0, 1, "none"), "NOT_FOUND", "workflow not found for ID: temporal-sys-scheduler:none"),
        (
            ws.PatchScheduleRequest(namespace=NAMESPACE, schedule_id="none"),
            "INVALID_ARGUMENT",
            "Patch is not set on request.",
        ),
        (patch("none", pause="n" * 1001), "INVALID_ARGUMENT", "Schedule notes exceeds limit."),
        (
            ws.PatchScheduleRequest(
                namespace=NAMESPACE, schedule_id="none", patch=SchedulePatch(backfill_request=[BackfillRequest()])
            ),
            "INVALID_ARGUMENT",
            "Backfill request needs a start and an end time.",
        ),
        (
            ws.ListScheduleMatchingTimesRequest(namespace=NAMESPACE, schedule_id="none", start_time=moment(1)),
            "INVALID_ARGUMENT",
            "missing or invalid query",
        ),
        (
            ws.UpdateScheduleRequest(namespace=NAMESPACE, schedule_id="none"),
            "INVALID_ARGUMENT",
            "Only StartWorkflow action is supported for schedules",
        ),
        (
            listed("WorkflowType = 'x'"),
            "INVALID_ARGUMENT",
            'invalid query filter for schedules: cannot filter on "WorkflowType"',
        ),
        (
            ws.DescribeScheduleRequest(namespace="nowhere", schedule_id="none"),
            "NOT_FOUND",
            "Namespace nowhere is not found.",
        ),
    ],
)
async def test_requests_that_are_refused(api: Api, request_: Message, code: str, text: str) -> None:
    error = await refused(api, request_)

    assert (error.code, error.message) == (code, text)


# ---- lists
async def test_lists_show_each_schedule_in_short_newest_first(api: Api) -> None:
    for number in range(3):
        request = create(schedule("0 9 * * *", notes=f"number {number}"), f"s-{number}")
        request.memo.fields["n"].CopyFrom(payload(number))
        request.search_attributes.indexed_fields["CustomInt"].CopyFrom(payload(number))
        await api.CreateSchedule(request)

    reply = await api.ListSchedules(listed())

    assert [entry.schedule_id for entry in reply.schedules] == ["s-2", "s-1", "s-0"]
    entry = reply.schedules[0]
    assert entry.info.workflow_type.name == "Report"
    assert entry.info.notes == "number 2"
    assert len(entry.info.spec.structured_calendar) == 1
    assert len(entry.info.future_action_times) == 5
    assert entry.memo.fields["n"].data == b"2"
    assert list(entry.search_attributes.indexed_fields) == ["CustomInt"]


async def test_lists_are_filtered_paged_and_counted(api: Api) -> None:
    for number in range(60):
        request = create(schedule(NEVER, paused=number % 2 == 0), f"s-{number:02}")
        request.search_attributes.indexed_fields["CustomInt"].CopyFrom(payload(number))
        await api.CreateSchedule(request)

    async def ids(query: str) -> list[str]:
        return [entry.schedule_id for entry in (await api.ListSchedules(listed(query))).schedules]

    async def count(query: str) -> int:
        request = ws.CountSchedulesRequest(namespace=NAMESPACE, query=query)
        return int((await api.CountSchedules(request)).count)

    assert await ids("ScheduleId = 's-07'") == ["s-07"]
    assert len(await ids("ScheduleId STARTS_WITH 's-1'")) == 10
    assert await ids("CustomInt < 3 AND TemporalSchedulePaused = true") == ["s-02", "s-00"]
    assert await count("TemporalSchedulePaused = true") == 30
    assert await count("") == 60
    await api.PatchSchedule(patch("s-01", pause="for now"))
    await api.DeleteSchedule(delete("s-03"))
    assert await count("TemporalSchedulePaused = true") == 31
    assert await count("") == 59
    found: list[str] = []
    token = b""
    while True:
        page = await api.ListSchedules(listed(maximum_page_size=25, next_page_token=token))
        assert len(page.schedules) <= 25
        found += [entry.schedule_id for entry in page.schedules]
        token = page.next_page_token
        if not token:
            break
    assert found == [f"s-{number:02}" for number in range(59, -1, -1) if number != 3]


async def test_schedules_are_no_workflows_in_lists(api: Api) -> None:
    await api.CreateSchedule(create(schedule(NEVER)))

    reply = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert reply.count == 0
    reply = await api.CountWorkflowExecutions(
        ws.CountWorkflowExecutionsRequest(
            namespace=NAMESPACE, query="TemporalNamespaceDivision = 'TemporalScheduler' AND ExecutionStatus = 'Running'"
        )
    )
    assert reply.count == 1


# ---- changes
async def test_search_attributes_and_memo_are_kept_replaced_or_cleared(api: Api) -> None:
    request = create(schedule(NEVER))
    request.search_attributes.indexed_fields["CustomKeyword"].CopyFrom(payload("blue"))
    request.memo.fields["owner"].CopyFrom(payload("anna"))
    await api.CreateSchedule(request)

    await api.UpdateSchedule(update(schedule(NEVER)))
    said = await api.DescribeSchedule(describe())
    assert said.search_attributes.indexed_fields["CustomKeyword"].data == b'"blue"'

    change = update(schedule(NEVER))
    change.search_attributes.indexed_fields["CustomInt"].CopyFrom(payload(3))
    change.memo.fields["owner"].CopyFrom(payload("ben"))
    await api.UpdateSchedule(change)
    said = await api.DescribeSchedule(describe())
    assert list(said.search_attributes.indexed_fields) == ["CustomInt"]
    assert said.memo.fields["owner"].data == b'"ben"'
    assert [entry.schedule_id for entry in (await api.ListSchedules(listed("CustomInt = 3"))).schedules] == ["daily"]

    change = update(schedule(NEVER))
    change.search_attributes.SetInParent()
    await api.UpdateSchedule(change)
    assert list((await api.DescribeSchedule(describe())).search_attributes.indexed_fields) == []
    found = await api.ListSchedules(listed("TemporalSchedulePaused = false"))
    assert [entry.schedule_id for entry in found.schedules] == ["daily"]


async def test_the_same_update_comes_once(api: Api) -> None:
    created = await api.CreateSchedule(create(schedule(NEVER)))
    change = update(schedule(NEVER, notes="new"), conflict_token=created.conflict_token, request_id="one")

    await api.UpdateSchedule(change)
    await api.UpdateSchedule(change)  # a retry whose first answer was lost

    assert (await api.DescribeSchedule(describe())).schedule.state.notes == "new"
    change.request_id = "two"
    error = await refused(api, change)
    assert (error.code, error.message) == ("FAILED_PRECONDITION", "mismatched conflict token")


async def test_matching_times_are_a_thousand_at_most(api: Api) -> None:
    await api.CreateSchedule(create(schedule("* * * * *")))

    reply = await api.ListScheduleMatchingTimes(matching(1_700_000_000, 1_800_000_000))

    assert len(reply.start_time) == 1000
    assert reply.start_time[0].seconds == 1_700_000_040


async def test_the_namespace_says_that_it_has_schedules(api: Api, server: Server) -> None:
    reply = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))

    assert reply.namespace_info.supports_schedules


@pytest.mark.parametrize("seconds", [-(1 << 63), -62_135_596_801, 253_402_300_800, (1 << 63) - 1])
async def test_times_that_no_calendar_has_are_brought_into_the_calendar(api: Api, seconds: int) -> None:
    await api.CreateSchedule(create(schedule(NEVER)))
    trigger = SchedulePatch()
    trigger.trigger_immediately.scheduled_time.seconds = seconds
    trigger.backfill_request.add().start_time.seconds = seconds
    trigger.backfill_request[0].end_time.seconds = seconds

    request = patch()
    request.patch.CopyFrom(trigger)
    await api.PatchSchedule(request)

    (action,) = (await api.DescribeSchedule(describe())).info.recent_actions
    year = "0001-01-01T00:00:00Z" if seconds < 0 else "9999-12-31T23:59:59Z"
    assert action.start_workflow_result.workflow_id.endswith(year)


async def test_durations_beyond_all_calendars_are_stored(api: Api) -> None:
    made = schedule(NEVER)
    made.policies.catchup_window.seconds = (1 << 63) - 1
    made.spec.jitter.seconds = (1 << 63) - 1
    interval = made.spec.interval.add()
    interval.interval.seconds = (1 << 63) - 1
    interval.phase.seconds = 5
    await api.CreateSchedule(create(made))
    assert (await api.DescribeSchedule(describe())).schedule.policies.catchup_window.seconds == 315_576_000_000


@pytest.mark.parametrize("data", [b"", b"[]"])
async def test_search_attributes_without_a_value_are_left_out(api: Api, data: bytes) -> None:
    request = create(schedule(NEVER))
    request.search_attributes.indexed_fields["CustomKeyword"].data = data
    await api.CreateSchedule(request)
    assert not (await api.DescribeSchedule(describe())).search_attributes.indexed_fields
    changed = update(schedule(NEVER))
    changed.search_attributes.CopyFrom(request.search_attributes)
    await api.UpdateSchedule(changed)
    assert len((await api.ListSchedules(listed())).schedules) == 1
