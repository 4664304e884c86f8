"""The TestService: who holds time, and what its sleeps do to that."""

from __future__ import annotations

import asyncio
import time

import pytest

from perdure.runtime.skipping import Skipper
from tests.api.client import Api, Refused, complete_workflow, schedule_activity, start_timer
from tests.skipping.clock import DAY, HOUR, MINUTE, Clock, about
from tests.skipping.commands import complete_activity


async def waiting(api: Api, workflow_id: str = "order-1", seconds: int = 3600) -> None:
    """A workflow that waits for a timer."""
    await api.start(workflow_id)
    await api.step(start_timer(seconds=seconds))


async def test_a_server_starts_with_one_lock_and_runs_at_the_walls_pace(api: Api, clock: Clock) -> None:
    await waiting(api)

    before, wall = await clock.now(), time.time()
    await clock.sleep(0.1)

    assert abs((await clock.now() - before) - (time.time() - wall)) < 0.05
    assert abs(before - wall) < 1


async def test_unlocked_time_jumps_to_the_next_timer(api: Api, clock: Clock) -> None:
    await waiting(api, seconds=3600)
    before = await clock.now()

    await clock.unlock()
    await api.step(complete_workflow())

    assert await clock.now() - before == about(HOUR)


async def test_time_keeps_what_it_gained_when_it_is_locked_again(api: Api, clock: Clock) -> None:
    await waiting(api)
    await clock.unlock()
    await api.step(complete_workflow())
    await clock.lock()

    ahead = await clock.now() - time.time()

    assert ahead == about(HOUR)


async def test_every_lock_needs_an_unlock_of_its_own(api: Api, clock: Clock, skipper: Skipper) -> None:
    await waiting(api)
    await clock.lock()

    await clock.unlock()
    assert not skipper.may_skip
    await clock.unlock()

    await api.step(complete_workflow())


async def test_an_unlocked_server_with_nothing_to_wait_for_runs_at_the_walls_pace(clock: Clock) -> None:
    await clock.unlock()

    before, wall = await clock.now(), time.time()
    await asyncio.sleep(0.1)

    assert abs((await clock.now() - before) - (time.time() - wall)) < 0.05


async def test_unlocking_what_is_not_locked_is_refused_and_changes_nothing(clock: Clock, skipper: Skipper) -> None:
    await clock.unlock()

    with pytest.raises(Refused, match="FAILED_PRECONDITION: UnlockTimeSkipping: time skipping is unlocked already"):
        await clock.unlock()

    assert skipper.explicit == 0
    await clock.lock()
    assert skipper.explicit == 1


async def test_an_unlocking_sleep_without_a_lock_is_refused_and_leaves_nothing(clock: Clock, skipper: Skipper) -> None:
    await clock.unlock()

    with pytest.raises(Refused, match="FAILED_PRECONDITION: UnlockTimeSkippingWithSleep"):
        await clock.skip(DAY)

    assert skipper.explicit == 0
    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]


async def test_waits_at_the_same_time_each_unlock_and_lock(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    await api.step()  # it waits for a signal
    await clock.unlock()
    await clock.unlock()

    await clock.lock()
    assert skipper.explicit == 0, "the other still waits"
    await clock.lock()

    assert skipper.explicit == 1


async def test_waits_for_results_that_are_there_already_may_cross(api: Api, clock: Clock, skipper: Skipper) -> None:
    await clock.unlock()
    second = asyncio.create_task(clock.unlock())
    await asyncio.sleep(0.05)
    await clock.lock()

    await second
    assert skipper.explicit == 0


async def test_a_second_wait_does_not_skip_past_an_activity(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    await api.step(schedule_activity())
    await api.poll_activity()
    await clock.unlock()
    await clock.unlock()

    assert not skipper.may_skip
    assert skipper.explicit == 0


async def test_sleeping_takes_as_long_as_it_says_while_time_is_locked(clock: Clock) -> None:
    started = time.perf_counter()

    await clock.sleep(0.2)

    assert 0.2 <= time.perf_counter() - started < 1


async def test_sleeping_takes_no_time_while_it_is_unlocked(clock: Clock) -> None:
    await clock.unlock()
    before = await clock.now()

    await clock.sleep(30 * DAY)

    assert await clock.now() - before == about(30 * DAY)


async def test_a_sleep_until_a_past_moment_is_over_at_once(clock: Clock) -> None:
    await clock.sleep_until(await clock.now() - DAY, within=0.5)
    await clock.sleep(-5, within=0.5)


async def test_sleeping_until_a_moment_ends_there(clock: Clock) -> None:
    await clock.unlock()
    moment = float(int(await clock.now())) + DAY

    await clock.sleep_until(moment)

    assert moment <= await clock.now() < moment + 1


async def test_an_unlocking_sleep_walks_through_all_timers_on_the_way(api: Api, clock: Clock) -> None:
    await waiting(api, "a", 600)
    await waiting(api, "b", 3 * 3600)
    before = await clock.now()

    skipping = asyncio.create_task(clock.skip(2 * HOUR))
    task = await api.poll()
    assert await clock.now() - before == about(600)
    await api.complete(task, start_timer("again", seconds=1800))
    task = await api.poll()
    assert await clock.now() - before == about(2400)
    await api.complete(task, complete_workflow())
    await skipping

    assert await clock.now() - before == about(2 * HOUR)
    assert (await api.describe("b")).workflow_execution_info.status == 1


async def test_an_unlocking_sleep_leaves_time_locked_as_it_was(clock: Clock, skipper: Skipper) -> None:
    await clock.skip(HOUR)
    assert skipper.explicit == 1
    await clock.lock()

    with pytest.raises(Refused, match="time is locked: 1 lock is held"):
        await clock.skip(HOUR, within=0.3)

    assert skipper.explicit == 2


async def test_a_sleep_that_its_caller_cancels_leaves_the_counter_as_it_was(clock: Clock, skipper: Skipper) -> None:
    await clock.lock()
    sleeping = asyncio.create_task(clock.skip(HOUR))
    while skipper.explicit == 2:
        await asyncio.sleep(0)

    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    while skipper.explicit == 1:
        await asyncio.sleep(0)

    await clock.unlock()
    await clock.unlock()
    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]


async def test_a_test_skips_from_inside_an_activity(api: Api, clock: Clock, skipper: Skipper) -> None:
    await api.start()
    await api.step(schedule_activity())
    task = await api.poll_activity()
    await clock.unlock()  # somebody awaits the result
    before = await clock.now()

    await clock.skip(40)

    assert await clock.now() - before == about(40)
    assert not skipper.may_skip, "the activity still runs"
    await complete_activity(api, task)
    await api.step(complete_workflow())


async def test_an_activity_that_timed_out_in_its_sleep_takes_its_weight_along(
    api: Api, clock: Clock, skipper: Skipper
) -> None:
    await api.start()
    await api.step(schedule_activity())
    task = await api.poll_activity()
    await clock.unlock()
    sleeping = asyncio.create_task(clock.skip(10 * MINUTE))

    task_of_workflow = await api.poll()  # it hears of the timeout after a minute
    assert not skipper.may_skip, "no sleep outweighs a workflow task"
    with pytest.raises(Refused, match="NOT_FOUND"):
        await complete_activity(api, task)
    await api.complete(task_of_workflow, complete_workflow())
    await sleeping

    assert skipper.explicit == 0
    await clock.lock()
    assert skipper.explicit == 1


async def test_a_workflow_that_closes_over_an_open_activity_leaves_time_free(
    api: Api, clock: Clock, skipper: Skipper
) -> None:
    await api.start()
    await api.step(schedule_activity())
    await api.poll_activity()
    await api.signal()
    await api.step(complete_workflow())

    await clock.unlock()
    await clock.sleep(DAY)

    assert skipper.may_skip
