"""Standalone activities under bad luck: polls that go away, batches that do not land, callers who wait and leave."""

from __future__ import annotations

from typing import Any

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration

from perdure.config import Config, DynamicConfig
from perdure.engine.execution import ACTIVITY
from tests.api.client import NAMESPACE, QUEUE, start_activity_request, values
from tests.support.runtime_world import TestCall, World, running


def complete_request(task: Any) -> ws.RespondActivityTaskCompletedRequest:
    return ws.RespondActivityTaskCompletedRequest(
        namespace=NAMESPACE, task_token=task.task_token, result=values("done"), identity="worker"
    )


def outcome(world: World, **how: Any) -> TestCall:
    return world.call(ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id="charge"), **how)


async def test_a_start_and_its_attempt_for_a_waiting_poll_are_one_commit(world: World) -> None:
    poll = world.poll_activity()
    await world.settle()
    before = world.store.submitted

    await world.ask(start_activity_request())

    assert poll.reply.activity_id == "charge"
    assert world.store.submitted == before + 1


async def test_nothing_is_given_to_a_poll_before_its_commit(world: World) -> None:
    poll = world.poll_activity()
    await world.settle()
    world.store.hold()
    start = world.call(start_activity_request())
    await world.settle()
    assert not poll.answered
    assert not start.answered

    world.store.release()
    await world.settle()
    assert poll.answered
    assert start.answered


async def test_the_task_of_a_poll_that_went_away_goes_to_the_next_under_another_token(world: World) -> None:
    gone = world.poll_activity()
    await world.settle()
    world.store.hold()
    world.call(start_activity_request())
    await world.settle()
    gone.leave()
    world.store.release()
    await world.settle()

    again = world.poll_activity()
    await world.settle()

    assert again.reply.activity_id == "charge"
    assert again.reply.attempt == 1
    assert not gone.answered
    await world.ask(complete_request(again.reply))


async def test_what_was_decided_in_a_refused_batch_is_decided_again(world: World) -> None:
    poll = world.poll_activity()
    await world.settle()
    world.store.refusals = 1

    start = world.call(start_activity_request())
    await world.settle()
    await world.pass_time(5)

    assert start.reply.started
    assert poll.reply.activity_run_id == start.reply.run_id
    waiting = outcome(world)
    world.store.refusals = 1
    await world.ask(complete_request(poll.reply))
    await world.settle()
    assert waiting.reply.outcome.result == values("done")


async def test_who_waits_hears_nothing_that_is_not_durable(world: World) -> None:
    await world.ask(start_activity_request())
    poll = world.poll_activity()
    await world.settle()
    waiting = outcome(world)
    world.store.hold()
    world.call(complete_request(poll.reply))
    await world.settle()
    assert not waiting.answered

    world.store.release()
    await world.settle()
    assert waiting.reply.outcome.result == values("done")


async def test_callers_who_wait_and_leave_are_forgotten(world: World) -> None:
    await world.ask(start_activity_request())
    calls = [outcome(world) for _ in range(10)]
    await world.settle()
    for call in calls:
        call.leave()
    await world.settle()

    namespace = world.runtime.namespaces.find(NAMESPACE)
    assert namespace is not None
    loaded = world.runtime.executions.peek((namespace.id, ACTIVITY, "charge"))
    assert loaded is not None
    assert loaded.idle


async def test_who_waits_too_long_is_answered_empty_and_forgotten(world: World) -> None:
    await world.ask(start_activity_request())
    waiting = outcome(world, within=300)
    await world.settle()

    await world.pass_time(60)

    assert waiting.reply == ws.PollActivityExecutionResponse()


async def test_an_attempt_is_taken_by_the_clock_when_its_time_is_over(world: World) -> None:
    request = start_activity_request()
    request.start_to_close_timeout.seconds = 30
    request.retry_policy.maximum_attempts = 1
    await world.ask(request)
    poll = world.poll_activity()
    await world.settle()
    waiting = outcome(world, within=300)
    await world.settle()
    assert poll.answered

    await world.pass_time(29.5)
    assert not waiting.answered
    await world.pass_time(0.5)
    assert waiting.reply.outcome.failure.message == "activity StartToClose timeout"


async def test_hundreds_that_came_and_went_leave_nothing_in_the_runtimes_tables(world: World) -> None:
    runtime = world.runtime
    runtime.executions._max_bytes = 128 * 1024
    for number in range(120):
        world.call(start_activity_request(f"a-{number}"))
        poll = world.poll_activity()
        await world.settle()
        waiting = world.call(ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id=f"a-{number}"))
        world.call(complete_request(poll.reply))
        await world.settle()
        assert waiting.reply.outcome.result == values("done")

    assert not runtime.wakes._armed
    assert not runtime.matching.rows.unstored
    assert all(not q.line and not len(q.backlog) for q in runtime.matching._queues.values())
    assert len(runtime.executions) < 100
    assert len(runtime.alarms._heap) < 200


async def test_lists_show_the_queue_and_the_delay_that_an_operator_gave() -> None:
    dynamic = DynamicConfig({"activity.operatorCommandsEnabled": True})
    async with running(config=Config(dynamic=dynamic)) as world:

        async def found(query: str) -> int:
            request = ws.CountActivityExecutionsRequest(namespace=NAMESPACE, query=query)
            return int((await world.ask(request)).count)

        await world.ask(start_activity_request(start_delay=Duration(seconds=60)))
        options = ws.UpdateActivityExecutionOptionsRequest(namespace=NAMESPACE, activity_id="charge")
        options.activity_options.task_queue.name = "elsewhere"
        options.activity_options.start_delay.seconds = 3600
        options.update_mask.paths.extend(["task_queue.name", "start_delay"])

        await world.ask(options)

        assert (await found(f"TaskQueue = '{QUEUE}'"), await found("TaskQueue = 'elsewhere'")) == (0, 1)
        listed = (await world.ask(ws.ListActivityExecutionsRequest(namespace=NAMESPACE))).executions[0]
        assert listed.execution_time.seconds == listed.schedule_time.seconds + 3600

        await world.ask(
            ws.ResetActivityExecutionRequest(namespace=NAMESPACE, activity_id="charge", restore_original_options=True)
        )
        assert await found(f"TaskQueue = '{QUEUE}'") == 1
        listed = (await world.ask(ws.ListActivityExecutionsRequest(namespace=NAMESPACE))).executions[0]
        assert listed.execution_time.seconds == listed.schedule_time.seconds + 60
