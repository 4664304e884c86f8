"""A run of 50,000 events: the next one costs what the first one did, in calls of functions and in rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType

from tests.api.client import NAMESPACE, execution, schedule_activity, start_timer
from tests.support.runtime_world import World

EVENTS = 50_000
A_TASK = 2_000


def marker() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    command.record_marker_command_attributes.marker_name = "m"
    return command


class Work:
    def __init__(self) -> None:
        self.calls = 0
        self.statements = 0
        self.rows = 0


@contextmanager
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Python calls while deciding and while making the batch, and what the store is asked to do."""
    work = Work()

    def call(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            work.calls += 1

    def watched(method: Any) -> Any:
        def profiled(*arguments: Any) -> Any:
            before = sys.getprofile()
            sys.setprofile(call)
            try:
                return method(*arguments)
            finally:
                sys.setprofile(before)

        return profiled

    def executed(cursor: Any, sql: str, bindings: Any) -> bool:
        work.statements += 1
        return True

    def row(cursor: Any, values: Any) -> Any:
        work.rows += not isinstance(values[-1], bytes)  # those of history go to the worker, who asked for all of it
        return values

    runtime, connection = world.runtime, world.store._store._main
    monkeypatch.setattr(runtime.decisions, "_process", watched(runtime.decisions._process))
    gathering = runtime.committer._gathering
    monkeypatch.setattr(gathering, "_seal", watched(gathering._seal))
    connection.set_exec_trace(executed)
    connection.set_row_trace(row)
    try:
        yield work
    finally:
        connection.set_exec_trace(None)
        connection.set_row_trace(None)
        monkeypatch.undo()


async def some_work(world: World) -> None:
    """A signal, a workflow task, an activity, another task, and a page of the newest history."""
    signal = ws.SignalWorkflowExecutionRequest(
        namespace=NAMESPACE, workflow_execution=execution(), signal_name="ship", request_id=world.runtime.entropy.uuid()
    )
    await world.ask(signal)
    await world.step(schedule_activity())
    activity = world.poll_activity()
    await world.settle()
    world.call(ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.reply.task_token))
    await world.settle()
    poll = world.poll()
    await world.settle()
    world.complete(poll.reply, start_timer(poll.reply.task_token.hex()[:40]))
    await world.settle()
    reverse = ws.GetWorkflowExecutionHistoryReverseRequest(namespace=NAMESPACE, execution=execution())
    assert len((await world.ask(reverse)).history.events) > 10


async def test_the_last_events_cost_what_the_first_did(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.start_workflow()
    await world.step(marker())
    await some_work(world)
    with counted(world, monkeypatch) as first:
        await some_work(world)

    await world.ask(
        ws.SignalWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(), signal_name="more")
    )
    events = 0
    while events < EVENTS - 2 * A_TASK:
        task = await world.step(*[marker()] * A_TASK, force_create_new_workflow_task=True)
        events = task.started_event_id
    await world.step(*[marker()] * (EVENTS - events - A_TASK))

    with counted(world, monkeypatch) as last:
        await some_work(world)

    loaded = world.runtime.executions.all()[0]
    assert next(iter(loaded.execution.runs.values())).history_length > EVENTS - 2 * A_TASK
    # From three quarters of the limit on, a turn notes what the run was before.
    assert last.calls <= first.calls * 1.3
    # The newest events are in memory; a page that reaches further back is a read more.
    assert last.statements <= first.statements + 2
    assert last.rows <= first.rows + 5


async def test_a_page_of_a_long_history_reads_no_more_than_it_shows(world: World) -> None:
    await world.start_workflow()
    await world.step(*[marker()] * 50, force_create_new_workflow_task=True)
    for _ in range(60):
        await world.step(*[marker()] * 50, force_create_new_workflow_task=True)
    read: list[int] = []
    connection = world.store._store._main
    world.runtime.executions.forget(world.runtime.executions.all()[0])  # nothing is in memory

    def row(cursor: Any, values: Any) -> Any:
        if isinstance(values[-1], bytes) and len(values) == 3:
            read.append(values[1] - values[0] + 1)
        return values

    connection.set_row_trace(row)
    try:
        request = ws.GetWorkflowExecutionHistoryRequest(
            namespace=NAMESPACE, execution=execution(), maximum_page_size=100
        )
        pages = 0
        while not pages or request.next_page_token:
            page = await world.ask(request)
            request.next_page_token = page.next_page_token
            pages += 1
            assert sum(read) <= 100 + 2 * 55, "a page reads its batches, and no others"
            read.clear()
    finally:
        connection.set_row_trace(None)
    assert pages > 30
