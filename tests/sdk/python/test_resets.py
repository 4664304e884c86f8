"""Workflows that are reset, as their code and its workers live through it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from tests.sdk.python.kit import SOON, event_of, kinds, replay, unique, until, working

pytestmark = pytest.mark.timeout(30)

COMPLETED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
FAULTY: set[str] = set()
"""IDs of orders whose workflow has a bug, until a test has it fixed."""


async def reset(client: Client, handle: WorkflowHandle[Any, Any], completion: int = 1) -> WorkflowHandle[Any, Any]:
    """Reset a run to its n-th completed workflow task (counted from 1; -1: the last). The run that goes on."""
    history = await handle.fetch_history()
    completed = [event.event_id for event in history.events if event.event_type == COMPLETED]
    request = ws.ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.first_execution_run_id or ""),
        reason="the code had a bug",
        workflow_task_finish_event_id=completed[completion - 1 if completion > 0 else completion],
        request_id=str(uuid4()),
    )
    reply = await client.workflow_service.reset_workflow_execution(request)
    return client.get_workflow_handle(handle.id, run_id=reply.run_id)


@activity.defn
async def price(order: str) -> int:
    return 7


@workflow.defn
class Order:
    """Prices an order, then waits to be paid."""

    def __init__(self) -> None:
        self.paid = 0

    @workflow.signal
    def pay(self, amount: int) -> None:
        self.paid += amount

    @workflow.run
    async def run(self) -> str:
        cost = await workflow.execute_activity(price, "o", start_to_close_timeout=SOON)
        if workflow.info().workflow_id in FAULTY:
            raise ApplicationError("a bug")
        await workflow.wait_condition(lambda: self.paid >= cost)
        return f"{self.paid} of {cost}"


async def test_a_workflow_that_failed_by_a_bug_is_reset_and_completes(client: Client) -> None:
    order = unique("order")
    FAULTY.add(order)
    async with working(client, [Order], [price]) as queue:
        failed = await client.start_workflow(Order.run, id=order, task_queue=queue)
        await failed.signal(Order.pay, 7)
        with pytest.raises(Exception, match="Workflow execution failed"):
            await failed.result()
        FAULTY.clear()

        handle = await reset(client, failed, -1)

        assert await handle.result() == "7 of 7"
    assert (await kinds(handle)).count("ActivityTaskCompleted") == 1
    await replay([Order], handle)


async def test_signals_after_the_point_are_there_again(client: Client) -> None:
    async with working(client, [Order], [price]) as queue:
        base = await client.start_workflow(Order.run, id=unique("order"), task_queue=queue)
        await until(base, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        await base.signal(Order.pay, 3)
        await base.signal(Order.pay, 4)
        assert await base.result() == "7 of 7"

        handle = await reset(client, base)

        assert await handle.result() == "7 of 7"
    await replay([Order], base, handle)


GATES: dict[str, asyncio.Event] = {}


@activity.defn
async def slow(order: str) -> int:
    attempts = activity.info().attempt
    await GATES[order].wait()
    return attempts


@workflow.defn
class Waits:
    """Two workflow tasks while an activity runs."""

    def __init__(self) -> None:
        self.told = False

    @workflow.signal
    def tell(self) -> None:
        self.told = True

    @workflow.run
    async def run(self) -> int:
        running = workflow.start_activity(
            slow, workflow.info().workflow_id, start_to_close_timeout=timedelta(minutes=1)
        )
        await workflow.wait_condition(lambda: self.told)
        return await running


async def test_an_activity_that_was_running_is_run_once_more_for_the_new_run(client: Client) -> None:
    order = unique("order")
    GATES[order] = asyncio.Event()
    async with working(client, [Waits], [slow]) as queue:
        base = await client.start_workflow(Waits.run, id=order, task_queue=queue)
        await until(base, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        await base.signal(Waits.tell)
        while (await kinds(base)).count("WorkflowTaskCompleted") < 2:
            pass

        handle = await reset(client, base, -1)
        GATES[order].set()

        assert await handle.result() == 1
    await replay([Waits], handle)


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.done = False

    @workflow.signal
    def finish(self) -> None:
        self.done = True

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.done)
        return "grown"


@workflow.defn
class Parent:
    def __init__(self) -> None:
        self.told = 0

    @workflow.signal
    def tell(self) -> None:
        self.told += 1

    @workflow.run
    async def run(self) -> str:
        child = await workflow.start_child_workflow(Child.run, id=workflow.info().workflow_id + "-child")
        await workflow.wait_condition(lambda: self.told > 0)
        return await child


async def test_a_child_that_runs_on_reports_to_the_run_its_parent_was_reset_to(client: Client) -> None:
    async with working(client, [Parent, Child]) as queue:
        base = await client.start_workflow(Parent.run, id=unique("parent"), task_queue=queue)
        await until(base, EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
        await base.signal(Parent.tell)
        while (await kinds(base)).count("WorkflowTaskCompleted") < 2:
            pass

        handle = await reset(client, base, -1)
        await client.get_workflow_handle(base.id + "-child").signal(Child.finish)

        assert await handle.result() == "grown"
    closed = await event_of(handle, EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
    assert closed.workflow_execution.workflow_id == base.id + "-child"
    await replay([Parent], handle)


@workflow.defn
class Account:
    def __init__(self) -> None:
        self.balance = 0
        self.closed = False

    @workflow.update
    async def add(self, amount: int) -> int:
        await workflow.sleep(0.001)
        self.balance += amount
        return self.balance

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.closed)
        return self.balance


async def test_updates_after_the_point_are_carried_out_again_and_answer_by_their_ids(client: Client) -> None:
    async with working(client, [Account]) as queue:
        base = await client.start_workflow(Account.run, id=unique("account"), task_queue=queue)
        await until(base, COMPLETED)
        assert await base.execute_update(Account.add, 3, id="first") == 3
        assert await base.execute_update(Account.add, 4, id="second") == 7

        handle = await reset(client, base)

        assert await handle.execute_update(Account.add, 3, id="first") in (3, 7)
        assert await handle.execute_update(Account.add, 4, id="second") == 7
        await handle.signal(Account.close)
        assert await handle.result() == 7
    assert (await kinds(handle)).count("WorkflowExecutionUpdateAdmitted") == 2
    await replay([Account], base, handle)
