"""The server under test, with a look at its event loop from inside: how late it comes to things, and what collections
of garbage take.

    python -m benchmarks.watched FILE server start-dev --port 7233 …

runs `perdure` with the arguments after FILE, and when it ends writes there what it saw. The price is a callback of
the loop each two milliseconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.meter import ProcessMeter
from tests.support.server_process import ServerProcess, dev_server_command, free_port

TICK_SECONDS = 0.002
STALL_SECONDS = 0.001
"""Shorter ones are not written down."""


# ---- inside the server
class _Watch:
    def __init__(self) -> None:
        self.stalls: list[tuple[float, float]] = []
        """(when it was over, by the wall's clock; how long the loop was late)"""
        self.collections: list[tuple[float, int, float]] = []
        """(when it was over, generation, how long it took)"""
        self._expected = 0.0
        self._collecting = 0.0

    def begin(self) -> None:
        gc.callbacks.append(self._collected)
        self._tick(first=True)

    def _tick(self, first: bool = False) -> None:
        now = time.perf_counter()
        late = now - self._expected
        if late > STALL_SECONDS and not first:
            self.stalls.append((time.time(), late))
        self._expected = now + TICK_SECONDS
        asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _collected(self, phase: str, details: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self.collections.append((time.time(), details["generation"], time.perf_counter() - self._collecting))


def main() -> None:
    from perdure.cli.main import main as perdure
    from perdure.server import Server

    file, *arguments = sys.argv[1:]
    watch = _Watch()
    start = Server.start

    async def started(server: Server) -> None:
        await start(server)
        watch.begin()

    Server.start = started  # type: ignore[method-assign] # that is the look inside
    sys.argv = ["perdure", *arguments]
    try:
        perdure()
    finally:
        Path(file).write_text(json.dumps({"stalls": watch.stalls, "collections": watch.collections}))


# ---- outside
@dataclass
class Watched:
    """A server that is watched; `figures` once it has stopped."""

    process: ServerProcess
    meter: ProcessMeter
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When what happened, in seconds since 1970."""
    seen: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        began = time.time()
        yield
        self.windows[name] = (began, time.time())

    def figures(self) -> dict[str, Any]:
        return {name: self._figures(*window) for name, window in self.windows.items()}

    def _figures(self, began: float, ended: float) -> dict[str, Any]:
        stalls = [late for at, late in self.seen["stalls"] if began <= at <= ended]
        pauses = [took for at, _, took in self.seen["collections"] if began <= at <= ended]
        return {
            "seconds": round(ended - began, 1),
            "loop_late_p99_ms": round(waited_at_random(stalls, ended - began, 0.01) * 1000, 1),
            "loop_late_p999_ms": round(waited_at_random(stalls, ended - began, 0.001) * 1000, 1),
            "loop_late_worst_ms": round(max(stalls, default=0.0) * 1000, 1),
            "collections": len(pauses),
            "collection_worst_ms": round(max(pauses, default=0.0) * 1000, 1),
        }


def waited_at_random(stalls: list[float], seconds: float, share: float) -> float:
    """What arrives at a random moment of so many seconds finds the loop held up, and waits longer than the answer in
    only `share` of cases. (One stall of 100 ms hits fifty times as many as one of 2 ms; counting stalls would not show
    that.)"""
    low, high = 0.0, max(stalls, default=0.0)
    for _ in range(40):
        middle = (low + high) / 2
        if sum(late - middle for late in stalls if late > middle) > share * seconds:
            low = middle
        else:
            high = middle
    return high


@contextmanager
def watched_server(database: Path | None, *options: str) -> Iterator[Watched]:
    port = free_port()
    file = Path(f"{database}.watched.json") if database else Path(f"/tmp/watched-{port}.json")
    command = dev_server_command(port, *options, database=database)
    place = command.index("perdure.cli.main")
    command[place : place + 1] = ["benchmarks.watched", str(file)]
    process = ServerProcess(command, port, answer_within=120)
    watched = Watched(process, ProcessMeter(process.pid))
    try:
        yield watched
    finally:
        process.stop(within=60)
        if file.exists():
            watched.seen = json.loads(file.read_text())
            file.unlink()


if __name__ == "__main__":
    main()
