"""Updates as users write them: handlers, validators, stages, and what happens when things come to an end meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from tests.sdk.python.kit import SECOND, SOON, kinds, replay, unique, until, working
from tests.support.server_process import ServerProcess, dev_server_command, free_port

pytestmark = pytest.mark.timeout(30)
ACCEPTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED


@activity.defn
async def price(item: str) -> int:
    return len(item)


@workflow.defn
class Basket:
    """Takes things in by updates until it is told to finish."""

    def __init__(self) -> None:
        self._items: list[str] = []
        self._released = False
        self._finished = False
        self._renewed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self._finished or self._renewed)
        if self._renewed:
            workflow.continue_as_new()
        return self._items

    @workflow.update
    def add(self, item: str) -> int:
        self._items.append(item)
        return len(self._items)

    @add.validator
    def check(self, item: str) -> None:
        if not item:
            raise ApplicationError("nothing to add", type="Empty")

    @workflow.update
    async def add_priced(self, item: str) -> int:
        await workflow.sleep(0.01)
        cost = await workflow.execute_activity(price, item, start_to_close_timeout=SOON)
        self._items.append(item)
        return cost

    @workflow.update
    async def add_later(self, item: str) -> int:
        await workflow.wait_condition(lambda: self._released)
        self._items.append(item)
        return len(self._items)

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def never(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def add_broken(self, item: str) -> None:
        raise ApplicationError(f"{item} is broken", type="Broken")

    @workflow.update
    def last(self, item: str) -> int:
        self._items.append(item)
        self._finished = True
        return len(self._items)

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def renew(self) -> None:
        self._renewed = True
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def release(self) -> None:
        self._released = True

    @workflow.signal
    def finish(self) -> None:
        self._finished = True


async def started(client: Client, queue: str) -> WorkflowHandle[Basket, list[str]]:
    return await client.start_workflow(Basket.run, id=unique("basket"), task_queue=queue)


async def test_an_update_is_answered_and_one_that_is_not_valid_leaves_no_trace(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)
        assert await basket.execute_update(Basket.add, "apple") == 1
        before = await kinds(basket)

        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await basket.execute_update(Basket.add, "")

        assert isinstance(refused.value.cause, ApplicationError)
        assert refused.value.cause.type == "Empty"
        assert await kinds(basket) == before
        assert await basket.execute_update(Basket.add, "pear") == 2
        await basket.signal(Basket.finish)
        assert await basket.result() == ["apple", "pear"]
        await replay([Basket], basket)


async def test_a_handler_may_wait_for_time_and_activities(client: Client) -> None:
    async with working(client, [Basket], [price]) as queue:
        basket = await started(client, queue)

        costs = await asyncio.gather(*(basket.execute_update(Basket.add_priced, "x" * n) for n in range(8)))

        assert costs == list(range(8))
        await basket.signal(Basket.finish)
        assert sorted(await basket.result()) == ["x" * n for n in range(8)]
        await replay([Basket], basket)


async def test_a_handler_that_fails_fails_its_update_alone(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)

        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await basket.execute_update(Basket.add_broken, "egg")

        assert isinstance(failed.value.cause, ApplicationError)
        assert (failed.value.cause.message, failed.value.cause.type) == ("egg is broken", "Broken")
        assert await basket.execute_update(Basket.add, "apple") == 1


async def test_an_update_is_started_and_its_result_fetched_later(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)

        update = await basket.start_update(
            Basket.add_later, "apple", wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="first"
        )
        assert (await kinds(basket)).count("WorkflowExecutionUpdateAccepted") == 1
        await basket.signal(Basket.release)

        assert await update.result() == 1
        again: WorkflowUpdateHandle[int] = basket.get_update_handle("first")
        assert await again.result() == 1


async def test_the_same_id_is_carried_out_once(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)

        answers = await asyncio.gather(*(basket.execute_update(Basket.add, "apple", id="once") for _ in range(5)))

        assert answers == [1] * 5
        await basket.signal(Basket.finish)
        assert await basket.result() == ["apple"]
        assert await basket.execute_update(Basket.add, "pear", id="once") == 1


async def test_an_update_that_closes_the_workflow_is_answered(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)

        assert await basket.execute_update(Basket.last, "apple") == 1

        assert await basket.result() == ["apple"]


async def test_an_update_that_is_not_finished_when_the_workflow_is_has_failed(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)
        update = await basket.start_update(Basket.never, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        await basket.signal(Basket.finish)

        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await update.result()

        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "AcceptedUpdateCompletedWorkflow"


async def test_updates_race_a_close_and_each_is_done_or_told_that_it_came_too_late(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)

        async def add(number: int) -> str:
            try:
                await basket.execute_update(Basket.add, f"{number}")
            except (RPCError, WorkflowUpdateFailedError):
                return ""
            return f"{number}"

        adding = [asyncio.create_task(add(number)) for number in range(8)]
        await basket.signal(Basket.finish)
        added = set(await asyncio.gather(*adding)) - {""}

        assert added <= set(await basket.result())


async def test_an_update_of_a_workflow_that_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(RPCError) as missing:
        await client.get_workflow_handle("nobody").execute_update("add", "apple")
    assert missing.value.status is RPCStatusCode.NOT_FOUND


async def test_an_update_nobody_handles_is_rejected(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)
        with pytest.raises(WorkflowUpdateFailedError):
            await basket.execute_update("remove", "apple")
        assert await basket.execute_update(Basket.add, "apple") == 1


async def test_updates_reach_a_worker_that_keeps_nothing_in_memory(client: Client) -> None:
    async with working(client, [Basket], [price], max_cached_workflows=0) as queue:
        basket = await started(client, queue)
        assert await basket.execute_update(Basket.add_priced, "apple") == 5
        with pytest.raises(WorkflowUpdateFailedError):
            await basket.execute_update(Basket.add, "")
        assert await basket.execute_update(Basket.add, "pear") == 2
        await replay([Basket], basket)


async def test_an_update_waits_for_a_worker_and_survives_one(client: Client) -> None:
    queue = unique("queue")
    basket = await started(client, queue)
    waiting = asyncio.create_task(basket.execute_update(Basket.add_later, "apple", id="slow"))
    async with working(client, [Basket], task_queue=queue):
        await until(basket, ACCEPTED)
    async with working(client, [Basket], task_queue=queue):
        await basket.signal(Basket.release)

        assert await waiting == 1


async def test_an_update_that_continues_the_workflow_as_new_is_not_taken_along(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        basket = await started(client, queue)
        with pytest.raises(WorkflowUpdateFailedError):
            await basket.execute_update(Basket.renew)
        current: WorkflowHandle[Basket, list[str]] = client.get_workflow_handle_for(Basket.run, basket.id)
        assert await current.execute_update(Basket.add, "apple") == 1


# ---- update-with-start
def start(
    queue: str, workflow_id: str, policy: WorkflowIDConflictPolicy
) -> WithStartWorkflowOperation[Basket, list[str]]:
    return WithStartWorkflowOperation(Basket.run, id=workflow_id, task_queue=queue, id_conflict_policy=policy)


async def test_an_update_starts_its_workflow_or_finds_it(client: Client) -> None:
    workflow_id = unique("basket")
    async with working(client, [Basket], [price]) as queue:
        first = start(queue, workflow_id, WorkflowIDConflictPolicy.FAIL)
        assert await client.execute_update_with_start_workflow(Basket.add, "apple", start_workflow_operation=first) == 1
        second = start(queue, workflow_id, WorkflowIDConflictPolicy.USE_EXISTING)
        cost = await client.execute_update_with_start_workflow(
            Basket.add_priced, "pear", start_workflow_operation=second
        )
        third = start(queue, workflow_id, WorkflowIDConflictPolicy.FAIL)
        with pytest.raises(WorkflowAlreadyStartedError):
            await client.execute_update_with_start_workflow(Basket.add, "plum", start_workflow_operation=third)

        basket = await first.workflow_handle()
        assert cost == 4
        assert (await second.workflow_handle()).first_execution_run_id == basket.first_execution_run_id
        assert (await kinds(basket))[:5] == [
            "WorkflowExecutionStarted",
            "WorkflowTaskScheduled",
            "WorkflowTaskStarted",
            "WorkflowTaskCompleted",
            "WorkflowExecutionUpdateAccepted",
        ]
        await basket.signal(Basket.finish)
        assert await basket.result() == ["apple", "pear"]
        await replay([Basket], basket)


async def test_an_update_that_starts_a_workflow_is_waited_for_later(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        operation = start(queue, unique("basket"), WorkflowIDConflictPolicy.FAIL)
        update = await client.start_update_with_start_workflow(
            Basket.add_later,
            "apple",
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            start_workflow_operation=operation,
        )
        await (await operation.workflow_handle()).signal(Basket.release)
        assert await update.result() == 1


async def test_a_rejected_update_leaves_the_workflow_that_it_started(client: Client) -> None:
    async with working(client, [Basket]) as queue:
        operation = start(queue, unique("basket"), WorkflowIDConflictPolicy.FAIL)
        with pytest.raises(WorkflowUpdateFailedError):
            await client.execute_update_with_start_workflow(Basket.add, "", start_workflow_operation=operation)
        basket = await operation.workflow_handle()
        assert await basket.execute_update(Basket.add, "apple") == 1


# ---- after a reset
async def test_updates_after_the_point_of_a_reset_are_carried_out_anew(client: Client) -> None:
    async with working(client, [Basket], [price]) as queue:
        basket = await started(client, queue)
        await until(basket, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
        assert await basket.execute_update(Basket.add, "apple", id="first") == 1
        assert await basket.execute_update(Basket.add_priced, "pear", id="second") == 4

        reply = await client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=basket.id),
                workflow_task_finish_event_id=4,
                request_id=unique("reset"),
            )
        )
        again: WorkflowHandle[Basket, list[str]] = client.get_workflow_handle_for(
            Basket.run, basket.id, run_id=reply.run_id
        )
        second: WorkflowUpdateHandle[int] = again.get_update_handle("second")

        assert await second.result() == 4
        assert (await kinds(again)).count("WorkflowExecutionUpdateAdmitted") == 2
        await again.signal(Basket.finish)
        assert await again.result() == ["apple", "pear"]
        await replay([Basket], again)


# ---- the server ends meanwhile
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
async def test_updates_go_on_where_they_were_when_the_server_starts_again(tmp_path: Path, killed: bool) -> None:
    """One is accepted, which is durable; one has not reached a worker, and is asked for again by its client."""
    port = free_port()
    command = dev_server_command(port, database=tmp_path / "perdure.db")
    server = ServerProcess(command, port)
    try:
        client = await Client.connect(server.address)
        queue = unique("queue")
        basket = await started(client, queue)
        waiting = await started(client, queue)
        async with working(client, [Basket], task_queue=queue, graceful_shutdown_timeout=timedelta()):
            accepted = await basket.start_update(Basket.add_later, "apple", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
            await waiting.execute_update(Basket.add, "apple")
        answers = [
            asyncio.create_task(accepted.result(rpc_timeout=SOON)),
            asyncio.create_task(waiting.execute_update(Basket.add, "pear", rpc_timeout=SOON)),
        ]
        await asyncio.sleep(0)
        await until_admitted(waiting)
        if killed:
            server.kill()
        else:
            server.stop()
        server = ServerProcess(command, port)
        async with working(client, [Basket], task_queue=queue):
            await basket.signal(Basket.release)

            assert await asyncio.gather(*answers) == [1, 2]
            await replay([Basket], basket, waiting)
    finally:
        server.kill()


async def until_admitted(handle: WorkflowHandle[Basket, list[str]]) -> None:
    """The task for the update is there, though not in the stored history."""
    async with asyncio.timeout(SECOND.total_seconds() * 10):
        while (await kinds(handle))[-1] != "WorkflowTaskScheduled":
            pass
