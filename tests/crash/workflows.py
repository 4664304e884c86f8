"""What runs while the server is killed: workflows whose right result follows from what they were given and told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

QUEUE = "crash"
BY_HAND_QUEUE = "crash-by-hand"
"""Its activities are polled and completed over plain gRPC, so that every acknowledged completion is known."""

NOTES = 7
NOTES_PER_RUN = 5
SENDERS = ("ann", "bob")

# A task whose answer died with the server must not be waited for long.
ACTIVITY: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=2),
    "retry_policy": RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1),
}
TASK_TIMEOUT = timedelta(seconds=2)


@dataclass
class Proof:
    """What an activity completed by hand answers: its value, and which of its completions this was."""

    value: int
    proof: str


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class Steps:
    """Activities of both kinds with timers between them."""

    @workflow.run
    async def run(self, count: int) -> int:
        total = 0
        for number in range(count):
            total += await workflow.execute_activity(double, number, **ACTIVITY)
            await asyncio.sleep(0.03)
            by_hand = workflow.execute_activity(
                "by-hand", number, task_queue=BY_HAND_QUEUE, result_type=Proof, **ACTIVITY
            )
            total += (await by_hand).value
        return total

    @staticmethod
    def expected(count: int) -> int:
        return sum(4 * number for number in range(count))


@workflow.defn
class Collect:
    """Every sender's notes, in the order they came, over as many runs as it takes."""

    def __init__(self) -> None:
        self._new: list[list[Any]] = []

    @workflow.signal
    def note(self, sender: str, number: int) -> None:
        self._new.append([sender, number])

    @workflow.run
    async def run(self, past: list[list[Any]]) -> list[list[Any]]:
        total = NOTES * len(SENDERS)
        for handled in range(total - len(past)):
            await workflow.wait_condition(partial(self._has_more_than, handled))
            if handled % 3 == 0:
                await workflow.execute_activity(double, handled, **ACTIVITY)
            if handled + 1 >= NOTES_PER_RUN and len(past) + len(self._new) < total:
                workflow.continue_as_new([*past, *self._new])
        return past + self._new

    def _has_more_than(self, count: int) -> bool:
        return len(self._new) > count


@workflow.defn
class Echo:
    """Says what it was told, once it was told three times."""

    def __init__(self) -> None:
        self._heard: list[int] = []

    @workflow.signal
    def tell(self, number: int) -> None:
        self._heard.append(number)

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: len(self._heard) >= 3)
        return self._heard


@workflow.defn
class Family:
    """Messages between executions: children started, signalled, cancelled and closed."""

    @workflow.run
    async def run(self, count: int) -> list[Any]:
        child: dict[str, Any] = {"task_timeout": TASK_TIMEOUT}
        steps = await workflow.start_child_workflow(Steps.run, count, **child)
        echo = await workflow.start_child_workflow(Echo.run, **child)
        patient = await workflow.start_child_workflow(Patient.run, **child)
        for number in range(3):
            await echo.signal(Echo.tell, number)
        patient.cancel()
        outcome = await asyncio.gather(steps, echo, patient, return_exceptions=True)
        return [repr(type(part)) if isinstance(part, BaseException) else part for part in outcome]

    @staticmethod
    def expected(count: int) -> list[Any]:
        return [Steps.expected(count), [0, 1, 2], "<class 'temporalio.exceptions.ChildWorkflowError'>"]


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


WORKFLOWS = [Steps, Collect, Echo, Family, Patient]
