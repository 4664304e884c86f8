"""A server that dies between a due time and the start of its workflow starts it once, and once only."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from random import Random

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws

from tests.api.client import NAMESPACE, Api
from tests.crash.harness import CRASHING_SERVER, DEATH_WITHIN
from tests.support.schedules import create, describe, matching, schedule
from tests.support.server_process import ServerProcess, dev_server_command, free_port

POINTS = ("decided", "sealed", "before_commit", "after_commit", "before_delivery")
SCHEDULES = 3
SECONDS = 7


async def workflows(api: Api) -> list[str]:
    reply = await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    return sorted(found.execution.workflow_id for found in reply.executions)


@pytest.mark.timeout(120)
async def test_each_due_time_starts_exactly_one_run_through_a_death_at_each_point(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    database, port = tmp_path / "schedules.db", free_port()
    server = await asyncio.to_thread(ServerProcess, dev_server_command(port, database=database), port)
    began = int(time.time())
    end = began + SECONDS
    async with grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)
        for number in range(SCHEDULES):
            made = schedule(every=1, workflow_id=f"run-{number}", overlap="ALLOW_ALL")
            made.spec.end_time.seconds = end
            await api.CreateSchedule(create(made, f"s-{number}"))
    try:
        for point in POINTS:
            await asyncio.to_thread(server.kill)
            script = [sys.executable, str(CRASHING_SERVER), str(port), str(database), point, str(random.randint(1, 2))]
            # It may die before it answers anybody: what came due while nobody served brings it to its point.
            dying = await asyncio.create_subprocess_exec(*script)
            assert await asyncio.wait_for(dying.wait(), DEATH_WITHIN) == -signal.SIGKILL
        server = await asyncio.to_thread(ServerProcess, dev_server_command(port, database=database), port)
        async with grpc.aio.insecure_channel(server.address) as channel:
            api = Api(channel)
            expected = []
            for number in range(SCHEDULES):
                while (said := (await api.DescribeSchedule(describe(f"s-{number}"))).info).future_action_times:
                    await asyncio.sleep(0.05)
                first = said.create_time.ToMicroseconds() / 1e6
                times = (await api.ListScheduleMatchingTimes(matching(first, end, f"s-{number}"))).start_time
                expected += [f"run-{number}-{at.ToDatetime():%Y-%m-%dT%H:%M:%SZ}" for at in times]
                assert said.action_count == len(times)
                assert said.missed_catchup_window == said.buffer_dropped == 0
            assert await workflows(api) == sorted(expected)
    finally:
        await asyncio.to_thread(server.kill)
