"""Children, and what executions say to each other: signals, cancels, and how a parent's end reaches its children."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from temporalio import workflow
from temporalio.workflow import ParentClosePolicy

from tests.crash.calls import CANCELED, COMPLETED, TERMINATED, Calls, Stories
from tests.crash.ledger import Sent
from tests.crash.stories.kit import ACTIVITY, CHILD
from tests.crash.stories.steps import Steps, double


@workflow.defn
class Echo:
    """Says what it was told, once it was told three times."""

    def __init__(self) -> None:
        self._heard: list[list[Any]] = []

    @workflow.signal
    def tell(self, sender: str, number: int) -> None:
        self._heard.append([sender, number])

    @workflow.run
    async def run(self) -> list[list[Any]]:
        await workflow.wait_condition(lambda: len(self._heard) >= 3)
        return self._heard


@workflow.defn
class Patient:
    """Waits until it is cancelled or terminated; cancelled, it tidies up first."""

    @workflow.run
    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # The wait was cancelled; what is awaited from here on is not.
            await workflow.execute_activity(double, 1, **ACTIVITY)
            raise

    @workflow.signal
    def tell(self, sender: str, number: int) -> None:
        pass


@workflow.defn
class Family:
    """Children that are started, signalled, cancelled and waited for."""

    @workflow.run
    async def run(self, count: int) -> list[Any]:
        name = workflow.info().workflow_id
        steps = await workflow.start_child_workflow(Steps.run, count, id=f"{name}.steps", **CHILD)
        echo = await workflow.start_child_workflow(Echo.run, id=f"{name}.echo", **CHILD)
        patient = await workflow.start_child_workflow(Patient.run, id=f"{name}.patient", **CHILD)
        for number in range(3):
            await echo.signal(Echo.tell, args=[name, number])
        patient.cancel()
        outcome = await asyncio.gather(steps, echo, patient, return_exceptions=True)
        return [type(part).__name__ if isinstance(part, BaseException) else part for part in outcome]

    @staticmethod
    def expected(name: str, count: int) -> list[Any]:
        return [Steps.expected(count), [[name, number] for number in range(3)], "ChildWorkflowError"]


@workflow.defn
class Leaves:
    """Starts a child for each policy, and ends or waits for its own end."""

    @workflow.run
    async def run(self, stays: bool) -> None:
        name = workflow.info().workflow_id
        for child, policy, kind in (
            ("terminated", ParentClosePolicy.TERMINATE, Patient.run),
            ("cancelled", ParentClosePolicy.REQUEST_CANCEL, Patient.run),
            ("abandoned", ParentClosePolicy.ABANDON, Echo.run),
        ):
            await workflow.start_child_workflow(kind, id=f"{name}.{child}", parent_close_policy=policy, **CHILD)
        if stays:
            await asyncio.Event().wait()


@workflow.defn
class Meddles:
    """Signals a workflow that is not its child, then cancels it."""

    @workflow.run
    async def run(self, other: str) -> None:
        handle = workflow.get_external_workflow_handle(other)
        for number in range(3):
            await handle.signal("tell", args=[workflow.info().workflow_id, number])
        await handle.cancel()


async def family(calls: Calls, name: str, random: Random) -> None:
    count = random.randint(1, 3)
    await calls.start(name, Family, random, count)
    await calls.ends(name, COMPLETED, Family.expected(name, count))
    calls.ledger.sent[f"{name}.echo", name] = [Sent(1, True) for _ in range(3)]


async def leaves(calls: Calls, name: str, random: Random) -> None:
    """However the parent ends, each child ends as its policy has it."""
    stays = random.random() < 0.5
    await calls.start(name, Leaves, random, stays)
    if stays:

        async def all_there() -> bool:
            shown = await calls.describe(name)
            return len(shown.pending_children) == 3 and all(child.run_id for child in shown.pending_children)

        await calls.until(all_there)
        await calls.terminate(name)
    await calls.ends(name, TERMINATED if stays else COMPLETED)
    await calls.ends(f"{name}.terminated", TERMINATED)
    await calls.ends(f"{name}.cancelled", CANCELED)
    for _ in range(3):
        await calls.signal(f"{name}.abandoned", "tell", "ann", random)
    await calls.ends(f"{name}.abandoned", COMPLETED, [["ann", number] for number in range(3)])


async def meddles(calls: Calls, name: str, random: Random) -> None:
    await calls.start(f"{name}.other", Patient, random)
    await calls.start(name, Meddles, random, f"{name}.other")
    await calls.ends(name, COMPLETED)
    await calls.ends(f"{name}.other", CANCELED)
    calls.ledger.sent[f"{name}.other", name] = [Sent(1, True) for _ in range(3)]


STORIES: Stories = {"family": family, "leaves": leaves, "meddles": meddles}
WORKFLOWS: list[Any] = [Echo, Patient, Family, Leaves, Meddles]
