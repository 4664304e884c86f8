"""Batch jobs at their pace: each target hears of one exactly once, whatever is refused or dies in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import temporalio.api.batch.v1 as batch
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import BatchOperationState, EventType, WorkflowIdConflictPolicy

from perdure.engine.batches.operations import operate
from perdure.engine.execution import WORKFLOW
from perdure.engine.messages import DONE, BatchOperation, BatchResult
from perdure.engine.turn import Shared
from perdure.errors import InvalidArgument, NotFound
from perdure.runtime import lookups
from perdure.runtime.inputs import Input, Outcome
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE, execution, start_request
from tests.support.runtime_world import World, running

SIGNALLED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
RUNNING = BatchOperationState.BATCH_OPERATION_STATE_RUNNING
COMPLETED = BatchOperationState.BATCH_OPERATION_STATE_COMPLETED
FAILED = BatchOperationState.BATCH_OPERATION_STATE_FAILED


def signal_all(per_second: float = 10, **fields: Any) -> ws.StartBatchOperationRequest:
    return ws.StartBatchOperationRequest(
        namespace=NAMESPACE,
        job_id="job",
        reason="all must know",
        visibility_query="WorkflowType = 'Order'",
        max_operations_per_second=per_second,
        signal_operation=batch.BatchOperationSignal(signal="news", identity="operator"),
        **fields,
    )


async def described(world: World) -> Any:
    return await world.ask_patiently(ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id="job"))


async def signals(world: World, workflow_id: str) -> int:
    request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(workflow_id))
    history = (await world.ask_patiently(request)).history
    return sum(event.event_type == SIGNALLED for event in history.events)


async def start_orders(world: World, count: int) -> list[str]:
    names = [f"order-{number}" for number in range(count)]
    for name in names:
        await world.ask_patiently(start_request(name))
    return names


async def pass_seconds(world: World, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        await world.pass_time(0.1)


async def test_a_job_works_at_the_pace_it_was_given_and_tells_how_far_it_is(world: World) -> None:
    orders = await start_orders(world, 25)
    await world.ask_patiently(signal_all(per_second=10))
    await pass_seconds(world, 1)

    half = await described(world)
    await pass_seconds(world, 3)
    done = await described(world)

    assert half.state == RUNNING
    assert half.total_operation_count == 25
    assert 8 <= half.complete_operation_count <= 12
    assert (done.state, done.complete_operation_count, done.failure_operation_count) == (COMPLETED, 25, 0)
    assert [await signals(world, order) for order in orders] == [1] * 25


async def test_a_workflow_that_is_deleted_in_the_batch_of_its_start_is_gone(world: World) -> None:
    started = world.call(start_request("order"))
    delete_by_job(world, "order")
    await world.settle()

    assert started.reply.run_id
    assert world.store.runs_of(namespace_id(world), 10) == []
    with pytest.raises(NotFound):
        await world.history("order")


async def test_a_run_that_took_the_place_of_another_and_is_deleted_at_once_leaves_the_id_free(world: World) -> None:
    await world.start_workflow("order")
    policy = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    world.call(start_request("order", workflow_id_conflict_policy=policy))
    delete_by_job(world, "order")
    await world.settle()

    pointers = "select run_id, status from current where execution_id = 'order'"
    assert list(world.store._store._main.execute(pointers)) == []
    world.forget("order")
    await world.start_workflow("order")


def namespace_id(world: World) -> str:
    return world.runtime.namespaces.active(NAMESPACE).id


def delete_by_job(world: World, workflow_id: str) -> None:
    """As a batch job that reaches the workflow does."""
    request = signal_all()
    request.visibility_query = ""
    request.executions.append(execution(workflow_id))
    request.deletion_operation.SetInParent()
    namespace = namespace_id(world)
    message = BatchOperation(
        to_namespace_id=namespace,
        to_workflow_id=workflow_id,
        from_namespace_id=namespace,
        from_workflow_id="job",
        operation=request.SerializeToString(),
    )

    def delete(shared: Shared, run: Any) -> Outcome:
        operate(shared, run, message)
        return Outcome()

    world.runtime.enter(Input(world.runtime, (namespace, WORKFLOW, workflow_id), "", delete, None, starts=True))


async def test_a_slow_job_waits_for_seconds_between_targets(world: World) -> None:
    await start_orders(world, 3)
    await world.ask_patiently(signal_all(per_second=0.5))
    await pass_seconds(world, 0.5)

    assert (await described(world)).complete_operation_count == 1
    await pass_seconds(world, 2)
    assert (await described(world)).complete_operation_count == 2


@pytest.mark.parametrize(("pace", "done"), [(float("inf"), 3), (1e-44, 1)])
async def test_a_job_may_be_as_fast_or_as_slow_as_a_number_says(world: World, pace: float, done: int) -> None:
    await start_orders(world, 3)
    await world.ask_patiently(signal_all(per_second=pace))
    await pass_seconds(world, 0.5)

    assert (await described(world)).complete_operation_count == done


async def test_a_pace_that_is_no_number_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument, match="MaxOperationsPerSecond"):
        await world.ask_patiently(signal_all(per_second=float("nan")))


async def test_a_target_counts_once_also_if_it_should_answer_twice(world: World) -> None:
    await start_orders(world, 3)
    await world.ask_patiently(signal_all(per_second=0.5))
    await pass_seconds(world, 0.5)
    [job] = [loaded.execution for loaded in world.runtime.executions.all() if loaded.key[2] == "job"]
    assert job.current is not None

    world.runtime.mail.send(
        BatchResult(
            to_namespace_id=job.namespace_id, to_workflow_id="job", to_run_id=job.current.run_id, number=0, outcome=DONE
        )
    )
    await world.settle()

    assert (await described(world)).complete_operation_count == 1
    await pass_seconds(world, 5)
    done = await described(world)
    assert (done.state, done.complete_operation_count) == (COMPLETED, 3)


@pytest.mark.parametrize("refusals", [1, 2])
async def test_refused_batches_lose_and_double_nothing(world: World, refusals: int) -> None:
    orders = await start_orders(world, 12)
    await world.ask_patiently(signal_all(per_second=20))
    for _ in range(4):
        world.store.refusals = refusals
        await pass_seconds(world, 0.3)
    world.store.refusals = 0
    await pass_seconds(world, 12)

    assert (await described(world)).complete_operation_count == 12
    assert [await signals(world, order) for order in orders] == [1] * 12


async def test_a_job_goes_on_after_a_restart(tmp_path: Path) -> None:
    file = str(tmp_path / "jobs.db")
    async with running(store=SqliteStore(file)) as world:
        orders = await start_orders(world, 20)
        await world.ask_patiently(signal_all(per_second=10))
        while not (before := (await described(world)).complete_operation_count):
            await world.pass_time(0.1)
        later = world.clock.seconds
    assert 0 < before < 20

    world = World(store=SqliteStore(file))
    world.clock.seconds = later
    await world.start()
    while (done := await described(world)).state == RUNNING:
        await world.pass_time(0.1)

    assert done.complete_operation_count == 20
    assert [await signals(world, order) for order in orders] == [1] * 20
    await world.stop()


async def test_targets_come_page_by_page_and_runs_that_closed_meanwhile_are_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.runtime import lookups

    monkeypatch.setattr(lookups, "PAGE", 4)
    orders = await start_orders(world, 10)
    request = signal_all(per_second=100)
    request.termination_operation.SetInParent()
    await world.ask_patiently(request)
    await pass_seconds(world, 3)

    done = await described(world)
    assert (done.state, done.total_operation_count, done.complete_operation_count) == (COMPLETED, 10, 10)
    assert len(orders) == 10


async def test_a_stopped_job_does_nothing_more(world: World) -> None:
    orders = await start_orders(world, 20)
    await world.ask_patiently(signal_all(per_second=10))
    await pass_seconds(world, 0.5)

    await world.ask_patiently(ws.StopBatchOperationRequest(namespace=NAMESPACE, job_id="job", reason="a mistake"))
    await pass_seconds(world, 5)

    done = await described(world)
    assert done.state == FAILED
    assert done.HasField("close_time")
    assert sum([await signals(world, order) for order in orders]) == done.complete_operation_count < 20


async def test_a_filter_that_cannot_be_read_is_tried_again(world: World) -> None:
    await start_orders(world, 2)
    world.store.reads_fail = {"list_executions"}
    await world.ask_patiently(signal_all())
    await pass_seconds(world, 1)
    assert (await described(world)).state == RUNNING

    world.store.reads_fail = set()
    await pass_seconds(world, 12)
    assert (await described(world)).state == COMPLETED


async def test_a_job_about_nothing_is_done_at_once(world: World) -> None:
    await world.ask_patiently(signal_all())
    await pass_seconds(world, 0.2)

    done = await described(world)
    assert (done.state, done.total_operation_count) == (COMPLETED, 0)


async def test_a_look_up_that_takes_long_is_not_made_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job asks again after ten seconds; what it is told late must not pass for its next page."""
    monkeypatch.setattr(lookups, "PAGE", 5)
    orders = await start_orders(world, 12)
    gates: list[asyncio.Event] = []
    real = world.store.list_executions

    async def slow(*arguments: Any) -> Any:
        found = await real(*arguments)
        gates.append(asyncio.Event())
        if len(gates) in (1, 3):
            await gates[-1].wait()
        return found

    world.store.list_executions = slow
    await world.ask_patiently(signal_all(per_second=50))
    await pass_seconds(world, 13)
    assert len(gates) == 1
    gates[0].set()
    await pass_seconds(world, 2)
    for gate in gates:
        gate.set()
    await pass_seconds(world, 15)

    assert [await signals(world, order) for order in orders] == [1] * 12
