"""What is old goes by itself, and what a deleted namespace held goes with it: in the background, and for good."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import temporalio.api.operatorservice.v1 as ops
import temporalio.api.workflowservice.v1 as ws

from perdure.errors import NamespaceNotFound, NotFound
from perdure.runtime.removal import BUSY_SECONDS, MOST_SECONDS, RUNS
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE, complete_workflow, execution, start_request, start_timer
from tests.support.runtime_world import World, running

DAY = 86_400


async def close(world: World, workflow_id: str) -> None:
    await world.ask_patiently(
        ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(workflow_id))
    )


async def listed(world: World, query: str = "", namespace: str = NAMESPACE) -> list[str]:
    reply = await world.ask_patiently(ws.ListWorkflowExecutionsRequest(namespace=namespace, query=query))
    return sorted(row.execution.workflow_id for row in reply.executions)


async def housekeeping(world: World, rounds: int = 20) -> None:
    """Rounds of the remover, without much time passing."""
    for _ in range(rounds):
        await world.pass_time(0.5)
        await world.runtime.committer.drain()


async def test_closed_runs_go_once_they_are_older_than_the_retention(world: World) -> None:
    for name in ("old", "young", "open"):
        await world.start_workflow(name)
    await close(world, "old")
    await world.pass_time(DAY - 3600)
    await close(world, "young")
    assert await listed(world) == ["old", "open", "young"]

    await world.pass_time(3600)
    await housekeeping(world)

    assert await listed(world) == ["open", "young"]
    with pytest.raises(NotFound):
        await world.ask_patiently(ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution("old")))
    await world.start_workflow("old")


async def test_many_runs_go_a_handful_at_a_time(world: World) -> None:
    for number in range(3 * RUNS):
        await world.start_workflow(f"order-{number}")
        await close(world, f"order-{number}")
    await world.pass_time(DAY)

    sizes = [len(await listed(world))]
    while sizes[-1]:
        await world.pass_time(0.5)
        sizes.append(len(await listed(world)))

    steps = [before - after for before, after in pairwise(sizes)]
    assert max(steps) <= RUNS
    await housekeeping(world)
    rows = world.store._store._main.execute("select count(*) from history").get
    assert rows == 0


@pytest.mark.parametrize(("commit", "pause"), [(0.0, BUSY_SECONDS), (0.05, 0.15), (10.0, MOST_SECONDS)])
async def test_they_go_more_slowly_while_commits_take_long(world: World, commit: float, pause: float) -> None:
    for number in range(2 * RUNS):
        await world.start_workflow(f"order-{number}")
        await close(world, f"order-{number}")
    world.store.hold()
    await world.pass_time(DAY)
    world.clock.seconds += commit
    world.store.release()
    await world.settle()

    alarm = world.runtime.removal._alarm
    assert alarm is not None
    assert alarm.due - world.clock.seconds == pytest.approx(pause)


async def test_runs_that_are_gone_leave_nothing_in_memory(world: World) -> None:
    await world.start_workflow("open")
    for number in range(RUNS):
        await world.start_workflow(f"order-{number}")
        await close(world, f"order-{number}")
    await world.pass_time(DAY)
    await housekeeping(world)

    assert [loaded.key[2] for loaded in world.runtime.executions.all()] == ["open"]


async def test_an_old_run_of_an_open_chain_goes_alone(world: World) -> None:
    first = await world.start_workflow()
    await world.step(complete_workflow())
    await world.pass_time(DAY - 10)
    second = await world.start_workflow()
    await world.step(start_timer(seconds=10 * DAY))
    await world.pass_time(20)
    await housekeeping(world)

    described = await world.ask_patiently(
        ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution())
    )
    assert described.workflow_execution_info.execution.run_id == second
    with pytest.raises(NotFound):
        await world.ask_patiently(
            ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution("order-1", first))
        )


async def test_a_run_that_is_asked_for_meanwhile_is_forgotten_too(world: World) -> None:
    await world.start_workflow()
    await close(world, "order-1")
    world.store.refusals = 1
    await world.pass_time(DAY)
    await housekeeping(world)
    assert await listed(world) == []


async def test_batch_jobs_go_as_workflows_do(world: World) -> None:
    job = ws.StartBatchOperationRequest(namespace=NAMESPACE, job_id="job", reason="r", visibility_query="RunId = 'x'")
    job.termination_operation.SetInParent()
    await world.ask_patiently(job)
    await housekeeping(world, 2)
    await world.pass_time(DAY)
    await housekeeping(world)

    with pytest.raises(NotFound, match="workflow not found for ID: job"):
        await world.ask_patiently(ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id="job"))


# ---- namespaces
async def register(world: World, name: str = "shop") -> None:
    request = ws.RegisterNamespaceRequest(namespace=name)
    request.workflow_execution_retention_period.seconds = DAY
    await world.ask_patiently(request)


async def start_in(world: World, workflow_id: str, namespace: str = "shop") -> None:
    request = start_request(workflow_id)
    request.namespace = namespace
    await world.ask_patiently(request)


async def state_of(world: World, name: str) -> int:
    described = await world.ask_patiently(ws.DescribeNamespaceRequest(namespace=name))
    return int(described.namespace_info.state)


async def test_a_deleted_namespace_frees_its_name_at_once_and_goes_with_all_it_held(world: World) -> None:
    await register(world)
    for number in range(30):
        await start_in(world, f"order-{number}")
    await world.start_workflow("elsewhere")

    deleted = (await world.ask_patiently(ops.DeleteNamespaceRequest(namespace="shop"))).deleted_namespace

    assert deleted.startswith("shop-deleted-")
    assert await state_of(world, deleted) == 3
    await register(world)
    await start_in(world, "order-1")
    await housekeeping(world)
    with pytest.raises(NamespaceNotFound):
        await state_of(world, deleted)
    assert await listed(world, namespace="shop") == ["order-1"]
    assert await listed(world) == ["elsewhere"]
    count = world.store._store._main.execute
    assert count("select count(*) from runs").get == 2
    assert count("select count(*) from tasks").get == 2


async def test_deleting_a_namespace_goes_on_after_a_restart(tmp_path: Path) -> None:
    file = str(tmp_path / "removal.db")
    async with running(store=SqliteStore(file)) as world:
        await register(world)
        for number in range(25):
            await start_in(world, f"order-{number}")
        deleted = (await world.ask_patiently(ops.DeleteNamespaceRequest(namespace="shop"))).deleted_namespace
        later = world.clock.seconds
    world = World(store=SqliteStore(file))
    world.clock.seconds = later
    await world.start()
    assert await state_of(world, deleted) == 3
    await world.pass_time(5)
    await housekeeping(world, 40)
    with pytest.raises(NamespaceNotFound):
        await state_of(world, deleted)
    assert world.store._store._main.execute("select count(*) from runs").get == 0
    await world.stop()
    async with running(store=SqliteStore(file)) as world:
        with pytest.raises(NamespaceNotFound):
            await state_of(world, deleted)


async def test_a_delay_keeps_all_of_it_for_so_long(world: World) -> None:
    await register(world)
    await start_in(world, "order-1")
    request = ops.DeleteNamespaceRequest(namespace="shop")
    request.namespace_delete_delay.seconds = 100
    deleted = (await world.ask_patiently(request)).deleted_namespace

    await housekeeping(world)
    assert await state_of(world, deleted) == 3
    await world.pass_time(100)
    await housekeeping(world)
    with pytest.raises(NamespaceNotFound):
        await state_of(world, deleted)


async def test_a_deleted_run_stays_gone_while_its_row_is_still_there(world: World) -> None:
    """The batch that deletes it is on its way, and another run of the same workflow is looked at."""
    first = await world.start_workflow("old")
    await close(world, "old")
    second = await world.start_workflow("old")
    await close(world, "old")
    world.forget("old")
    world.store.hold()
    deleted = world.call(
        ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution("old", second))
    )
    await world.settle()

    other = world.call(ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution("old", first)))
    current = world.call(ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution("old")))
    world.store.release()
    await world.settle()

    assert deleted.reply is not None
    assert other.reply.workflow_execution_info.execution.run_id == first
    assert isinstance(current.error, NotFound)
