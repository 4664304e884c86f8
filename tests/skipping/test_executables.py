"""The programs that SDKs launch for tests, launched by the SDK and by hand."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc.aio
import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType
from temporalio.testing import WorkflowEnvironment

from tests.sdk.python.kit import unique, working
from tests.skipping.clock import Clock
from tests.support.server_process import ServerProcess, free_port

pytestmark = pytest.mark.timeout(60)


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is not installed beside this interpreter"
    return found


@workflow.defn
class Sleeps:
    @workflow.run
    async def run(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    @workflow.query
    def time(self) -> float:
        return workflow.time()


@workflow.defn
class RunsActivity:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "simulate",
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@workflow.defn
class Races:
    @workflow.run
    async def run(self, seconds: float) -> str:
        timer = asyncio.create_task(asyncio.sleep(seconds))
        work = workflow.start_activity("simulate", start_to_close_timeout=timedelta(days=100))
        done, _ = await workflow.wait([timer, work], return_when=asyncio.FIRST_COMPLETED)
        return "timer" if timer in done else "activity"


@workflow.defn
class LeavesChild:
    @workflow.run
    async def run(self) -> None:
        await workflow.start_child_workflow(
            Sleeps.run,
            86_400,
            id=workflow.info().workflow_id + "-child",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )


@pytest.fixture
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=program("perdure-test-server")
    ) as environment:
        yield environment


async def test_awaiting_a_result_skips(environment: WorkflowEnvironment) -> None:
    async with working(environment.client, [Sleeps]) as queue:
        started = time.perf_counter()
        assert await environment.client.execute_workflow(Sleeps.run, 100_000, id=unique("s"), task_queue=queue)

    assert time.perf_counter() - started < 5
    assert environment.supports_time_skipping


async def test_many_results_may_be_awaited_at_once(environment: WorkflowEnvironment) -> None:
    client = environment.client
    async with working(client, [Sleeps]) as queue:
        runs = [client.execute_workflow(Sleeps.run, 1000.0 * n, id=unique("s"), task_queue=queue) for n in range(1, 21)]
        assert await asyncio.gather(*runs) == [1000.0 * n for n in range(1, 21)]

    service = client.service_client
    from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest

    await service.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())  # exactly one lock is left
    with pytest.raises(Exception, match="unlocked already"):
        await service.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())


async def test_a_test_skips_by_hand(environment: WorkflowEnvironment) -> None:
    async with working(environment.client, [Sleeps]) as queue:
        handle = await environment.client.start_workflow(Sleeps.run, 86_400, id=unique("s"), task_queue=queue)
        before = await environment.get_current_time()

        await environment.sleep(timedelta(hours=25))

        assert (await environment.get_current_time() - before).total_seconds() == pytest.approx(25 * 3600, abs=2)
        assert (await handle.describe()).close_time is not None


async def test_an_activity_that_sleeps_in_virtual_time_misses_its_heartbeat(environment: WorkflowEnvironment) -> None:
    @activity.defn
    async def simulate() -> None:
        await environment.sleep(40)

    async with working(environment.client, [RunsActivity], [simulate]) as queue:
        with pytest.raises(WorkflowFailureError) as failure:
            await environment.client.execute_workflow(RunsActivity.run, id=unique("a"), task_queue=queue)

    assert isinstance(failure.value.cause, ActivityError)
    assert isinstance(failure.value.cause.cause, TimeoutError)
    assert failure.value.cause.cause.type == TimeoutType.HEARTBEAT


@pytest.mark.parametrize(("activity_seconds", "winner"), [(1_500_000, "timer"), (500_000, "activity")])
async def test_a_timer_races_an_activity_that_sleeps(
    environment: WorkflowEnvironment, activity_seconds: float, winner: str
) -> None:
    @activity.defn
    async def simulate() -> None:
        await environment.sleep(activity_seconds)

    async with working(environment.client, [Races], [simulate]) as queue:
        result = await environment.client.execute_workflow(Races.run, 1_000_000, id=unique("r"), task_queue=queue)

    assert result == winner


async def test_without_auto_skipping_time_takes_its_time(environment: WorkflowEnvironment) -> None:
    async with working(environment.client, [Sleeps]) as queue:
        with environment.auto_time_skipping_disabled():
            started = time.perf_counter()
            await environment.client.execute_workflow(Sleeps.run, 0.5, id=unique("s"), task_queue=queue)

    assert time.perf_counter() - started >= 0.5


async def test_the_result_of_a_child_that_outlives_its_parent(environment: WorkflowEnvironment) -> None:
    client = environment.client
    async with working(client, [LeavesChild, Sleeps]) as queue:
        workflow_id = unique("p")
        await client.execute_workflow(LeavesChild.run, id=workflow_id, task_queue=queue)
        await environment.sleep(86_400)

        assert await client.get_workflow_handle(f"{workflow_id}-child").result() == 86_400


async def skips_when(*command: str) -> tuple[bool, bool, float]:
    """Whether the server skips a sleep at its start; the same after an unlock; and seconds to its first answer."""
    port = int(next(part for part in command if part.isdecimal()))
    server = ServerProcess(command, port)
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            clock = Clock(channel)

            async def skips() -> bool:
                before = time.perf_counter()
                await clock.sleep(1)
                return time.perf_counter() - before < 0.9

            at_start = await skips()
            if not at_start:
                await clock.unlock()
            return at_start, await skips(), server.launch_seconds
    finally:
        server.stop()


async def test_the_test_server_starts_locked_and_soon() -> None:
    at_start, unlocked, launch_seconds = await skips_when(program("perdure-test-server"), str(free_port()))

    assert (at_start, unlocked) == (False, True)
    assert launch_seconds < 3  # 1.0 s is for a machine at rest: see the benchmarks


async def test_the_test_server_starts_unlocked_when_told_to() -> None:
    port = str(free_port())
    at_start, _, _ = await skips_when(program("perdure-test-server"), port, "--enable-time-skipping")

    assert at_start


async def test_a_port_as_the_first_argument_makes_perdure_the_test_server() -> None:
    at_start, unlocked, _ = await skips_when(program("perdure"), str(free_port()))

    assert (at_start, unlocked) == (False, True)


async def test_the_development_server_skips_time_when_told_to() -> None:
    port = str(free_port())
    at_start, unlocked, _ = await skips_when(
        program("perdure"), "server", "start-dev", "--headless", "--port", port, "--time-skipping"
    )

    assert (at_start, unlocked) == (False, True)


def test_a_second_test_server_on_the_port_says_so_and_ends() -> None:
    port = free_port()
    first = ServerProcess([program("perdure-test-server"), str(port)], port)
    try:
        second = subprocess.run(
            [program("perdure-test-server"), str(port)], capture_output=True, text=True, timeout=20, check=False
        )
    finally:
        first.stop()

    assert second.returncode == 1
    assert second.stderr.startswith(f"Error: can't set frontend port {port}:")


def test_the_test_server_ends_with_the_process_that_started_it() -> None:
    port = free_port()
    launcher = (
        "import subprocess, sys, time;"
        f"server = subprocess.Popen([{program('perdure-test-server')!r}, '{port}'], stdout=subprocess.PIPE, text=True);"
        "server.stdout.readline();"
        "print(server.pid, flush=True)"
    )
    started = subprocess.run(
        [sys.executable, "-c", launcher], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=True
    )

    status = Path(f"/proc/{int(started.stdout)}/stat")
    deadline = time.monotonic() + 10
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the server outlived its launcher"
        time.sleep(0.01)
