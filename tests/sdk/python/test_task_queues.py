"""Rate limits and priorities of task queues, as workers see them."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import Priority

from tests.sdk.python.kit import SECOND, unique, working


@activity.defn
async def note_time() -> float:
    return time.monotonic()


@activity.defn
async def nothing(_name: str) -> None:
    pass


@workflow.defn
class ManyNotes:
    @workflow.run
    async def run(self, count: int) -> list[float]:
        return await asyncio.gather(
            *(workflow.execute_activity(note_time, start_to_close_timeout=10 * SECOND) for _ in range(count))
        )


@workflow.defn
class OneNote:
    @workflow.run
    async def run(self, name: str) -> int:
        await workflow.execute_activity(nothing, name, start_to_close_timeout=10 * SECOND)
        return workflow.info().priority.priority_key or 0


async def test_a_worker_gets_no_more_activities_a_second_than_it_asked_for(client: Client) -> None:
    async with working(
        client,
        [ManyNotes],
        [note_time],
        max_task_queue_activities_per_second=10,
        max_concurrent_activities=50,
        disable_eager_activity_execution=True,
    ) as queue:
        times = sorted(await client.execute_workflow(ManyNotes.run, 20, id=unique("notes"), task_queue=queue))

    assert times[19] - times[0] >= 0.9  # ten at once, ten more in a second
    for first, start in enumerate(times):
        within = [at for at in times[first:] if at < start + 0.5]
        assert len(within) <= 10 + 5 + 1, "more than burst and rate, with a little room for delays on the way"


async def test_urgent_workflows_are_worked_on_first(client: Client) -> None:
    queue = unique("queue")
    order: list[str] = []

    @activity.defn(name="nothing")
    async def note(name: str) -> None:
        order.append(name)

    wanted = [("low", 5), ("plain", 0), ("high", 1), ("second", 2)]
    started = [
        await client.start_workflow(
            OneNote.run, name, id=unique(name), task_queue=queue, priority=Priority(priority_key=key or None)
        )
        for name, key in wanted
    ]
    async with working(
        client,
        [OneNote],
        [note],
        task_queue=queue,
        max_concurrent_workflow_tasks=1,
        max_concurrent_activities=1,
        max_cached_workflows=0,
        max_concurrent_workflow_task_polls=1,
        max_concurrent_activity_task_polls=1,
    ):
        keys = [await asyncio.wait_for(handle.result(), timedelta(seconds=20).total_seconds()) for handle in started]

    assert keys == [5, 0, 1, 2]
    assert order.index("high") < order.index("second") < order.index("plain") < order.index("low")
