"""Clients that start workflows and note how long each call takes, while something else goes on."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from typing import Any

from benchmarks import messages
from benchmarks.load import Connection
from benchmarks.messages import Requests, WorkflowIds
from benchmarks.meter import percentile


class Callers:
    """Starts on a queue that nobody polls; the latencies of a stretch are those between `begin` and `end`."""

    def __init__(self, address: str) -> None:
        self.connection = Connection(address)
        self._ids = WorkflowIds()
        self._requests = Requests(f"callers-{uuid.uuid4().hex[:8]}")
        self._latencies: list[float] = []
        self._began = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    def paced(self, callers: int, pause: float) -> None:
        """So many callers, each of which calls again `pause` seconds after its last answer."""

        async def call_on() -> None:
            while True:
                await self._call()
                await asyncio.sleep(pause)

        for _ in range(callers):
            self._run(call_on())

    def at_a_rate(self, a_second: float) -> None:
        """Calls come at even intervals, whatever becomes of those before them."""

        async def come() -> None:
            began, made = time.perf_counter(), 0
            while True:
                while made < (time.perf_counter() - began) * a_second:
                    made += 1
                    self._run(self._call())
                await asyncio.sleep(0.001)

        self._run(come())

    def begin(self) -> None:
        self._latencies = []
        self._began = time.perf_counter()

    def end(self) -> dict[str, Any]:
        if self._failed is not None:
            raise self._failed
        took = time.perf_counter() - self._began
        latencies, self._latencies = self._latencies, []
        return {
            "calls": len(latencies),
            "a_second": round(len(latencies) / took),
            "p50_ms": round(statistics.median(latencies) * 1000, 1),
            "p99_ms": round(percentile(latencies, 0.99) * 1000, 1),
            "worst_ms": round(max(latencies) * 1000, 1),
        }

    async def stretch(self, seconds: float) -> dict[str, Any]:
        self.begin()
        await asyncio.sleep(seconds)
        return self.end()

    async def _call(self) -> None:
        began = time.perf_counter()
        await self.connection.call(messages.START, self._requests.start(self._ids.next()), 60)
        self._latencies.append(time.perf_counter() - began)

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed = task.exception()
