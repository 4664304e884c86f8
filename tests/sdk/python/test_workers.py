"""Workers come and go, hold workflows in memory or not, and share queues; workflows do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    ShutdownWorkerRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from tests.sdk.python.kit import SOON, event_of, kinds, replay, unique, until_answers, working

pytestmark = pytest.mark.timeout(30)


@activity.defn
async def twice(number: int) -> int:
    return 2 * number


@activity.defn
async def where() -> str:
    return activity.info().task_queue


@activity.defn
async def measure(text: str) -> int:
    return len(text)


@activity.defn
async def fill(size: int) -> str:
    return "x" * size


@workflow.defn
class Ledger:
    """Doubles the numbers it is told until it is told nothing is left."""

    def __init__(self) -> None:
        self._told: list[int] = []
        self._done: list[int] = []
        self._closing = False

    @workflow.signal
    def tell(self, number: int) -> None:
        self._told.append(number)

    @workflow.signal
    def close(self) -> None:
        self._closing = True

    @workflow.query
    def done(self) -> list[int]:
        return self._done

    @workflow.run
    async def run(self) -> list[int]:
        while True:
            await workflow.wait_condition(lambda: self._closing or len(self._told) > len(self._done))
            if len(self._told) == len(self._done):
                return self._done
            number = self._told[len(self._done)]
            self._done.append(await workflow.execute_activity(twice, number, start_to_close_timeout=SOON))


@workflow.defn
class Elsewhere:
    @workflow.run
    async def run(self, queues: list[str]) -> list[str]:
        return [
            await workflow.execute_activity(where, task_queue=queue, start_to_close_timeout=SOON) for queue in queues
        ]


@workflow.defn
class Carries:
    """A megabyte each way: into an activity, out of one, and back to the caller."""

    @workflow.run
    async def run(self, text: str) -> str:
        size = await workflow.execute_activity(measure, text, start_to_close_timeout=SOON)
        return await workflow.execute_activity(fill, size, start_to_close_timeout=SOON)


@workflow.defn
class Long:
    """A history of more than a thousand events; then it waits to be asked."""

    def __init__(self) -> None:
        self._sum = 0
        self._closing = False

    @workflow.signal
    def close(self) -> None:
        self._closing = True

    @workflow.query
    def sum(self) -> int:
        return self._sum

    @workflow.run
    async def run(self, rounds: int, width: int) -> int:
        for _ in range(rounds):
            self._sum += sum(
                await asyncio.gather(
                    *(workflow.execute_activity(twice, n, start_to_close_timeout=SOON) for n in range(width))
                )
            )
        await workflow.wait_condition(lambda: self._closing)
        return self._sum


async def test_a_workflow_outlives_its_worker(client: Client) -> None:
    queue = unique("queue")
    async with working(client, [Ledger], [twice], task_queue=queue):
        handle = await client.start_workflow(Ledger.run, id=unique("ledger"), task_queue=queue)
        await handle.signal(Ledger.tell, 1)
        await until_answers(handle, Ledger.done, [2])
    await handle.signal(Ledger.tell, 2)
    async with working(client, [Ledger], [twice], task_queue=queue):
        await handle.signal(Ledger.tell, 3)
        await handle.signal(Ledger.close)

        assert await handle.result() == [2, 4, 6]
    await replay([Ledger], handle)


async def test_a_stopped_workers_workflows_move_to_another_at_once(client: Client) -> None:
    """The first worker's own queue, with its task in it, would hold it for ten seconds."""
    queue = unique("queue")
    async with working(client, [Ledger], [twice], task_queue=queue):
        handle = await client.start_workflow(Ledger.run, id=unique("ledger"), task_queue=queue)
        await handle.query(Ledger.done)
    async with working(client, [Ledger], [twice], task_queue=queue), asyncio.timeout(3):
        await handle.signal(Ledger.tell, 4)
        await handle.signal(Ledger.close)

        assert await handle.result() == [8]
    assert "WorkflowTaskTimedOut" not in await kinds(handle)


async def test_workers_of_one_queue_share_its_work(client: Client, server_address: str) -> None:
    queue = unique("queue")
    # The SDK keeps to one worker a queue and client.
    another = await Client.connect(server_address)
    async with (
        working(client, [Ledger], [twice], task_queue=queue, identity="one"),
        working(another, [Ledger], [twice], task_queue=queue, identity="two"),
    ):
        handles = [await client.start_workflow(Ledger.run, id=unique("ledger"), task_queue=queue) for _ in range(20)]
        for number in range(5):
            await asyncio.gather(*(handle.signal(Ledger.tell, number) for handle in handles))
        await asyncio.gather(*(handle.signal(Ledger.close) for handle in handles))

        assert await asyncio.gather(*(handle.result() for handle in handles)) == [[0, 2, 4, 6, 8]] * 20
    await replay([Ledger], *handles)


async def test_a_worker_without_a_cache_replays_each_time(client: Client) -> None:
    async with working(client, [Ledger], [twice], max_cached_workflows=0) as queue:
        handle = await client.start_workflow(Ledger.run, id=unique("ledger"), task_queue=queue)
        for number in range(5):
            await handle.signal(Ledger.tell, number)
        await handle.signal(Ledger.close)

        assert await handle.result() == [0, 2, 4, 6, 8]


async def test_activities_run_in_the_queue_they_name(client: Client) -> None:
    one, two = unique("one"), unique("two")
    async with (
        working(client, [Elsewhere], [where]) as home,
        working(client, [], [where], task_queue=one),
        working(client, [], [where], task_queue=two),
    ):
        answer = await client.execute_workflow(Elsewhere.run, [one, home, two], id=unique("elsewhere"), task_queue=home)

    assert answer == [one, home, two]


async def test_a_task_waits_for_a_worker_that_comes_late(client: Client) -> None:
    queue = unique("queue")
    handles = [await client.start_workflow(Ledger.run, id=unique("ledger"), task_queue=queue) for _ in range(30)]
    for handle in handles:
        await handle.signal(Ledger.close)

    async with working(client, [Ledger], [twice], task_queue=queue):
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [[]] * 30


async def test_payloads_of_a_megabyte_pass(client: Client) -> None:
    async with working(client, [Carries], [measure, fill]) as queue:
        handle = await client.start_workflow(Carries.run, "y" * 1_048_576, id=unique("carries"), task_queue=queue)

        assert await handle.result() == "x" * 1_048_576
    await replay([Carries], handle)


async def test_a_payload_beyond_the_limit_is_refused(client: Client) -> None:
    with pytest.raises(RPCError):
        await client.start_workflow(Carries.run, "y" * 2_200_000, id=unique("carries"), task_queue=unique("queue"))


@pytest.mark.timeout(60)
async def test_a_long_history_is_read_again_by_a_worker_that_forgot_it(client: Client) -> None:
    queue = unique("queue")
    async with working(client, [Long], [twice], task_queue=queue):
        handle = await client.start_workflow(Long.run, args=[10, 40], id=unique("long"), task_queue=queue)
        await until_answers(handle, Long.sum, 15_600)
    async with working(client, [Long], [twice], task_queue=queue):
        await handle.signal(Long.close)
        assert await handle.result() == 15_600
        assert await handle.query(Long.sum) == 15_600

    ids = [event.event_id async for event in handle.fetch_history_events(page_size=100)]
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) > 1200
    await replay([Long], handle)


async def test_a_workflow_started_eagerly_runs_on_the_worker_of_its_starter(client: Client) -> None:
    async with working(client, [Ledger], [twice]) as queue:
        handle = await client.start_workflow(
            Ledger.run, id=unique("ledger"), task_queue=queue, request_eager_start=True
        )
        await handle.signal(Ledger.close)

        assert await handle.result() == []
    started = await event_of(handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
    assert started.eager_execution_accepted


async def test_a_poll_that_comes_after_its_worker_stopped_is_not_waited_for(client: Client) -> None:
    """As one does that was in back-off when the worker said so: the worker would wait a minute for it."""
    worker, queue = unique("worker"), unique("queue")
    await client.workflow_service.shutdown_worker(
        ShutdownWorkerRequest(namespace=client.namespace, worker_instance_key=worker)
    )

    async with asyncio.timeout(3):
        task = await client.workflow_service.poll_workflow_task_queue(
            PollWorkflowTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=queue), worker_instance_key=worker
            ),
            timeout=timedelta(seconds=30),
        )

    assert task == PollWorkflowTaskQueueResponse()


# ---- activities of a worker that stops
class Stops:
    """An activity that its worker's shutdown interrupts the first time."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    @property
    def run(self) -> Callable[..., Any]:
        @activity.defn(name="stops")
        async def stops() -> int:
            if activity.info().attempt == 1:
                self.begun.set()
                await asyncio.Event().wait()
            return activity.info().attempt

        return stops


@workflow.defn
class WaitsForOne:
    @workflow.run
    async def run(self) -> int:
        return int(await workflow.execute_activity("stops", start_to_close_timeout=timedelta(seconds=20)))


async def test_an_activity_of_a_stopped_worker_is_tried_by_another(client: Client) -> None:
    stops, queue = Stops(), unique("queue")
    async with working(client, [WaitsForOne], [stops.run], task_queue=queue):
        handle = await client.start_workflow(WaitsForOne.run, id=unique("stops"), task_queue=queue)
        await stops.begun.wait()
    async with working(client, [WaitsForOne], [stops.run], task_queue=queue):
        assert await handle.result() == 2
