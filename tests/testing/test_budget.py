"""What a fresh environment costs, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from perdure.testing import TimeSkippingEnvironment
from tests.testing.workflows import QUEUE, Subscription, worker

SAMPLES = 20
ROUNDS = 5
"""Tries: that the machine had other things to do in one is no news of ours."""


async def up_and_down() -> None:
    async with await TimeSkippingEnvironment.start():
        pass


async def a_week_and_three_activities() -> None:
    async with await TimeSkippingEnvironment.start() as env, worker(env.client):
        assert await env.client.execute_workflow(Subscription.run, id="s", task_queue=QUEUE) == "expired"


async def median_ms(scenario: Callable[[], Awaitable[None]]) -> float:
    await scenario()  # the warm-up
    samples = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        await scenario()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples) * 1000


@pytest.mark.parametrize(("scenario", "budget_ms"), [(up_and_down, 50), (a_week_and_three_activities, 150)])
async def test_a_fresh_environment_keeps_to_its_budget(
    scenario: Callable[[], Awaitable[None]], budget_ms: float
) -> None:
    medians = []
    for _ in range(ROUNDS):
        medians.append(await median_ms(scenario))
        if medians[-1] <= budget_ms:
            return

    pytest.fail(f"{scenario.__name__}: medians of {medians} ms, budget {budget_ms} ms")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads and descriptors in /proc")
async def test_no_thread_and_no_file_descriptor_is_left() -> None:
    async def many() -> None:
        await asyncio.gather(*(a_week_and_three_activities() for _ in range(4)))

    await many()  # the SDK's runtime starts the threads it keeps
    before = await settled()

    for _ in range(3):
        await many()

    assert await settled() == before


async def settled() -> tuple[list[str], list[str], int]:
    """What is there once garbage is collected, and the SDK's client has closed its ends of the connections, which it
    does a moment after the server did."""
    gc.collect()
    found = inventory()
    for _ in range(50):
        await asyncio.sleep(0.05)
        gc.collect()
        if found == (found := inventory()):
            break
    return found


def inventory() -> tuple[list[str], list[str], int]:
    return (
        sorted(thread.name for thread in threading.enumerate()),
        # Those of the SDK's runtime come and go as it likes, whatever server it talks to.
        sorted(name for task in os.listdir("/proc/self/task") if (name := comm(task)) != "tokio-rt-worker"),
        len(os.listdir("/proc/self/fd")),
    )


def comm(task: str) -> str:
    with open(f"/proc/self/task/{task}/comm") as file:
        return file.read().strip()
