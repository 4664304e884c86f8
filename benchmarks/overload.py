"""More than a server can do: callers at full speed beside idle workers, long polls and a namespace being deleted.

How long the event loop stalls is read from the server's own `/metrics`. A stall of the loop is told apart from one of
the machine: `own` is what the loop's thread itself was running.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from temporalio.api.enums.v1 import CommandType
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RegisterNamespaceRequest,
    RespondWorkflowTaskCompletedRequest,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
)

from benchmarks import messages
from benchmarks.load import Connection
from benchmarks.meter import percentile

STARTERS: Final = 64
WORKERS: Final = 500
LONG_POLLS: Final = 100
WORKERS_A_CONNECTION: Final = 25
DOOMED: Final = 1000
"""Workflows in the namespace that is deleted meanwhile."""
PARKED: Final = LONG_POLLS + 2 * WORKERS
BURST: Final = 600
"""Long polls more, at the end."""
STARTER_CONNECTIONS: Final = 8
LIMIT: Final = 1500
SERVER_OPTIONS: Final = ("--dynamic-config-value", f"perdure.callsInFlight={LIMIT}")
"""Idle workers, long polls and starters fit; 600 long polls more do not."""
RECOVERY_SECONDS: Final = 5.0

_HISTORY: Final = messages.SERVICE + "GetWorkflowExecutionHistory"
_DELETE: Final = "/temporal.api.operatorservice.v1.OperatorService/DeleteNamespace"


@dataclass
class Starter:
    """One who starts workflows, one after the other."""

    started: int = 0
    latencies: list[float] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)


class Metrics:
    """What a server says at `/metrics`: values by their line's name, buckets of a histogram by theirs."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        self._values = {name: float(value) for name, _, value in values}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def histogram(self, name: str) -> dict[float, float]:
        """Cumulative counts by bucket's upper end."""
        head = f'{name}_bucket{{le="'
        return {
            float(line.removeprefix(head).removesuffix('"}').replace("+Inf", "inf")): value
            for line, value in self._values.items()
            if line.startswith(head)
        }


def quantile_ms(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """Of what came between two looks, interpolated within its bucket; the last bucket's lower end beyond."""
    counts = {bound: after[bound] - before[bound] for bound in after}
    wanted = share * counts[float("inf")]
    low, seen = 0.0, 0.0
    for bound, count in counts.items():
        if count >= wanted:
            within = 0.0 if count == seen else (wanted - seen) / (count - seen)
            return round((low if bound == float("inf") else low + (bound - low) * within) * 1000, 2)
        low, seen = bound, count
    return low * 1000


async def overload(address: str, metrics_port: int, seconds: float) -> dict[str, Any]:
    """Drive the server so for `seconds`, then see whether it recovers. The server is one of `SERVER_OPTIONS`."""
    connections = [Connection(address) for _ in range(STARTER_CONNECTIONS + WORKERS // WORKERS_A_CONNECTION + 1)]
    try:
        return await _overload(connections, metrics_port, seconds)
    finally:
        for connection in connections:
            await connection.close()


async def _overload(connections: Sequence[Connection], metrics_port: int, seconds: float) -> dict[str, Any]:
    client = connections[-1]
    callers, idle = connections[:STARTER_CONNECTIONS], connections[STARTER_CONNECTIONS:-1]
    await _prepare(client)
    waiting = [asyncio.ensure_future(_long_poll(client, number)) for number in range(LONG_POLLS)]
    for number in range(WORKERS):
        waiting += _idle_worker(idle[number // WORKERS_A_CONNECTION], number)
    while (await _look(metrics_port))["perdure_calls_in_flight"] < PARKED:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    begin = await _look(metrics_port)
    await client.call(_DELETE, DeleteNamespaceRequest(namespace="doomed").SerializeToString())
    starters = [Starter() for _ in range(STARTERS)]
    until = time.monotonic() + seconds
    running = [
        asyncio.ensure_future(_start(callers[number % len(callers)], starter, number, until))
        for number, starter in enumerate(starters)
    ]
    resident: list[float] = []
    while any(not task.done() for task in running):
        resident.append((await _look(metrics_port))["process_resident_memory_bytes"] / 2**20)
        await asyncio.wait(running, timeout=1)
    await asyncio.gather(*running)
    end = await _look(metrics_port)
    recovery = await _recover(client, metrics_port)
    beyond = await _fill(callers, metrics_port)
    await _recover(client, metrics_port)
    ended_early = sum(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return {
        **_starts(starters, seconds),
        **_stalls(begin, end),
        "server_cpu_s": round(end["process_cpu_seconds_total"] - begin["process_cpu_seconds_total"], 1),
        "resident_mib_before": round(begin["process_resident_memory_bytes"] / 2**20, 1),
        "resident_mib_halfway": round(resident[len(resident) // 2], 1),
        "resident_mib_most": round(max(resident), 1),
        "beyond_the_limit": beyond,
        "polls_that_ended": ended_early,
        **recovery,
    }


def _starts(starters: Sequence[Starter], seconds: float) -> dict[str, Any]:
    counts = [starter.started for starter in starters]
    latencies = [latency for starter in starters for latency in starter.latencies]
    refusals: Counter[str] = sum((starter.refusals for starter in starters), Counter())
    return {
        "starters": len(starters),
        "idle_workers": WORKERS,
        "long_polls": LONG_POLLS,
        "seconds": seconds,
        "started": sum(counts),
        "started_per_second": round(sum(counts) / seconds),
        "fewest_of_a_starter": min(counts),
        "most_of_a_starter": max(counts),
        "start_p50_ms": round(statistics.median(latencies) * 1000, 1),
        "start_p99_ms": round(percentile(latencies, 0.99) * 1000, 1),
        "start_worst_ms": round(max(latencies) * 1000, 1),
        "refusals": dict(refusals),
    }


def _stalls(begin: Metrics, end: Metrics) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for label, name in (
        ("loop_lag", "perdure_loop_lag_seconds"),
        ("own_loop_lag", "perdure_loop_lag_own_seconds"),
        ("collector_pause", "perdure_collector_pause_seconds"),
    ):
        before, after = begin.histogram(name), end.histogram(name)
        if after[float("inf")] == before[float("inf")]:
            continue
        figures[f"{label}_p50_ms"] = quantile_ms(before, after, 0.5)
        figures[f"{label}_p999_ms"] = quantile_ms(before, after, 0.999)
        figures[f"{label}_worst_ms"] = round(end[f"{name}_max"] * 1000, 1)
    figures["collections"] = round(after[float("inf")] - before[float("inf")])
    return figures


async def _look(port: int) -> Metrics:
    return await asyncio.to_thread(Metrics, port)


async def _prepare(client: Connection) -> None:
    """What is polled for long, and the namespace that will go."""
    register = RegisterNamespaceRequest(namespace="doomed")
    register.workflow_execution_retention_period.seconds = 86_400
    await client.call(messages.SERVICE + "RegisterNamespace", register.SerializeToString())
    starts = [_start_request(f"watched-{number}", "watched") for number in range(LONG_POLLS)]
    starts += [_start_request(f"doomed-{number}", "doomed", namespace="doomed") for number in range(DOOMED)]
    for first in range(0, len(starts), 50):
        await asyncio.gather(*(client.call(messages.START, start) for start in starts[first : first + 50]))


def _start_request(workflow_id: str, queue: str, namespace: str = messages.NAMESPACE) -> bytes:
    request = StartWorkflowExecutionRequest(namespace=namespace, workflow_id=workflow_id, request_id=workflow_id)
    request.workflow_type.name = "Load"
    request.task_queue.name = queue
    request.input.payloads.append(messages.payload(256))
    return request.SerializeToString()


async def _start(connection: Connection, starter: Starter, number: int, until: float) -> None:
    """At full speed: the next start as soon as the last is answered."""
    turn = 0
    while time.monotonic() < until:
        turn += 1
        began = time.perf_counter()
        try:
            await connection.call(messages.START, _start_request(f"load-{number}-{turn}", "load"))
        except grpc.aio.AioRpcError as error:
            starter.refusals[error.code().name] += 1
            continue
        starter.started += 1
        starter.latencies.append(time.perf_counter() - began)


def _idle_worker(connection: Connection, number: int) -> list[asyncio.Future[None]]:
    requests = (
        (messages.POLL_WORKFLOW, PollWorkflowTaskQueueRequest(namespace=messages.NAMESPACE)),
        (messages.POLL_ACTIVITY, PollActivityTaskQueueRequest(namespace=messages.NAMESPACE)),
    )
    polls: list[asyncio.Future[None]] = []
    for method, request in requests:
        request.task_queue.name, request.identity = f"idle-{number % 50}", f"worker-{number}"
        polls.append(asyncio.ensure_future(_for_ever(connection, method, request.SerializeToString())))
    return polls


async def _long_poll(client: Connection, number: int) -> None:
    await _for_ever(client, _HISTORY, _history_request(number))


def _history_request(number: int) -> bytes:
    request = GetWorkflowExecutionHistoryRequest(namespace=messages.NAMESPACE, wait_new_event=True)
    request.execution.workflow_id = f"watched-{number}"
    request.history_event_filter_type = 2  # type: ignore[assignment]  # the close event
    return request.SerializeToString()


async def _for_ever(connection: Connection, method: str, request: bytes) -> None:
    """Ends only with an error; an empty answer is asked again."""
    while True:
        await connection.call(method, request, 70)


async def _fill(callers: Sequence[Connection], metrics_port: int) -> dict[str, int]:
    """More long polls than there is room for: how many were let in, and by code how the others were refused; then a
    start, which has no room either."""
    codes: Counter[str] = Counter()

    async def ask(connection: Connection, method: str, request: bytes) -> None:
        try:
            await connection.call(method, request, 70)
        except grpc.aio.AioRpcError as error:
            codes[error.code().name] += 1
        else:
            codes["answered"] += 1

    polls = [
        asyncio.ensure_future(ask(callers[number % len(callers)], _HISTORY, _history_request(number % LONG_POLLS)))
        for number in range(BURST)
    ]
    inside = 0.0
    while inside + codes.total() < PARKED + BURST:
        inside = (await _look(metrics_port))["perdure_calls_in_flight"]
    await ask(callers[0], messages.START, _start_request("one-too-many", "load"))
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    return {"let_in": round(inside) - PARKED, **codes}


async def _recover(client: Connection, metrics_port: int) -> dict[str, Any]:
    """How long until nothing waits and a workflow runs as on an idle server."""
    began = time.monotonic()
    while True:
        took = await _run_workflow(client, f"after-{time.monotonic_ns()}")
        metrics = await _look(metrics_port)
        quiet = metrics["perdure_calls_in_flight"] <= PARKED and not metrics["perdure_inputs_waiting"]
        seconds = time.monotonic() - began
        if (quiet and took < 0.25) or seconds > 2 * RECOVERY_SECONDS:
            return {
                "recovered_after_s": round(seconds, 2),
                "workflow_afterwards_ms": round(took * 1000, 1),
                "resident_mib_afterwards": round(metrics["process_resident_memory_bytes"] / 2**20, 1),
            }
        await asyncio.sleep(0.1)


async def _run_workflow(client: Connection, workflow_id: str) -> float:
    began = time.perf_counter()
    reply = await client.call(messages.START, _start_request(workflow_id, workflow_id))
    assert StartWorkflowExecutionResponse.FromString(reply).run_id
    poll = PollWorkflowTaskQueueRequest(namespace=messages.NAMESPACE)
    poll.task_queue.name = workflow_id
    task = PollWorkflowTaskQueueResponse.FromString(await client.call(messages.POLL_WORKFLOW, poll.SerializeToString()))
    done = RespondWorkflowTaskCompletedRequest(namespace=messages.NAMESPACE, task_token=task.task_token)
    command = done.commands.add(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    command.complete_workflow_execution_command_attributes.SetInParent()
    await client.call(messages.RESPOND_WORKFLOW, done.SerializeToString())
    return time.perf_counter() - began
