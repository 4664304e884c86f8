"""Schedules through the Python SDK: created, described, listed, changed, run, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleListActionStartWorkflow,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from tests.sdk.python.kit import SECOND, unique, working

AMOUNT = SearchAttributeKey.for_int("Amount")
START = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
BY = SearchAttributeKey.for_keyword("TemporalScheduledById")


@workflow.defn
class Report:
    """Tells whose result came before."""

    @workflow.run
    async def run(self, name: str) -> str:
        last = workflow.get_last_completion_result(str) if workflow.has_last_completion_result() else "nobody"
        return f"{name} after {last.split()[0]}"


@workflow.defn
class Waiting:
    def __init__(self) -> None:
        self.over = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.over)

    @workflow.signal
    def end(self) -> None:
        self.over = True


def reporting(queue: str, spec: ScheduleSpec | None = None, name: str = "alice", **fields: Any) -> Schedule:
    action = ScheduleActionStartWorkflow(Report.run, name, id=unique("report"), task_queue=queue)
    return Schedule(action=action, spec=spec or ScheduleSpec(), **fields)


async def eventually(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """What `look` finds once it is as wanted: workers take a moment."""
    async with asyncio.timeout(10):
        while not wanted(found := await look()):
            await asyncio.sleep(0.02)
        return found


async def results(client: Client, described: ScheduleDescription) -> list[Any]:
    found = []
    for action in described.info.recent_actions:
        started = action.action
        assert isinstance(started, ScheduleActionExecutionStartWorkflow)
        handle = client.get_workflow_handle(started.workflow_id, run_id=started.first_execution_run_id, result_type=str)
        found.append(await handle.result())
    return found


async def test_a_schedule_is_described_as_it_was_made(client: Client) -> None:
    schedule = reporting(
        "nobody",
        ScheduleSpec(
            calendars=[
                ScheduleCalendarSpec(hour=[ScheduleRange(9)], day_of_week=[ScheduleRange(1, 5)], comment="work")
            ],
            intervals=[ScheduleIntervalSpec(every=timedelta(days=7), offset=timedelta(hours=3))],
            cron_expressions=["0 12 1 * *"],
            skip=[ScheduleCalendarSpec(month=[ScheduleRange(12)], day_of_month=[ScheduleRange(24, 26)])],
            start_at=datetime(2025, 1, 1, tzinfo=UTC),
            jitter=timedelta(minutes=2),
            time_zone_name="Europe/Berlin",
        ),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.BUFFER_ONE, catchup_window=timedelta(minutes=5), pause_on_failure=True
        ),
        state=ScheduleState(note="why", paused=True, limited_actions=True, remaining_actions=30),
    )
    handle = await client.create_schedule(
        unique("schedule"),
        schedule,
        memo={"owner": "anna"},
        search_attributes=TypedSearchAttributes([SearchAttributePair(AMOUNT, 7)]),
    )

    said = await handle.describe()

    spec = said.schedule.spec
    assert [calendar.comment for calendar in spec.calendars] == ["work", None]
    assert spec.calendars[0].hour == (ScheduleRange(9, 9, 1),)
    assert spec.calendars[1].day_of_month == (ScheduleRange(1, 1, 1),)
    assert spec.cron_expressions == []
    assert spec.intervals == [ScheduleIntervalSpec(every=timedelta(days=7), offset=timedelta(hours=3))]
    assert len(spec.skip) == 1
    assert (spec.start_at, spec.jitter) == (datetime(2025, 1, 1, tzinfo=UTC), timedelta(minutes=2))
    assert spec.time_zone_name == "Europe/Berlin"
    assert said.schedule.policy == schedule.policy
    assert said.schedule.state == schedule.state
    assert said.typed_search_attributes[AMOUNT] == 7
    assert await said.memo() == {"owner": "anna"}
    assert len(said.info.next_action_times) == 10
    assert said.info.created_at <= datetime.now(UTC)
    await handle.delete()


async def test_a_schedule_runs_by_itself_and_hands_results_on(client: Client) -> None:
    async with working(client, [Report]) as queue:
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=SECOND)])
        limited = ScheduleState(limited_actions=True, remaining_actions=2)
        schedule_id = unique("schedule")
        handle = await client.create_schedule(schedule_id, reporting(queue, spec, state=limited))

        said = await eventually(handle.describe, lambda d: d.info.num_actions == 2 and not d.info.running_actions)

        assert await results(client, said) == ["alice after nobody", "alice after alice"]
        action = said.info.recent_actions[0].action
        assert isinstance(action, ScheduleActionExecutionStartWorkflow)
        described = await client.get_workflow_handle(action.workflow_id).describe()
        assert described.typed_search_attributes[BY] == schedule_id
        assert action.workflow_id.endswith(described.typed_search_attributes[START].strftime("%Y-%m-%dT%H:%M:%SZ"))
        assert said.info.next_action_times == []
        await handle.delete()


async def test_trigger_backfill_pause_and_unpause(client: Client) -> None:
    async with working(client, [Report]) as queue:
        handle = await client.create_schedule(
            unique("schedule"),
            reporting(queue, ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))])),
            trigger_immediately=True,
            backfill=[
                ScheduleBackfill(
                    start_at=datetime(2025, 1, 1, tzinfo=UTC),
                    end_at=datetime(2025, 1, 1, 2, tzinfo=UTC),
                    overlap=ScheduleOverlapPolicy.ALLOW_ALL,
                )
            ],
        )
        said = await eventually(handle.describe, lambda d: d.info.num_actions == 4)
        scheduled = {action.scheduled_at for action in said.info.recent_actions}
        assert {datetime(2025, 1, 1, hour, tzinfo=UTC) for hour in range(3)} < scheduled

        await handle.pause(note="for now")
        said = await handle.describe()
        assert (said.schedule.state.paused, said.schedule.state.note) == (True, "for now")
        await handle.backfill(
            ScheduleBackfill(
                start_at=datetime(2025, 2, 1, tzinfo=UTC),
                end_at=datetime(2025, 2, 1, 1, tzinfo=UTC),
                overlap=ScheduleOverlapPolicy.BUFFER_ALL,
            )
        )
        await eventually(handle.describe, lambda d: d.info.num_actions == 6)
        await handle.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
        assert (await handle.describe()).info.num_actions == 7
        await handle.unpause()
        assert not (await handle.describe()).schedule.state.paused
        await handle.delete()


async def test_overlapping_runs_wait_or_are_cancelled(client: Client) -> None:
    async with working(client, [Waiting]) as queue:
        action = ScheduleActionStartWorkflow(Waiting.run, id=unique("waiting"), task_queue=queue)
        handle = await client.create_schedule(unique("schedule"), Schedule(action=action, spec=ScheduleSpec()))
        await handle.trigger()
        [first] = (await handle.describe()).info.running_actions
        assert isinstance(first, ScheduleActionExecutionStartWorkflow)
        await handle.trigger()
        assert (await handle.describe()).info.num_actions_skipped_overlap == 1
        await asyncio.sleep(1)  # IDs of actions carry whole seconds
        await handle.trigger(overlap=ScheduleOverlapPolicy.CANCEL_OTHER)

        def replaced(said: ScheduleDescription) -> bool:
            running = said.info.running_actions
            return len(running) == 1 and running[0] != first

        said = await eventually(handle.describe, replaced)

        assert (await client.get_workflow_handle(first.workflow_id).describe()).status is not None
        second = said.info.running_actions[0]
        assert isinstance(second, ScheduleActionExecutionStartWorkflow)
        await client.get_workflow_handle(second.workflow_id).signal(Waiting.end)
        await eventually(handle.describe, lambda d: not d.info.running_actions)
        await handle.delete()


async def test_an_update_changes_what_was_described(client: Client) -> None:
    handle = await client.create_schedule(
        unique("schedule"),
        reporting("nobody", ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))])),
    )

    def change(given: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = given.description.schedule
        schedule.spec = ScheduleSpec(cron_expressions=["@daily"])
        schedule.state.note = "less often"
        action = schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        action.id = "changed"
        return ScheduleUpdate(schedule, search_attributes=TypedSearchAttributes([SearchAttributePair(AMOUNT, 8)]))

    await handle.update(change)
    said = await handle.describe()

    assert said.info.last_updated_at is not None
    assert said.schedule.spec.intervals == []
    assert len(said.schedule.spec.calendars) == 1
    assert said.schedule.state.note == "less often"
    assert isinstance(said.schedule.action, ScheduleActionStartWorkflow)
    assert said.schedule.action.id == "changed"
    assert said.typed_search_attributes[AMOUNT] == 8
    await handle.update(lambda given: None)
    await handle.delete()


async def test_schedules_are_listed_with_a_filter(client: Client) -> None:
    prefix = unique("list")
    for number in range(3):
        await client.create_schedule(
            f"{prefix}-{number}",
            reporting("nobody", ScheduleSpec(cron_expressions=["0 9 * * *"]), state=ScheduleState(note=str(number))),
            memo={"number": number},
            search_attributes=TypedSearchAttributes([SearchAttributePair(AMOUNT, number)]),
        )

    found = [entry async for entry in await client.list_schedules(f"ScheduleId STARTS_WITH '{prefix}'", page_size=2)]
    few = [entry async for entry in await client.list_schedules(f"ScheduleId STARTS_WITH '{prefix}' AND Amount > 1")]

    assert [entry.id for entry in found] == [f"{prefix}-{number}" for number in (2, 1, 0)]
    assert [entry.id for entry in few] == [f"{prefix}-2"]
    entry = found[0]
    assert entry.schedule is not None
    assert entry.info is not None
    assert isinstance(entry.schedule.action, ScheduleListActionStartWorkflow)
    assert entry.schedule.action.workflow == "Report"
    assert entry.schedule.state.note == "2"
    assert len(entry.info.next_action_times) == 5
    assert await entry.memo() == {"number": 2}
    assert entry.typed_search_attributes[AMOUNT] == 2
    for number in range(3):
        await client.get_schedule_handle(f"{prefix}-{number}").delete()


async def test_errors_have_their_own_types(client: Client) -> None:
    schedule_id = unique("schedule")
    handle = await client.create_schedule(schedule_id, reporting("nobody"))
    with pytest.raises(ScheduleAlreadyRunningError):
        await client.create_schedule(schedule_id, reporting("nobody"))
    await handle.delete()

    with pytest.raises(RPCError) as failure:
        await handle.describe()
    assert failure.value.status is RPCStatusCode.NOT_FOUND
    with pytest.raises(RPCError, match="Invalid schedule spec: CronString does not have 5-7 fields"):
        await client.create_schedule(schedule_id, reporting("nobody", ScheduleSpec(cron_expressions=["soon"])))
