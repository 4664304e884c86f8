"""Whether calls are let in: not before the server is ready, not once it drains. And how many are inside."""

from __future__ import annotations

import asyncio

from perdure.errors import Unavailable

NOT_READY = "Frontend is not healthy yet"
DRAINING = "Server is shutting down, please retry"


class Gate:
    """`refusal` is None while open. `entered` and `left` bracket each call that got in."""

    def __init__(self) -> None:
        self.refusal: str | None = NOT_READY
        self._inside = 0
        self._empty: asyncio.Future[None] | None = None

    @property
    def inside(self) -> int:
        """Calls that were let in and are not answered yet."""
        return self._inside

    def open(self) -> None:
        self.refusal = None

    def drain(self) -> None:
        self.refusal = DRAINING

    def enter(self) -> None:
        """Raises Unavailable while closed; else `leave` must follow."""
        if self.refusal is not None:
            raise Unavailable(self.refusal)
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1
        if self._empty is not None and self._inside == 0 and not self._empty.done():
            self._empty.set_result(None)

    async def emptied(self, within: float) -> bool:
        """Wait, at most `within` seconds, for the last call to leave. False when some are still inside."""
        if self._inside == 0:
            return True
        self._empty = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._empty], timeout=within)
        return self._inside == 0
