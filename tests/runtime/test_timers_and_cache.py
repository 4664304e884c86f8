"""Timers keep their moment whatever leaves memory, and memory keeps nothing that is over."""

from __future__ import annotations

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType

from perdure.runtime.wakes import WINDOW
from perdure.storage.store import StoreFailed
from tests.api.client import NAMESPACE, complete_workflow, execution, schedule_activity, start_request, start_timer
from tests.support.runtime_world import World, running


def kinds_of(reply: ws.GetWorkflowExecutionHistoryResponse) -> list[int]:
    return [event.event_type for event in reply.history.events]


async def test_timers_fire_also_when_their_runs_were_dropped_from_a_tiny_cache(world: World) -> None:
    world.runtime.executions._max_bytes = 1
    for n in range(20):
        await world.start_workflow(f"order-{n}")
        await world.step(start_timer(seconds=30 + n))
    assert len(world.runtime.executions) <= 1
    await world.pass_time(60)
    fired = 0
    for _ in range(20):
        task = await world.step(complete_workflow())
        fired += any(event.event_type == 18 for event in task.history.events)
    assert fired == 20


async def test_a_timer_written_while_the_next_window_is_read_is_not_missed(world: World) -> None:
    """It lies beyond what is kept in memory, and its batch has not landed when the store is read."""
    wakes = world.runtime.wakes
    await world.start_workflow()
    poll = world.poll()
    await world.settle()
    window = WINDOW / 1e6
    left = (wakes._read_to[0] - world.runtime.time.now()) / 1e6
    world.clock.seconds += left + 0.01  # the horizon has just passed, and the loop is a little late
    world.store.hold()
    world.complete(poll.reply, start_timer(seconds=int(window)))
    await world.settle()
    world.clock.seconds += 0.01
    wakes.ring()
    world.store.release()
    await world.settle()

    await world.pass_time(window + 1)
    await world.pass_time(1)
    assert 18 in kinds_of(
        await world.ask(ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution()))
    )


async def test_thousands_of_runs_leave_nothing_in_the_runtimes_tables(world: World) -> None:
    runtime = world.runtime
    runtime.executions._max_bytes = 256 * 1024
    for n in range(120):
        world.call(start_request(f"order-{n}"))
        workflow_task = world.poll()
        await world.settle()
        world.complete(workflow_task.reply, schedule_activity())
        activity = world.poll_activity()
        await world.settle()
        world.call(ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.reply.task_token))
        workflow_task = world.poll()
        await world.settle()
        world.complete(workflow_task.reply, complete_workflow())
        world.clock.seconds += 1
    await world.settle()
    assert not runtime.wakes._armed
    assert not runtime.matching.rows.unstored
    assert not runtime.matching.rows.departed
    assert all(not q.line and not len(q.backlog) and not q.volatile for q in runtime.matching._queues.values())
    assert len(runtime.executions) < 100
    assert len(runtime.alarms._heap) < 200
    assert not runtime.queries._direct
    assert not runtime.mail.on_way
    await world.pass_time(180)
    assert not runtime.wakes._heap


async def test_a_timer_of_a_large_run_that_was_canceled_stays_so_when_the_run_is_loaded_again(world: World) -> None:
    names = [f"{number:02}-" + "x" * 900 for number in range(12)]  # too much for the run's own row
    await world.start_workflow()
    await world.step(*[start_timer(name, seconds=30) for name in names])
    await world.ask(
        ws.SignalWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(), signal_name="x")
    )
    cancel = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
    cancel.cancel_timer_command_attributes.timer_id = names[3]
    await world.step(cancel)
    world.forget("order-1")

    await world.pass_time(31)

    events = await world.history()
    fired = [event.timer_fired_event_attributes.timer_id for event in events if event.event_type == 18]
    assert fired == names[:3] + names[4:]


async def test_the_cache_counts_no_history_that_it_let_go(world: World) -> None:
    await world.start_workflow()
    signal = ws.SignalWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(), signal_name="x")
    signal.input.payloads.add(data=b"x" * 50_000)
    for _ in range(100):
        await world.ask(signal)
    assert world.runtime.executions._bytes < 1024 * 1024


async def test_timers_go_on_after_the_store_could_not_be_read_for_a_while() -> None:
    async with running() as world:
        await world.start_workflow()
        await world.step(start_timer(seconds=300))
        world.store.reads_fail = {"due_runs"}
        world.clock.seconds += 400
        with pytest.raises(StoreFailed):
            world.runtime.wakes.ring()
        assert world.runtime.wakes._handle is not None, "it tries again"
        world.store.reads_fail = set()
        world.runtime.wakes.ring()
        await world.settle()
        await world.step(complete_workflow())


async def test_a_cache_that_is_too_large_gives_up_a_few_at_a_time_and_passes_over_the_busy(world: World) -> None:
    executions = world.runtime.executions
    for number in range(8):
        await world.start_workflow(f"order-{number}")
    watched = ws.GetWorkflowExecutionHistoryRequest(
        namespace=NAMESPACE, execution=execution("order-0"), wait_new_event=True, history_event_filter_type=2
    )
    waiting = world.call(watched, within=60)
    await world.settle()
    for number in range(1, 8):  # order-0 is the least recently used
        await world.ask(
            ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution(f"order-{number}"))
        )
    await world.start_workflow("order-8")
    executions._max_bytes = 0
    before = len(executions)

    executions.trim(world.runtime.committer.durable_no)

    assert [loaded.key[2] for loaded in executions.all()] == ["order-0"]
    assert before > 8
    assert not waiting.answered
