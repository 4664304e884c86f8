"""A batch that does not land: nobody is told otherwise, nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.api.operatorservice.v1 as ops
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType

from perdure.errors import Internal, NotFound, Unavailable
from perdure.storage.store import StoreFailed
from tests.api.client import (
    NAMESPACE,
    execution,
    schedule_activity,
    signal_external,
    signal_request,
    start_request,
    start_timer,
)
from tests.support.runtime_world import TestCall, World, running


async def test_a_refused_start_is_decided_again_and_answered_once_it_landed(world: World) -> None:
    world.store.refusals = 2
    started = await world.ask(start_request())
    described = await world.ask(
        ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution("order-1", started.run_id))
    )
    assert described.workflow_execution_info.execution.run_id == started.run_id


async def test_while_the_disk_is_full_writers_hear_it_and_readers_are_served(world: World) -> None:
    await world.start_workflow()
    world.store.refusals = -1

    with pytest.raises(Unavailable):
        await world.ask(signal_request())
    count = await world.ask(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert count.count == 1

    world.store.refusals = 0
    await world.ask(signal_request())


async def test_a_namespace_whose_row_was_refused_does_not_exist(world: World) -> None:
    world.store.refusals = -1
    register = ws.RegisterNamespaceRequest(namespace="billing")
    register.workflow_execution_retention_period.seconds = 86_400
    with pytest.raises(Unavailable):
        await world.ask(register)
    with pytest.raises(NotFound):
        await world.ask(ws.DescribeNamespaceRequest(namespace="billing"))

    world.store.refusals = 0
    await world.ask(register)
    assert (await world.ask(ws.DescribeNamespaceRequest(namespace="billing"))).namespace_info.name == "billing"


async def test_a_change_of_a_namespace_that_was_refused_is_undone(world: World) -> None:
    world.store.refusals = -1
    add = ops.AddSearchAttributesRequest(namespace=NAMESPACE, search_attributes={"Colour": 2})
    with pytest.raises(Unavailable):
        await world.ask(add)
    world.store.refusals = 0
    listed = await world.ask(ops.ListSearchAttributesRequest(namespace=NAMESPACE))
    assert "Colour" not in listed.custom_attributes


async def test_nobody_is_shown_a_namespace_that_was_never_written(world: World) -> None:
    world.store.hold()
    register = ws.RegisterNamespaceRequest(namespace="billing")
    register.workflow_execution_retention_period.seconds = 86_400
    world.call(register)
    shown = world.call(ws.DescribeNamespaceRequest(namespace="billing"))
    await world.settle()
    assert not shown.answered

    world.store.refusals = 1
    world.store.release()
    await world.settle()
    assert isinstance(shown.error, Unavailable)


async def test_a_delete_that_was_refused_is_done_again_before_it_is_answered(world: World) -> None:
    await world.start_workflow()
    terminate = ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
    await world.ask(terminate)
    world.store.refusals = 1
    await world.ask(ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    listed = await world.ask(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert not listed.executions


async def test_a_delete_is_not_acknowledged_while_the_disk_is_full(world: World) -> None:
    await world.start_workflow()
    await world.ask(ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    world.store.refusals = -1
    with pytest.raises(Unavailable):
        await world.ask(ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    world.store.refusals = 0
    await world.ask(ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution()))


async def test_a_server_that_cannot_write_its_first_rows_does_not_start() -> None:
    world = World()
    world.store.refusals = -1
    with pytest.raises(StoreFailed, match="disk full"):
        await world.start()
    await world.store.close()


async def test_whoever_waits_for_new_events_is_woken_when_their_batch_is_refused() -> None:
    async with running() as world:
        await world.start_workflow()
        world.store.hold()
        waiting = world.call(
            ws.GetWorkflowExecutionHistoryRequest(
                namespace=NAMESPACE, execution=execution(), wait_new_event=True, history_event_filter_type=2
            )
        )
        world.call(signal_request())
        await world.settle()
        world.store.refusals = 1
        world.store.release()
        await world.settle()
        await world.ask(ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
        assert waiting.reply is not None
        assert len(waiting.reply.history.events) == 1


async def test_a_timer_whose_cancellation_could_not_be_written_fires(world: World) -> None:
    await world.start_workflow()
    await world.step(start_timer(seconds=30))
    await world.ask(signal_request())
    poll = world.poll()
    await world.settle()
    world.store.refusals = -1
    done = world.complete(poll.reply, cancel_timer())
    await world.settle()
    assert isinstance(done.error, Unavailable)
    world.store.refusals = 0

    await world.pass_time(31)
    await world.pass_time(5)  # whatever was to be tried again in a while has been

    events = [event.event_type for event in await world.history()]
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT in events
    assert EventType.EVENT_TYPE_TIMER_FIRED in events


async def test_a_parked_poll_and_a_waiting_task_meet_once_the_disk_has_space_again(world: World) -> None:
    await world.start_workflow()
    world.store.refusals = -1
    poll = world.poll()
    await world.settle()
    assert world.store.submitted < 30, "a full disk must not be hammered"
    assert not poll.answered

    world.store.refusals = 0
    await world.pass_time(2)
    assert poll.reply is not None
    assert poll.reply.task_token


async def test_a_history_read_backwards_shows_no_run_that_was_never_written(world: World) -> None:
    world.store.hold()
    world.call(start_request())
    shown = world.call(
        ws.GetWorkflowExecutionHistoryReverseRequest(namespace=NAMESPACE, execution=execution(), maximum_page_size=1)
    )
    await world.settle()
    world.store.refusals = 1
    world.store.release()
    await world.settle()
    assert [event.event_id for event in shown.reply.history.events] == [2]


async def test_a_query_waits_once_however_often_its_execution_is_refused(world: World) -> None:
    await world.start_workflow()
    await world.step()
    await world.ask(signal_request())
    task = world.poll()
    await world.settle()
    world.store.refusals = 2
    world.call(signal_request())
    ask = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    ask.query.query_type = "status"
    asked = world.call(ask)
    await world.settle()

    key = (world.runtime.namespaces.active(NAMESPACE).id, 0, "order-1")
    loaded = world.runtime.executions.peek(key)
    assert loaded is not None
    assert len(loaded.queries) == 1
    done = world.complete(task.reply)
    await world.settle()
    assert done.reply is not None, done.error
    next_task = world.poll()
    await world.settle()
    (query_id,) = next_task.reply.queries
    answer = ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=next_task.reply.task_token)
    answer.query_results[query_id].result_type = 1  # type: ignore[assignment] # ANSWERED
    await world.ask(answer)
    assert asked.reply is not None
    assert not loaded.queries


async def test_how_far_time_has_skipped_is_written_with_the_next_batch_when_its_own_was_refused(world: World) -> None:
    """Else events would be stamped with a time that a restart knows nothing of."""
    world.store.refusals = 1
    world.runtime.committer.put_meta("time_offset", b"1000")
    await world.settle()
    assert "time_offset" not in world.runtime.store.load_meta()

    await world.start_workflow()
    assert world.runtime.store.load_meta()["time_offset"] == b"1000"


async def test_a_message_that_waits_for_its_receiver_is_lost_with_the_batch_of_its_row(world: World) -> None:
    """Its sender's turn is decided again and sends another one; both were delivered once."""
    await world.start_workflow("receiver")
    await world.step()
    await world.start_workflow("sender")
    poll = world.poll()
    await world.settle()
    executions = world.runtime.executions
    for loaded in executions.all():
        if loaded.key[2] == "receiver":
            executions.forget(loaded)
            loaded.dead = True
    read, waiting = world.store.load_execution, []
    world.store.load_execution = lambda *arguments: waiting.append(arguments)
    world.store.refusals = 1
    world.complete(poll.reply, signal_external("receiver"))
    await world.settle()
    world.store.load_execution = read
    for arguments in waiting:
        read(*arguments)
    await world.settle()

    history = await world.ask(
        ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution("receiver"))
    )
    assert [event.event_type for event in history.history.events].count(26) == 1  # ..._SIGNALED
    assert not world.runtime.mail.on_way


async def lose_the_answer_of_an_activity(world: World) -> None:
    """Its poll goes before its start is written, which is about to land."""
    await world.start_workflow()
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.start_to_close_timeout.seconds = 3600
    await world.step(command)
    world.poll_activity().leave()
    world.store.hold()
    await world.settle()
    world.store.release()


@pytest.mark.parametrize("refusals", [1, 3])
async def test_an_activity_that_was_lost_with_its_answer_is_given_to_another_although_that_was_refused(
    world: World, refusals: int
) -> None:
    await lose_the_answer_of_an_activity(world)
    world.store.refusals = refusals
    await world.settle()
    await world.pass_time(2)
    assert world.store.refusals == 0

    poll = world.poll_activity()
    await world.settle()

    assert poll.reply.task_token


async def test_a_task_that_was_lost_with_its_answer_is_given_to_another_although_that_was_refused(
    world: World,
) -> None:
    gone = world.poll()
    await world.settle()
    world.store.hold()
    world.call(start_request("order-1"))
    await world.settle()
    gone.leave()
    poll = world.poll()
    await world.settle()
    world.store.release()
    world.store.refusals = 1
    await world.settle()

    assert world.store.refusals == 0
    assert poll.reply.task_token


async def test_a_task_whose_start_was_refused_and_landed_waits_for_nobody_else(world: World) -> None:
    await world.start_workflow()
    world.store.refusals = 1
    poll = world.poll()
    await world.settle()

    assert poll.reply.task_token
    assert [len(queue.backlog) for queue in world.runtime.matching._queues.values()] == [0]


async def test_a_due_timer_does_not_keep_the_server_busy_while_the_disk_is_full(world: World) -> None:
    await world.start_workflow()
    await world.step(start_timer(seconds=30))
    world.store.refusals = -1
    before = world.store.submitted
    world.clock.seconds += 31
    world.runtime.wakes.ring()
    for _ in range(200):  # turns of the loop, while the clock stands still
        await asyncio.sleep(0)
    assert world.store.submitted - before < 10
    assert len(world.runtime.alarms._heap) < 10

    world.store.refusals = 0
    await world.pass_time(1)
    await world.pass_time(1)

    assert [event.event_type for event in await world.history()].count(EventType.EVENT_TYPE_TIMER_FIRED) == 1


async def test_a_server_can_stop_when_a_run_without_a_stored_form_was_all_there_was_to_write(world: World) -> None:
    await world.start_workflow()

    def unstorable(turn: Any) -> None:
        turn.run.task_queue = object()
        turn.touch()

    spoilt = decide(world, unstorable)
    async with asyncio.timeout(5):
        await world.runtime.committer.drain()

    assert isinstance(spoilt.error, Internal)


async def test_a_server_can_stop_when_what_was_given_up_has_nobody_who_wants_it_decided_again(world: World) -> None:
    await world.start_workflow()

    def breaks(turn: Any) -> None:
        turn.touch()
        raise KeyError("a defect")

    decide(world, lambda turn: turn.touch()).leave()
    broken = decide(world, breaks)
    async with asyncio.timeout(5):
        await world.runtime.committer.drain()

    assert isinstance(broken.error, Internal)


def decide(world: World, decision: Any) -> TestCall:
    call = TestCall(world.methods["SignalWorkflowExecution"], None)
    world.runtime.decide(world.runtime.namespaces.active(NAMESPACE), "order-1", "", decision, call)
    return call


def cancel_timer(timer_id: str = "t") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
    command.cancel_timer_command_attributes.timer_id = timer_id
    return command
