"""The barrier: whatever is answered or shown is durable, and nobody who waits for that is forgotten."""

from __future__ import annotations

from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import EventType

from perdure.errors import NotFound
from tests.api.client import NAMESPACE, execution, signal_request, start_request
from tests.support.runtime_world import World

STARTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
TERMINATED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED
TASK_SCHEDULED = EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED


def read_history(**fields: Any) -> ws.GetWorkflowExecutionHistoryRequest:
    return ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(), **fields)


async def test_a_repeated_request_is_not_answered_before_the_first_is_durable(world: World) -> None:
    world.store.hold()
    first = world.call(start_request(request_id="once"))
    again = world.call(start_request(request_id="once"))
    signalled = world.call(signal_request(request_id="also once"))
    twice = world.call(signal_request(request_id="also once"))
    await world.settle()
    assert not any(call.answered for call in (first, again, signalled, twice))

    world.store.release()
    await world.settle()

    assert first.reply.run_id == again.reply.run_id
    assert all(call.reply is not None for call in (signalled, twice))
    assert [event.event_type for event in await world.history()].count(SIGNALED) == 1


async def test_nobody_is_refused_for_something_that_may_not_have_happened(world: World) -> None:
    await world.start_workflow()
    world.store.hold()
    world.call(ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    late = world.call(signal_request())
    shown = world.call(ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution()))
    await world.settle()
    assert not late.answered
    assert not shown.answered

    world.store.release()
    await world.settle()

    assert isinstance(late.error, NotFound)
    assert shown.reply.workflow_execution_info.HasField("close_time")


async def test_a_history_shows_nothing_that_is_not_durable(world: World) -> None:
    await world.start_workflow()
    world.store.hold()
    world.call(signal_request())
    await world.settle()
    shown = world.call(read_history())
    waiting = world.call(read_history(wait_new_event=True))
    await world.settle()
    for call in (shown, waiting):
        assert call.reply is None or SIGNALED not in [event.event_type for event in call.reply.history.events]

    world.store.release()
    await world.settle()

    assert [event.event_type for event in await world.history()] == [STARTED, TASK_SCHEDULED, SIGNALED]


async def test_who_waits_for_the_end_hears_of_nothing_else_and_of_that_when_it_is_durable(world: World) -> None:
    await world.start_workflow()
    waiting = world.call(read_history(wait_new_event=True, history_event_filter_type=2))
    await world.ask(signal_request())
    world.store.hold()
    world.call(ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    await world.settle()
    assert not waiting.answered

    world.store.release()
    await world.settle()

    assert [event.event_type for event in waiting.reply.history.events] == [TERMINATED]


async def test_who_waits_for_events_hears_of_them_when_they_are_durable(world: World) -> None:
    await world.start_workflow()
    waiting = world.call(read_history(wait_new_event=True))
    page = waiting.reply.next_page_token
    next_page = read_history(wait_new_event=True)
    next_page.next_page_token = page
    waiting = world.call(next_page)
    await world.settle()
    world.store.hold()
    world.call(signal_request())
    await world.settle()
    assert not waiting.answered

    world.store.release()
    await world.settle()

    assert [event.event_type for event in waiting.reply.history.events] == [SIGNALED]


async def test_what_is_not_written_yet_stays_in_a_cache_that_is_too_small(world: World) -> None:
    world.runtime.executions._max_bytes = 1
    world.store.hold()
    first = world.call(start_request("first"))
    await world.settle()
    second = world.call(start_request("second"))  # the open batch has it, behind the one under way
    await world.settle()

    world.store.release_one()
    await world.settle()
    signalled = world.call(signal_request("second"))
    await world.settle()
    assert first.reply is not None
    assert not second.answered
    assert not signalled.answered

    world.store.release()
    await world.settle()

    assert signalled.error is None
    assert signalled.reply is not None
