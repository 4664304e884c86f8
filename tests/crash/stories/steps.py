"""Activities of every sort and timers: by workers, by hand, local, flaky, finished elsewhere, cancelled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

from temporalio import activity, workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutError
from temporalio.service import RPCError, RPCStatusCode

from tests.crash.calls import COMPLETED, Calls, Stories, request_id
from tests.crash.stories.kit import ACTIVITY, BY_HAND_QUEUE, QUICK_RETRY, Proof, proved


@activity.defn
async def double(number: int) -> Proof:
    return proved(2 * number)


@activity.defn
async def double_at(number: int, attempt: int) -> Proof:
    if activity.info().attempt < attempt:
        raise ApplicationError(f"attempt {activity.info().attempt} fails")
    return proved(2 * number)


@activity.defn
async def double_slowly(number: int, seconds: float) -> Proof:
    await asyncio.sleep(seconds)
    return proved(2 * number)


@activity.defn
async def elsewhere() -> Proof:
    activity.raise_complete_async()


@activity.defn
async def beat_until_cancelled() -> Proof:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@workflow.defn
class Steps:
    """Activities of both kinds with timers between them."""

    @workflow.run
    async def run(self, count: int) -> int:
        total = 0
        for number in range(count):
            total += (await workflow.execute_activity(double, number, **ACTIVITY)).value
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
class Flaky:
    """Many activities at once, each of which fails at first."""

    @workflow.run
    async def run(self, count: int) -> int:
        attempts = [
            workflow.execute_activity(double_at, args=[number, 1 + number % 3], **ACTIVITY) for number in range(count)
        ]
        return sum(proof.value for proof in await asyncio.gather(*attempts))


@workflow.defn
class Local:
    """Local activities, some of which fail at first, and a timer in the middle. A slow one outlasts workflow tasks."""

    @workflow.run
    async def run(self, count: int, slow: bool) -> int:
        total = 0
        if slow:
            long = {**ACTIVITY, "start_to_close_timeout": timedelta(seconds=10)}
            total += (await workflow.execute_local_activity(double_slowly, args=[0, 2.5], **long)).value
        for number in range(count):
            proof = await workflow.execute_local_activity(double_at, args=[number, 1 + number % 2], **ACTIVITY)
            total += proof.value
            if number == 1:
                await asyncio.sleep(0.05)
        return total


@workflow.defn
class Elsewhere:
    """An activity whose worker leaves its completion to somebody else."""

    @workflow.run
    async def run(self) -> str:
        return (await workflow.execute_activity(elsewhere, activity_id="elsewhere", **ACTIVITY)).proof


@workflow.defn
class Impatient:
    """Cancels its own activity."""

    @workflow.run
    async def run(self) -> str:
        beating = workflow.start_activity(
            beat_until_cancelled,
            start_to_close_timeout=timedelta(seconds=20),
            heartbeat_timeout=timedelta(seconds=1),
            retry_policy=QUICK_RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await asyncio.sleep(0.1)
        beating.cancel()
        try:
            await beating
        except ActivityError as error:
            return type(error.cause).__name__
        return "completed"

    OUTCOMES = (CancelledError.__name__, TimeoutError.__name__)
    """If its worker or its answer dies meanwhile, nobody beats any more; what is cancelled is not retried."""


async def steps(calls: Calls, name: str, random: Random) -> None:
    count = random.randint(1, 4)
    await calls.start(name, Steps, random, count)
    await calls.ends(name, COMPLETED, Steps.expected(count))


async def flaky(calls: Calls, name: str, random: Random) -> None:
    count = random.randint(1, 5)
    await calls.start(name, Flaky, random, count)
    await calls.ends(name, COMPLETED, sum(2 * number for number in range(count)))


async def local(calls: Calls, name: str, random: Random) -> None:
    count = random.randint(1, 5)
    await calls.start(name, Local, random, count, random.random() < 0.3)
    await calls.ends(name, COMPLETED, sum(2 * number for number in range(count)))


async def completed_elsewhere(calls: Calls, name: str, random: Random) -> None:
    run_id = await calls.start(name, Elsewhere, random)
    handle = calls.client.get_async_activity_handle(workflow_id=name, run_id=run_id, activity_id="elsewhere")
    tried: list[str] = []

    async def completed() -> str | None:
        proof = request_id(random)
        calls.ledger.proofs.add(proof)
        tried.append(proof)
        try:
            await handle.complete(Proof(0, proof))
        except RPCError as error:
            # Not scheduled yet; or completed by a call whose answer was lost.
            if error.status is RPCStatusCode.NOT_FOUND:
                return "" if (await calls.describe(name)).workflow_execution_info.status == 1 else "by the one before"
            raise
        calls.ledger.completions[name, run_id, "elsewhere"] = proof
        calls.ledger.touched.add(name)
        return proof

    await calls.until(lambda: calls.while_down_wait(completed))
    ending = await calls.ending(name)
    assert (ending.status, ending.result in tried) == (COMPLETED, True), f"{name} ended with {ending}, not of {tried}"


async def cancelled_activity(calls: Calls, name: str, random: Random) -> None:
    await calls.start(name, Impatient, random)
    ending = await calls.ending(name)
    assert ending.status is COMPLETED, f"{name} ended with {ending}"
    assert ending.result in Impatient.OUTCOMES, f"the activity of {name} ended with {ending.result}"


STORIES: Stories = {
    "steps": steps,
    "flaky": flaky,
    "local": local,
    "elsewhere": completed_elsewhere,
    "impatient": cancelled_activity,
}
WORKFLOWS: list[Any] = [Steps, Flaky, Local, Elsewhere, Impatient]
ACTIVITIES: list[Any] = [double, double_at, double_slowly, elsewhere, beat_until_cancelled]
