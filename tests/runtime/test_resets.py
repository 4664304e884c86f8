"""Resets among other inputs: what is under way, refused or unreadable loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.engine.execution import WORKFLOW
from perdure.engine.needs import NeedsReading, NeedsRun
from perdure.engine.turn import Shared
from perdure.errors import Unavailable
from perdure.runtime.inputs import Insistent, Outcome
from tests.api.client import (
    NAMESPACE,
    complete_workflow,
    execution,
    kinds,
    schedule_activity,
    signal_request,
    start_timer,
    values,
)
from tests.support.runtime_world import World


def reset(finish_event_id: int = 4, request_id: str = "r") -> ws.ResetWorkflowExecutionRequest:
    return ws.ResetWorkflowExecutionRequest(
        namespace=NAMESPACE,
        workflow_execution=execution(),
        reason="redo",
        workflow_task_finish_event_id=finish_event_id,
        request_id=request_id,
    )


def signal(name: str = "ship") -> ws.SignalWorkflowExecutionRequest:
    return signal_request(name=name, request_id=name)


async def history(world: World, run_id: str = "") -> Any:
    request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(run_id=run_id))
    return (await world.ask(request)).history


def signals(history: Any) -> list[str]:
    told = [event.workflow_execution_signaled_event_attributes.signal_name for event in history.events]
    return [name for name in told if name]


async def all_rests(world: World) -> None:
    """Readings rest a moment between pages."""
    for _ in range(20):
        await asyncio.sleep(0.001)
        await world.settle()


async def ask(world: World, request: Any) -> Any:
    call = world.call(request)
    await all_rests(world)
    if call.error is not None:
        raise call.error
    assert call.answered
    return call.reply


async def test_a_refused_reset_is_decided_again_and_makes_one_run(world: World) -> None:
    base = await world.start_workflow()
    await world.step(start_timer())
    await world.ask(signal())
    world.store.refusals = 2

    run_id = (await ask(world, reset())).run_id

    listed = await world.ask(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert {row.execution.run_id for row in listed.executions} == {base, run_id}
    assert kinds(await history(world))[3:] == [
        "WORKFLOW_TASK_FAILED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_SCHEDULED",
    ]


async def test_what_was_decided_and_not_yet_written_is_carried_over(world: World) -> None:
    await world.start_workflow()
    await world.step(start_timer())
    world.store.hold()
    told = world.call(signal("before"))
    asked = world.call(reset())
    after = world.call(signal("after"))
    await all_rests(world)
    assert not asked.answered

    world.store.release()
    await all_rests(world)

    assert told.reply is not None
    assert after.reply is not None
    run_id = asked.reply.run_id
    assert after.reply.link.workflow_event.run_id == run_id
    assert signals(await history(world, run_id)) == ["before", "after"]


async def test_a_history_that_cannot_be_read_refuses_the_reset_and_changes_nothing(world: World) -> None:
    base = await world.start_workflow()
    await world.step(start_timer())
    world.store.reads_fail = {"read_history"}

    with pytest.raises(Unavailable):
        await ask(world, reset())

    world.store.reads_fail = set()
    await world.ask(signal())
    assert signals(await history(world, base)) == ["ship"]
    run_id = (await ask(world, reset())).run_id
    assert run_id != base


async def test_a_worker_that_waits_gets_an_inherited_activity_with_its_input(world: World) -> None:
    await world.start_workflow()
    charge = schedule_activity()
    charge.schedule_activity_task_command_attributes.input.CopyFrom(values("x" * 5000))
    await world.step(charge, start_timer())
    taken = world.poll_activity()
    await world.settle()
    assert taken.reply is not None
    await world.ask(signal())
    await world.step()
    poll = world.poll_activity()
    await world.settle()
    assert not poll.answered

    run_id = (await ask(world, reset(10))).run_id
    await all_rests(world)

    assert poll.reply is not None
    assert poll.reply.input == values("x" * 5000)
    assert poll.reply.workflow_execution.run_id == run_id
    assert poll.reply.attempt == 1


async def test_a_reset_run_that_left_the_cache_is_whole_again_when_it_is_loaded(world: World) -> None:
    await world.start_workflow()
    await world.step(start_timer())
    await world.ask(signal())
    await ask(world, reset())
    world.runtime.executions._max_bytes = 0
    world.runtime.executions.trim(world.runtime.committer.durable_no)
    assert len(world.runtime.executions) == 0

    task = await world.step(complete_workflow())

    assert [event.event_id for event in task.history.events] == list(range(1, 8))
    again = await ask(world, reset(request_id="r"))
    assert again.run_id == task.workflow_execution.run_id


class _Reading:
    next_event_id = 1

    def take(self, first_event_id: int, last_event_id: int, blob: bytes) -> None:
        self.next_event_id = last_event_id + 1


async def test_a_run_that_was_read_for_an_earlier_attempt_does_not_pass_for_deleted_in_the_next(world: World) -> None:
    base = await world.start_workflow()
    await world.ask(ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    current = await world.start_workflow()
    world.forget("order-1")
    found = []

    def decide(shared: Shared, run: Any) -> Outcome:
        if current not in shared.execution.runs and current not in shared.readings:
            raise NeedsRun(current)
        found.append(current in shared.execution.runs)
        if base not in shared.readings:
            raise NeedsReading(run, _Reading())
        return Outcome()

    key = (world.runtime.namespaces.active(NAMESPACE).id, WORKFLOW, "order-1")
    world.store.reads_fail = {"read_history"}
    world.runtime.enter(Insistent(world.runtime, key, base, decide, starts=True))
    await all_rests(world)
    world.store.reads_fail = set()
    world.forget("order-1")
    await world.pass_time(2)
    await all_rests(world)

    assert found == [True, True, True]
