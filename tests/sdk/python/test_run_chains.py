"""One workflow ID, several runs: continue-as-new, retries, cron, start delay, and who may use an ID."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, TerminatedError, TimeoutError, WorkflowAlreadyStartedError

from tests.sdk.python.kit import event_of, replay, unique, working
from tests.support.chain_workflows import Counts, SucceedsAt

pytestmark = pytest.mark.timeout(30)


@workflow.defn
class Countdown:
    @workflow.run
    async def run(self, left: int) -> str:
        if left > 0:
            workflow.continue_as_new(left - 1, memo={"left": left - 1})
        return f"memo {workflow.memo_value('left')}"


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self._end = ""

    @workflow.signal
    def end(self, how: str) -> None:
        self._end = how

    @workflow.run
    async def run(self, name: str = "") -> str:
        await workflow.wait_condition(lambda: bool(self._end))
        if self._end == "fail":
            raise ApplicationError("as told")
        return name


WORKFLOWS = [Countdown, SucceedsAt, Counts, Waits]


async def test_a_client_follows_a_workflow_that_continues_as_new(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        handle = await client.start_workflow(
            Countdown.run, 2, id=unique("countdown"), task_queue=queue, memo={"left": 2}
        )

        assert await handle.result() == "memo 0"

        first = client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        with pytest.raises(WorkflowContinuedAsNewError) as continued:
            await first.result(follow_runs=False)
        second = client.get_workflow_handle(handle.id, run_id=continued.value.new_execution_run_id)
        started = await event_of(second, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        assert started.continued_execution_run_id == handle.first_execution_run_id
        assert started.first_execution_run_id == handle.first_execution_run_id
    await replay(WORKFLOWS, first, second)


async def test_a_failed_workflow_is_retried_in_a_run_of_its_own(client: Client) -> None:
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
    async with working(client, WORKFLOWS) as queue:

        async def start(attempt: int) -> WorkflowHandle[Any, int]:
            return await client.start_workflow(
                SucceedsAt.run, attempt, id=unique("retried"), task_queue=queue, retry_policy=policy
            )

        in_time, too_late = await start(2), await start(3)

        assert await in_time.result() == 2
        with pytest.raises(WorkflowFailureError) as failure:
            await too_late.result()
    assert str(failure.value.cause) == "not at attempt 2"


async def test_a_cron_workflow_runs_again_each_second_until_it_is_terminated(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        handle = await client.start_workflow(Counts.run, id=unique("cron"), task_queue=queue, cron_schedule="@every 1s")
        results = []
        run_id = handle.first_execution_run_id
        while len(results) < 2:
            run = client.get_workflow_handle(handle.id, run_id=run_id)
            async for event in run.fetch_history_events(wait_new_event=True):
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                    completed = event.workflow_execution_completed_event_attributes
                    results += await client.data_converter.decode(completed.result.payloads)
                    run_id = completed.new_execution_run_id
        assert results == [1, 2]

        current = client.get_workflow_handle(handle.id)
        assert (await current.describe()).status is WorkflowExecutionStatus.RUNNING
        await current.terminate()
        with pytest.raises(WorkflowFailureError) as failure:
            await current.result()
        assert isinstance(failure.value.cause, TerminatedError)


async def test_a_delayed_workflow_does_nothing_before_its_time(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        handle = await client.start_workflow(
            Waits.run, id=unique("later"), task_queue=queue, start_delay=timedelta(seconds=0.5)
        )
        await handle.signal(Waits.end, "complete")
        await handle.result()

    times = {event.event_type: event.event_time.ToDatetime() for event in (await handle.fetch_history()).events}
    started = times[EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED]
    assert times[EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED] - started >= timedelta(seconds=0.5)


async def test_a_workflow_ends_when_its_time_is_up(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        run, execution = await asyncio.gather(
            client.start_workflow(Waits.run, id=unique("late"), task_queue=queue, run_timeout=timedelta(seconds=1)),
            client.start_workflow(
                Waits.run, id=unique("late"), task_queue=queue, execution_timeout=timedelta(seconds=1)
            ),
        )
        for handle in (run, execution):
            with pytest.raises(WorkflowFailureError) as failure:
                await handle.result()
            assert isinstance(failure.value.cause, TimeoutError)
            assert (await handle.describe()).status is WorkflowExecutionStatus.TIMED_OUT


# ---- who may use an ID
async def closed(client: Client, queue: str, how: str) -> str:
    """The ID of a workflow that ended so."""
    handle = await client.start_workflow(Waits.run, id=unique("id"), task_queue=queue)
    if how == "terminate":
        await handle.terminate()
    else:
        await handle.signal(Waits.end, how)
    try:
        await handle.result()
    except WorkflowFailureError:
        assert how != "complete"
    return handle.id


@pytest.mark.parametrize(
    ("policy", "refused_after"),
    [
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE, []),
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, ["complete"]),
        (WorkflowIDReusePolicy.REJECT_DUPLICATE, ["complete", "fail", "terminate"]),
    ],
)
async def test_the_id_of_a_closed_workflow_is_used_again_as_its_policy_says(
    client: Client, policy: WorkflowIDReusePolicy, refused_after: list[str]
) -> None:
    async with working(client, WORKFLOWS) as queue:
        for how in ("complete", "fail", "terminate"):
            workflow_id = await closed(client, queue, how)
            if how in refused_after:
                with pytest.raises(WorkflowAlreadyStartedError):
                    await client.start_workflow(Waits.run, id=workflow_id, task_queue=queue, id_reuse_policy=policy)
            else:
                again = await client.start_workflow(Waits.run, id=workflow_id, task_queue=queue, id_reuse_policy=policy)
                await again.terminate()


async def test_the_id_of_an_open_workflow_is_used_as_the_conflict_policy_says(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        first = await client.start_workflow(Waits.run, "first", id=unique("id"), task_queue=queue)

        async def start(name: str, policy: WorkflowIDConflictPolicy) -> WorkflowHandle[Any, str]:
            return await client.start_workflow(
                Waits.run, name, id=first.id, task_queue=queue, id_conflict_policy=policy
            )

        with pytest.raises(WorkflowAlreadyStartedError) as refusal:
            await start("second", WorkflowIDConflictPolicy.FAIL)
        assert refusal.value.run_id == first.result_run_id

        same = await start("second", WorkflowIDConflictPolicy.USE_EXISTING)
        assert same.result_run_id == first.result_run_id

        other = await start("third", WorkflowIDConflictPolicy.TERMINATE_EXISTING)
        assert other.result_run_id != first.result_run_id
        status = (await client.get_workflow_handle(first.id, run_id=first.result_run_id).describe()).status
        assert status is WorkflowExecutionStatus.TERMINATED
        await other.signal(Waits.end, "complete")
        assert await other.result() == "third"


async def test_of_many_starts_at_once_one_wins(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        workflow_id = unique("id")
        starts = await asyncio.gather(
            *(client.start_workflow(Waits.run, id=workflow_id, task_queue=queue) for _ in range(20)),
            return_exceptions=True,
        )

        winners = [start for start in starts if isinstance(start, WorkflowHandle)]
        losers = [start for start in starts if isinstance(start, WorkflowAlreadyStartedError)]
        assert (len(winners), len(losers)) == (1, 19)
        assert {loser.run_id for loser in losers} == {winners[0].result_run_id}
        await winners[0].terminate()
