"""Messages to a workflow, questions about it, and the time it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import QueryRejectCondition, RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from tests.sdk.python.kit import SOON, event_of, kinds, replay, unique, until, working

pytestmark = pytest.mark.timeout(30)


@workflow.defn
class Basket:
    """Gathers what it is told until it is told to finish."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._finished = False

    @workflow.run
    async def run(self, first: Any = None) -> list[Any]:
        if first is not None:
            self._items.append(first)
        await workflow.wait_condition(lambda: self._finished)
        return self._items

    @workflow.signal
    def add(self, item: Any) -> None:
        self._items.append(item)

    @workflow.signal(dynamic=True)
    def other(self, name: str, args: Sequence[RawValue]) -> None:
        self._items.append(name)

    @workflow.signal
    def finish(self) -> None:
        self._finished = True

    @workflow.query
    def items(self) -> list[Any]:
        return self._items

    @workflow.query
    def item(self, index: int) -> Any:
        if index >= len(self._items):
            raise ApplicationError(f"there is no item {index}")
        return self._items[index]


async def test_signals_arrive_in_the_order_they_were_sent(client: Client) -> None:
    queue = unique("queue")
    handle = await client.start_workflow(Basket.run, id=unique("basket"), task_queue=queue)
    for number in range(20):
        await handle.signal(Basket.add, number)
    await handle.signal("surprise")
    async with working(client, [Basket], task_queue=queue):
        for number in range(20, 40):
            await handle.signal(Basket.add, number)
        await handle.signal(Basket.finish)

        assert await handle.result() == [*range(20), "surprise", *range(20, 40)]
    await replay([Basket], handle)


async def test_many_signals_at_once_all_arrive_once(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        handle = await client.start_workflow(Basket.run, id=unique("basket"), task_queue=queue)
        await asyncio.gather(*(handle.signal(Basket.add, number) for number in range(200)))
        await handle.signal(Basket.finish)

        assert sorted(await handle.result()) == list(range(200))
    await replay([Basket], handle)


async def test_signal_with_start_starts_once_and_signals_each_time(client: Client) -> None:
    workflow_id = unique("basket")
    async with working(client, [Basket]) as queue:

        async def signal_with_start(item: str) -> Any:
            return await client.start_workflow(
                Basket.run,
                "first",
                id=workflow_id,
                task_queue=queue,
                start_signal="add",
                start_signal_args=[item],
            )

        one, two = await signal_with_start("a"), await signal_with_start("b")
        await one.signal(Basket.finish)

        assert one.result_run_id == two.result_run_id
        items = await one.result()
        # Signals that are there at its first task are handled before its own code runs.
        assert items in (["a", "first", "b"], ["a", "b", "first"])


async def test_a_closed_workflow_takes_no_signal(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        handle = await client.start_workflow(Basket.run, id=unique("basket"), task_queue=queue)
        await handle.signal(Basket.finish)
        await handle.result()

        with pytest.raises(RPCError) as refusal:
            await handle.signal(Basket.add, 1)
        with pytest.raises(RPCError) as unknown:
            await client.get_workflow_handle(unique("nobody")).signal(Basket.add, 1)

    assert refusal.value.status is RPCStatusCode.NOT_FOUND
    assert refusal.value.message == "workflow execution already completed"
    assert unknown.value.status is RPCStatusCode.NOT_FOUND


# ---- queries
async def test_a_query_sees_every_signal_acknowledged_before_it(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        handle = await client.start_workflow(Basket.run, id=unique("basket"), task_queue=queue)
        for number in range(10):
            await handle.signal(Basket.add, number)
            assert await handle.query(Basket.items) == list(range(number + 1))
        assert await handle.query(Basket.item, 4) == 4

        before = await kinds(handle)
        assert await asyncio.gather(*(handle.query(Basket.item, 7) for _ in range(20))) == [7] * 20
        # A query leaves no trace.
        assert await kinds(handle) == before


async def test_a_closed_workflow_is_asked_with_and_without_its_worker_remembering_it(client: Client) -> None:
    queue = unique("queue")
    handle = await client.start_workflow(Basket.run, "only", id=unique("basket"), task_queue=queue)
    async with working(client, [Basket], task_queue=queue):
        await handle.signal(Basket.finish)
        await handle.result()
        assert await handle.query(Basket.items) == ["only"]
    async with working(client, [Basket], task_queue=queue):
        assert await handle.query(Basket.items) == ["only"]
        with pytest.raises(WorkflowQueryRejectedError):
            await handle.query(Basket.items, reject_condition=QueryRejectCondition.NOT_OPEN)


async def test_a_query_that_fails_fails_its_asker_alone(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        handle = await client.start_workflow(Basket.run, id=unique("basket"), task_queue=queue)

        with pytest.raises(WorkflowQueryFailedError, match="there is no item 3"):
            await handle.query(Basket.item, 3)
        with pytest.raises(WorkflowQueryFailedError, match="nonsense"):
            await handle.query("nonsense")

        assert await handle.query(Basket.items) == []
        assert "WorkflowTaskFailed" not in await kinds(handle)


@activity.defn
async def hold(_: None) -> None:
    """A local activity, so that the workflow task lasts as long as this."""
    Held.begun.set()
    await Held.released.wait()


class Held:
    begun: asyncio.Event
    released: asyncio.Event


@workflow.defn
class HoldsItsTask:
    def __init__(self) -> None:
        self._held = True

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(hold, None, start_to_close_timeout=SOON)
        self._held = False
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def held(self) -> bool:
        return self._held


async def test_a_query_waits_for_the_workflow_task_under_way(client: Client) -> None:
    Held.begun, Held.released = asyncio.Event(), asyncio.Event()
    async with working(client, [HoldsItsTask], [hold]) as queue:
        handle = await client.start_workflow(HoldsItsTask.run, id=unique("holds"), task_queue=queue)
        await Held.begun.wait()
        asked = asyncio.ensure_future(handle.query(HoldsItsTask.held))
        # Something answered after the query was sent: the server has it by now.
        await handle.describe()
        assert not asked.done()
        Held.released.set()

        assert await asked is False
        await handle.terminate()


# ---- timers
@workflow.defn
class Naps:
    @workflow.run
    async def run(self, seconds: list[float]) -> list[float]:
        """Sleeps all the naps at once; gives them in the order they ended."""
        ended: list[float] = []

        async def nap(length: float) -> None:
            await asyncio.sleep(length)
            ended.append(length)

        await asyncio.gather(*(nap(length) for length in seconds))
        return ended


@workflow.defn
class GivesUp:
    """Waits for a signal that may not come in time; the timer is cancelled when it does."""

    def __init__(self) -> None:
        self._come = False

    @workflow.signal
    def come(self) -> None:
        self._come = True

    @workflow.run
    async def run(self, seconds: float) -> bool:
        try:
            await workflow.wait_condition(lambda: self._come, timeout=timedelta(seconds=seconds))
        except TimeoutError:
            return False
        return True


async def test_timers_fire_in_the_order_of_their_deadlines(client: Client) -> None:
    async with working(client, [Naps]) as queue:
        handle = await client.start_workflow(Naps.run, [0.3, 0.1, 0.2], id=unique("naps"), task_queue=queue)

        assert await handle.result() == [0.1, 0.2, 0.3]
    await replay([Naps], handle)


async def test_five_hundred_timers_of_one_workflow_all_fire(client: Client) -> None:
    async with working(client, [Naps]) as queue:
        naps = [0.2 + number / 1000 for number in range(500)]
        handle = await client.start_workflow(Naps.run, naps, id=unique("naps"), task_queue=queue)

        assert sorted(await handle.result()) == naps
    assert (await kinds(handle)).count("TimerFired") == 500


async def test_a_timer_is_cancelled_by_what_came_before_it(client: Client) -> None:
    async with working(client, [GivesUp]) as queue:
        patient = await client.start_workflow(GivesUp.run, 3600, id=unique("waits"), task_queue=queue)
        hasty = await client.start_workflow(GivesUp.run, 0.05, id=unique("waits"), task_queue=queue)
        await until(patient, EventType.EVENT_TYPE_TIMER_STARTED)
        await patient.signal(GivesUp.come)

        assert await patient.result() is True
        assert await hasty.result() is False
    canceled = await event_of(patient, EventType.EVENT_TYPE_TIMER_CANCELED)
    assert canceled.started_event_id == 5
    assert "TimerFired" in await kinds(hasty)


# ---- failing code
@workflow.defn
class Fails:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("out of stock", {"left": 0}, type="OutOfStock")


class Mended:
    """Code that a deploy mends: it fails its workflow task until `mended`."""

    mended = False


@workflow.defn
class FailsItsTask:
    @workflow.run
    async def run(self) -> str:
        if not Mended.mended:
            Mended.mended = True
            raise RuntimeError("a bug")
        return "mended"


async def test_a_failed_workflow_tells_its_caller_why(client: Client) -> None:
    async with working(client, [Fails]) as queue:
        with pytest.raises(WorkflowFailureError) as failure:
            await client.execute_workflow(Fails.run, id=unique("fails"), task_queue=queue)

    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "OutOfStock"
    assert list(failure.value.cause.details) == [{"left": 0}]


async def test_a_bug_fails_the_workflow_task_and_not_the_workflow(client: Client) -> None:
    Mended.mended = False
    async with working(client, [FailsItsTask]) as queue:
        handle = await client.start_workflow(FailsItsTask.run, id=unique("bug"), task_queue=queue)

        assert await handle.result() == "mended"
    failed = await event_of(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    assert failed.failure.message == "a bug"
