"""Standalone activities as the Python SDK starts, awaits, lists and controls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import (
    ActivityExecutionStatus,
    ActivityFailureError,
    ActivityHandle,
    ActivityOptionsKeys,
    AsyncActivityHandle,
    Client,
    PendingActivityState,
)
from temporalio.common import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.exceptions import (
    ActivityAlreadyStartedError,
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from tests.sdk.python.kit import SECOND, SOON, unique

pytestmark = pytest.mark.timeout(30)

CUSTOMER = SearchAttributeKey.for_keyword("CustomerId")
ONCE = RetryPolicy(maximum_attempts=1)


@activity.defn
async def greet(name: str) -> str:
    info = activity.info()
    assert info.workflow_id is None
    return f"Hello, {name}! ({info.activity_id}, attempt {info.attempt})"


@activity.defn
async def fail_until(attempt: int) -> int:
    if activity.info().attempt < attempt:
        raise ApplicationError("not yet", type="NotYet")
    return activity.info().attempt


@activity.defn
async def beat_until_cancelled() -> None:
    try:
        while True:
            activity.heartbeat("beat")
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        raise CancelledError("stopped", "details") from None


@activity.defn
async def hand_over() -> None:
    activity.raise_complete_async()


@asynccontextmanager
async def working(client: Client, **options: Any) -> AsyncIterator[str]:
    task_queue = unique("standalone")
    activities = [greet, fail_until, beat_until_cancelled, hand_over]
    async with Worker(client, task_queue=task_queue, activities=activities, **options):
        yield task_queue


async def until_started(handle: ActivityHandle[Any]) -> Any:
    async with asyncio.timeout(SOON.total_seconds()):
        while True:
            shown = await handle.describe()
            if shown.run_state == PendingActivityState.STARTED:
                return shown
            await asyncio.sleep(0.02)


async def test_an_activity_needs_no_workflow(client: Client) -> None:
    async with working(client) as task_queue:
        name = unique("greet")
        result = await client.execute_activity(
            greet, "Ann", id=name, task_queue=task_queue, start_to_close_timeout=SOON
        )

        assert result == f"Hello, Ann! ({name}, attempt 1)"


async def test_a_failing_attempt_is_retried(client: Client) -> None:
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=10))
    async with working(client) as task_queue:
        handle = await client.start_activity(
            fail_until, 3, id=unique("flaky"), task_queue=task_queue, start_to_close_timeout=SOON, retry_policy=policy
        )

        assert await handle.result() == 3
        shown = await handle.describe()
        assert (shown.status, shown.attempt) == (ActivityExecutionStatus.COMPLETED, 3)


async def test_a_final_failure_is_raised_to_who_waits(client: Client) -> None:
    async with working(client) as task_queue:
        with pytest.raises(ActivityFailureError) as raised:
            await client.execute_activity(
                fail_until, 3, id=unique("flaky"), task_queue=task_queue, start_to_close_timeout=SOON, retry_policy=ONCE
            )

    cause = raised.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.type) == ("not yet", "NotYet")


async def test_one_that_nobody_takes_times_out(client: Client) -> None:
    with pytest.raises(ActivityFailureError) as raised:
        await client.execute_activity(
            greet,
            "Ann",
            id=unique("lonely"),
            task_queue=unique("nobody"),
            schedule_to_close_timeout=timedelta(milliseconds=200),
        )

    assert isinstance(raised.value.cause, TimeoutError)
    assert raised.value.cause.type == TimeoutType.SCHEDULE_TO_START


async def test_a_running_activity_is_cancelled_by_its_heartbeat(client: Client) -> None:
    async with working(client, default_heartbeat_throttle_interval=timedelta(milliseconds=10)) as task_queue:
        handle = await client.start_activity(
            beat_until_cancelled,
            id=unique("endless"),
            task_queue=task_queue,
            start_to_close_timeout=SOON,
            heartbeat_timeout=SECOND,
        )
        await until_started(handle)

        await handle.cancel(reason="enough")

        with pytest.raises(ActivityFailureError) as raised:
            await handle.result()
        assert isinstance(raised.value.cause, CancelledError)
        shown = await handle.describe()
        assert (shown.status, shown.canceled_reason) == (ActivityExecutionStatus.CANCELED, "enough")


async def test_a_terminated_activity_ends_with_the_reason(client: Client) -> None:
    handle = await client.start_activity(
        greet, "Ann", id=unique("stopped"), task_queue=unique("nobody"), start_to_close_timeout=SOON
    )

    await handle.terminate(reason="enough")

    with pytest.raises(ActivityFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, TerminatedError)
    assert raised.value.cause.message == "enough"


async def test_an_id_in_use_is_refused_or_joined_and_a_used_one_reused(client: Client) -> None:
    name = unique("once")
    options: dict[str, Any] = {"task_queue": unique("nobody"), "start_to_close_timeout": SOON}
    first = await client.start_activity(greet, "Ann", id=name, **options)

    with pytest.raises(ActivityAlreadyStartedError) as refused:
        await client.start_activity(greet, "Bob", id=name, **options)
    assert refused.value.run_id == first.run_id
    joined = await client.start_activity(
        greet, "Bob", id=name, id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING, **options
    )
    assert joined.run_id == first.run_id

    await first.terminate()
    with pytest.raises(ActivityAlreadyStartedError):
        await client.start_activity(
            greet, "Bob", id=name, id_reuse_policy=ActivityIDReusePolicy.REJECT_DUPLICATE, **options
        )
    again = await client.start_activity(
        greet, "Bob", id=name, id_reuse_policy=ActivityIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, **options
    )
    assert again.run_id != first.run_id


async def test_activities_are_listed_and_counted_by_what_they_are(client: Client) -> None:
    customer = unique("customer")
    mine = TypedSearchAttributes([SearchAttributePair(CUSTOMER, customer)])
    task_queue = unique("nobody")
    for number in range(3):
        await client.start_activity(
            greet,
            "Ann",
            id=f"{customer}-{number}",
            task_queue=task_queue,
            start_to_close_timeout=SOON,
            search_attributes=mine,
        )
    await client.get_activity_handle(f"{customer}-1").terminate()

    query = f"CustomerId = '{customer}'"
    running = [found async for found in client.list_activities(f"{query} AND ExecutionStatus = 'Running'")]
    counted = await client.count_activities(f"{query} GROUP BY ExecutionStatus")

    assert {found.activity_id for found in running} == {f"{customer}-0", f"{customer}-2"}
    assert all(found.activity_type == "greet" and found.task_queue == task_queue for found in running)
    assert running[0].typed_search_attributes[CUSTOMER] == customer
    assert counted.count == 3
    assert {tuple(group.group_values): group.count for group in counted.groups} == {
        ("Running",): 2,
        ("Terminated",): 1,
    }
    assert [found async for found in client.list_workflows(query)] == []


async def test_describe_tells_all_there_is(client: Client) -> None:
    async with working(client) as task_queue:
        handle = await client.start_activity(
            greet,
            "Ann",
            id=unique("told"),
            task_queue=task_queue,
            start_to_close_timeout=timedelta(seconds=5),
            heartbeat_timeout=timedelta(seconds=2),
            retry_policy=RetryPolicy(maximum_attempts=7),
            priority=Priority(priority_key=2, fairness_key="ann"),
            summary="a greeting",
        )
        await handle.result()

        shown = await handle.describe(include_input=True, include_outcome=True)

    assert (shown.activity_type, shown.task_queue, shown.attempt) == ("greet", task_queue, 1)
    assert (shown.start_to_close_timeout, shown.heartbeat_timeout) == (timedelta(seconds=5), timedelta(seconds=2))
    assert shown.retry_policy is not None
    assert shown.retry_policy.maximum_attempts == 7
    assert shown.priority == Priority(priority_key=2, fairness_key="ann")
    assert shown.raw_info.user_metadata.summary.data == b'"a greeting"'
    assert await shown.input([str]) == ["Ann"]
    assert await shown.result(str) == f"Hello, Ann! ({handle.id}, attempt 1)"
    assert shown.close_time is not None


async def test_an_activity_is_completed_by_its_id(client: Client) -> None:
    async with working(client) as task_queue:
        handle = await client.start_activity(
            hand_over, id=unique("handed-over"), task_queue=task_queue, start_to_close_timeout=SOON, result_type=str
        )
        await until_started(handle)

        other: AsyncActivityHandle = client.get_async_activity_handle(activity_id=handle.id, run_id=handle.run_id)
        await other.heartbeat("half")
        await other.complete("by hand")

        assert await handle.result() == "by hand"


async def test_a_start_may_be_delayed(client: Client) -> None:
    async with working(client) as task_queue:
        handle = await client.start_activity(
            greet,
            "Ann",
            id=unique("later"),
            task_queue=task_queue,
            start_to_close_timeout=SOON,
            start_delay=timedelta(milliseconds=300),
        )

        assert (await handle.result()).endswith("attempt 1)")
        shown = await handle.describe()
        assert shown.last_started_time is not None
        assert shown.last_started_time - shown.schedule_time >= timedelta(milliseconds=300)


async def test_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(RPCError) as missing:
        await client.get_activity_handle("nobody-started-it").describe()

    assert missing.value.status == RPCStatusCode.NOT_FOUND


async def test_an_activity_is_paused_changed_and_unpaused(client: Client) -> None:
    async with working(client) as task_queue:
        handle = await client.start_activity(
            greet, "Ann", id=unique("held"), task_queue=unique("nobody"), start_to_close_timeout=SOON
        )
        await handle.pause(reason="wait")
        assert (await handle.describe()).status == ActivityExecutionStatus.PAUSED

        changed = await handle.update_options([ActivityOptionsKeys.task_queue.value_set(task_queue)])
        assert changed.task_queue == task_queue
        await handle.unpause()

        assert (await handle.result()).endswith("attempt 1)")
