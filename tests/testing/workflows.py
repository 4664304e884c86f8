"""What the tests of `perdure.testing` run."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "testing"


@activity.defn
async def remind(day: int) -> str:
    return f"reminded on day {day}"


@activity.defn
async def refuse() -> None:
    raise RuntimeError("the bank said no")


@activity.defn
async def block() -> None:
    """Runs until it is cancelled, without heartbeats: time cannot skip meanwhile."""
    await asyncio.Event().wait()


@workflow.defn
class Subscription:
    """Reminds three times, then waits a week for a renewal."""

    def __init__(self) -> None:
        self._renewed_by = ""

    @workflow.run
    async def run(self) -> str:
        for day in range(3):
            await workflow.execute_activity(remind, day, start_to_close_timeout=timedelta(seconds=10))
        try:
            await workflow.wait_condition(lambda: bool(self._renewed_by), timeout=timedelta(days=7))
        except TimeoutError:
            return "expired"
        return f"renewed by {self._renewed_by}"

    @workflow.signal
    def renew(self, by: str) -> None:
        self._renewed_by = by

    @workflow.query
    def now(self) -> str:
        return workflow.now().isoformat()


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, seconds: float) -> float:
        before = workflow.time()
        await workflow.sleep(seconds)
        return workflow.time() - before


@workflow.defn
class Blocked:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(block, start_to_close_timeout=timedelta(days=1))


@workflow.defn
class Payment:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            refuse,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(hours=1), maximum_attempts=2),
        )


@workflow.defn
class Wrong:
    @workflow.run
    async def run(self) -> None:
        assert 1 + 1 == 3, "arithmetic"


def worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[Subscription, Sleeper, Blocked, Payment, Wrong],
        activities=[remind, refuse, block],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
