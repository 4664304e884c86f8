"""`Call` over a grpc.aio servicer context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from perdure.api.call import Reply
from perdure.clock import Monotonic
from perdure.errors import PerdureError

_OPEN: Final = 0
_ANSWERED: Final = 1
_GONE: Final = 2

_UNREAD: Final = -1.0
_NEVER: Final = -2.0
"""Stand for a deadline that was not asked for yet, and for none; compared by identity."""


class GrpcCall(Struct, eq=False):
    """One call. It costs a future only when its handler answered PENDING and nobody has finished it by then.

    While the caller waits, grpc.aio cancels that future the moment the caller cancels or disconnects or its deadline
    passes, so `gone` needs no callback.
    """

    method: str
    _context: Any
    _monotonic: Monotonic
    _state: int = _OPEN
    _answer: Reply | PerdureError | None = None
    _future: asyncio.Future[None] | None = None
    _metadata: Mapping[str, str] | None = None
    _deadline: float = _UNREAD
    _on_gone: list[Callable[[], None]] | None = None

    # ---- what handlers see
    @property
    def deadline(self) -> float | None:
        deadline = self._deadline
        if deadline is _UNREAD:
            remaining = self._context.time_remaining()
            deadline = self._deadline = _NEVER if remaining is None else self._monotonic.now() + remaining
        return None if deadline is _NEVER else deadline

    @property
    def metadata(self) -> Mapping[str, str]:
        if self._metadata is None:
            self._metadata = {
                key: value for key, value in self._context.invocation_metadata() if isinstance(value, str)
            }
        return self._metadata

    @property
    def peer(self) -> str:
        peer: str = self._context.peer()
        return peer

    @property
    def client_name(self) -> str:
        return self.metadata.get("client-name", "")

    @property
    def gone(self) -> bool:
        return self._state != _OPEN or (self._future is not None and self._future.done())

    def on_gone(self, callback: Callable[[], None]) -> None:
        if self._on_gone is None:
            self._on_gone = []
        self._on_gone.append(callback)

    def finish(self, reply: Reply) -> bool:
        return self._settle(reply)

    def fail(self, error: PerdureError) -> None:
        self._settle(error)

    # ---- what the adapter does
    async def answer(self, loop: asyncio.AbstractEventLoop) -> Reply:
        """The answer that `finish` or `fail` gives, or gave before the handler returned."""
        if self._state == _OPEN:
            self._future = loop.create_future()
            await self._future
        answer, self._answer = self._answer, None  # what still refers to the call must not keep megabytes
        assert answer is not None, "a future is resolved only together with an answer"
        if isinstance(answer, PerdureError):
            raise answer
        return answer

    def leave(self) -> None:
        """The caller went away. Whoever wanted to know is told, unless the answer was on its way already."""
        if self._state != _OPEN:
            return
        self._state = _GONE
        callbacks, self._on_gone = self._on_gone, None
        for callback in callbacks or ():
            callback()

    def _settle(self, answer: Reply | PerdureError) -> bool:
        if self.gone:
            return False
        self._state = _ANSWERED
        self._answer = answer
        self._on_gone = None
        if self._future is not None:
            self._future.set_result(None)
        return True
