"""Runs that grow: does the next signal or timer cost what the first one did?

Nothing polls for the runs' tasks unless said, so the server's work is that of the call measured and no other. Costs are
microseconds of server CPU for one call.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import Any

from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from benchmarks import messages
from benchmarks.load import POLL_SECONDS, Connection
from benchmarks.messages import Requests, WorkflowIds, activity_command, completion, timer_command, workflow_token
from benchmarks.meter import ProcessMeter

AT_A_TIME = 16
"""Signals under way at once, so that commits are shared as under load."""


class Bench:
    """A server, its meter, and runs on a task queue of their own."""

    def __init__(self, address: str, meter: ProcessMeter) -> None:
        self._connection = Connection(address)
        self._meter = meter
        self._ids = WorkflowIds()
        self.requests = Requests(f"bench-{self._ids.next()}")

    async def close(self) -> None:
        await self._connection.close()

    async def start(self) -> str:
        workflow_id = self._ids.next()
        await self._connection.call(messages.START, self.requests.start(workflow_id))
        return workflow_id

    async def next_token(self) -> bytes:
        """The token of the next workflow task on the queue."""
        while True:
            reply = await self._connection.call(messages.POLL_WORKFLOW, self.requests.poll_workflow, POLL_SECONDS)
            if token := PollWorkflowTaskQueueResponse.FromString(reply).task_token:
                return token

    async def respond(self, token: bytes, done: bytes) -> None:
        await self._connection.call(messages.RESPOND_WORKFLOW, done + workflow_token(token))

    async def signal(self, workflow_id: str, times: int) -> float:
        """Server CPU of one signal, in microseconds, as the mean of `times`."""
        left = times

        async def sender() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self._connection.call(messages.SIGNAL, self.requests.signal(workflow_id))

        return await self.cost(sender, AT_A_TIME, times)

    async def cost(self, work: Callable[[], Any], at_a_time: int, units: int) -> float:
        before = self._meter.cpu_ms()
        await asyncio.gather(*(work() for _ in range(at_a_time)))
        return round((self._meter.cpu_ms() - before) * 1000 / units, 1)


async def signals(address: str, meter: ProcessMeter, total: int = 10_000) -> dict[str, Any]:
    """One run takes `total` signals: what one costs in each tenth."""
    bench = Bench(address, meter)
    await bench.signal(await bench.start(), 500)  # warm up on another run
    run = await bench.start()
    tenths = [await bench.signal(run, total // 10) for _ in range(10)]
    await bench.close()
    return {
        "signals": total,
        "cpu_us_per_signal_by_tenth": tenths,
        "last_tenth_to_first": round(tenths[-1] / tenths[0], 2),
    }


async def timers(address: str, meter: ProcessMeter, total: int = 10_000) -> dict[str, Any]:
    """One run opens `total` timers, a thousand for each workflow task; then takes signals, as does one without any."""
    bench = Bench(address, meter)
    steps = total // 1000
    run = await bench.start()
    thousands: list[float] = []
    for step in range(steps):
        commands = [timer_command(f"{step}-{number}", 3600) for number in range(1000)]
        done = completion(commands, another_task=step < steps - 1)
        token = await bench.next_token()

        async def respond(token: bytes = token, done: bytes = done) -> None:
            await bench.respond(token, done)

        thousands.append(await bench.cost(respond, 1, 1000))
    compared = await compare_signals(bench, run)
    await bench.close()
    return {"timers": total, "cpu_us_per_timer_by_thousand": thousands, **compared}


async def pending_activities(address: str, meter: ProcessMeter, total: int = 2_000) -> dict[str, Any]:
    """A signal to a run with `total` pending activities, and one to a run with none."""
    bench = Bench(address, meter)
    run = await bench.start()
    nobody = bench.requests.queue + "-nobody"
    commands = [activity_command(str(number), nobody) for number in range(total)]
    await bench.respond(await bench.next_token(), completion(commands))
    compared = await compare_signals(bench, run)
    await bench.close()
    return {"pending_activities": total, **compared}


async def compare_signals(bench: Bench, large: str) -> dict[str, Any]:
    """Signals to `large` and to a run with nothing open, in turns, medians of seven rounds."""
    empty = await bench.start()
    await bench.respond(await bench.next_token(), completion([]))
    await bench.signal(large, 50)
    await bench.signal(empty, 50)
    rounds = [(await bench.signal(empty, 200), await bench.signal(large, 200)) for _ in range(7)]
    to_empty = statistics.median(cost for cost, _ in rounds)
    to_large = statistics.median(cost for _, cost in rounds)
    return {
        "cpu_us_per_signal_to_it": to_large,
        "cpu_us_per_signal_to_an_empty_run": to_empty,
        "ratio": round(to_large / to_empty, 2),
    }
