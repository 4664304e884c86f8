"""What answers with a task tell workers of the queue."""

from __future__ import annotations

from tests.api.client import schedule_activity
from tests.support.runtime_world import World


async def test_a_poll_that_waited_long_is_told_to_be_one_fewer(world: World) -> None:
    workflow, activity = world.poll(), world.poll_activity()
    await world.settle()
    await world.pass_time(2.0)

    await world.start_workflow()
    await world.settle()
    world.complete(workflow.reply, schedule_activity("a"))
    await world.settle()

    for poll in (workflow, activity):
        assert poll.reply is not None
        assert poll.reply.task_token
        assert poll.reply.poller_scaling_decision.poll_request_delta_suggestion == -1
        assert poll.reply.attempt == 1


async def test_a_backlog_is_told_with_its_size_and_asks_for_one_more(world: World) -> None:
    for number in range(3):
        await world.start_workflow(f"order-{number}")
    await world.pass_time(1.0)

    poll = world.poll()
    await world.settle()

    assert poll.reply is not None
    assert poll.reply.backlog_count_hint == 2
    assert poll.reply.poller_scaling_decision.poll_request_delta_suggestion == 1


async def test_an_empty_answer_holds_nothing_at_all(world: World) -> None:
    poll = world.poll(within=5.0)
    await world.settle()
    await world.pass_time(5.0)

    assert poll.reply is not None
    assert not poll.reply.ListFields()
