"""The one-activity workflow over raw gRPC: seven calls from a client and a worker that do as little as they can.

Start; poll workflow task; respond (schedule an activity); poll activity task; respond; poll workflow task; respond
(complete the workflow).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import grpc
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, PollWorkflowTaskQueueResponse

from benchmarks import messages
from benchmarks.messages import Requests, WorkflowIds
from benchmarks.meter import ProcessMeter, percentile

CALL_SECONDS = 30
POLL_SECONDS = 70
"""What SDKs set on a poll; servers answer empty-handed before."""


class Connection:
    """One HTTP/2 connection that carries serialised messages both ways. Belongs to the loop that makes it."""

    def __init__(self, address: str) -> None:
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),  # two connections to one address are two, as with two processes
        ]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable] = {}

    async def call(self, method: str, request: bytes, deadline: float = CALL_SECONDS) -> bytes:
        """`deadline` in seconds from now. Raises grpc.aio.AioRpcError."""
        unary = self._methods.get(method)
        if unary is None:
            unary = self._methods[method] = self._channel.unary_unary(method)
        reply: bytes = await unary(request, timeout=deadline)
        return reply

    async def close(self) -> None:
        await self._channel.close()


@dataclass(frozen=True)
class LoadFigures:
    """`server_*` are None when the server's process is not known."""

    workflows: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    server_cpu_ms_per_workflow: float | None
    server_resident_mib: float | None
    client_cpu_ms_per_workflow: float
    started_in_all: int


class OneActivityLoad:
    """`in_flight` workflows at any time, `pollers` polls of each kind.

    More pollers than workflows in flight: a poller always waits, so each task is handed over as it is made. Fewer:
    tasks wait in the backlog for a poll.
    """

    def __init__(self, address: str, *, in_flight: int, pollers: int, payload_bytes: int = 64) -> None:
        self._client, self._worker = Connection(address), Connection(address)
        self._ids = WorkflowIds()
        self._requests = Requests(f"bench-{self._ids.next()}", payload_bytes)
        self._in_flight, self._pollers = in_flight, pollers
        self._open: dict[str, asyncio.Future[None]] = {}
        self._latencies: list[float] = []
        self._started = 0
        self._stopping = False

    async def measure(self, seconds: float, warm_up: float, meter: ProcessMeter | None) -> LoadFigures:
        """Run the load and look at the `seconds` after `warm_up`. The first call that fails ends it with its error."""
        try:
            return await self._measure(seconds, warm_up, meter)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._client.close()
            await self._worker.close()

    async def _measure(self, seconds: float, warm_up: float, meter: ProcessMeter | None) -> LoadFigures:
        async with asyncio.TaskGroup() as tasks:
            polls = [tasks.create_task(self._poll_workflow_tasks()) for _ in range(self._pollers)]
            polls += [tasks.create_task(self._poll_activity_tasks()) for _ in range(self._pollers)]
            slots = [tasks.create_task(self._start_one_after_another()) for _ in range(self._in_flight)]
            await asyncio.sleep(warm_up)

            self._latencies.clear()
            cpu = meter.cpu_ms() if meter else 0.0
            own_cpu, began = time.process_time(), time.perf_counter()
            await asyncio.sleep(seconds)
            took, own_cpu = time.perf_counter() - began, time.process_time() - own_cpu
            cpu = meter.cpu_ms() - cpu if meter else 0.0
            latencies = self._latencies.copy()

            self._stopping = True
            await asyncio.gather(*slots)
            for poll in polls:
                poll.cancel()
        if not latencies:
            raise RuntimeError(f"no workflow finished in {seconds} s")
        done = len(latencies)
        return LoadFigures(
            workflows=done,
            per_second=round(done / took, 1),
            p50_ms=round(percentile(latencies, 0.5) * 1000, 2),
            p95_ms=round(percentile(latencies, 0.95) * 1000, 2),
            p99_ms=round(percentile(latencies, 0.99) * 1000, 2),
            server_cpu_ms_per_workflow=round(cpu / done, 3) if meter else None,
            server_resident_mib=meter.resident_mib() if meter else None,
            client_cpu_ms_per_workflow=round(own_cpu * 1000 / done, 3),
            started_in_all=self._started,
        )

    async def _start_one_after_another(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            workflow_id = self._ids.next()
            finished = self._open[workflow_id] = loop.create_future()
            self._started += 1
            began = time.perf_counter()
            await self._client.call(messages.START, self._requests.start(workflow_id))
            await finished
            self._latencies.append(time.perf_counter() - began)

    async def _poll_workflow_tasks(self) -> None:
        call, requests = self._worker.call, self._requests
        while True:
            reply = await call(messages.POLL_WORKFLOW, requests.poll_workflow, POLL_SECONDS)
            task = PollWorkflowTaskQueueResponse.FromString(reply)
            if not task.task_token:
                continue
            if task.previous_started_event_id == 0:
                await call(messages.RESPOND_WORKFLOW, requests.schedule_activity(task.task_token))
            else:
                await call(messages.RESPOND_WORKFLOW, requests.complete_workflow(task.task_token))
                self._open.pop(task.workflow_execution.workflow_id).set_result(None)

    async def _poll_activity_tasks(self) -> None:
        call, requests = self._worker.call, self._requests
        while True:
            reply = await call(messages.POLL_ACTIVITY, requests.poll_activity, POLL_SECONDS)
            task = PollActivityTaskQueueResponse.FromString(reply)
            if task.task_token:
                await call(messages.RESPOND_ACTIVITY, requests.complete_activity(task.task_token))
