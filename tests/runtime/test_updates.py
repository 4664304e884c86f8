"""Callers that wait for updates: they hear in time, not too early, and are not forgotten when a batch is refused."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.errors import NotFound, Unavailable
from perdure.runtime.executions import Loaded
from tests.api.client import NAMESPACE, complete_workflow, execution, signal_external
from tests.api.updating import ACCEPTED, ADMITTED, COMPLETED, poll_request, update_request, with_start
from tests.engine.updating import accept, reject, respond
from tests.runtime.test_failed_reads import rows
from tests.support.runtime_world import World, sticky


async def idle(world: World) -> None:
    await world.start_workflow()
    await world.step()


async def take(world: World) -> Any:
    poll = world.poll()
    await world.settle()
    assert poll.reply is not None, "no workflow task came"
    return poll.reply


def loaded(world: World) -> Loaded:
    [held] = [found for found in world.runtime.executions.all() if found.key[2] == "order-1"]
    return held


async def test_a_caller_is_told_after_twenty_seconds_how_far_its_update_is(world: World) -> None:
    await idle(world)
    asked = world.call(update_request(), within=60)
    await world.pass_time(19.9)
    assert not asked.answered
    await world.pass_time(0.2)
    assert (asked.reply.stage, asked.reply.HasField("outcome")) == (ADMITTED, False)
    assert asked.reply.update_ref.update_id == "u1"

    again = world.call(update_request(), within=60)
    polled = world.call(poll_request(stage=COMPLETED), within=60)
    task = await take(world)
    assert len(task.messages) == 1
    world.complete(task, messages=[accept(task.messages[0])])
    await world.pass_time(21)

    assert (again.reply.stage, polled.reply.stage) == (ACCEPTED, ACCEPTED)
    assert not loaded(world).updates


async def test_an_update_alone_makes_no_commit_and_neither_does_its_rejection(world: World) -> None:
    await idle(world)
    before = world.store.submitted
    asked = world.call(update_request())
    task = await take(world)
    world.complete(task, messages=[reject(task.messages[0])])
    await world.settle()

    assert asked.reply.stage == COMPLETED
    await world.pass_time(30)
    assert world.store.submitted == before


async def test_a_caller_hears_of_an_acceptance_when_it_is_durable(world: World) -> None:
    await idle(world)
    asked = world.call(update_request(stage=ACCEPTED))
    task = await take(world)
    world.store.hold()
    world.complete(task, messages=[accept(task.messages[0])])
    await world.settle()
    assert not asked.answered

    world.store.release()
    await world.settle()

    assert asked.reply.stage == ACCEPTED


async def test_who_waits_for_the_outcome_is_not_content_with_an_acceptance(world: World) -> None:
    await idle(world)
    asked = world.call(update_request(stage=COMPLETED))
    task = await take(world)
    world.complete(task, messages=[accept(task.messages[0])], force_create_new_workflow_task=True)
    await world.settle()
    assert not asked.answered

    world.complete(await take(world), messages=[respond(result="done")])
    await world.settle()

    assert (asked.reply.stage, asked.reply.HasField("outcome")) == (COMPLETED, True)


async def test_a_refused_acceptance_is_decided_again_and_told_once(world: World) -> None:
    await idle(world)
    asked = world.call(update_request(stage=ACCEPTED))
    task = await take(world)
    world.store.refusals = 1
    done = world.complete(task, messages=[accept(task.messages[0]), respond()])
    await world.settle()

    # The speculative task went with the cache: its completion finds nothing, and the update comes again.
    assert isinstance(done.error, NotFound)
    assert not asked.answered
    task = await take(world)
    world.complete(task, messages=[accept(task.messages[0]), respond()])
    await world.settle()
    assert asked.reply.stage == COMPLETED


async def test_updates_that_leave_the_cache_with_a_refused_batch_ask_again_in_silence(world: World) -> None:
    await idle(world)
    asked = [world.call(update_request(f"u{number}")) for number in range(3)]
    world.store.refusals = 1
    signal = world.call(
        ws.SignalWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(), signal_name="s")
    )
    await world.settle()
    assert signal.reply is not None
    assert not any(call.answered for call in asked)

    task = await take(world)
    assert [message.protocol_instance_id for message in task.messages] == ["u0", "u1", "u2"]
    world.complete(task, messages=[reject(message) for message in task.messages])
    await world.settle()

    assert [call.reply.stage for call in asked] == [COMPLETED] * 3
    assert not world.broken


async def test_an_update_with_start_that_could_not_be_written_is_started_again(world: World) -> None:
    world.store.refusals = 1
    asked = world.call(with_start())
    await world.settle()
    task = await take(world)
    world.complete(task, messages=[accept(task.messages[0]), respond()])
    await world.settle()

    start, update = asked.reply.responses
    assert start.start_workflow.started
    assert start.start_workflow.run_id == task.workflow_execution.run_id
    assert update.update_workflow.stage == COMPLETED


async def test_a_store_that_takes_nothing_is_tried_again_at_leisure_until_the_callers_time_is_over(
    world: World,
) -> None:
    world.store.refusals = -1
    asked = world.call(with_start(), within=60)
    await world.settle()
    tried = world.store.submitted
    assert tried <= 5
    await world.pass_time(1.1)
    assert tried < world.store.submitted <= tried + 5
    assert not asked.answered

    await world.pass_time(19)
    await world.settle()
    world.store.refusals = 0

    assert isinstance(asked.error, Unavailable)


async def test_a_store_that_takes_batches_again_starts_what_was_asked_for(world: World) -> None:
    world.store.refusals = 4
    asked = world.call(with_start(), within=60)
    await world.settle()
    await world.pass_time(1.1)

    task = await take(world)
    world.complete(task, messages=[accept(task.messages[0]), respond()])
    await world.settle()

    assert asked.reply.responses[1].update_workflow.stage == COMPLETED


async def test_what_is_admitted_stays_in_the_cache_until_it_is_answered(world: World) -> None:
    await idle(world)
    asked = world.call(update_request())
    await world.settle()
    assert not loaded(world).idle
    asked.leave()
    assert not loaded(world).idle
    task = await take(world)

    world.complete(task, messages=[accept(task.messages[0]), respond()])
    await world.settle()

    assert loaded(world).idle


async def test_who_polls_and_leaves_is_forgotten(world: World) -> None:
    await idle(world)
    world.call(update_request())
    task = await take(world)
    world.complete(task, messages=[accept(task.messages[0])])
    await world.settle()
    polled = world.call(poll_request(stage=COMPLETED))
    await world.settle()
    polled.leave()

    held = [held for held in loaded(world).updates.values() if polled in [call.call for call in held.calls]]
    assert held == []


async def test_a_speculative_task_for_a_poller_that_left_goes_to_the_next_with_its_update(world: World) -> None:
    await idle(world)
    gone = world.poll()
    await world.settle()
    gone.finish = lambda reply: False  # type: ignore[method-assign] # its connection broke as the answer left
    asked = world.call(update_request())
    await world.settle()

    task = await take(world)

    assert [message.id for message in task.messages] == ["u1/request"]
    world.complete(task, messages=[reject(task.messages[0])])
    await world.settle()
    assert asked.reply.stage == COMPLETED


async def test_an_update_that_nobody_takes_gets_a_task_with_a_row(world: World) -> None:
    await idle(world)
    asked = world.call(update_request(), within=60)
    await world.pass_time(5.1)
    assert not asked.answered

    task = await take(world)

    assert [event.event_id for event in task.history.events] == list(range(1, 9))
    assert task.messages
    world.complete(task, complete_workflow(), messages=[reject(task.messages[0])])
    await world.settle()
    assert asked.reply.outcome.failure.message == "no"


async def test_a_server_that_stops_sends_its_callers_elsewhere(world: World) -> None:
    await idle(world)
    asked = world.call(update_request())
    await world.runtime.drain()
    assert isinstance(asked.error, Unavailable)


@pytest.mark.parametrize("stage", [0, ADMITTED, ACCEPTED])
async def test_a_poll_that_waits_for_no_more_than_there_is_is_answered_at_once(world: World, stage: int) -> None:
    await idle(world)
    world.call(update_request())
    task = await take(world)
    world.complete(task, messages=[accept(task.messages[0])])
    await world.settle()
    polled = world.call(poll_request(stage=stage))
    await world.settle()
    assert polled.reply.stage == ACCEPTED


async def test_a_task_for_an_update_that_becomes_a_normal_one_while_it_is_offered_has_one_row(world: World) -> None:
    """The worker's own queue is polled by nobody, so the task moves; the answer to a signal comes in the same round,
    and has to be written."""
    await world.start_workflow("receiver")
    await world.step()
    await world.start_workflow()
    task = await take(world)
    world.call(update_request())
    done = world.complete(task, signal_external("receiver"), sticky_attributes=sticky(60))
    await world.settle()
    assert done.error is None

    assert [row.execution_id for row in rows(world)].count("order-1") == 1
