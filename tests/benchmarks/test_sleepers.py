"""The loader of sleepers writes what the engine would have written, and opening a file of many reads little of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
import temporalio.api.workflowservice.v1 as ws

from benchmarks.sleepers import load_due, load_many_timers, load_sleepers
from benchmarks.stories import SECOND, fill, opened, telling
from benchmarks.watched import waited_at_random
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE, complete_workflow, execution
from tests.api.client import queue as task_queue
from tests.support.runtime_world import World

MANY = 20_000


async def woken_up(path: Path) -> World:
    """A server on the file, whose clock has the wall's time."""
    world = World(store=SqliteStore(str(path)))
    world.clock.seconds += time.time() - world.runtime.time.now() / SECOND
    await world.start()
    return world


async def test_loaded_runs_sleep_wake_and_end_like_any_others(tmp_path: Path) -> None:
    path = tmp_path / "asleep.db"
    await load_due(path, 12, None, 3600)
    world = await woken_up(path)
    listed = (await world.ask_patiently(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))).executions
    names = sorted(row.execution.workflow_id for row in listed)
    assert len(set(names)) == 12

    await world.pass_time(3601)
    ended = []
    for _ in range(12):
        poll = world.poll(task_queue=task_queue("sleepers"))
        while not poll.answered:
            await world.settle()
        task = poll.reply
        world.complete(task, complete_workflow())
        assert [event.event_id for event in task.history.events] == list(range(1, 9))
        ended.append(task.workflow_execution.workflow_id)
    assert sorted(ended) == names
    await world.stop()


async def test_closed_runs_and_one_with_many_timers_are_loaded_too(tmp_path: Path) -> None:
    path = tmp_path / "mixed.db"
    _, many, events = await load_many_timers(path, 1200, 3600)
    async with opened(path) as store, telling(store.load_namespaces()) as teller:
        story = await teller.closed("q")
        closed = await fill(store, [story], teller.namespaces, "closed-", lambda written: None)
    world = await woken_up(path)

    described = await world.ask_patiently(
        ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution(closed))
    )
    assert described.workflow_execution_info.status == 2
    assert described.workflow_execution_info.history_length == 11
    await world.pass_time(3601)
    for _ in range(20):
        await world.settle()
    described = await world.ask_patiently(
        ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution(many))
    )
    assert described.workflow_execution_info.history_length == events + 1200 + 1
    await world.stop()


# ---- twenty thousand of them
@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A file with twenty sleepers, and one with a thousand times as many rows of them."""
    import asyncio
    import shutil

    few = tmp_path_factory.mktemp("sleepers") / "few.db"
    asyncio.run(load_sleepers(few, 20))
    many = few.with_name("many.db")
    shutil.copy(few, many)
    connection = apsw.Connection(str(many))
    series = (
        f"(with recursive n(i) as (select 1 union all select i + 1 from n where i < {MANY // 20 - 1}) select i from n)"
    )
    connection.execute(
        f"""
        insert into runs select run_no + i * 20, version, wake_at + i * 1000000, slot, epoch, kind, namespace_id,
               execution_id || '-' || i, substr(run_id, 1, 24) || format('%012x', run_no + i * 20), core
          from runs, {series};
        insert into current select namespace_id, kind, execution_id || '-' || i,
               substr(run_id, 1, 24) || format('%012x', run_no + i * 20), run_no + i * 20, status,
               first_run_id, create_request_id, start_time from current, {series};
        update marks set run_no = {MANY};
        """
    )
    assert connection.execute("select count(*) from runs").get == MANY
    connection.close()
    yield few, many


async def pages_read_to_open(path: Path) -> int:
    world = await woken_up(path)
    wakes = world.runtime.wakes
    assert len(world.runtime.executions) == 0
    assert not wakes._armed
    assert not wakes._heap
    # What is read on the event loop. (The writer's connection may be at work in its thread.)
    read: int = world.store._store._main.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0]
    await world.stop()
    return read


async def test_opening_reads_no_more_pages_of_twenty_thousand_sleepers_than_of_twenty(
    crowd: tuple[Path, Path],
) -> None:
    few, many = crowd

    assert await pages_read_to_open(many) <= await pages_read_to_open(few) + 8, "a tree or two is a level deeper"


# ---- what the watch makes of stalls
def test_a_random_moment_finds_long_stalls_more_often_than_short_ones() -> None:
    assert waited_at_random([], 10, 0.001) == 0
    # One of 110 ms in ten seconds: for a hundredth of the time (100 ms), who comes waits longer than 10 ms.
    assert waited_at_random([0.110], 10, 0.01) == pytest.approx(0.010, abs=0.001)
    assert waited_at_random([0.002] * 100, 10, 0.001) == pytest.approx(0.0019, abs=0.0001)
