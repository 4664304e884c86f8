"""Standalone activities in virtual time: waits are skipped, work is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import temporalio.api.workflowservice.v1 as ws

from perdure import Server
from perdure.runtime.skipping import Skipper
from tests.api.client import NAMESPACE, Api, start_activity_request, values
from tests.skipping.clock import DAY, HOUR, Clock, about, duration


def start_request(activity_id: str = "charge", **fields: Any) -> ws.StartActivityExecutionRequest:
    return start_activity_request(activity_id, start_to_close_timeout=duration(DAY), **fields)


def fail_request(task: Any) -> ws.RespondActivityTaskFailedRequest:
    request = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
    request.failure.message = "boom"
    request.failure.application_failure_info.next_retry_delay.CopyFrom(duration(3 * HOUR))
    return request


async def outcome(api: Api) -> Any:
    request = ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id="charge")
    return (await api.PollActivityExecution(request)).outcome


async def test_time_skips_what_standalone_activities_wait_for(api: Api, clock: Clock) -> None:
    await clock.unlock()
    before = await clock.now()
    await api.StartActivityExecution(start_request(start_delay=duration(DAY)))

    task = await api.poll_activity()
    assert await clock.now() - before == about(DAY)
    await api.RespondActivityTaskFailed(fail_request(task))
    again = await api.poll_activity()
    assert await clock.now() - before == about(DAY + 3 * HOUR)
    await api.RespondActivityTaskCompleted(
        ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=again.task_token, result=values("done"))
    )
    assert (await outcome(api)).result == values("done")


async def test_an_attempt_that_waits_or_runs_holds_time_and_says_so(api: Api, clock: Clock, skipper: Skipper) -> None:
    await clock.unlock()
    await api.StartActivityExecution(start_request())
    assert any("standalone activity 'charge'" in line and "waits for a worker" in line for line in skipper.explain())
    before = await clock.now()

    await api.poll_activity()
    assert any("is running on 'worker'" in line for line in skipper.explain())
    assert await clock.now() - before < 5
    await api.TerminateActivityExecution(
        ws.TerminateActivityExecutionRequest(namespace=NAMESPACE, activity_id="charge", reason="enough")
    )
    assert skipper.owners.soft == 0


async def test_a_running_attempt_times_out_when_a_test_skips_past_it(api: Api, clock: Clock) -> None:
    request = start_request()
    request.retry_policy.maximum_attempts = 1
    await api.StartActivityExecution(request)
    await api.poll_activity()
    waiting = asyncio.ensure_future(outcome(api))
    await clock.unlock()

    await clock.skip(2 * DAY)

    assert (await waiting).failure.message == "activity StartToClose timeout"


async def test_what_runs_at_a_restart_still_holds_time(tmp_path: Path) -> None:
    file = str(tmp_path / "standalone.db")
    async with (
        Server(db_filename=file, time_skipping=True) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        await Api(channel).StartActivityExecution(start_request())
        await Api(channel).poll_activity()

    async with Server(db_filename=file, time_skipping=True) as server:
        assert server.skipper is not None
        assert server.skipper.owners.soft == 1
