"""A wave of due runs leaves the loop to others in time."""

from __future__ import annotations

import asyncio

import temporalio.api.workflowservice.v1 as ws

from perdure.engine.waking import TIMERS_AT_ONCE
from perdure.runtime.slices import LEAST_SECONDS, MOST_SECONDS, Slices
from tests.api.client import NAMESPACE, execution, start_request, start_timer
from tests.support.runtime_world import World
from tests.support.schedules import create, describe, schedule


class Ticking:
    """Each look at the clock finds it a little later."""

    def __init__(self, tick: float) -> None:
        self.seconds = 100.0
        self.tick = tick

    def now(self) -> float:
        self.seconds += self.tick
        return self.seconds


def length(slices: Slices, clock: Ticking) -> float:
    slices.begin()
    began = clock.seconds
    while slices.more():
        pass
    slices.end()
    return clock.seconds - began


def test_a_slice_is_a_third_of_what_others_took_within_bounds() -> None:
    clock = Ticking(0.0001)
    slices = Slices(clock, lambda: True)
    slices.end()

    assert LEAST_SECONDS <= length(slices, clock) < LEAST_SECONDS + 0.0005, "nobody else was there"
    clock.seconds += 0.009
    assert 0.003 <= length(slices, clock) < 0.0035
    clock.seconds += 1
    assert MOST_SECONDS <= length(slices, clock) < MOST_SECONDS + 0.0005


def test_none_begins_while_there_is_no_room() -> None:
    slices = Slices(Ticking(0.0001), lambda: False)
    slices.begin()
    assert not slices.more()


async def test_a_caller_is_answered_in_the_middle_of_a_wave(world: World) -> None:
    for number in range(400):
        world.call(create(schedule("0 * * * *", workflow_id=f"wave-{number}"), f"s-{number}"))
    await world.runtime.committer.drain()
    world.clock.seconds += 1800
    slices = world.runtime.wakes._slices
    assert slices is not None
    slices._monotonic = Ticking(0.0005)  # each wake takes half a millisecond

    world.runtime.wakes.ring()
    call = world.call(start_request())
    while not call.answered:
        await asyncio.sleep(0)
    left = [at for at in world.runtime.wakes._armed.values() if at <= world.runtime.time.now()]
    for _ in range(200):
        await world.settle()

    assert call.error is None
    assert left, "the wave was not over when the caller was answered"
    said = [(await world.ask(describe(f"s-{n}"))).info.action_count for n in range(400)]
    assert said == [1] * 400


async def test_a_caller_is_answered_in_the_middle_of_one_run_s_many_timers(world: World) -> None:
    many = 15 * TIMERS_AT_ONCE
    await world.start_workflow("many")
    await world.step(*(start_timer(str(number), seconds=1800) for number in range(many)))
    world.clock.seconds += 1800
    slices = world.runtime.wakes._slices
    assert slices is not None
    slices._monotonic = Ticking(0.0008)  # after a hundred timers, the slice is over

    async def kinds() -> list[int]:
        request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution("many"))
        found: list[int] = []
        while not found or request.next_page_token:
            page = await world.ask(request)
            found += [event.event_type for event in page.history.events]
            request.next_page_token = page.next_page_token
        return found

    submitted = world.store.submitted
    world.runtime.wakes.ring()
    call = world.call(start_request())
    while not call.answered:
        await asyncio.sleep(0)
    loaded = next(found for found in world.runtime.executions.all() if found.key[2] == "many")
    left = len(next(iter(loaded.execution.runs.values())).timers)
    for _ in range(20):
        await world.settle()

    assert call.error is None
    assert 0 < left < many
    assert world.store.submitted - submitted >= 5, "what a slice decided is written before the next"
    assert (await kinds())[-many - 1 :] == [18] * many + [5]
