"""The Store of one server over SQLite.

A file has a connection on the event loop for short reads, a few on threads for lists and counts (which may take long),
the writer's and the checkpointer's. Memory has one for everything, and no thread: every answer is there before the call
returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, TypeVarTuple

import apsw

from perdure import __version__
from perdure.clock import Monotonic
from perdure.storage.sqlite import connection as connections
from perdure.storage.sqlite import reads, visibility
from perdure.storage.sqlite.batch import Points, prepare
from perdure.storage.sqlite.lock import LockFile
from perdure.storage.sqlite.log import write_again
from perdure.storage.sqlite.migrate import format_of, migrate
from perdure.storage.sqlite.readers import Readers
from perdure.storage.sqlite.sweep import sweep
from perdure.storage.sqlite.writer import Writer, attempt
from perdure.storage.store import (
    Batch,
    Done,
    DueRun,
    HistoryBatch,
    NamespaceWrite,
    OutboxWrite,
    QueueWrite,
    Refused,
    StoredExecution,
    StoredRunKey,
    StoreFailed,
    TaskWrite,
    VisibilityWrite,
)
from perdure.visibility.query import Query

IN_MEMORY = "in-memory"

A = TypeVarTuple("A")
R = TypeVar("R")


def make_ready(connection: apsw.Connection, path: str, vfs: str | None = None) -> None:
    """Bring the file to the newest format. Raises StoreFailed for one that is not ours, apsw's errors."""
    present = format_of(connection, path, __version__)
    connection.pragma("journal_mode", "wal")
    write_again(connection, vfs)
    migrate(connection, present, __version__)


class SqliteStore:
    """`path` None keeps everything in memory. `pragmas` are set on every connection. `points` is called by the writer
    with "before_commit" and "after_commit": crash tests stop the process there. `monotonic` measures how long lists and
    counts take: without it they may take for ever. `vfs` names SQLite's way to the file: tests of power loss have one
    of their own."""

    def __init__(
        self,
        path: str | None,
        *,
        pragmas: Mapping[str, str] = MappingProxyType({}),
        points: Points | None = None,
        monotonic: Monotonic | None = None,
        vfs: str | None = None,
    ) -> None:
        self.persistence_name = path or IN_MEMORY
        self._path = path
        self._pragmas = pragmas
        self._points = points
        self._monotonic = monotonic
        self._vfs = vfs
        self._connections: list[apsw.Connection] = []
        self._lock: LockFile | None = None
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._memory_failed: StoreFailed | None = None

    # ---- life
    async def open(self) -> None:
        try:
            if self._path is None:
                self._main = self._open_memory()
                self._readers = Readers(lambda: self._main, self._monotonic, shared=True)
            else:
                self._open_file(self._path)
        except BaseException:
            self._let_go()
            raise

    def _open_memory(self) -> apsw.Connection:
        with connections.reported(self.persistence_name):
            connection = connections.open_memory(self._pragmas)
            self._connections = [connection]
            migrate(connection, 0, __version__)
        return connection

    def _open_file(self, path: str) -> None:
        connections.check_place(path)
        self._lock = LockFile(path)
        self._lock.take()
        with connections.reported(path):
            write = self._connect(path)
            make_ready(write, path, self._vfs)
            self._main = self._connect(path)
            checkpoints = self._connect(path)
        self._readers = Readers(lambda: self._connect(path), self._monotonic)
        self._writer = Writer(path, write, checkpoints, asyncio.get_running_loop(), self._points)

    def _connect(self, path: str) -> apsw.Connection:
        connection = connections.open_file(path, self._pragmas, self._vfs)
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        sound = True
        if self._writer is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._writer.stop)
            sound = not self._writer.failed
            self._writer = None
        if self._readers is not None:
            self._readers.close()
            self._readers = None
        if sound:
            # The last connection to close then folds the log into the database and removes it. After a failure the log
            # is all that can be trusted: the next start begins with its first page.
            for connection in self._connections:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._let_go()

    def _let_go(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ---- writes
    def submit(self, batch: Batch, done: Done) -> None:
        transaction = prepare(batch)
        if self._writer is not None:
            self._writer.submit(transaction, done)
            return
        outcome: Refused | StoreFailed | None = self._memory_failed
        if outcome is None:
            outcome = attempt(self._main, self.persistence_name, transaction, self._points)
            if isinstance(outcome, StoreFailed):
                self._memory_failed = outcome
        done(outcome)

    def landed(self, batch_no: int, done: Callable[[bool | StoreFailed], None]) -> None:
        marks = self._read(reads.high_water)
        done(marks if isinstance(marks, StoreFailed) else marks[0] >= batch_no)

    def sweep(self, budget_rows: int, done: Callable[[int | StoreFailed], None]) -> None:
        if self._writer is not None:
            self._writer.sweep(budget_rows, done)
        else:
            done(self._read(sweep, budget_rows))

    # ---- hot reads
    def load_execution(
        self,
        namespace_id: str,
        kind: int,
        execution_id: str,
        run_id: str,
        done: Callable[[StoredExecution | StoreFailed], None],
    ) -> None:
        done(self._read(reads.load_execution, namespace_id, kind, execution_id, run_id))

    def read_history(
        self,
        run_no: int,
        first_event_id: int,
        last_event_id: int,
        max_bytes: int,
        done: Callable[[list[HistoryBatch] | StoreFailed], None],
    ) -> None:
        done(self._read(reads.read_history, run_no, first_event_id, last_event_id, max_bytes))

    def read_history_reverse(
        self, run_no: int, last_event_id: int, max_events: int, done: Callable[[list[HistoryBatch] | StoreFailed], None]
    ) -> None:
        done(self._read(reads.read_history_reverse, run_no, last_event_id, max_events))

    def _read(self, read: Callable[[apsw.Connection, *A], R], *arguments: *A) -> R | StoreFailed:
        try:
            return read(self._main, *arguments)
        except apsw.Error as error:
            return connections.failure(self.persistence_name, error)

    # ---- other reads
    def load_tasks(
        self, namespace_id: str, queue: str, kind: int, after: tuple[int, int, int], limit: int
    ) -> list[TaskWrite]:
        with connections.reported(self.persistence_name):
            return reads.load_tasks(self._main, namespace_id, queue, kind, after, limit)

    def load_tasks_of_key(
        self,
        namespace_id: str,
        queue: str,
        kind: int,
        priority: int,
        fairness_key: str,
        after: tuple[int, int],
        limit: int,
    ) -> list[TaskWrite]:
        with connections.reported(self.persistence_name):
            place = (namespace_id, queue, kind, priority, fairness_key)
            return reads.load_tasks_of_key(self._main, place, after, limit)

    def task_passes(
        self, namespace_id: str, queue: str, kind: int, priority: int, fairness_key: str
    ) -> tuple[int, int] | None:
        with connections.reported(self.persistence_name):
            return reads.task_passes(self._main, namespace_id, queue, kind, priority, fairness_key)

    async def task_counts(self, namespace_id: str, queue: str, kind: int) -> list[tuple[int, int, int]]:
        return await self._ask(reads.task_counts, namespace_id, queue, kind)

    def load_queues(self) -> list[QueueWrite]:
        with connections.reported(self.persistence_name):
            return reads.load_queues(self._main)

    def due_runs(self, after: tuple[int, int], until: int, limit: int) -> list[DueRun]:
        with connections.reported(self.persistence_name):
            return reads.due_runs(self._main, after, until, limit)

    def closed_runs(self, namespace_id: str, division: str, until: int, limit: int) -> list[StoredRunKey]:
        with connections.reported(self.persistence_name):
            return reads.closed_runs(self._main, namespace_id, division, until, limit)

    def runs_of(self, namespace_id: str, limit: int) -> list[StoredRunKey]:
        with connections.reported(self.persistence_name):
            return reads.runs_of(self._main, namespace_id, limit)

    def open_executions(self, after: tuple[str, int, str], limit: int) -> list[tuple[str, int, str]]:
        with connections.reported(self.persistence_name):
            return reads.open_executions(self._main, after, limit)

    def load_outbox(self, after: int, limit: int) -> list[OutboxWrite]:
        with connections.reported(self.persistence_name):
            return reads.load_outbox(self._main, after, limit)

    def load_namespaces(self) -> list[NamespaceWrite]:
        with connections.reported(self.persistence_name):
            return reads.load_namespaces(self._main)

    def load_meta(self) -> dict[str, bytes]:
        with connections.reported(self.persistence_name):
            return reads.load_meta(self._main)

    def high_water(self) -> tuple[int, int, int, int]:
        with connections.reported(self.persistence_name):
            return reads.high_water(self._main)

    # ---- visibility
    async def list_executions(
        self, namespace_id: str, query: Query, page_size: int, after: bytes
    ) -> tuple[list[VisibilityWrite], bytes]:
        return await self._ask(visibility.list_executions, namespace_id, query, page_size, after)

    async def count_executions(self, namespace_id: str, query: Query, group_by: str = "") -> list[tuple[Any, int]]:
        return await self._ask(visibility.count_executions, namespace_id, query, group_by or query.group_by)

    async def _ask(self, question: Callable[[apsw.Connection, *A], R], *arguments: *A) -> R:
        assert self._readers is not None, "the store is not open"
        with connections.reported(self.persistence_name):
            return await self._readers.ask(question, *arguments)
