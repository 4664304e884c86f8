"""Many schedules due at the same instant, while others go on starting workflows.

The schedules are created through the API, all with one interval and phase, so that all are due at one moment. From then
on, callers start workflows of their own, one call after the other each, until every schedule's workflow is there. There
are no workers: what is measured is starting.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import grpc.aio
from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    CreateScheduleRequest,
    StartWorkflowExecutionRequest,
)

from benchmarks.meter import ProcessMeter, percentile

SCHEDULES = 60_000
CALLERS = 64
PACE_SECONDS = 0.05
"""A caller makes its next call so long after the last answer."""
DAY = 86_400
CREATED_A_SECOND = 700
"""Assumed when choosing the moment."""
_SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"


@dataclass
class Wave:
    """Times in seconds since 1970, latencies in seconds."""

    due: int
    latencies: list[float]
    over: bool = False


async def schedules(address: str, meter: ProcessMeter | None, count: int, pace: float = PACE_SECONDS) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        due = int(time.time() + count / CREATED_A_SECOND + 5)
        created = time.monotonic()
        await _create(channel, count, due)
        seconds = time.monotonic() - created
        print(f"  {count:,} schedules, {count / seconds:,.0f}/s", file=sys.stderr, flush=True)
        quiet = await _call_for(channel, 3.0, pace)
        if time.time() > due - 1:
            raise RuntimeError("the schedules were due before all of them existed: this machine is too slow today")
        await asyncio.sleep(due - time.time() - 0.2)
        wave = Wave(due, [])
        before = meter.cpu_ms() if meter else 0.0
        callers = [asyncio.create_task(_caller(channel, wave, number, pace)) for number in range(CALLERS)]
        took = await _until_all_started(channel, count, due)
        wave.over = True
        await asyncio.gather(*callers)
        return {
            "schedules": count,
            "created_per_second": round(count / seconds),
            "seconds_until_all_started": round(took, 1),
            "started_per_second": round(count / took),
            "server_cpu_seconds": round((meter.cpu_ms() - before) / 1000, 1) if meter else None,
            "callers": CALLERS,
            "calls_meanwhile": len(wave.latencies),
            "calls_per_second": round(len(wave.latencies) / took),
            "call_p50_ms": round(statistics.median(wave.latencies) * 1000, 1),
            "call_p99_ms": round(percentile(wave.latencies, 0.99) * 1000, 1),
            "call_worst_ms": round(max(wave.latencies) * 1000, 1),
            "quiet_call_p50_ms": round(statistics.median(quiet) * 1000, 1),
            "quiet_call_p99_ms": round(percentile(quiet, 0.99) * 1000, 1),
        }


async def _create(channel: grpc.aio.Channel, count: int, due: int) -> None:
    caller = channel.unary_unary(_SERVICE + "CreateSchedule")
    made = Schedule()
    interval = made.spec.interval.add()
    interval.interval.seconds = DAY
    interval.phase.seconds = due % DAY
    action = made.action.start_workflow
    action.workflow_type.name = "Wave"
    action.task_queue.name = "wave"
    numbers = iter(range(count))

    async def create() -> None:
        for number in numbers:
            action.workflow_id = f"wave-{number}"
            request = CreateScheduleRequest(
                namespace="default", schedule_id=f"wave-{number}", schedule=made, request_id=f"create-{number}"
            )
            await caller(request.SerializeToString(), timeout=60)

    await asyncio.gather(*(create() for _ in range(CALLERS)))


def _start(name: str) -> bytes:
    request = StartWorkflowExecutionRequest(namespace="default", workflow_id=name, request_id=name)
    request.workflow_type.name = "Call"
    request.task_queue.name = "calls"
    return request.SerializeToString()


async def _caller(channel: grpc.aio.Channel, wave: Wave, number: int, pace: float) -> None:
    caller = channel.unary_unary(_SERVICE + "StartWorkflowExecution")
    for turn in itertools.count():
        if wave.over:
            return
        begun = time.perf_counter()
        await caller(_start(f"call-{number}-{turn}"), timeout=60)
        if time.time() >= wave.due:
            wave.latencies.append(time.perf_counter() - begun)

        if pace:
            await asyncio.sleep(pace)


async def _call_for(channel: grpc.aio.Channel, seconds: float, pace: float) -> list[float]:
    """The same callers, before anything is due."""
    wave = Wave(0, [])
    callers = [asyncio.create_task(_caller(channel, wave, number + CALLERS, pace)) for number in range(CALLERS)]
    await asyncio.sleep(seconds)
    wave.over = True
    await asyncio.gather(*callers)
    return wave.latencies


async def _until_all_started(channel: grpc.aio.Channel, count: int, due: int) -> float:
    """Seconds from the moment on."""
    caller = channel.unary_unary(_SERVICE + "CountWorkflowExecutions")
    request = CountWorkflowExecutionsRequest(namespace="default", query="WorkflowType = 'Wave'").SerializeToString()
    while True:
        await asyncio.sleep(1)
        found = CountWorkflowExecutionsResponse.FromString(await caller(request, timeout=60)).count
        passed = time.time() - due
        print(f"  {found:,} started after {passed:.1f} s", file=sys.stderr, flush=True)
        if found >= count:
            return passed
