"""Years of a schedule in seconds: its next time is a deadline like a timer's."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.runtime.skipping import Skipper
from tests.api.client import NAMESPACE, Api, Refused, complete_workflow
from tests.skipping.clock import DAY, HOUR, Clock
from tests.support.schedules import create, describe, patch, schedule

BERLIN = ZoneInfo("Europe/Berlin")


async def work(api: Api) -> None:
    """Complete whatever comes."""
    while True:
        with suppress(Refused):
            task = await api.poll(within=60)
            if task.task_token:
                await api.complete(task, complete_workflow())


@pytest.fixture
async def worker(api: Api) -> asyncio.Task[None]:
    return asyncio.create_task(work(api))


async def scheduled_times(api: Api) -> list[datetime]:
    """Of all workflows, from their IDs."""
    found: list[datetime] = []
    token = b""
    while True:
        reply = await api.ListWorkflowExecutions(
            ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, next_page_token=token)
        )
        found += [
            datetime.strptime(row.execution.workflow_id, "report-%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            for row in reply.executions
        ]
        token = reply.next_page_token
        if not token:
            return sorted(found)


async def test_three_years_of_weekdays_at_nine(api: Api, clock: Clock, worker: asyncio.Task[None]) -> None:
    await api.CreateSchedule(create(schedule("TZ=Europe/Berlin 0 9 * * MON-FRI")))
    begin = await clock.now()

    await clock.skip(3 * 365 * DAY, within=60)
    end = await clock.now()
    worker.cancel()

    day = datetime.fromtimestamp(begin, BERLIN).replace(hour=9, minute=0, second=0, microsecond=0, fold=0)
    expected = []
    while day.timestamp() <= end:
        if day.timestamp() > begin and day.weekday() < 5:
            expected.append(day.astimezone(UTC))
        day += timedelta(days=1)  # on the clock's face: nine stays nine
    assert await scheduled_times(api) == expected
    assert len(expected) in range(780, 786)
    assert {time.hour for time in expected} == {7, 8}
    said = (await api.DescribeSchedule(describe())).info
    assert (said.action_count, said.missed_catchup_window, said.overlap_skipped) == (len(expected), 0, 0)


async def test_a_paused_schedule_is_nothing_to_skip_to(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.CreateSchedule(create(schedule("0 * * * *")))
    assert (await api.DescribeSchedule(describe())).info.future_action_times
    await api.PatchSchedule(patch(pause="for now"))

    await clock.unlock()

    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]
    assert skipper.jumps == 0


async def test_time_stands_still_while_a_scheduled_workflow_waits_for_a_worker(api: Api, clock: Clock) -> None:
    await api.CreateSchedule(create(schedule("@every 1h")))
    begin = await clock.now()
    await clock.unlock()
    first = await api.poll()
    assert first.workflow_execution.workflow_id.startswith("report-")
    assert await clock.now() - begin < HOUR + 1

    await clock.lock()
    await api.complete(first, complete_workflow())

    assert await clock.now() - begin < HOUR + 1
    await clock.skip(HOUR)
    second = await api.poll()
    assert second.workflow_execution.workflow_id != first.workflow_execution.workflow_id
    assert await clock.now() - begin < 2 * HOUR + 1
