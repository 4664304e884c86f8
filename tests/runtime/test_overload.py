"""More inputs than the open batch takes: they wait their turn, workers first, and what is too much is refused."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import ResourceExhaustedCause, ResourceExhaustedScope

from perdure.errors import ResourceExhausted
from perdure.runtime import committer, decisions, line
from tests.api.client import NAMESPACE, signal_request, start_request, start_timer
from tests.support.runtime_world import World


@pytest.fixture
def crowded(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Its open batch takes three runs, and is not written before `release`."""
    monkeypatch.setattr(committer, "MAX_RUNS", 3)
    return world


def starts(world: World, first: int, count: int) -> list[Any]:
    return [world.call(start_request(f"order-{number}")) for number in range(first, first + count)]


async def test_who_waits_for_room_is_served_in_order_and_before_those_who_come_later(crowded: World) -> None:
    world = crowded
    world.store.hold()
    calls = starts(world, 0, 12)
    await world.settle()
    calls += starts(world, 12, 4)
    assert len(world.runtime.decisions.line) > 4
    world.store.release()
    await world.settle()
    served = sorted(
        (run.run_no, call)
        for call, loaded in ((call, of) for call in range(16) for of in world.runtime.executions.all())
        for run in loaded.execution.runs.values()
        if calls[call].reply.run_id == run.run_id
    )
    assert [call for _, call in served] == list(range(16))


async def test_an_answer_of_a_worker_goes_before_starts_that_wait(crowded: World) -> None:
    world = crowded
    await world.start_workflow()
    poll = world.poll()
    await world.settle()
    world.store.hold()
    calls = starts(world, 10, 20)
    done = world.complete(poll.reply, start_timer())
    order: list[Any] = []
    while len(world.runtime.decisions.line):
        order.append(world.runtime.decisions.line.next().waiter)
    assert order[0] is done
    assert order[1:] == calls[-len(order) + 1 :]


async def test_a_caller_who_left_while_waiting_for_room_is_not_served(crowded: World) -> None:
    world = crowded
    world.store.hold()
    calls = starts(world, 0, 8)
    calls[-1].leave()
    world.store.release()
    await world.settle()
    count = await world.ask(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert count.count == 7


async def test_more_than_can_wait_is_told_that_the_system_is_overloaded(
    crowded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = crowded
    monkeypatch.setattr(line, "MOST_WAITING", 5)
    world.store.hold()
    calls = starts(world, 0, 30)
    await world.settle()
    refused = [call for call in calls if call.error is not None]
    assert len(refused) >= 30 - 5 - 6
    error = refused[0].error
    assert isinstance(error, ResourceExhausted)
    assert error.cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED
    assert error.scope == ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_SYSTEM
    world.store.release()
    await world.settle()
    assert sum(call.reply is not None for call in calls) == 30 - len(refused)


async def test_an_execution_with_too_many_inputs_is_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "INPUTS_PER_EXECUTION", 5)
    await world.start_workflow()
    loaded = next(iter(world.runtime.executions.all()))
    world.runtime.decisions.block(loaded)
    calls = [world.call(signal_request()) for _ in range(8)]
    world.runtime.decisions.unblock(loaded)
    world.runtime.decisions.pump(loaded)
    await world.settle()
    errors = [call.error for call in calls if call.error is not None]
    assert [str(error) for error in errors] == ["Workflow is busy."] * 3
    assert all(
        error.cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
        for error in errors
        if isinstance(error, ResourceExhausted)
    )
