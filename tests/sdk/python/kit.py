"""What the stories told with the Python SDK share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

SECOND = timedelta(seconds=1)
SOON = timedelta(seconds=10)
"""Longer than anything here takes, short enough not to hang a run."""


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"


@asynccontextmanager
async def working(
    client: Client, workflows: Sequence[type], activities: Sequence[Callable[..., Any]] = (), **options: Any
) -> AsyncIterator[str]:
    """A worker for the length of the block; gives the name of its task queue, its own unless one is named."""
    task_queue = options.pop("task_queue", None) or unique("queue")
    options.setdefault("workflow_runner", UnsandboxedWorkflowRunner())
    async with Worker(client, task_queue=task_queue, workflows=workflows, activities=activities, **options):
        yield task_queue


async def kinds(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """The event types of a run's history, such as "WorkflowExecutionStarted"."""
    history = await handle.fetch_history()
    return [_kind(event.event_type) for event in history.events]


async def event_of(handle: WorkflowHandle[Any, Any], event_type: EventType.ValueType) -> Any:
    """The attributes of the run's only event of that type."""
    history = await handle.fetch_history()
    [event] = [event for event in history.events if event.event_type == event_type]
    return getattr(event, str(event.WhichOneof("attributes")))


async def until(handle: WorkflowHandle[Any, Any], event_type: EventType.ValueType) -> None:
    """Return when the run's history holds an event of that type."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == event_type:
            return
    raise AssertionError(f"{handle.id} ended without {EventType.Name(event_type)}")


async def until_answers(handle: WorkflowHandle[Any, Any], query: Any, answer: Any) -> None:
    """Return when the workflow answers so, and so has no task under way that a worker which stops now would forget."""
    async with asyncio.timeout(SOON.total_seconds()):
        while await handle.query(query) != answer:
            pass


async def replay(workflows: Sequence[type], *handles: WorkflowHandle[Any, Any]) -> None:
    """Have the SDK hold the runs' histories against their code."""
    replayer = Replayer(workflows=workflows, workflow_runner=UnsandboxedWorkflowRunner())
    for handle in handles:
        await replayer.replay_workflow(await handle.fetch_history())


def _kind(event_type: EventType.ValueType) -> str:
    return "".join(word.capitalize() for word in EventType.Name(event_type).removeprefix("EVENT_TYPE_").split("_"))
