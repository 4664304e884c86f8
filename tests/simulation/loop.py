"""An event loop without threads, sockets or real time: when nothing is ready, its clock moves to the next timer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingWillEverHappen(RuntimeError):
    """Everybody waits, and no timer is set."""


class _NoSockets:
    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingWillEverHappen
        if timeout > 0:
            self._loop.seconds += timeout
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self._selector = _NoSockets(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.seconds

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        raise RuntimeError("a thread is at work in a simulation")

    def run_in_executor(self, executor: Any, func: Any, *arguments: Any) -> Any:
        raise RuntimeError("a thread is asked for in a simulation")


def run(main: Coroutine[Any, Any, T]) -> T:
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_cancel_others())
        asyncio.set_event_loop(None)
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
