"""How workflows end, and go on in another run: cancelled, terminated, retried, by cron, reset."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.common.v1 import RetryPolicy, WorkflowExecution
from temporalio.api.enums.v1 import EventType

from tests.crash.calls import CANCELED, COMPLETED, NAMESPACE, TERMINATED, TIMED_OUT, Calls, Stories, request_id
from tests.crash.stories.families import Patient
from tests.crash.stories.kit import ACTIVITY
from tests.crash.stories.steps import double
from tests.support.chain_workflows import Counts, SucceedsAt


@workflow.defn
class Pays:
    """Works, waits to be paid twice, works."""

    def __init__(self) -> None:
        self._paid: list[list[Any]] = []

    @workflow.signal
    def pay(self, sender: str, number: int) -> None:
        self._paid.append([sender, number])

    @workflow.run
    async def run(self) -> list[list[Any]]:
        await workflow.execute_activity(double, 1, **ACTIVITY)
        await workflow.wait_condition(lambda: len(self._paid) >= 2)
        await workflow.execute_activity(double, 2, **ACTIVITY)
        return self._paid


async def cancelled(calls: Calls, name: str, random: Random) -> None:
    await calls.start(name, Patient, random)
    await asyncio.sleep(random.uniform(0, 0.2))
    await calls.cancel(name, random)
    await calls.ends(name, CANCELED)


async def terminated(calls: Calls, name: str, random: Random) -> None:
    await calls.start(name, Patient, random)
    await asyncio.sleep(random.uniform(0, 0.1))
    await calls.terminate(name)
    await calls.ends(name, TERMINATED)


async def timed_out(calls: Calls, name: str, random: Random) -> None:
    await calls.start(name, Patient, random, workflow_run_timeout=Duration(seconds=1))
    await calls.ends(name, TIMED_OUT)


async def retried(calls: Calls, name: str, random: Random) -> None:
    attempts = random.randint(2, 3)
    policy = RetryPolicy(backoff_coefficient=1)
    policy.initial_interval.FromTimedelta(timedelta(milliseconds=50))
    await calls.start(name, SucceedsAt, random, attempts, retry_policy=policy)
    await calls.ends(name, COMPLETED, attempts)


async def cron(calls: Calls, name: str, random: Random) -> None:
    """Two runs at least, then it is terminated between or within them; `checks` counts."""
    first = await calls.start(name, Counts, random, cron_schedule="@every 1s")

    async def second_is_over() -> bool:
        shown = await calls.describe(name)
        return shown.workflow_execution_info.execution.run_id not in (first, "") and await completed_before(shown)

    async def completed_before(shown: Any) -> bool:
        run_id = shown.workflow_execution_info.execution.run_id
        handle = calls.client.get_workflow_handle(name, run_id=run_id)
        history = await calls.while_down_wait(handle.fetch_history)
        return history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id != first

    await calls.until(second_is_over, every=0.2)
    await calls.terminate(name)
    await calls.ends(name, TERMINATED)


async def reset(calls: Calls, name: str, random: Random) -> None:
    """Paid once before the reset and once after it, and nothing is lost or paid twice."""
    first = await calls.start(name, Pays, random)
    if random.random() < 0.5:
        await calls.signal(name, "pay", "ann", random)

    async def finish_event() -> int:
        handle = calls.client.get_workflow_handle(name, run_id=first)
        events = (await calls.while_down_wait(handle.fetch_history)).events
        completed = [e.event_id for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
        return random.choice(completed) if completed else 0

    request = ws.ResetWorkflowExecutionRequest(
        namespace=NAMESPACE,
        workflow_execution=WorkflowExecution(workflow_id=name, run_id=first),
        reason="load",
        workflow_task_finish_event_id=await calls.until(finish_event),
        request_id=request_id(random),
    )
    run_id = (await calls.until_answered(calls.rpc.reset_workflow_execution, request)).run_id
    calls.ledger.resets[name, first] = run_id
    calls.ledger.touched.add(name)
    while len(calls.ledger.sent.get((name, "ann"), ())) < 2:
        await calls.signal(name, "pay", "ann", random)
    ending = await calls.ending(name, run_id)
    assert (ending.status, ending.result) == (COMPLETED, [["ann", 0], ["ann", 1]]), f"{name} ended with {ending}"


STORIES: Stories = {
    "cancelled": cancelled,
    "terminated": terminated,
    "timed-out": timed_out,
    "retried": retried,
    "cron": cron,
    "reset": reset,
}
WORKFLOWS: list[Any] = [SucceedsAt, Counts, Pays]
