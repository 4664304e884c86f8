"""Workflows that start, signal and cancel other workflows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

from tests.sdk.python.kit import event_of, kinds, replay, unique, until, working

pytestmark = pytest.mark.timeout(30)


@workflow.defn
class Child:
    """Does as it is told: "fail", "wait", "again" (by continue-as-new), "flaky" (fails at first), or answers."""

    def __init__(self) -> None:
        self._heard: list[str] = []

    @workflow.signal
    def tell(self, what: str) -> None:
        self._heard.append(what)

    @workflow.run
    async def run(self, what: str) -> str:
        match what:
            case "fail":
                raise ApplicationError("the child failed", type="ChildBroke")
            case "wait":
                await workflow.wait_condition(lambda: bool(self._heard))
                return self._heard[0]
            case "again":
                workflow.continue_as_new("once more")
            case "flaky" if workflow.info().attempt == 1:
                raise ApplicationError("at first")
        return f"done: {what}"


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, what: str, child_id: str) -> str:
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=2) if what == "flaky" else None
        try:
            return await workflow.execute_child_workflow(Child.run, what, id=child_id, retry_policy=retry)
        except ChildWorkflowError as error:
            return f"{type(error.cause).__name__}: {error.cause}"
        except WorkflowAlreadyStartedError as error:
            return f"already started: {error.workflow_id}"


@workflow.defn
class Leaves:
    """Starts a child and ends, with that policy for it, in that way."""

    @workflow.run
    async def run(self, child_id: str, policy: int, ending: str) -> None:
        await workflow.start_child_workflow(
            Child.run, "wait", id=child_id, parent_close_policy=ParentClosePolicy(policy)
        )
        if ending == "fail":
            raise ApplicationError("the parent failed")
        if ending == "wait":
            await workflow.wait_condition(lambda: False)


@workflow.defn
class CancelsItsChild:
    """Stays until it is told to leave: a request to cancel dies with who made it."""

    def __init__(self) -> None:
        self._may_leave = False

    @workflow.signal
    def leave(self) -> None:
        self._may_leave = True

    @workflow.run
    async def run(self, child_id: str, kind: int) -> str:
        child = await workflow.start_child_workflow(
            Child.run,
            "wait",
            id=child_id,
            cancellation_type=ChildWorkflowCancellationType(kind),
            parent_close_policy=ParentClosePolicy.ABANDON,
        )
        child.cancel()
        try:
            outcome = await child
        except ChildWorkflowError as error:
            outcome = type(error.cause).__name__
        await workflow.wait_condition(lambda: self._may_leave)
        return outcome


@workflow.defn
class Meddles:
    """Signals or cancels a workflow that is not its child."""

    @workflow.run
    async def run(self, workflow_id: str, what: str) -> str:
        other = workflow.get_external_workflow_handle(workflow_id)
        try:
            if what == "cancel":
                await other.cancel()
            else:
                await other.signal("tell", what)
        except ApplicationError as error:
            return str(error)
        return "done"


WORKFLOWS = [Child, Parent, Leaves, CancelsItsChild, Meddles]


async def parent_of(client: Client, queue: str, what: str, child_id: str | None = None) -> WorkflowHandle[Any, str]:
    return await client.start_workflow(
        Parent.run, args=[what, child_id or unique("child")], id=unique("parent"), task_queue=queue
    )


async def status_when_closed(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    with suppress(WorkflowFailureError):
        await handle.result()
    return (await handle.describe()).status


async def test_a_child_answers_its_parent(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        parent = await parent_of(client, queue, "work")

        assert await parent.result() == "done: work"

        started = await event_of(parent, EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
        child = client.get_workflow_handle(
            started.workflow_execution.workflow_id, run_id=started.workflow_execution.run_id
        )
        told = await event_of(child, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        assert told.parent_workflow_execution.workflow_id == parent.id
        assert told.root_workflow_execution.workflow_id == parent.id
    await replay(WORKFLOWS, parent, child)


async def test_a_parent_hears_of_every_way_a_child_ends(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        failed, again, flaky = [await parent_of(client, queue, what) for what in ("fail", "again", "flaky")]
        terminated_id, cancelled_id, told_id = unique("child"), unique("child"), unique("child")
        terminated = await parent_of(client, queue, "wait", terminated_id)
        cancelled = await parent_of(client, queue, "wait", cancelled_id)
        told = await parent_of(client, queue, "wait", told_id)
        await asyncio.gather(*(until_started(parent) for parent in (terminated, cancelled, told)))
        await client.get_workflow_handle(terminated_id).terminate()
        await client.get_workflow_handle(cancelled_id).cancel()
        await client.get_workflow_handle(told_id).signal("tell", "hello")

        assert await failed.result() == "ApplicationError: ChildBroke: the child failed"
        assert await again.result() == "done: once more"
        assert await flaky.result() == "done: flaky"
        assert (await terminated.result()).startswith(TerminatedError.__name__)
        assert (await cancelled.result()).startswith(CancelledError.__name__)
        assert await told.result() == "hello"


async def until_started(parent: WorkflowHandle[Any, Any]) -> None:
    """Return when the parent's child has started."""
    await until(parent, EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)


async def test_a_child_whose_id_is_taken_is_not_started(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        taken = await client.start_workflow(Child.run, "wait", id=unique("child"), task_queue=queue)

        parent = await parent_of(client, queue, "work", taken.id)

        assert await parent.result() == f"already started: {taken.id}"
        await taken.terminate()


@pytest.mark.parametrize("ending", ["complete", "fail", "terminate"])
async def test_children_share_their_parents_end_as_their_policies_say(client: Client, ending: str) -> None:
    async with working(client, WORKFLOWS) as queue:
        children: dict[ParentClosePolicy, WorkflowHandle[Any, Any]] = {}
        for policy in (ParentClosePolicy.TERMINATE, ParentClosePolicy.REQUEST_CANCEL, ParentClosePolicy.ABANDON):
            child_id = unique("child")
            parent = await client.start_workflow(
                Leaves.run,
                args=[child_id, policy, "wait" if ending == "terminate" else ending],
                id=unique("parent"),
                task_queue=queue,
            )
            if ending == "terminate":
                await until_started(parent)
                await parent.terminate()
            await status_when_closed(parent)
            children[policy] = client.get_workflow_handle(child_id)

        assert await status_when_closed(children[ParentClosePolicy.TERMINATE]) is WorkflowExecutionStatus.TERMINATED
        assert await status_when_closed(children[ParentClosePolicy.REQUEST_CANCEL]) is WorkflowExecutionStatus.CANCELED
        abandoned = children[ParentClosePolicy.ABANDON]
        await abandoned.signal("tell", "alive")
        assert await abandoned.result() == "alive"


@pytest.mark.parametrize(
    ("kind", "child_is"),
    [
        (ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED, WorkflowExecutionStatus.CANCELED),
        (ChildWorkflowCancellationType.WAIT_CANCELLATION_REQUESTED, WorkflowExecutionStatus.CANCELED),
        (ChildWorkflowCancellationType.TRY_CANCEL, WorkflowExecutionStatus.CANCELED),
        (ChildWorkflowCancellationType.ABANDON, WorkflowExecutionStatus.COMPLETED),
    ],
)
async def test_a_parent_cancels_its_child(
    client: Client, kind: ChildWorkflowCancellationType, child_is: WorkflowExecutionStatus
) -> None:
    async with working(client, WORKFLOWS) as queue:
        child_id = unique("child")
        parent = await client.start_workflow(
            CancelsItsChild.run, args=[child_id, kind], id=unique("parent"), task_queue=queue
        )

        await until_started(parent)
        child = client.get_workflow_handle(child_id)
        if kind is ChildWorkflowCancellationType.ABANDON:
            await child.signal("tell", "go on")
        assert await status_when_closed(child) is child_is
        await parent.signal(CancelsItsChild.leave)
        assert await parent.result() == "CancelledError"
    await replay(WORKFLOWS, parent)


async def test_a_workflow_signals_and_cancels_another(client: Client) -> None:
    async with working(client, WORKFLOWS) as queue:
        told = await client.start_workflow(Child.run, "wait", id=unique("other"), task_queue=queue)
        cancelled = await client.start_workflow(Child.run, "wait", id=unique("other"), task_queue=queue)

        async def meddle(workflow_id: str, what: str) -> WorkflowHandle[Any, str]:
            return await client.start_workflow(
                Meddles.run, args=[workflow_id, what], id=unique("meddles"), task_queue=queue
            )

        signals, cancels = await meddle(told.id, "news"), await meddle(cancelled.id, "cancel")
        nobody = await meddle(unique("nobody"), "news")

        assert await signals.result() == "done"
        assert await told.result() == "news"
        assert await cancels.result() == "done"
        assert await status_when_closed(cancelled) is WorkflowExecutionStatus.CANCELED
        assert "not found" in (await nobody.result()).lower()
        assert "ExternalWorkflowExecutionSignaled" in await kinds(signals)
        assert "SignalExternalWorkflowExecutionFailed" in await kinds(nobody)
        await replay(WORKFLOWS, signals, cancels, nobody)


@workflow.defn
class Crowd:
    @workflow.run
    async def run(self, count: int) -> int:
        answers = await asyncio.gather(
            *(workflow.execute_child_workflow(Child.run, str(number)) for number in range(count))
        )
        return len(set(answers))


async def test_a_parent_of_a_hundred_children_hears_of_all(client: Client) -> None:
    async with working(client, [Crowd, Child]) as queue:
        crowd = await client.start_workflow(Crowd.run, 100, id=unique("crowd"), task_queue=queue)

        assert await crowd.result() == 100
    await replay([Crowd], crowd)
