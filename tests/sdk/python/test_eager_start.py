"""Eager starts: a worker in the client's own process gets the first task with the answer to the start."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from tests.sdk.python.kit import event_of, kinds, unique, working

pytestmark = pytest.mark.timeout(30)


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"hello, {name}"


async def test_a_worker_at_hand_gets_the_first_task_with_the_answer(client: Client) -> None:
    async with working(client, [Greeting]) as queue:
        handle = await client.start_workflow(
            Greeting.run, "ann", id=unique("eager"), task_queue=queue, request_eager_start=True
        )

        assert await handle.result() == "hello, ann"

        started = await event_of(handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        task = await event_of(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
        assert started.eager_execution_accepted
        assert task.request_id  # that of the start, as there was no poll
        assert (await kinds(handle))[-1] == "WorkflowExecutionCompleted"


async def test_a_start_that_has_to_wait_is_not_eager(client: Client) -> None:
    async with working(client, [Greeting]) as queue:
        handle = await client.start_workflow(
            Greeting.run,
            "ann",
            id=unique("eager"),
            task_queue=queue,
            request_eager_start=True,
            start_delay=timedelta(milliseconds=50),
        )

        assert await handle.result() == "hello, ann"
        started = await event_of(handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        assert not started.eager_execution_accepted
