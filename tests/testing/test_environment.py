"""TimeSkippingEnvironment: the SDK's environment, on a server in the test's own process."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import WorkflowFailureError
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from perdure.testing import TimeSkippingEnvironment, TimeSkippingServer
from tests.testing.workflows import QUEUE, Blocked, Payment, Sleeper, Subscription, Wrong, worker

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


async def test_a_week_passes_while_a_result_is_awaited(perdure_env: TimeSkippingEnvironment) -> None:
    started = await perdure_env.get_current_time()

    async with worker(perdure_env.client):
        result = await perdure_env.client.execute_workflow(Subscription.run, id="s", task_queue=QUEUE)

    assert result == "expired"
    assert WEEK <= await perdure_env.get_current_time() - started < WEEK + timedelta(minutes=1)


async def test_it_is_an_environment_as_the_sdk_knows_them() -> None:
    async with await TimeSkippingEnvironment.start() as env:
        assert isinstance(env, WorkflowEnvironment)
        assert env.supports_time_skipping
        assert env.supports_time_skipping_v1
        assert (await env.connect_client()).namespace == "default"


async def test_a_result_skips_time_whatever_handle_asks_for_it(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        await perdure_env.client.start_workflow(Sleeper.run, 86_400.0, id="s", task_queue=QUEUE)

        slept = await perdure_env.client.get_workflow_handle("s").result()

    assert slept == pytest.approx(86_400, abs=1)


async def test_an_assertion_that_fails_in_a_workflow_fails_the_workflow(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        with pytest.raises(WorkflowFailureError) as failure:
            await perdure_env.client.execute_workflow(Wrong.run, id="w", task_queue=QUEUE)

    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "AssertionError"


async def test_time_is_moved_by_hand_through_what_is_due_on_the_way(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        early = await perdure_env.client.start_workflow(Sleeper.run, 3600.0, id="early", task_queue=QUEUE)
        late = await perdure_env.client.start_workflow(Subscription.run, id="late", task_queue=QUEUE)
        await perdure_env.wait_until_idle()
        before = await perdure_env.get_current_time()

        await perdure_env.sleep(DAY)

        assert timedelta() <= await perdure_env.get_current_time() - before - DAY < timedelta(seconds=5)
        assert (await early.describe()).close_time is not None
        await late.signal(Subscription.renew, "ann")
        assert datetime.fromisoformat(await late.query(Subscription.now)) >= before + DAY
        assert await late.result() == "renewed by ann"


async def test_waits_for_several_results_share_the_clock(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        slept = await asyncio.gather(
            *(
                perdure_env.client.execute_workflow(Sleeper.run, 3600.0 * number, id=f"{number}", task_queue=QUEUE)
                for number in range(1, 11)
            )
        )

        # The lock is back: time runs at the wall's pace again.
        before = await perdure_env.get_current_time()
        await perdure_env.client.start_workflow(Sleeper.run, 3600.0, id="later", task_queue=QUEUE)
        await perdure_env.wait_until_idle()
        assert await perdure_env.get_current_time() - before < timedelta(minutes=1)
        assert "time is locked: 1 lock is held" in perdure_env.explain()

    assert slept == pytest.approx([3600 * number for number in range(1, 11)], abs=1)


async def test_automatic_skipping_can_be_turned_off(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        with perdure_env.auto_time_skipping_disabled():
            began = time.perf_counter()
            await perdure_env.client.execute_workflow(Sleeper.run, 1.0, id="s", task_queue=QUEUE)
            assert time.perf_counter() - began > 0.9

        assert await perdure_env.client.execute_workflow(Sleeper.run, 900.0, id="s2", task_queue=QUEUE)


async def test_a_frozen_clock_moves_by_hand_only(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        with perdure_env.frozen():
            before = await perdure_env.get_current_time()
            handle = await perdure_env.client.start_workflow(Sleeper.run, 3600.0, id="s", task_queue=QUEUE)
            await perdure_env.wait_until_idle()
            assert await perdure_env.get_current_time() == before
            assert "time is frozen" in perdure_env.explain()

            await perdure_env.sleep(60)

            assert await perdure_env.get_current_time() == before + timedelta(seconds=60)
            assert (await handle.describe()).close_time is None
        assert await handle.result() == pytest.approx(3600, abs=1)


async def test_what_is_no_result_takes_no_time_either_with_time_unlocked(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        handle = await perdure_env.client.start_workflow(Subscription.run, id="s", task_queue=QUEUE)

        async with perdure_env.time_skipping_unlocked():
            async for event in handle.fetch_history_events(wait_new_event=True):
                if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED:
                    break

        assert "time is locked" in perdure_env.explain()


async def test_an_error_that_is_no_wait_given_up_is_left_alone(perdure_env: TimeSkippingEnvironment) -> None:
    with pytest.raises(RPCError) as refusal:
        await perdure_env.client.get_workflow_handle("unknown").result()

    assert refusal.value.status is RPCStatusCode.NOT_FOUND
    assert not hasattr(refusal.value, "__notes__")


async def test_a_test_that_unlocks_time_by_itself_gets_its_results_too(perdure_env: TimeSkippingEnvironment) -> None:
    service = perdure_env.client.test_service
    async with worker(perdure_env.client):
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())

        assert await perdure_env.client.execute_workflow(Sleeper.run, 3600.0, id="s", task_queue=QUEUE)
        before = await perdure_env.get_current_time()
        await perdure_env.sleep(DAY)  # with no workflow open, and no lock that could be released

        assert await perdure_env.get_current_time() >= before + DAY
        await service.lock_time_skipping(LockTimeSkippingRequest())


async def test_a_retry_an_hour_away_takes_no_hour(perdure_env: TimeSkippingEnvironment) -> None:
    before = await perdure_env.get_current_time()

    async with worker(perdure_env.client):
        with pytest.raises(WorkflowFailureError):
            await perdure_env.client.execute_workflow(Payment.run, id="p", task_queue=QUEUE)

    assert await perdure_env.get_current_time() - before >= timedelta(hours=1)


async def test_time_may_start_at_any_moment() -> None:
    monday = datetime(2031, 3, 3, 8, 59, tzinfo=UTC)

    async with await TimeSkippingEnvironment.start(start_time=monday) as env, worker(env.client):
        handle = await env.client.start_workflow(Sleeper.run, 60.0, id="s", task_queue=QUEUE)
        await handle.result()

        description = await handle.describe()
        assert monday <= description.start_time < monday + timedelta(seconds=10)
        assert description.close_time is not None
        assert description.close_time >= monday + timedelta(minutes=1)


async def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        await TimeSkippingEnvironment.start(start_time=datetime(2031, 3, 3))


async def test_there_is_no_time_after_the_year_9000_began(perdure_env: TimeSkippingEnvironment) -> None:
    with pytest.raises(ValueError, match="year 9000"):
        await TimeSkippingEnvironment.start(start_time=datetime(9500, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="cannot sleep beyond 9000"):
        await perdure_env.sleep(timedelta(days=366 * 8000))
    before = await perdure_env.get_current_time()
    await perdure_env.sleep(60)
    assert await perdure_env.get_current_time() >= before + timedelta(seconds=60)


async def test_it_has_the_namespace_and_search_attributes_it_is_asked_for() -> None:
    customer = SearchAttributeKey.for_keyword("Customer")

    async with await TimeSkippingEnvironment.start(namespace="shop", search_attributes=[customer]) as env:
        await env.client.start_workflow(
            Sleeper.run,
            60.0,
            id="s",
            task_queue=QUEUE,
            search_attributes=TypedSearchAttributes([SearchAttributePair(customer, "ann")]),
        )

        assert env.client.namespace == "shop"
        assert [found.id async for found in env.client.list_workflows("Customer = 'ann'")] == ["s"]


async def test_many_environments_live_side_by_side_each_with_its_own_clock() -> None:
    async def a_sleep_of(days: int) -> timedelta:
        async with await TimeSkippingEnvironment.start() as env, worker(env.client):
            before = await env.get_current_time()
            await env.client.execute_workflow(Sleeper.run, 86_400.0 * days, id="s", task_queue=QUEUE)
            return await env.get_current_time() - before

    passed = await asyncio.gather(*(a_sleep_of(days) for days in range(1, 11)))

    assert [moved.days for moved in passed] == list(range(1, 11))


def test_a_synchronous_test_has_one_too() -> None:
    async def subscribe(env: TimeSkippingEnvironment) -> str:
        async with worker(env.client):
            result: str = await env.client.execute_workflow(Subscription.run, id="s", task_queue=QUEUE)
            return result

    with TimeSkippingEnvironment.open() as env:
        assert asyncio.run(subscribe(env)) == "expired"
        before = env.server.now()
        env.server.advance(DAY)
        assert env.server.now() - before >= DAY


def test_threads_have_one_each_with_loops_of_their_own() -> None:
    def subscribe(number: int) -> str:
        async def run() -> str:
            async with await TimeSkippingEnvironment.start() as env, worker(env.client):
                result: str = await env.client.execute_workflow(Subscription.run, id=f"{number}", task_queue=QUEUE)
                return result

        return asyncio.run(run())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(subscribe, range(4))) == ["expired"] * 4


def test_a_server_that_cannot_start_says_why(perdure_server: TimeSkippingServer) -> None:
    from perdure.transport.ports import PortUnavailable

    taken = int(perdure_server.address.rsplit(":", 1)[1])
    second = TimeSkippingServer(port=taken)

    with pytest.raises(PortUnavailable, match=re.escape(f"127.0.0.1:{taken}")):
        second.start()
    with pytest.raises(RuntimeError, match="starts once"):
        second.start()
    second.stop()


def test_a_server_that_was_stopped_answers_no_more() -> None:
    with TimeSkippingServer() as server:
        pass

    with pytest.raises(RuntimeError, match="not running"):
        server.now()
    server.stop()  # once more does no harm


async def test_a_start_that_is_called_off_leaves_no_server_behind() -> None:
    for _ in range(5):
        starting = asyncio.create_task(TimeSkippingEnvironment.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting


def test_time_does_not_go_back(perdure_server: TimeSkippingServer) -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        perdure_server.advance(-1)


# ---- explaining
async def test_a_wait_that_takes_too_long_names_what_is_in_the_way(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        handle = await perdure_env.client.start_workflow(Blocked.run, id="b", task_queue=QUEUE)

        with pytest.raises(TimeoutError) as refusal:
            await perdure_env.wait_until_idle(patience=timedelta(seconds=0.3))

        assert "activity '1' (type 'block', attempt 1, task queue 'testing') is running on" in str(refusal.value)
        await handle.terminate()


async def test_a_result_that_is_given_up_says_what_was_in_the_way(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        handle = await perdure_env.client.start_workflow(Blocked.run, id="b", task_queue=QUEUE)

        with pytest.raises(TimeoutError) as gave_up:
            await asyncio.wait_for(handle.result(), 0.3)

        [note] = gave_up.value.__cause__.__notes__  # type: ignore[union-attr]
        assert note.startswith("gave up to get the result of workflow 'b'; what the server waited for:\n")
        assert "activity '1' (type 'block'" in note
        assert list(perdure_env.server.given_up) == [note]
        await handle.terminate()


async def test_a_sleep_past_a_workflow_nobody_works_on_says_so(perdure_env: TimeSkippingEnvironment) -> None:
    await perdure_env.client.start_workflow(Sleeper.run, 1.0, id="s", task_queue="nobody")

    with pytest.raises(TimeoutError, match=r"workflow 's': workflow task .* waits for a worker"):
        perdure_env.server.advance(DAY, patience=timedelta(seconds=0.3))

    assert "time is locked: 1 lock is held" in perdure_env.explain(), "the lock is back"


async def test_each_open_workflow_is_explained(perdure_env: TimeSkippingEnvironment) -> None:
    assert perdure_env.explain().endswith("open workflows:\n  none")
    async with worker(perdure_env.client):
        await perdure_env.client.start_workflow(Subscription.run, id="week", task_queue=QUEUE)
        payment = await perdure_env.client.start_workflow(Payment.run, id="payment", task_queue=QUEUE)
        await perdure_env.wait_until_idle()
        await perdure_env.client.start_workflow(
            Sleeper.run, 1.0, id="delayed", task_queue=QUEUE, start_delay=timedelta(hours=2)
        )

        text = perdure_env.explain()

        assert re.search(r"^  workflow 'week' \(Subscription\) waits for timer '1', due in 6 days, 23:59:5", text, re.M)
        assert re.search(
            r"^  workflow 'payment' \(Payment\) waits for activity 'refuse' \(attempt 2 is due in 0:59:", text, re.M
        )
        assert re.search(
            r"^  workflow 'delayed' \(Sleeper\) waits for its first workflow task, due in 1:59:5", text, re.M
        )
        await payment.terminate()
