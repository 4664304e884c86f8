"""Time stops skipping long before the calendar ends: what it says can be read, and what lies beyond is waited for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.clock import SECOND, SkippingTime
from perdure.engine.times import LAST_MOMENT, MAX_DURATION
from perdure.runtime.skipping import Skipper
from tests.api.client import QUEUE, Api, Refused, start_timer
from tests.skipping.clock import DAY, HOUR, Clock

END = SkippingTime.LAST / SECOND
TOO_FAR = "INVALID_ARGUMENT: cannot sleep beyond 9000-01-01T00:00:00Z: time does not skip further"


@activity.defn
async def charge() -> None:
    if activity.info().attempt == 1:
        raise RuntimeError("declined")


@workflow.defn
class Order:
    @workflow.run
    async def run(self, seconds: float) -> datetime:
        await workflow.execute_activity(charge, schedule_to_close_timeout=timedelta(days=36_500))
        await workflow.sleep(seconds)
        return workflow.now()


def test_what_is_set_by_the_last_moment_that_time_skips_to_has_room() -> None:
    assert datetime.fromtimestamp(END, UTC) == datetime(9000, 1, 1, tzinfo=UTC)
    assert SkippingTime.LAST + 9 * MAX_DURATION < LAST_MOMENT


async def test_a_workflow_of_the_last_hour_runs_and_can_be_read_by_its_sdk(client: Client, clock: Clock) -> None:
    await clock.unlock()
    await clock.sleep_until(END - HOUR)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[Order],
        activities=[charge],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        handle = await client.start_workflow(
            Order.run, HOUR / 2, id="o", task_queue=QUEUE, execution_timeout=timedelta(days=36_500)
        )
        ended = await handle.result()

    assert timedelta(minutes=30) < ended - datetime.fromtimestamp(END - HOUR, UTC) < timedelta(minutes=31)
    described = await handle.describe()
    assert described.status == WorkflowExecutionStatus.COMPLETED
    assert described.close_time is not None
    assert described.close_time.year == 8999
    assert (await handle.fetch_history()).events
    assert [found.id async for found in client.list_workflows()] == ["o"]


async def test_what_is_due_beyond_is_waited_for_and_the_log_says_so_once(
    api: Api, clock: Clock, skipper: Skipper, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(skipper._runtime.log, "warning", lambda event, **more: said.append({"event": event, **more}))
    await clock.unlock()
    await clock.sleep_until(END - HOUR)
    await api.start()
    await api.step(start_timer(seconds=7200))
    await api.start("order-2")
    await api.step(start_timer(seconds=10_800))
    skipper.poke()
    before = await clock.now()

    because = (
        "nothing to skip to: all that is pending is due after 9000-01-01T00:00:00Z, and time does not skip beyond that"
    )
    assert skipper.explain() == [because]
    assert said == [{"event": "time skips no further", "because": because}]
    assert END - HOUR <= before <= await clock.now() < END - HOUR + 30
    await clock.sleep(DAY / 48)  # up to there it still does
    assert await clock.now() >= before + DAY / 48
    assert (await client.get_workflow_handle("order-1").describe()).status == WorkflowExecutionStatus.RUNNING
    await client.get_workflow_handle("order-1").terminate()


async def test_nobody_sleeps_beyond(clock: Clock, skipper: Skipper) -> None:
    now = await clock.now()
    for seconds in (END - now + HOUR, 315_576_000_000, 9_223_372_036_854_775_807):
        with pytest.raises(Refused, match=TOO_FAR):
            await clock.sleep(seconds)
        with pytest.raises(Refused, match=TOO_FAR):
            await clock.sleep_until(now + seconds if seconds < 1e12 else seconds)
        with pytest.raises(Refused, match=TOO_FAR):
            await clock.skip(seconds)
    assert skipper.explicit == 1, "who is refused has changed nothing"
    assert not skipper._sleeps
    await clock.skip(END - now - DAY)


async def test_two_sleeps_that_go_beyond_together_do_not(clock: Clock) -> None:
    now = await clock.now()
    await clock.skip((END - now) * 0.6)
    with pytest.raises(Refused, match=TOO_FAR):
        await clock.skip((END - now) * 0.6)
