"""Updates: validated, rejected, completed later, failed, and with a start."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import temporalio.api.update.v1 as up
import temporalio.api.workflowservice.v1 as ws
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as Stage
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy
from temporalio.exceptions import ApplicationError

from tests.crash.calls import COMPLETED, NAMESPACE, Calls, Stories, payloads, values
from tests.crash.ledger import Update
from tests.crash.stories.kit import ACTIVITY
from tests.crash.stories.steps import double


@workflow.defn
class Account:
    """Lists the updates that went through, until as many did as should."""

    def __init__(self) -> None:
        self._booked: list[str] = []
        self._open = 0

    @workflow.run
    async def run(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self._booked) >= count and not self._open)
        return sorted(self._booked)

    @workflow.update
    def book(self, name: str) -> int:
        self._booked.append(name)
        return len(self._booked)

    @book.validator
    def check(self, name: str) -> None:
        if name.startswith("bad"):
            raise ApplicationError(f"{name} is not valid", type="Rejected")

    @workflow.update
    async def book_later(self, name: str) -> int:
        self._open += 1
        proof = await workflow.execute_activity(double, 21, **ACTIVITY)
        await asyncio.sleep(0.02)
        self._booked.append(name)
        self._open -= 1
        return proof.value

    @workflow.update
    def book_and_fail(self, name: str) -> int:
        self._booked.append(name)
        raise ApplicationError(f"{name} failed", type="Failed")


def update_request(name: str, handler: str, update_id: str) -> ws.UpdateWorkflowExecutionRequest:
    return ws.UpdateWorkflowExecutionRequest(
        namespace=NAMESPACE,
        workflow_execution=WorkflowExecution(workflow_id=name),
        wait_policy=up.WaitPolicy(lifecycle_stage=Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED),
        request=up.Request(
            meta=up.Meta(update_id=update_id, identity="load"),
            input=up.Input(name=handler, args=payloads(update_id)),
        ),
    )


def outcome_text(outcome: up.Outcome) -> str:
    return f"failed: {outcome.failure.message}" if outcome.HasField("failure") else f"{values(outcome.success)}"


async def update(calls: Calls, name: str, handler: str, update_id: str, expected: str = "") -> None:
    """Ask until it is over; `expected` is the outcome as text, unless it depends on what came first."""
    request = update_request(name, handler, update_id)
    while True:
        reply = await calls.until_answered(calls.rpc.update_workflow_execution, request)
        if reply.HasField("outcome"):
            break
    told(calls, name, reply, update_id, expected)


def told(calls: Calls, name: str, reply: ws.UpdateWorkflowExecutionResponse, update_id: str, expected: str) -> None:
    outcome = outcome_text(reply.outcome)
    assert not expected or outcome == expected, f"update {update_id} of {name} gave {outcome}, not {expected}"
    if update_id.startswith("bad"):
        calls.ledger.rejections.add((name, update_id))
    else:
        calls.ledger.updates[Update(name, reply.update_ref.workflow_execution.run_id, update_id)] = outcome
    calls.ledger.touched.add(name)


async def updated(calls: Calls, name: str, random: Random) -> None:
    await calls.start(name, Account, random, 6)
    async with asyncio.TaskGroup() as callers:
        for number in range(2):
            callers.create_task(update(calls, name, "book", f"good-{number}"))
            callers.create_task(update(calls, name, "book", f"bad-{number}", f"failed: bad-{number} is not valid"))
            callers.create_task(update(calls, name, "book_later", f"later-{number}", "[42]"))
        callers.create_task(update(calls, name, "book_and_fail", "failing-0", "failed: failing-0 failed"))
    await update(calls, name, "book", "last-0", "[6]")
    await calls.ends(name, COMPLETED, sorted(["good-0", "good-1", "later-0", "later-1", "failing-0", "last-0"]))


async def updated_with_start(calls: Calls, name: str, random: Random) -> None:
    """Two callers, either of whom may be the one who starts it."""

    async def call(update_id: str) -> None:
        start = calls.start_request(name, Account, random, 3)
        start.workflow_id_conflict_policy = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
        Operation = ws.ExecuteMultiOperationRequest.Operation
        request = ws.ExecuteMultiOperationRequest(
            namespace=NAMESPACE,
            operations=[
                Operation(start_workflow=start),
                Operation(update_workflow=update_request(name, "book_later", update_id)),
            ],
        )
        while True:
            reply = await calls.until_answered(calls.rpc.execute_multi_operation, request)
            started, updated = reply.responses[0].start_workflow, reply.responses[1].update_workflow
            calls.started(name, started.run_id)
            if updated.HasField("outcome"):
                break
        told(calls, name, updated, update_id, "[42]")

    async with asyncio.TaskGroup() as callers:
        for caller in SENDERS:
            callers.create_task(call(caller))
    await update(calls, name, "book", "last-0", "[3]")
    await calls.ends(name, COMPLETED, ["ann", "bob", "last-0"])


SENDERS = ("ann", "bob")
STORIES: Stories = {"updated": updated, "update-start": updated_with_start}
WORKFLOWS: list[Any] = [Account]
