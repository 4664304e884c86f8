"""Parts of a server that do next to nothing, so that what carries them can be tested alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.workflowservice.v1 import GetSystemInfoResponse

from perdure.server import Compose, Parts, Surroundings


class SystemInfo:
    """The one RPC that every client calls first."""

    def GetSystemInfo(self, request: Any, call: Any) -> GetSystemInfoResponse:
        return GetSystemInfoResponse(server_version="1.31.2")


class FakeStore:
    persistence_name = "in-memory"

    def __init__(self, diary: list[str], open_error: Exception | None = None) -> None:
        self.diary = diary
        self.open_error = open_error

    async def open(self) -> None:
        if self.open_error is not None:
            raise self.open_error
        self.diary.append("store opened")

    async def close(self) -> None:
        self.diary.append("store closed")


class FakeRuntime:
    """Records its life in `diary`. `on_drain` is called when parked polls are to be answered."""

    on_drain: Any = None

    def __init__(self, diary: list[str]) -> None:
        self.diary = diary

    async def start(self) -> None:
        self.diary.append("runtime started")

    async def drain(self) -> None:
        self.diary.append("runtime drained")
        if self.on_drain is not None:
            self.on_drain()

    async def stop(self) -> None:
        self.diary.append("runtime stopped")


class Composition:
    """A `compose` for Server, and what it made."""

    def __init__(self, handlers: Sequence[object] = (), open_error: Exception | None = None) -> None:
        self.diary: list[str] = []
        self.store = FakeStore(self.diary, open_error)
        self.runtime = FakeRuntime(self.diary)
        self.handlers = [SystemInfo(), *handlers]
        self.surroundings: Surroundings | None = None

    def __call__(self, surroundings: Surroundings) -> Parts:
        self.surroundings = surroundings
        return Parts(self.store, self.runtime, lambda: self.handlers)


def compose_fakes() -> Compose:
    return Composition()
