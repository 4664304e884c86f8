"""Runs asleep in timers: a million of them at a restart, some of them due while others start; and ten thousand due at
one instant, in as many runs or in one."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    PollWorkflowTaskQueueResponse,
)

from benchmarks import messages
from benchmarks.callers import Callers
from benchmarks.load import POLL_SECONDS, Connection
from benchmarks.messages import NAMESPACE, Requests, completion, workflow_token
from benchmarks.meter import ProcessMeter, percentile
from benchmarks.stories import SECOND, fill, opened, progress, telling
from benchmarks.watched import watched_server
from tests.support.server_process import ServerProcess, dev_server_command, free_port

Figures = dict[str, Any]

QUEUE = "sleepers"
LENGTHS = 1000
"""So many different timers among those that sleep for long."""
MONTH = 30 * 86_400
DUE_A_SECOND = 100
STARTS_A_SECOND = 1000
POLLERS = 64
LAUNCHES = 3
CALLERS = 64
PAUSE_SECONDS = 0.05
LEAD_SECONDS = 20
"""From the loading of those that fall due until the first one is."""


def budget(what: str, value: float, at_most: float) -> Figures:
    return {"what": what, "is": value, "at_most": at_most, "met": value <= at_most}


@contextmanager
def kept_or_fresh(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        yield Path(folder) / "bench.db"


async def load_sleepers(path: Path, runs: int) -> None:
    """Runs that sleep for one to twelve months from now."""
    async with opened(path) as store, telling(store.load_namespaces()) as teller:
        teller.at(time.time_ns() // 1000)
        some = min(LENGTHS, runs)
        stories = await teller.asleep([(MONTH + n * 11 * MONTH // some) * SECOND for n in range(some)], QUEUE)
        endless = (stories[number % some] for number in range(runs))
        await fill(store, endless, teller.namespaces, "sleeper-", progress(runs, "runs"))


async def load_due(path: Path, count: int, a_second: float | None, lead: float, queue: str = QUEUE) -> float:
    """Runs that fall due one after the other, or with None all at one instant; when the first one is (seconds since
    1970)."""
    async with opened(path) as store, telling(store.load_namespaces()) as teller:
        now = time.time_ns() // 1000
        teller.at(now)
        begin = round(lead * SECOND)
        if a_second is None:
            (story,) = await teller.asleep([begin], queue)
            stories = [story] * count
        else:
            stories = await teller.asleep([begin + round(n * SECOND / a_second) for n in range(count)], queue)
        await fill(store, stories, teller.namespaces, "due-", progress(count, "runs that fall due"))
    return (now + begin) / SECOND


async def load_many_timers(path: Path, timers: int, lead: float) -> tuple[float, str, int]:
    """One run with so many timers due at one instant; when, its workflow ID, and how many events it has."""
    async with opened(path) as store, telling(store.load_namespaces()) as teller:
        now = time.time_ns() // 1000
        teller.at(now)
        story = await teller.asleep_in_many(timers, round(lead * SECOND), QUEUE)
        workflow_id = await fill(store, [story], teller.namespaces, "many-", lambda written: None)
    last = story.steps[-1].run.history
    assert last is not None
    return (now + round(lead * SECOND)) / SECOND, workflow_id, last.last_event_id


# ---- launches
def drop_from_memory(path: Path) -> None:
    """Have the system forget the file's pages, so that the next reader finds them on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def launch(path: Path) -> tuple[float, float]:
    """Seconds to the first answer, and resident MiB a second later."""
    port = free_port()
    process = ServerProcess(dev_server_command(port, database=path), port, answer_within=120)
    try:
        time.sleep(1)
        seconds, resident = round(process.launch_seconds, 3), ProcessMeter(process.pid).resident_mib()
        print(f"  {seconds} s to the first answer, {resident} MiB", file=sys.stderr, flush=True)
        return seconds, resident
    finally:
        process.stop(within=60)


def launches(path: Path, times: int = LAUNCHES) -> Figures:
    seen = [launch(path) for _ in range(times)]
    return {
        "seconds_to_first_answer": statistics.median(seconds for seconds, _ in seen),
        "seconds_each": [seconds for seconds, _ in seen],
        "resident_mib": statistics.median(mib for _, mib in seen),
    }


def killed_under_load(path: Path, seconds: float) -> float:
    """Kill a server that is busy with starts; seconds until another one answers on what it left."""
    port = free_port()
    process = ServerProcess(dev_server_command(port, database=path), port, answer_within=120)

    async def load() -> None:
        callers = Callers(process.address)
        callers.at_a_rate(STARTS_A_SECOND)
        await asyncio.sleep(seconds)
        process.kill()
        await callers.close()

    uvloop.run(load())
    return launch(path)[0]


# ---- workers
class Worker:
    """Takes the tasks of runs that woke and completes them; how late each was in hand, and how late it fired."""

    def __init__(self, address: str, queue: str) -> None:
        self._connection = Connection(address)
        self._requests = Requests(queue)
        complete = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
        complete.complete_workflow_execution_command_attributes.SetInParent()
        self._complete = completion([complete])
        self.fired_late: list[float] = []
        self.in_hand_late: list[float] = []
        self._polls = [asyncio.ensure_future(self._work()) for _ in range(POLLERS)]

    async def close(self) -> None:
        for poll in self._polls:
            poll.cancel()
        failed = await asyncio.gather(*self._polls, return_exceptions=True)
        await self._connection.close()
        for error in failed:
            if isinstance(error, Exception):
                raise error

    async def _work(self) -> None:
        call = self._connection.call
        while True:
            reply = await call(messages.POLL_WORKFLOW, self._requests.poll_workflow, POLL_SECONDS)
            now = time.time()
            task = PollWorkflowTaskQueueResponse.FromString(reply)
            if not task.task_token:
                continue
            due = 0.0
            for event in task.history.events if task.attempt == 1 else ():
                if event.HasField("timer_started_event_attributes"):
                    length = event.timer_started_event_attributes.start_to_fire_timeout
                    due = event.event_time.ToMicroseconds() / SECOND + length.ToMicroseconds() / SECOND
                elif event.HasField("timer_fired_event_attributes"):
                    self.fired_late.append(event.event_time.ToMicroseconds() / SECOND - due)
                    self.in_hand_late.append(now - due)
            try:
                await call(messages.RESPOND_WORKFLOW, self._complete + workflow_token(task.task_token))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                # This machine was so slow that the task timed out in hand. It comes again.


def late(seconds: list[float]) -> Figures:
    return {
        "p50": round(statistics.median(seconds) * 1000, 1),
        "p99": round(percentile(seconds, 0.99) * 1000, 1),
        "worst": round(max(seconds) * 1000, 1),
    }


async def until(moment: float) -> None:
    if moment < time.time():
        raise RuntimeError("timers were due before the server was ready: this machine is too slow today")
    await asyncio.sleep(moment - time.time())


# ---- the parts
def sleepers(runs: int, keep: Path | None, seconds: float = 20) -> Figures:
    """`keep`: the file to load into, or to use again when it is there already."""
    with kept_or_fresh(keep) as path:
        began = time.monotonic()
        fresh = not path.exists()
        if fresh:
            asyncio.run(load_sleepers(path, runs))
        loaded = time.monotonic() - began
        with kept_or_fresh(None) as nothing:
            empty = launches(nothing)
        drop_from_memory(path)
        cold, _ = launch(path)
        full = launches(path)
        count = round(seconds * DUE_A_SECOND)
        queue = f"due-{uuid.uuid4().hex[:8]}"
        first = asyncio.run(load_due(path, count, DUE_A_SECOND, LEAD_SECONDS, queue))
        driven = drive(path, queue, first, count, seconds)
        after_kill = killed_under_load(path, 3)
        size = path.stat().st_size
    starts, in_hand = driven["starts_meanwhile"], driven["in_hand_late_ms"]
    return {
        "runs": runs,
        "load_seconds": round(loaded, 1) if fresh else None,
        "file_mib": size >> 20,
        "launch_on_an_empty_file": empty,
        "launch_on_this_file": full,
        "first_launch_after_the_system_forgot_its_pages": cold,
        "launch_after_a_kill_under_load": after_kill,
        **driven,
        "budgets": [
            budget("restart to serving, s", max(full["seconds_to_first_answer"], cold, after_kill), 3),
            budget(
                "memory above that on an empty file, MiB", round(full["resident_mib"] - empty["resident_mib"], 1), 8
            ),
            budget("timers in a worker's hand, ms late, p99", in_hand["p99"], 250),
            budget("share of 1,000 starts/s that is missed", round(1 - starts["a_second"] / STARTS_A_SECOND, 3), 0.02),
            budget("the loop is late, ms, p99.9", driven["timers fall due"]["loop_late_p999_ms"], 20),
            budget("collections of garbage, ms, worst", driven["timers fall due"]["collection_worst_ms"], 20),
        ],
    }


def drive(path: Path, queue: str, first: float, count: int, seconds: float) -> Figures:
    with watched_server(path) as server:

        async def load() -> Figures:
            callers = Callers(server.process.address)
            callers.at_a_rate(STARTS_A_SECOND)
            await asyncio.sleep(1)
            alone = await callers.stretch(min(5.0, max(first - time.time() - 2, 1)))
            worker = Worker(server.process.address, queue)
            await until(first)
            before = server.meter.cpu_ms()
            with server.window("timers fall due"):
                meanwhile = await callers.stretch(seconds)
            used = server.meter.cpu_ms() - before
            for _ in range(100):
                if len(worker.in_hand_late) >= count:
                    break
                await asyncio.sleep(0.1)
            await callers.close()
            resident = server.meter.resident_mib()
            await worker.close()
            if len(worker.in_hand_late) < count:
                raise RuntimeError(f"{count - len(worker.in_hand_late)} of {count} timers did not come")
            return {
                "due": count,
                "due_a_second": DUE_A_SECOND,
                "fired_late_ms": late(worker.fired_late),
                "in_hand_late_ms": late(worker.in_hand_late),
                "starts_alone": alone,
                "starts_meanwhile": meanwhile,
                "server_cpu_share": round(used / seconds / 1000, 2),
                "resident_mib_at_the_end": resident,
            }

        figures = uvloop.run(load())
    return {**figures, **server.figures()}


def due_at_once(timers: int) -> Figures:
    """`timers` due at one instant: in as many runs, then in one."""
    return {"timers": timers, "in as many runs": _wave(timers), "in one run": _wave_in_one(timers)}


def _wave(timers: int) -> Figures:
    with kept_or_fresh(None) as path:
        due = asyncio.run(load_due(path, timers, None, LEAD_SECONDS + timers / 2000))
        with watched_server(path) as server:
            ask = DescribeTaskQueueRequest(namespace=NAMESPACE, report_stats=True, task_queue_type=1)  # type: ignore[arg-type]
            ask.task_queue.name = QUEUE
            question = ask.SerializeToString()

            async def waiting(connection: Connection) -> int:
                reply = await connection.call(messages.SERVICE + "DescribeTaskQueue", question)
                return DescribeTaskQueueResponse.FromString(reply).stats.approximate_backlog_count

            figures = uvloop.run(_watch_wave(server, due, timers, waiting))
        return _with_budgets(figures, server.figures(), 10)


def _wave_in_one(timers: int) -> Figures:
    with kept_or_fresh(None) as path:
        due, workflow_id, events = asyncio.run(load_many_timers(path, timers, LEAD_SECONDS))
        with watched_server(path) as server:
            ask = DescribeWorkflowExecutionRequest(namespace=NAMESPACE)
            ask.execution.workflow_id = workflow_id
            question = ask.SerializeToString()

            async def fired(connection: Connection) -> int:
                reply = await connection.call(messages.SERVICE + "DescribeWorkflowExecution", question)
                described = DescribeWorkflowExecutionResponse.FromString(reply)
                # The task comes after the last of them.
                return described.workflow_execution_info.history_length - events - 1

            figures = uvloop.run(_watch_wave(server, due, timers, fired))
        return _with_budgets(figures, server.figures(), 5)


async def _watch_wave(server: Any, due: float, timers: int, done: Any) -> Figures:
    callers = Callers(server.process.address)
    callers.paced(CALLERS, PAUSE_SECONDS)
    await asyncio.sleep(1)
    quiet = await callers.stretch(min(5.0, max(due - time.time() - 2, 1)))
    await until(due)
    before = server.meter.cpu_ms()
    callers.begin()
    with server.window("wave"):
        while (fired := await done(callers.connection)) < timers:
            print(f"  {fired:,} fired after {time.time() - due:.1f} s", file=sys.stderr, flush=True)
            if time.time() - due > 120:
                raise RuntimeError(f"only {fired} of {timers} timers fired within two minutes")
            await asyncio.sleep(0.1)
        took = time.time() - due
        calls = callers.end() if took > 0.5 else await callers.stretch(0.5)
    used = server.meter.cpu_ms() - before
    await callers.close()
    return {
        "seconds_until_all_are_durable": round(took, 2),
        "server_cpu_seconds": round(used / 1000, 1),
        "quiet_calls": quiet,
        "calls_meanwhile": calls,
    }


def _with_budgets(figures: Figures, seen: Figures, at_most_seconds: float) -> Figures:
    return {
        **figures,
        **seen,
        "budgets": [
            budget("all fired, durable, and tasks there, s", figures["seconds_until_all_are_durable"], at_most_seconds),
            budget("other callers meanwhile, ms, p99", figures["calls_meanwhile"]["p99_ms"], 500),
        ],
    }
