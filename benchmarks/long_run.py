"""One run with 50,000 events: what a signal, an activity and a page of its history cost at its beginning and at its
end, and what it costs to start a server with it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, TaskQueueKind
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
    GetWorkflowExecutionHistoryReverseRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondWorkflowTaskCompletedRequest,
)

from benchmarks import messages
from benchmarks.load import POLL_SECONDS, Connection
from benchmarks.messages import NAMESPACE, Requests, WorkflowIds, activity_command, completion, payload, workflow_token
from benchmarks.meter import ProcessMeter
from benchmarks.sleepers import Figures, budget, kept_or_fresh, launch
from benchmarks.stories import progress
from tests.support.server_process import ServerProcess, dev_server_command, free_port

STAGE = 1000
"""Events from one measurement to the next."""
SIGNALS = 60
CYCLES = 20
A_TASK = 100
"""Markers in a workflow task that only makes the history longer."""
AT_EACH_END = 5
"""Stages whose median stands for the beginning, and for the end."""


class LongRun:
    """A worker and a client of one run, over one connection, one call at a time."""

    def __init__(self, address: str, meter: ProcessMeter) -> None:
        self._connection = Connection(address)
        self._meter = meter
        ids = WorkflowIds()
        self._requests = Requests(f"long-{ids.next()}")
        self.workflow_id = ids.next()
        self.events = 0
        self._token = b""
        self._parked: asyncio.Future[bytes] | None = None
        self._sticky = f"{self._requests.queue}-sticky"
        poll = PollWorkflowTaskQueueRequest(namespace=NAMESPACE, identity="worker")
        poll.task_queue.name = self._sticky
        poll.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_STICKY
        poll.task_queue.normal_name = self._requests.queue
        self._poll_sticky = poll.SerializeToString()
        stick = RespondWorkflowTaskCompletedRequest()
        stick.sticky_attributes.worker_task_queue.CopyFrom(poll.task_queue)
        stick.sticky_attributes.schedule_to_start_timeout.seconds = 10
        self._stick = stick.SerializeToString()
        self._schedule = completion([activity_command("1", self._requests.queue)])
        marker = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
        marker.record_marker_command_attributes.marker_name = "filler"
        marker.record_marker_command_attributes.details["data"].payloads.append(payload(64))
        self._marker = marker

    async def close(self) -> None:
        if self._parked is not None:
            self._parked.cancel()
        await self._connection.close()

    async def start(self) -> None:
        await self._connection.call(messages.START, self._requests.start(self.workflow_id))
        await self._take(self._requests.poll_workflow)
        self._park()
        await asyncio.sleep(0.5)  # a sticky queue that nobody polled yet gets no tasks

    async def _take(self, poll: bytes = b"") -> None:
        """Take the next workflow task, from the sticky queue unless said: it brings what is new, as SDKs have it."""
        while True:
            if poll:
                reply = await self._connection.call(messages.POLL_WORKFLOW, poll, POLL_SECONDS)
            else:
                reply = await self._park()
                self._parked = None
            task = PollWorkflowTaskQueueResponse.FromString(reply)
            if task.task_token:
                self._token = task.task_token
                self.events = task.started_event_id
                return

    def _park(self) -> asyncio.Future[bytes]:
        """A poll waits before there is a task for it."""
        if self._parked is None:
            call = self._connection.call(messages.POLL_WORKFLOW, self._poll_sticky, POLL_SECONDS)
            self._parked = asyncio.ensure_future(call)
        return self._parked

    async def _respond(self, done: bytes) -> None:
        self._park()
        await self._connection.call(messages.RESPOND_WORKFLOW, done + self._stick + workflow_token(self._token))

    async def signal(self) -> None:
        """A signal that reaches a run whose task is under way, as most do on a busy run."""
        await self._connection.call(messages.SIGNAL, self._requests.signal(self.workflow_id))

    async def cycle(self) -> None:
        """One activity, from its command to the workflow task that follows."""
        await self._respond(self._schedule)
        reply = await self._connection.call(messages.POLL_ACTIVITY, self._requests.poll_activity, POLL_SECONDS)
        activity = PollActivityTaskQueueResponse.FromString(reply)
        await self._connection.call(messages.RESPOND_ACTIVITY, self._requests.complete_activity(activity.task_token))
        await self._take()

    async def grow(self, upto: int) -> None:
        while self.events + 3 < upto:
            markers = [self._marker] * min(A_TASK, upto - self.events - 3)
            await self._respond(completion(markers, another_task=True))
            await self._take()

    async def cost(self, work: Callable[[], Awaitable[None]], times: int) -> float:
        """Server CPU of one, in microseconds."""
        before = self._meter.cpu_ms()
        for _ in range(times):
            await work()
        return round((self._meter.cpu_ms() - before) * 1000 / times, 1)

    async def stage(self) -> tuple[float, float]:
        upto = self.events + STAGE
        signals = await self.cost(self.signal, SIGNALS)
        await self._respond(completion([], another_task=True))
        await self._take()
        cycles = await self.cost(self.cycle, CYCLES)
        await self.grow(upto)
        return signals, cycles

    async def read(self, *, reverse: bool = False) -> Figures:
        """The whole history, page by page."""
        method = "GetWorkflowExecutionHistoryReverse" if reverse else "GetWorkflowExecutionHistory"
        token = b""
        costs, waits, events = [], [], 0
        while True:
            request = (GetWorkflowExecutionHistoryReverseRequest if reverse else GetWorkflowExecutionHistoryRequest)(
                namespace=NAMESPACE, next_page_token=token
            )
            request.execution.workflow_id = self.workflow_id
            cpu, began = self._meter.cpu_ms(), time.perf_counter()
            reply = await self._connection.call(messages.SERVICE + method, request.SerializeToString())
            waits.append((time.perf_counter() - began) * 1000)
            costs.append(self._meter.cpu_ms() - cpu)
            page = GetWorkflowExecutionHistoryResponse.FromString(reply)
            events += len(page.history.events)
            token = page.next_page_token
            if not token:
                break
        tenth = max(len(costs) // 10, 1)
        return {
            "pages": len(costs),
            "events": events,
            "page_cpu_ms_first_tenth": round(statistics.median(costs[:tenth]), 2),
            "page_cpu_ms_last_tenth": round(statistics.median(costs[-tenth:]), 2),
            "page_ms_p50": round(statistics.median(waits), 1),
            "page_ms_worst": round(max(waits), 1),
        }


def long_run(events: int = 50_000) -> Figures:
    with kept_or_fresh(None) as path:
        grown, workflow_id = _grow(path, events)
        again = _after_restart(path, workflow_id)
    signals, cycles, pages = grown["signal_to_first"], grown["activity_to_first"], grown["pages_forward"]
    page_ratio = round(pages["page_cpu_ms_last_tenth"] / pages["page_cpu_ms_first_tenth"], 2)
    return {
        **grown,
        **again,
        "budgets": [
            budget("signal at the end to one at the beginning", signals, 1.5),
            budget("activity at the end to one at the beginning", cycles, 1.5),
            budget("page of history at the end to one at the beginning", page_ratio, 1.5),
            budget("restart to serving, s", again["launch_seconds"], 3),
        ],
    }


def _grow(path: Path, events: int) -> tuple[Figures, str]:
    port = free_port()
    process = ServerProcess(dev_server_command(port, database=path), port)
    meter = ProcessMeter(process.pid)

    async def drive() -> tuple[Figures, str]:
        run = LongRun(process.address, meter)
        await run.start()
        say = progress(events, "events")
        idle = meter.resident_mib()
        stages = []
        while run.events + STAGE // 2 < events:
            stages.append(await run.stage())
            say(run.events)
        some = min(AT_EACH_END, len(stages) // 2)
        signals, cycles = zip(*stages, strict=True)
        figures: dict[str, Any] = {"events": run.events, "stages": len(stages)}
        for name, costs in (("signal", signals), ("activity", cycles)):
            first, last = statistics.median(costs[:some]), statistics.median(costs[-some:])
            figures[f"{name}_cpu_us_first"] = round(first, 1)
            figures[f"{name}_cpu_us_last"] = round(last, 1)
            figures[f"{name}_to_first"] = round(last / first, 2)
        figures["pages_forward"] = await run.read()
        figures["pages_reverse"] = await run.read(reverse=True)
        figures["resident_mib_grown"] = round(meter.resident_mib() - idle, 1)
        await run.close()
        return figures, run.workflow_id

    try:
        return uvloop.run(drive())
    finally:
        process.stop()


def _after_restart(path: Path, workflow_id: str) -> Figures:
    seconds, resident = launch(path)
    port = free_port()
    process = ServerProcess(dev_server_command(port, database=path), port)

    async def drive() -> Figures:
        run = LongRun(process.address, ProcessMeter(process.pid))
        run.workflow_id = workflow_id
        began = time.perf_counter()
        await run.signal()
        first = time.perf_counter() - began
        began = time.perf_counter()
        await run.signal()
        second = time.perf_counter() - began
        await run.close()
        return {
            "launch_seconds": seconds,
            "resident_mib_after_launch": resident,
            "first_signal_after_it_ms": round(first * 1000, 1),
            "second_signal_ms": round(second * 1000, 1),
        }

    try:
        return uvloop.run(drive())
    finally:
        process.stop()
