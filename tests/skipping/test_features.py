"""Everything that waits for time is skipped, by one rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import grpc.aio
import pytest
from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    QueryWorkflowRequest,
    RespondQueryTaskCompletedRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure import Server
from perdure.runtime.skipping import Skipper
from tests.api.client import (
    NAMESPACE,
    Api,
    complete_workflow,
    execution,
    kinds,
    schedule_activity,
    start_timer,
)
from tests.skipping.clock import DAY, HOUR, MINUTE, Clock, about, duration
from tests.skipping.commands import at, continue_as_new, fail_activity, fail_workflow, start_child, the


@pytest.fixture(autouse=True)
async def unlocked(clock: Clock) -> AsyncIterator[None]:
    await clock.unlock()
    yield


async def test_a_start_delay(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start(workflow_start_delay=duration(7 * DAY))

    await api.step(complete_workflow())

    assert await clock.now() - before == about(7 * DAY)


async def test_a_cron_schedule(api: Api, clock: Clock) -> None:
    await api.start(cron_schedule="0 12 * * *")

    rounds = []
    for _ in range(3):
        await api.step(complete_workflow())
        rounds.append(await clock.now())

    assert [moment % DAY for moment in rounds] == [about(DAY / 2)] * 3
    assert [later - earlier for earlier, later in pairwise(rounds)] == [about(DAY)] * 2


async def test_the_wait_before_a_workflows_retry(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start(retry_policy=RetryPolicy(initial_interval=duration(HOUR), backoff_coefficient=2.0))

    await api.step(fail_workflow())
    await api.step(fail_workflow())
    await api.step(complete_workflow())

    assert await clock.now() - before == about(3 * HOUR)


async def test_a_run_timeout(api: Api) -> None:
    await api.start(workflow_run_timeout=duration(2 * HOUR))
    await api.step()

    history = await api.history(wait_new_event=True, history_event_filter_type=2)
    events = (await api.history()).history.events

    assert kinds(history.history) == ["WORKFLOW_EXECUTION_TIMED_OUT"]
    assert at(events[-1]) - at(events[0]) == pytest.approx(2 * HOUR, abs=1e-6)


async def test_an_execution_timeout_over_a_chain_of_runs(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start(workflow_execution_timeout=duration(DAY))
    for _ in range(3):
        await api.step(start_timer(seconds=6 * 3600))
        await api.step(continue_as_new())
    await api.step(start_timer(seconds=12 * 3600))

    history = await api.history(wait_new_event=True, history_event_filter_type=2)

    assert kinds(history.history) == ["WORKFLOW_EXECUTION_TIMED_OUT"]
    assert at(history.history.events[0]) - before == about(DAY)


async def test_the_pause_before_a_run_that_continues_too_soon(api: Api, skipper: Skipper) -> None:
    await api.start()
    first = await api.step(continue_as_new())

    second = await api.poll()

    events = second.history.events
    assert second.workflow_execution.run_id != first.workflow_execution.run_id
    assert at(events[1]) - at(events[0]) == pytest.approx(1, abs=0.2)
    assert skipper.jumps == 1


async def test_a_timer_after_continue_as_new(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start()
    await api.step(start_timer(seconds=3600))
    await api.step(continue_as_new())
    await api.step(start_timer(seconds=3600))
    await api.step(complete_workflow())

    assert await clock.now() - before == about(2 * HOUR)


async def test_the_wait_before_an_activitys_retry(api: Api, clock: Clock) -> None:
    await api.start()
    policy = RetryPolicy(initial_interval=duration(HOUR), backoff_coefficient=2.0)
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.retry_policy.CopyFrom(policy)
    await api.step(command)
    before = await clock.now()

    for attempt in (1, 2, 3):
        task = await api.poll_activity()
        assert task.attempt == attempt
        await fail_activity(api, task)

    assert (await api.poll_activity()).attempt == 4
    assert await clock.now() - before == about(7 * HOUR)


async def test_an_activity_attempt_that_runs_is_never_skipped_past(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    await api.step(schedule_activity(), start_timer(seconds=30))
    before = await clock.now()
    await api.poll_activity()

    await asyncio.sleep(0.1)

    assert await clock.now() - before < 1
    assert skipper.jumps == 0


async def test_an_activity_that_nobody_takes_is_never_skipped_past(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    await api.step(schedule_activity(), start_timer(seconds=30))

    await asyncio.sleep(0.1)

    assert skipper.jumps == 0


@pytest.mark.parametrize(
    ("timeout", "seconds", "expected"),
    [
        ("heartbeat_timeout", 20, TimeoutType.TIMEOUT_TYPE_HEARTBEAT),
        ("start_to_close_timeout", 60, TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE),
        ("schedule_to_close_timeout", 30, TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE),
    ],
)
async def test_a_timeout_of_an_activity_that_sleeps(
    api: Api, clock: Clock, timeout: str, seconds: int, expected: int
) -> None:
    command = schedule_activity()
    getattr(command.schedule_activity_task_command_attributes, timeout).CopyFrom(duration(seconds))
    await api.start()
    await api.step(command)
    await api.poll_activity()
    sleeping = asyncio.create_task(clock.skip(2 * MINUTE))

    await api.step(complete_workflow())
    await sleeping

    timed_out = the(await api.history(), "ACTIVITY_TASK_TIMED_OUT")
    started = the(await api.history(), "ACTIVITY_TASK_STARTED")
    failure = timed_out.activity_task_timed_out_event_attributes.failure
    assert failure.timeout_failure_info.timeout_type == expected
    assert at(timed_out) - at(started) == about(seconds)


async def test_an_activity_that_nobody_took_times_out_only_when_a_test_skips(api: Api, clock: Clock) -> None:
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.schedule_to_start_timeout.CopyFrom(duration(10))
    await api.start()
    await api.step(command)
    sleeping = asyncio.create_task(clock.skip(MINUTE))

    await api.step(complete_workflow())
    await sleeping

    failure = the(await api.history(), "ACTIVITY_TASK_TIMED_OUT").activity_task_timed_out_event_attributes.failure
    assert failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START


async def test_a_retry_that_would_come_too_late_ends_at_once_and_later_deadlines_hold_over_retries(
    api: Api, clock: Clock
) -> None:
    policy = RetryPolicy(initial_interval=duration(40), backoff_coefficient=1.0)
    command = schedule_activity()
    attributes = command.schedule_activity_task_command_attributes
    attributes.retry_policy.CopyFrom(policy)
    attributes.schedule_to_close_timeout.CopyFrom(duration(60))
    await api.start()
    await api.step(command)
    before = await clock.now()
    await fail_activity(api, await api.poll_activity())
    await api.poll_activity()
    sleeping = asyncio.create_task(clock.skip(2 * MINUTE))

    await api.step(complete_workflow())
    await sleeping

    assert at(the(await api.history(), "ACTIVITY_TASK_TIMED_OUT")) - before == about(60)


async def test_a_childs_timer_while_its_parent_waits(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start("parent")
    await api.step(start_child("child"))
    for _ in range(4):
        task = await api.poll()
        child = task.workflow_execution.workflow_id == "child"
        events = kinds(task.history)
        if child and "TIMER_FIRED" not in events:
            await api.complete(task, start_timer(seconds=86_400))
        elif child or "CHILD_WORKFLOW_EXECUTION_COMPLETED" in events:
            await api.complete(task, complete_workflow())
        else:
            await api.complete(task)

    assert kinds((await api.history("parent")).history)[-1] == "WORKFLOW_EXECUTION_COMPLETED"
    assert await clock.now() - before == about(DAY)


async def test_an_abandoned_child_that_sleeps_a_day(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start("parent")
    await api.step(start_child("child", parent_close_policy=2))
    for _ in range(3):
        task = await api.poll()
        child = task.workflow_execution.workflow_id == "child"
        if child and "TIMER_FIRED" not in kinds(task.history):
            await api.complete(task, start_timer(seconds=86_400))
        else:
            await api.complete(task, complete_workflow())

    close = await api.history("child", wait_new_event=True, history_event_filter_type=2)

    assert kinds(close.history) == ["WORKFLOW_EXECUTION_COMPLETED"]
    assert await clock.now() - before == about(DAY)


async def test_runs_due_at_one_instant_fire_at_that_instant_in_order_of_their_start(
    api: Api, clock: Clock, skipper: Skipper
) -> None:
    skipper.freeze()
    for number in range(30):
        await api.start(f"order-{number}")
        await api.step(start_timer(seconds=3600))

    skipper.thaw()
    tasks = [await api.poll() for _ in range(30)]

    fired = {at(event) for task in tasks for event in task.history.events if event.event_type == 18}
    assert len(fired) == 1
    assert [task.workflow_execution.workflow_id for task in tasks] == [f"order-{number}" for number in range(30)]
    assert skipper.jumps == 1


async def test_time_waits_for_a_query_that_a_worker_works_on(api: Api, clock: Clock, skipper: Skipper) -> None:
    await clock.lock()
    await api.start()
    await api.step(start_timer(seconds=3600))
    request = QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    request.query.query_type = "status"
    querying = asyncio.create_task(api.QueryWorkflow(request))
    task = await api.poll()
    await clock.unlock()

    assert skipper.explain() == ["a query of workflow 'order-1' is being answered by a worker"]
    assert skipper.jumps == 0
    await api.RespondQueryTaskCompleted(
        RespondQueryTaskCompletedRequest(namespace=NAMESPACE, task_token=task.task_token, completed_type=1)
    )
    await querying

    await api.step(complete_workflow())
    assert skipper.jumps == 1


async def test_nothing_of_a_terminated_workflow_attracts_a_jump(api: Api, clock: Clock, skipper: Skipper) -> None:
    await clock.lock()
    await api.start(workflow_run_timeout=duration(DAY))
    await api.step(start_timer(seconds=3600), schedule_activity())
    await api.poll_activity()
    await api.TerminateWorkflowExecution(
        TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
    )

    await clock.unlock()

    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]


async def test_a_deleted_workflow_holds_nothing(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    assert not skipper.may_skip
    await api.DeleteWorkflowExecution(
        DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
    )

    assert skipper.may_skip


async def test_runs_that_are_only_in_the_store_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.runtime.runtime.CACHE_BYTES", 0)
    async with Server(time_skipping=True) as server, grpc.aio.insecure_channel(server.address) as channel:
        api, clock = Api(channel), Clock(channel)
        before = await clock.now()
        for number in range(5):
            await api.start(f"order-{number}")
            await api.step(start_timer(seconds=3600 * (number + 1)))

        await clock.unlock()
        tasks = [await api.step(complete_workflow()) for _ in range(5)]

        assert [task.workflow_execution.workflow_id for task in tasks] == [f"order-{number}" for number in range(5)]
        assert await clock.now() - before == about(5 * HOUR)
