"""Queries find a worker whatever goes away meanwhile, and are answered from what the workflow knows by then."""

from __future__ import annotations

from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import QueryResultType

from perdure.engine.tokens import QUERY_TASK, decode_token
from perdure.errors import FailedPrecondition, NotFound
from tests.api.client import NAMESPACE, execution, signal_request, start_timer, values
from tests.support.runtime_world import World, with_sticky_worker

ANSWERED = QueryResultType.QUERY_RESULT_TYPE_ANSWERED


def query() -> ws.QueryWorkflowRequest:
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    request.query.query_type = "status"
    return request


async def answer(world: World, task: Any) -> None:
    await world.ask(
        ws.RespondQueryTaskCompletedRequest(
            namespace=NAMESPACE, task_token=task.task_token, completed_type=ANSWERED, query_result=values("shipped")
        )
    )


async def idle(world: World) -> None:
    await world.start_workflow()
    await world.step()


async def with_started_task(world: World) -> Any:
    """A workflow that has begun; the task of a signal is with a worker."""
    await idle(world)
    await world.ask(signal_request())
    poll = world.poll()
    await world.settle()
    return poll.reply


async def test_a_query_sees_what_was_acknowledged_before_it_although_a_task_is_under_way(world: World) -> None:
    task = await with_started_task(world)
    parked = world.poll()
    asked = world.call(query())
    await world.settle()
    assert not parked.answered, "no other worker may answer without the signal's effect"

    world.complete(task)
    await world.settle()

    assert parked.reply.query.query_type == "status"
    await answer(world, parked.reply)
    assert asked.reply.query_result == values("shipped")


async def test_a_query_that_rode_along_without_an_answer_is_put_to_a_worker_by_itself(world: World) -> None:
    await idle(world)
    await world.ask(signal_request())
    world.call(query())
    task = world.poll()
    await world.settle()
    assert len(task.reply.queries) == 1

    parked = world.poll()
    world.complete(task.reply)
    await world.settle()

    assert parked.reply.query.query_type == "status"


async def test_a_query_that_waits_is_put_to_a_worker_when_its_workflow_closes(world: World) -> None:
    await with_started_task(world)
    world.call(query())
    parked = world.poll()
    await world.settle()
    assert not parked.answered

    await world.ask(ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution()))

    assert parked.reply.query.query_type == "status"


async def test_a_query_is_put_to_the_next_worker_when_the_first_left_before_it_could_be_told(world: World) -> None:
    task = await with_started_task(world)
    gone, parked = world.poll(), world.poll()
    world.store.hold()
    world.complete(task, start_timer())
    asked = world.call(query())
    await world.settle()
    gone.leave()

    world.store.release()
    await world.settle()

    assert parked.reply.query.query_type == "status"
    await answer(world, parked.reply)
    assert asked.reply is not None


async def test_a_query_goes_to_any_worker_when_the_one_with_the_cache_does_not_take_it(world: World) -> None:
    own = await with_sticky_worker(world)
    own.leave()  # a moment ago, so that it may be back in a moment
    asked = world.call(query(), within=30)
    other = world.poll()
    await world.settle()
    assert not other.answered

    await world.pass_time(5.1)

    assert other.reply.query.query_type == "status"
    assert len(other.reply.history.events) == 4
    await answer(world, other.reply)
    assert asked.reply is not None


async def test_the_worker_with_the_cache_is_asked_without_a_history(world: World) -> None:
    own = await with_sticky_worker(world)
    world.call(query())
    await world.settle()

    assert own.reply.query.query_type == "status"
    assert not own.reply.history.events


async def test_who_asks_where_no_worker_is_hears_that_in_time(world: World) -> None:
    await idle(world)
    await world.pass_time(30)
    asked = world.call(query(), within=10)
    await world.pass_time(8.9)
    assert not asked.answered

    await world.pass_time(0.2)

    assert isinstance(asked.error, FailedPrecondition)
    assert asked.error.message == "no poller seen for task queue recently, worker may be down"


async def test_a_query_that_is_with_a_worker_may_take_its_time(world: World) -> None:
    await idle(world)
    await world.pass_time(30)
    asked = world.call(query(), within=10)
    task = world.poll()
    await world.pass_time(9.5)
    assert not asked.answered

    await answer(world, task.reply)

    assert asked.reply.query_result == values("shipped")


async def test_a_query_is_not_answered_from_another_namespace(world: World) -> None:
    await idle(world)
    asked = world.call(query())
    task = world.poll()
    await world.settle()
    register = ws.RegisterNamespaceRequest(namespace="other")
    register.workflow_execution_retention_period.seconds = 86_400
    await world.ask(register)
    token = decode_token(task.reply.task_token, QUERY_TASK)
    token.namespace_id = world.runtime.namespaces.active("other").id

    forged = world.call(
        ws.RespondQueryTaskCompletedRequest(
            namespace="other", task_token=token.encode(), completed_type=ANSWERED, query_result=values("lost")
        )
    )
    await world.settle()

    assert isinstance(forged.error, NotFound)
    assert not asked.answered
