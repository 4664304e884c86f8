"""Tasks and polls under bad luck: stale rows, callers who leave, failing reads, answers that wait for their commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import QueryResultType

from perdure.engine.needs import Needs
from perdure.errors import NotFound, Unavailable
from perdure.matching.backlog import BEGINNING
from tests.api.client import (
    NAMESPACE,
    QUEUE,
    complete_workflow,
    execution,
    queue,
    schedule_activity,
    signal_request,
    start_request,
    values,
)
from tests.support.runtime_world import TestCall, World, sticky, with_sticky_worker


def terminate(workflow_id: str = "order-1") -> ws.TerminateWorkflowExecutionRequest:
    return ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(workflow_id))


def query(workflow_id: str = "order-1") -> ws.QueryWorkflowRequest:
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution(workflow_id))
    request.query.query_type = "status"
    return request


async def test_a_task_whose_run_was_deleted_is_dropped_and_its_poll_goes_on(world: World) -> None:
    await world.start_workflow("deleted")
    await world.ask(ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution("deleted")))
    poll = world.poll()
    await world.settle()
    assert not poll.answered

    await world.start_workflow("alive")
    assert poll.reply.workflow_execution.workflow_id == "alive"


async def test_a_thousand_stale_tasks_before_a_live_one_do_not_stop_a_poll(world: World) -> None:
    for n in range(1000):
        world.call(start_request(f"ended-{n}"))
        world.call(terminate(f"ended-{n}"))
    await world.start_workflow("alive")
    poll = world.poll()
    await world.settle()
    assert poll.reply is not None
    assert poll.reply.workflow_execution.workflow_id == "alive"


async def test_a_thousand_clients_that_vanish_while_they_poll_leave_nothing_behind(world: World) -> None:
    for _ in range(1000):
        world.poll().leave()
    matching = world.runtime.matching
    assert sum(len(q.line) for q in matching._queues.values()) == 0
    assert sum(alarm.callback is not None for _, _, alarm in world.runtime.alarms._heap) <= 2  # those that keep house

    poll = world.poll()
    await world.start_workflow()
    assert poll.reply.task_token


async def test_a_task_for_a_poll_that_went_away_before_its_answer_goes_to_the_next_with_another_token(
    world: World,
) -> None:
    gone = world.poll()
    world.store.hold()
    world.call(start_request())
    await world.settle()
    gone.leave()
    world.store.release()
    await world.settle()
    assert gone.reply is None

    poll = world.poll()
    await world.settle()
    assert poll.reply.attempt == 1
    done = world.complete(poll.reply, complete_workflow())
    await world.settle()
    assert done.error is None


async def test_an_activity_for_a_poll_that_went_away_goes_to_the_next_with_another_token(world: World) -> None:
    await world.start_workflow()
    task = world.poll()
    gone = world.poll_activity()
    await world.settle()
    world.store.hold()
    world.complete(task.reply, schedule_activity())
    await world.settle()
    gone.leave()
    world.store.release()
    await world.settle()

    poll = world.poll_activity()
    await world.settle()

    assert poll.reply.attempt == 1
    await world.ask(
        ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=poll.reply.task_token, identity="worker")
    )


async def test_a_task_that_ended_before_it_could_be_sent_is_not_sent(world: World) -> None:
    poll = world.poll()
    world.store.hold()
    world.call(start_request())
    await world.settle()
    world.call(terminate())
    world.store.release()
    await world.settle()
    assert not poll.answered

    await world.start_workflow("alive")

    assert poll.reply.workflow_execution.workflow_id == "alive"


async def test_a_poll_whose_task_could_not_be_written_gets_it_when_it_can(world: World) -> None:
    poll = world.poll()
    world.store.refusals = 1

    await world.start_workflow()

    assert poll.reply.workflow_execution.workflow_id == "order-1"


async def test_a_sticky_task_goes_to_any_worker_when_its_own_has_not_been_seen_for_a_while(world: World) -> None:
    await world.start_workflow()
    await world.step(sticky_attributes=sticky(60))
    other = world.poll()

    await world.ask(signal_request())

    assert other.reply.previous_started_event_id == 3
    assert len(other.reply.history.events) == 7, "all of it, as this worker knows nothing"


async def test_no_task_reaches_a_worker_before_its_start_is_durable(world: World) -> None:
    poll = world.poll()
    world.store.hold()
    start = world.call(start_request())
    await world.settle()
    assert not poll.answered
    assert not start.answered
    world.store.release()
    await world.settle()
    assert poll.reply.task_token


async def test_a_poll_hears_that_its_tasks_history_cannot_be_read_and_the_task_comes_back(world: World) -> None:
    await world.start_workflow()
    world.runtime.executions._loaded.clear()
    world.store.reads_fail = {"load_execution"}
    poll = world.poll()
    await world.settle()
    assert isinstance(poll.error, Unavailable)

    world.store.reads_fail = set()
    again = world.poll()
    await world.pass_time(2)
    assert again.reply.task_token
    assert task_rows(world) == 0  # nor does a row stay behind


async def test_a_task_that_could_not_be_started_does_not_come_back_once_another_took_its_place(world: World) -> None:
    """The worker's own queue is left for the common one while the start waits to be tried again."""
    (await with_sticky_worker(world, seconds=0.5)).leave()
    await world.ask(signal_request())
    world.forget("order-1")
    world.store.reads_fail = {"load_execution"}
    poll = world.poll(task_queue=queue("own", kind=2, normal_name=QUEUE))
    await world.settle()
    assert isinstance(poll.error, Unavailable)
    world.store.reads_fail = set()

    await world.pass_time(0.6)  # the own queue's time is over
    await world.pass_time(1)

    assert task_rows(world) == 1


def task_rows(world: World) -> Any:
    return world.store._store._main.execute("select count(*) from tasks").get


async def test_an_execution_whose_needed_event_cannot_be_read_is_not_blocked_for_ever(world: World) -> None:
    await world.start_workflow()
    failing: list[bool] = [True]
    real = world.runtime.histories.read_events

    def read_events(run: object, event_ids: object, done: object) -> None:
        if failing[0]:
            raise Unavailable("disk I/O error")
        real(run, event_ids, done)  # type: ignore[arg-type]

    world.runtime.histories.read_events = read_events  # type: ignore[method-assign, assignment]
    namespace = world.runtime.namespaces.active(NAMESPACE)

    def needy(turn: object) -> None:
        raise Needs(turn.run, (1,))  # type: ignore[attr-defined]

    unread = TestCall(world.methods["SignalWorkflowExecution"], None)
    world.runtime.decide(namespace, "order-1", "", needy, unread)
    await world.settle()
    assert isinstance(unread.error, Unavailable)
    await world.ask(signal_request())


async def test_a_query_is_not_handed_to_a_worker_before_what_it_sees_is_durable(world: World) -> None:
    await world.start_workflow()
    poll = world.poll()
    await world.settle()
    parked = world.poll()
    world.store.hold()
    world.complete(poll.reply)
    world.call(query())
    await world.settle()
    assert not parked.answered
    world.store.release()
    await world.settle()
    assert parked.reply.query.query_type == "status"


async def test_a_query_of_a_run_that_was_deleted_meanwhile_frees_its_poller(world: World) -> None:
    await world.start_workflow()
    await world.step()
    asked = world.call(query())
    await world.settle()
    world.runtime.matching.rows.departed.clear()
    await world.ask(terminate())
    await world.ask(ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))
    poll = world.poll()
    await world.settle()
    assert isinstance(asked.error, NotFound)
    await world.start_workflow("alive")
    assert poll.reply.workflow_execution.workflow_id == "alive"


async def test_a_query_that_waits_for_a_task_survives_the_refusal_of_its_runs_batch(world: World) -> None:
    await world.start_workflow()
    await world.step()
    await world.ask(signal_request())  # a task is pending, so a query rides along
    asked = world.call(query())
    world.store.hold()
    world.call(signal_request())
    await world.settle()
    world.store.refusals = 1
    world.store.release()
    await world.settle()

    poll = world.poll()
    await world.settle()
    (query_id,) = poll.reply.queries
    answer = ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=poll.reply.task_token)
    answer.query_results[query_id].result_type = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
    answer.query_results[query_id].answer.CopyFrom(values("shipped"))
    await world.ask(answer)
    assert asked.reply.query_result == values("shipped")


async def test_a_token_that_was_answered_once_is_dead(world: World) -> None:
    await world.start_workflow()
    task = await world.step(schedule_activity())
    twice = world.complete(task, complete_workflow())
    await world.settle()
    assert isinstance(twice.error, NotFound)

    activity = world.poll_activity()
    await world.settle()
    done = ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.reply.task_token)
    await world.ask(done)
    again = world.call(done)
    await world.settle()
    assert isinstance(again.error, NotFound)


async def test_shutting_down_a_worker_frees_its_polls_and_moves_its_sticky_tasks(world: World) -> None:
    (await with_sticky_worker(world, seconds=10, worker_instance_key="w")).leave()
    await world.ask(signal_request())  # its task waits in the sticky queue, whose worker polled a moment ago

    await world.ask(
        ws.ShutdownWorkerRequest(namespace=NAMESPACE, sticky_task_queue="own", worker_instance_key="w", identity="w")
    )
    other = world.poll()
    await world.settle()
    assert other.reply.workflow_execution.workflow_id == "order-1"


async def test_a_task_whose_start_has_to_wait_has_a_row_meanwhile(world: World) -> None:
    """A poll is there, but another input comes first, which waits for a read: a crash now must not lose the task."""
    held: list[Callable[[], None]] = []
    load = world.store.load_execution

    def hold(*arguments: Any) -> None:
        held.append(lambda: load(*arguments))

    world.store.load_execution = hold  # type: ignore[attr-defined] # in place of the one it delegates to
    poll = world.poll()
    world.call(start_request())
    world.call(
        ws.SignalWorkflowExecutionRequest(
            namespace=NAMESPACE, workflow_execution=execution(run_id=str(UUID(int=7))), signal_name="ship"
        )
    )
    held.pop(0)()
    await world.settle()
    namespace_id = world.runtime.namespaces.active(NAMESPACE).id
    rows = world.runtime.store.load_tasks(namespace_id, QUEUE, 1, BEGINNING, 10)
    assert [row.execution_id for row in rows] == ["order-1"]
    assert not poll.answered

    held.pop(0)()
    await world.settle()
    assert poll.reply.task_token
    assert not world.runtime.store.load_tasks(namespace_id, QUEUE, 1, BEGINNING, 10)


async def test_a_poll_that_takes_a_normal_queue_for_its_own_loses_no_task(world: World) -> None:
    await world.start_workflow()

    poll = world.call(
        ws.PollWorkflowTaskQueueRequest(namespace=NAMESPACE, task_queue=queue("orders", kind=2)), within=60
    )
    await world.settle()

    assert poll.reply.workflow_execution.workflow_id == "order-1"
    assert poll.reply.history.events[0].event_id == 1
