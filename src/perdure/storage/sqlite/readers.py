"""Lists and counts on threads of their own: none holds up the event loop, and none runs for ever.

A filter may ask for anything, so a question that takes too long is stopped between two steps of SQLite, with an error
that says how to ask better. The same goes for one whose caller has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

import apsw

from perdure.clock import Monotonic
from perdure.errors import QueryTooSlow, Unavailable

AT_A_TIME = 3
"""Questions; each has a connection. Those beyond wait."""

QUERY_SECONDS = 5.0

STEPS = 100_000
"""SQLite's steps between two looks at the clock: a few milliseconds."""

A = TypeVarTuple("A")
R = TypeVar("R")


@dataclass(slots=True)
class _Asked:
    gone: bool = False
    """Nobody waits for the answer any more."""


class Readers:
    """`connect` is called on a thread, the first `AT_A_TIME` times that no connection is free. With `shared`, there is
    that one connection and no thread: each answer is there before `ask` returns. Without `monotonic` nothing is
    stopped."""

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        monotonic: Monotonic | None,
        *,
        shared: bool = False,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._free: list[apsw.Connection] = []
        self._closed = False
        self._pool = None if shared else ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="perdure-queries")

    async def ask(self, question: Callable[[apsw.Connection, *A], R], *arguments: *A) -> R:
        """Raises QueryTooSlow, and apsw's errors."""
        asked = _Asked()
        if self._pool is None:
            return self._answer(asked, question, *arguments)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._answer, asked, question, *arguments)
        finally:
            asked.gone = True

    def close(self) -> None:
        """What is still being asked is stopped."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _answer(self, asked: _Asked, question: Callable[[apsw.Connection, *A], R], *arguments: *A) -> R:
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._connect()
        connection.set_progress_handler(self._stop_when(asked), STEPS)
        try:
            if self._pool is None:
                return question(connection, *arguments)
            # One view of the database for all that is asked of it.
            connection.execute("begin")
            try:
                return question(connection, *arguments)
            finally:
                if connection.in_transaction:  # an I/O error has ended it already
                    connection.execute("rollback")
        except apsw.InterruptError:
            if self._closed or asked.gone:
                raise Unavailable("the server is shutting down") from None
            raise QueryTooSlow(QUERY_SECONDS) from None
        finally:
            connection.set_progress_handler(None)
            self._free.append(connection)

    def _stop_when(self, asked: _Asked) -> Callable[[], Any]:
        monotonic = self._monotonic
        if monotonic is None:
            return lambda: self._closed or asked.gone
        until = monotonic.now() + QUERY_SECONDS
        return lambda: self._closed or asked.gone or monotonic.now() >= until
