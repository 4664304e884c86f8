"""Callers who read or ask while a batch is under way that is refused: they see what holds, and are not kept."""

from __future__ import annotations

from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, HistoryEventFilterType

from perdure.errors import Unavailable
from perdure.runtime.pages import HistoryPage
from perdure.storage.store import StoreFailed
from tests.api.client import NAMESPACE, QUEUE, execution, schedule_activity, signal_request, start_request
from tests.runtime.test_updates import loaded, take
from tests.support.runtime_world import World, with_sticky_worker

CLOSE = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


def history(**fields: Any) -> ws.GetWorkflowExecutionHistoryRequest:
    return ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(), **fields)


def query() -> ws.QueryWorkflowRequest:
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    request.query.query_type = "status"
    return request


def watchers(world: World) -> int:
    tails = [tail for found in world.runtime.executions.all() for tail in found.tails.values()]
    return sum(len(tail.watchers) for tail in tails)


async def refuse(world: World, times: int = 1) -> None:
    """What is held is refused."""
    world.store.refusals = times
    world.store.release()
    await world.settle()
    assert world.store.refusals == 0


# ---- histories
async def test_who_waits_for_a_result_while_a_batch_is_refused_is_forgotten_when_it_leaves(world: World) -> None:
    await world.start_workflow()
    await world.step()
    world.store.hold()
    world.call(signal_request())
    waiting = world.call(history(wait_new_event=True, history_event_filter_type=CLOSE), within=60)
    await world.settle()
    await refuse(world)
    assert not waiting.answered
    assert watchers(world) == 1

    waiting.leave()
    await world.pass_time(30)

    assert watchers(world) == 0
    assert loaded(world).idle


async def test_a_history_read_while_the_start_is_refused_is_that_of_the_run_that_came_to_be(world: World) -> None:
    world.store.hold()
    start = world.call(start_request())
    asked = world.call(history(), within=60)
    await world.settle()
    await refuse(world)

    assert start.reply.run_id
    assert asked.error is None
    assert asked.reply.history.events[0].workflow_execution_started_event_attributes.original_execution_run_id == (
        start.reply.run_id
    )


async def test_the_start_of_another_attempt_is_shown_when_it_is_durable(world: World) -> None:
    """Nothing is written of it but the run's state."""
    await world.start_workflow()
    task = await take(world)
    await world.ask(
        ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, identity="worker")
    )
    before = len((await world.ask(history())).history.events)
    world.store.hold()
    world.poll()
    await world.settle()

    shown = world.call(history(), within=60)
    await world.settle()
    assert not shown.answered
    world.store.release()
    await world.settle()

    assert shown.reply.history.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
    assert len(shown.reply.history.events) == before + 1


async def test_a_history_whose_end_will_never_be_durable_is_refused(world: World) -> None:
    await world.start_workflow()
    world.store.hold()
    world.call(signal_request())
    await world.settle()
    world.runtime.committer._done(StoreFailed("the disk is gone"))

    page = history()
    first = await world.ask(page)
    assert len(first.history.events) == 2
    waits = world.call(history(maximum_page_size=2, next_page_token=_token_after(world, 2)), within=60)
    await world.settle()

    assert isinstance(waits.error, Unavailable)
    assert "the disk is gone" in waits.error.message


def _token_after(world: World, event_id: int) -> bytes:
    run = loaded(world).execution.current
    assert run is not None
    return HistoryPage(run.run_id, event_id + 1, 0, False).encode()


# ---- queries
async def test_a_query_while_a_successor_is_refused_is_put_to_the_run_that_is_there(world: World) -> None:
    await world.start_workflow()
    task = await take(world)
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    attributes = command.continue_as_new_workflow_execution_command_attributes
    attributes.workflow_type.name = "Order"
    attributes.task_queue.name = QUEUE
    world.store.hold()
    world.complete(task, command)
    await world.settle()
    asked = world.call(query(), within=60)
    shown = world.call(history(), within=60)
    await world.settle()
    await refuse(world)

    assert asked.error is None
    assert shown.error is None
    started = shown.reply.history.events[0].workflow_execution_started_event_attributes
    assert started.continued_execution_run_id, "of the successor"
    await world.pass_time(2)
    assert (await take(world)).queries


async def test_a_query_whose_caller_was_refused_shuts_out_no_other(world: World) -> None:
    await world.start_workflow()
    await world.step()
    await world.ask(signal_request())
    await take(world)
    world.store.refusals = -1
    world.store.hold()
    world.call(signal_request())
    asked = world.call(query(), within=600)
    world.store.release()
    await world.settle()
    world.store.refusals = 0
    await world.settle()
    assert isinstance(asked.error, Unavailable)
    assert not loaded(world).queries

    again = world.call(query(), within=600)
    await world.settle()

    assert again.error is None
    assert len(loaded(world).queries) == 1


async def test_a_query_leaves_a_dead_workers_queue_although_it_was_handed_out_when_its_time_there_was_over(
    world: World,
) -> None:
    own = await with_sticky_worker(world, schedule_activity())
    world.store.hold()
    world.poll_activity()  # its start is being written, and makes no workflow task
    await world.settle()
    world.call(query(), within=100)
    await world.settle()
    await world.pass_time(6)
    own.leave()
    world.store.release()
    await world.settle()

    poll = world.poll(within=90)
    await world.pass_time(1)

    assert poll.reply.query.query_type == "status"
