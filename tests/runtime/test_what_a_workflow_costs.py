"""What a plain one-activity workflow makes the server do, in numbers that do not depend on the machine.

When one of these grows, every workflow pays for it: see benchmarks/README.md for what it is in time. A number that
falls is to be lowered here.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

import perdure
from perdure.runtime.inputs import Entry
from tests.api.client import NAMESPACE, complete_workflow, schedule_activity, start_request
from tests.support.runtime_world import World


class Costs:
    def __init__(self) -> None:
        self.batches = 0
        self.decisions = 0
        self.tasks = 0
        self.statements: Counter[str] = Counter()

    @property
    def writes(self) -> dict[str, int]:
        """Rows written by statement: `insert into runs`, `update executions`, …"""
        return {sql: count for sql, count in sorted(self.statements.items()) if not sql.startswith("select")}


@contextmanager
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Costs]:
    """Count what happens within the block."""
    costs = Costs()
    loop = asyncio.get_running_loop()
    process = world.runtime.decisions._process
    submitted = world.store.submitted

    def processed(loaded: Any, item: Entry) -> None:
        costs.decisions += 1
        process(loaded, item)

    def tasked(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        costs.tasks += 1
        return asyncio.Task(coroutine, loop=loop, **more)

    def executed(cursor: Any, sql: str, bindings: Any) -> bool:
        words = sql.split()
        costs.statements[" ".join(words[: 2 if words[0] in ("update", "select") else 3]).lower()] += 1
        return True

    connection = world.store._store._main
    monkeypatch.setattr(world.runtime.decisions, "_process", processed)
    loop.set_task_factory(tasked)
    connection.set_exec_trace(executed)
    try:
        yield costs
    finally:
        connection.set_exec_trace(None)
        loop.set_task_factory(None)
        monkeypatch.undo()
        costs.batches = world.store.submitted - submitted


async def workflow_with_waiting_polls(world: World, workflow_id: str) -> None:
    """The pollers are there before the tasks."""
    first, second, activity = world.poll(), world.poll(), world.poll_activity()
    world.call(start_request(workflow_id))
    await world.settle()
    world.complete(first.reply, schedule_activity("1"))
    await world.settle()
    world.call(ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.reply.task_token))
    await world.settle()
    world.complete(second.reply, complete_workflow())
    await world.settle()


async def workflow_with_late_polls(world: World, workflow_id: str) -> None:
    """The tasks wait in the backlog until a poll comes."""
    world.call(start_request(workflow_id))
    await world.settle()
    await world.step(schedule_activity("1"))
    activity = world.poll_activity()
    await world.settle()
    world.call(ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.reply.task_token))
    await world.settle()
    await world.step(complete_workflow())


async def test_tasks_that_meet_waiting_polls_cost_four_commits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await workflow_with_waiting_polls(world, "warm-up")
    with counted(world, monkeypatch) as costs:
        await workflow_with_waiting_polls(world, "order-1")
    assert costs.batches == 4
    assert costs.decisions == 7  # four calls that decide, three tasks started
    assert costs.tasks == 0
    assert costs.writes == {
        "begin immediate": 4,
        "commit": 4,
        "delete from search_values": 1,
        "insert into current": 2,
        "insert into executions": 1,
        "insert into history": 4,
        "insert into runs": 1,
        "insert or ignore": 1,
        "update executions": 2,
        "update marks": 4,
        "update runs": 3,
    }
    assert sum(costs.statements.values()) - sum(costs.writes.values()) == 1  # is the workflow ID known?


async def test_tasks_that_wait_for_polls_cost_a_row_and_a_commit_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await workflow_with_late_polls(world, "warm-up")
    with counted(world, monkeypatch) as costs:
        await workflow_with_late_polls(world, "order-1")
    assert costs.batches == 7
    assert costs.decisions == 7
    assert costs.tasks == 0
    assert costs.writes["insert into tasks"] == costs.writes["delete from tasks"] == 3
    assert costs.writes["update runs"] == 6
    assert costs.writes["insert into history"] == 6
    assert sum(costs.statements.values()) - sum(costs.writes.values()) == 1


@pytest.mark.parametrize(("drive", "calls"), [(workflow_with_waiting_polls, 721), (workflow_with_late_polls, 880)])
async def test_a_workflow_takes_no_more_calls_of_functions(world: World, drive: Any, calls: int) -> None:
    """Of ours, in Python, without those that a transport makes: what most of a workflow's CPU goes to. Newer Pythons
    need fewer for the same code."""
    package = str(Path(perdure.__file__).parent)
    made: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            made[frame.f_code.co_qualname] += 1

    for name in ("warm-up", "another"):  # whichever tests ran before
        await drive(world, name)
    sys.setprofile(count)
    try:
        await drive(world, "order-1")
    finally:
        sys.setprofile(None)
    assert made.total() <= calls, made.most_common(20)


@pytest.mark.parametrize("drive", [workflow_with_waiting_polls, workflow_with_late_polls])
async def test_a_workflow_leaves_nothing_for_the_garbage_collector(world: World, drive: Any) -> None:
    """What is in a cycle stays in memory, calls and histories with it, until a collection that stops everything."""
    await drive(world, "warm-up")
    gc.collect()
    gc.disable()
    try:
        await drive(world, "order-1")
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = Counter(type(found).__name__ for found in gc.garbage if type(found).__module__.startswith("perdure"))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not ours
