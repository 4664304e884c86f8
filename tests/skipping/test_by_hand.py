"""What helpers in the server's own process use: freeze, sleep, wait for idleness, ask what is in the way."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import threading
import time

import grpc.aio
import pytest

from perdure import Server
from perdure.clock import SkippingTime
from perdure.runtime.skipping import Skipper
from tests.api.client import Api, Refused, complete_workflow, schedule_activity, start_timer
from tests.skipping.clock import DAY, HOUR, Clock, about
from tests.skipping.commands import complete_activity


class Wall:
    def __init__(self, now: int = 1_000_000) -> None:
        self.at = now

    def now(self) -> int:
        return self.at


def test_virtual_time_runs_at_the_walls_pace_and_jumps_ahead() -> None:
    wall = Wall()
    virtual = SkippingTime(wall)

    virtual.jump(5_000_000)
    assert virtual.now() == 5_000_000
    virtual.hold(9_000_000)
    wall.at += 1_000_000

    assert virtual.now() == 6_000_000
    virtual.jump(5_500_000)
    assert virtual.now() == 6_000_000, "there is no way back"


def test_virtual_time_waits_at_what_is_due_and_catches_up_afterwards() -> None:
    wall = Wall()
    virtual = SkippingTime(wall)
    virtual.hold(1_500_000)

    wall.at += 1_000_000
    assert virtual.now() == 1_500_000
    virtual.hold(3_000_000)

    assert virtual.now() == 2_000_000


def test_frozen_time_moves_by_jumps_only() -> None:
    wall = Wall()
    virtual = SkippingTime(wall)
    virtual.freeze()
    wall.at += 1_000_000
    assert virtual.now() == 1_000_000

    virtual.jump(4_000_000)
    virtual.hold(9_000_000)
    wall.at += 1_000_000
    assert virtual.now() == 4_000_000
    virtual.thaw()
    wall.at += 1_000_000

    assert virtual.now() == 5_000_000


async def test_a_frozen_clock_stands_still_until_a_sleep_moves_it(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    await api.step(start_timer(seconds=3600))
    await clock.unlock()
    skipper.freeze()
    await clock.lock()
    before = await clock.now()
    await asyncio.sleep(0.05)
    assert await clock.now() == before

    skipping = asyncio.create_task(clock.skip(2 * HOUR))
    await api.step(complete_workflow())
    await skipping

    assert await clock.now() == pytest.approx(before + 2 * HOUR, abs=0.002)


async def test_idle_is_when_all_workflows_wait(api: Api, skipper: Skipper) -> None:
    idle = asyncio.Event()
    await api.start()
    skipper.when_idle(idle.set)
    await api.step(schedule_activity())
    task = await api.poll_activity()
    await asyncio.sleep(0.05)
    assert not idle.is_set(), "an activity runs"

    await complete_activity(api, task)
    await api.step(start_timer())

    await asyncio.wait_for(idle.wait(), 5)


async def test_a_hung_test_learns_what_keeps_time_from_skipping(api: Api, clock: Clock, skipper: Skipper) -> None:
    assert skipper.explain() == ["time is locked: 1 lock is held (UnlockTimeSkipping releases one)"]
    await clock.lock()
    await api.start("a")
    await api.poll()
    await api.start("b")

    assert skipper.explain() == [
        "time is locked: 2 locks are held (UnlockTimeSkipping releases one)",
        "workflow 'a': workflow task (attempt 1, task queue 'orders') is being worked on by 'worker'",
        "workflow 'b': workflow task (attempt 1, task queue 'orders') waits for a worker",
    ]


async def test_a_sleep_that_does_not_end_says_which_activity_is_in_the_way(api: Api, clock: Clock) -> None:
    await api.start()
    await api.step(schedule_activity())
    await api.poll_activity()
    await clock.unlock()

    with pytest.raises(Refused) as refused:
        await clock.sleep(DAY, within=0.6)

    assert refused.value.code == "DEADLINE_EXCEEDED"
    assert (
        "activity 'charge' (type 'Charge', attempt 1, task queue 'orders') is running on 'worker'"
        in refused.value.message
    )


async def test_a_fresh_server_comes_and_goes_in_milliseconds_and_leaves_nothing() -> None:
    async def up_and_down() -> float:
        started = time.process_time()
        async with Server(time_skipping=True) as server, grpc.aio.insecure_channel(server.address) as channel:
            clock = Clock(channel)
            before = await clock.now()
            await clock.skip(7 * DAY)
            assert await clock.now() - before == about(7 * DAY)
        return time.process_time() - started

    for _ in range(3):
        await up_and_down()
    gc.collect()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    took = [await up_and_down() for _ in range(20)]

    gc.collect()
    print(f"\nmedian {statistics.median(took) * 1000:.1f} ms")
    assert statistics.median(took) < 0.05
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads


async def test_each_of_two_servers_in_a_process_has_its_own_time() -> None:
    async with (
        Server(time_skipping=True) as one,
        Server(time_skipping=True) as two,
        grpc.aio.insecure_channel(one.address) as first,
        grpc.aio.insecure_channel(two.address) as second,
    ):
        await Clock(first).skip(DAY)

        assert await Clock(first).now() - await Clock(second).now() == about(DAY)
