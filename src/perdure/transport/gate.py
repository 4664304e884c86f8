"""Whether calls are let in: not before the server is ready, not once it drains, and not more than it has room for.

What a call holds while it is inside is its request and a few kilobytes. So memory is bounded by bounding both their
number and their bytes, and long polls, which stay for minutes, also by namespace and method.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from perdure.enums import ResourceExhaustedCause
from perdure.errors import ResourceExhausted, SystemOverloaded, Unavailable

NOT_READY = "Frontend is not healthy yet"
DRAINING = "Server is shutting down, please retry"


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may be inside at a time. `polls` are calls that wait, in each namespace and of each method."""

    calls: int = 10_000
    request_bytes: int = 128 * 1024 * 1024
    polls: int = 1200


class Gate:
    """`refusal` is None while open. `enter` and `leave` bracket each call that got in."""

    def __init__(self, capacity: Capacity = Capacity()) -> None:
        self.capacity = capacity
        self.refusal: str | None = NOT_READY
        self.refused = 0
        """Calls that there was no room for."""
        self._inside = 0
        self._bytes = 0
        self._calls, self._most_bytes = capacity.calls, capacity.request_bytes
        self._polls: dict[tuple[str, str], int] = {}
        self._empty: asyncio.Future[None] | None = None

    @property
    def inside(self) -> int:
        """Calls that were let in and are not answered yet."""
        return self._inside

    @property
    def request_bytes(self) -> int:
        """Of the calls inside."""
        return self._bytes

    def open(self) -> None:
        self.refusal = None

    def drain(self) -> None:
        self.refusal = DRAINING

    def enter(self, size: int, ahead: bool = False) -> None:
        """Raises Unavailable while closed, ResourceExhausted while full; else `leave` must follow.

        `ahead`: a quarter more of these gets in. What ends work that is under way must not wait for what begins more.
        """
        if self.refusal is not None:
            raise Unavailable(self.refusal)
        if self._inside >= self._calls or self._bytes + size > self._most_bytes:
            self._check_room(size, ahead)
        self._inside += 1
        self._bytes += size

    def _check_room(self, size: int, ahead: bool) -> None:
        most = 1.25 if ahead else 1.0
        too_many = self._inside >= most * self._calls
        # A single request always fits: there is a limit of its own to that.
        too_much = self._bytes > 0 and self._bytes + size > most * self._most_bytes
        if too_many or too_much:
            self.refused += 1
            raise SystemOverloaded

    def begin_poll(self, method: str, namespace: str) -> tuple[str, str]:
        """Count a call that may wait long; what is returned must be given to `end_poll`. Raises ResourceExhausted."""
        key = (method, namespace)
        polls = self._polls.get(key, 0)
        if polls >= self.capacity.polls:
            self.refused += 1
            raise ResourceExhausted(
                "namespace concurrent poller limit exceeded",
                int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT),
            )
        self._polls[key] = polls + 1
        return key

    def end_poll(self, key: tuple[str, str]) -> None:
        polls = self._polls[key] - 1
        if polls:
            self._polls[key] = polls
        else:
            del self._polls[key]

    def leave(self, size: int) -> None:
        self._inside -= 1
        self._bytes -= size
        if self._empty is not None and self._inside == 0 and not self._empty.done():
            self._empty.set_result(None)

    async def emptied(self, within: float) -> bool:
        """Wait, at most `within` seconds, for the last call to leave. False when some are still inside."""
        if self._inside == 0:
            return True
        self._empty = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._empty], timeout=within)
        return self._inside == 0
