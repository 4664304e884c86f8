"""Runs asleep in timers, in numbers: what is in memory and what is read does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.runtime import wakes
from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import DueRun
from tests.api.client import NAMESPACE, execution, start_timer
from tests.runtime.test_slices import Ticking
from tests.support.runtime_world import World

PAGE = 10


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wakes, "PAGE", PAGE)
    yield


async def asleep(world: World, count: int, seconds: float = 3600) -> None:
    """Runs whose timers are due at the same instant."""
    for number in range(count):
        await world.start_workflow(f"order-{number}")
        await world.step(start_timer(seconds=seconds))


class Reads:
    """Pages that are asked for, and what lies in memory each time."""

    def __init__(self, world: World) -> None:
        self.pages: list[int] = []
        self.in_memory: list[int] = []
        self._wakes = world.runtime.wakes
        self._read = world.store.due_runs
        world.store.due_runs = self.due_runs

    def due_runs(self, after: Any, until: int, limit: int) -> list[DueRun]:
        found: list[DueRun] = self._read(after, until, limit)
        assert limit <= PAGE, "reads are as long as a page, however many are due at one instant"
        self.pages.append(len(found))
        self.in_memory.append(len(self._wakes._armed) + len(found))
        return found


async def fired(world: World, workflow_id: str) -> bool:
    request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(workflow_id))
    history = (await world.ask_patiently(request)).history
    return any(event.event_type == 18 for event in history.events)


async def test_runs_due_at_one_instant_are_read_a_page_at_a_time_as_they_are_woken(world: World) -> None:
    await asleep(world, 6 * PAGE)
    assert not world.runtime.wakes._armed
    reads = Reads(world)

    await world.pass_time(3600)
    for _ in range(20):
        await world.settle()

    assert all([await fired(world, f"order-{number}") for number in range(6 * PAGE)])
    assert max(reads.in_memory) <= PAGE
    assert reads.pages.count(PAGE) == 6


async def test_what_came_due_during_a_long_stop_is_not_taken_into_memory_at_once(tmp_path: Any) -> None:
    path = str(tmp_path / "asleep.db")
    world = World(store=SqliteStore(path))
    await world.start()
    await asleep(world, 5 * PAGE, 100)
    await world.stop()

    world = World(store=SqliteStore(path))
    world.clock.seconds += 86_400
    await world.store.open()
    slices = world.runtime.wakes._slices
    assert slices is not None
    slices._monotonic = Ticking(0.0008)  # a slice is over after a run or two
    reads = Reads(world)
    await world.runtime.start()
    for _ in range(100):
        await world.settle()

    assert sum(reads.pages) == 5 * PAGE
    assert not world.runtime.wakes._armed
    assert max(reads.in_memory) <= PAGE, "the next page is read when the last one has been woken"
    await world.stop()
