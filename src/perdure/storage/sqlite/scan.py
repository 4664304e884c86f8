"""All rows of a file, read only and in one view: of a file that no server has open, or beside a running one.

Nothing is loaded at once: rows come in the order of an index, and belong together by key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import apsw

from perdure import __version__
from perdure.storage.sqlite import connection as connections
from perdure.storage.sqlite import reads
from perdure.storage.sqlite.migrate import format_of, migrate, migrations
from perdure.storage.sqlite.sql import statements
from perdure.storage.sqlite.visibility import SQL as EXECUTIONS
from perdure.storage.sqlite.visibility import row_of
from perdure.storage.store import (
    CurrentWrite,
    HistoryBatch,
    NamespaceWrite,
    OutboxWrite,
    QueueWrite,
    StoredRun,
    StoreFailed,
    TaskWrite,
    VisibilityWrite,
)

SQL = statements("scan.sql")
READS = reads.SQL

Key = tuple[str, int, str]
"""(namespace ID, kind, execution ID)"""


@dataclass(slots=True)
class ScannedRun:
    """A row of `runs`."""

    run_no: int
    version: int
    run_id: str
    core: bytes
    wake_at: int | None
    namespace_id: str
    kind: int
    execution_id: str

    @property
    def key(self) -> Key:
        return self.namespace_id, self.kind, self.execution_id


class Scan:
    """A file's rows as they are when the scan is entered, whoever writes to it meanwhile.

    Entering raises StoreFailed with one clear line: no such file, not ours, older or newer format, locked.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: apsw.Connection

    def __enter__(self) -> Scan:
        path = self._path
        if not os.path.exists(path):
            raise StoreFailed(f"there is no file {path}; name the file that a server was started with")
        if os.path.isdir(path):
            raise StoreFailed(f"cannot open database {path}: it is a directory; name a file in it")
        if not os.access(path, os.R_OK):
            raise StoreFailed(f"cannot open database {path}: no permission to read it")
        with connections.reported(path):
            self._connection = connections.open_to_read(path)
        try:
            with connections.reported(path):
                self._connection.execute("begin")
                self._check_format()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _check_format(self) -> None:
        present = format_of(self._connection, self._path, __version__)
        newest = migrations()[-1][0]
        if present == 0:
            raise StoreFailed(f"{self._path} is empty: no server has written to it yet")
        if present < newest:
            raise StoreFailed(
                f"database {self._path} has format {present}, this release ({__version__}) examines format {newest}: "
                "start a server on it once, which brings it up to date"
            )

    # ---- the file as such
    def faults_of_file(self) -> Iterator[str]:
        """What SQLite itself finds wrong with its pages, indexes and constraints."""
        for (line,) in self._rows("pragma integrity_check"):
            if line != "ok":
                yield line
        for table, rowid, parent, _ in self._rows("pragma foreign_key_check"):
            yield f"row {rowid} of table {table} refers to a row of {parent} that is not there"

    def faults_of_schema(self) -> Iterator[str]:
        """Tables, indexes and triggers that are not as this release makes them."""
        fresh = connections.open_memory({})
        migrate(fresh, 0, __version__)
        wanted: dict[str, str] = dict(fresh.execute(SQL["schema"]))
        fresh.close()
        found: dict[str, str] = dict(self._rows(SQL["schema"]))
        for name in sorted(wanted.keys() - found.keys()):
            yield f"{name} is gone"
        for name in sorted(found.keys() - wanted.keys()):
            yield f"{name} is not ours"
        for name in sorted(wanted.keys() & found.keys()):
            if wanted[name] != found[name]:
                yield f"{name} is another one"

    def counts(self) -> tuple[int, int, int]:
        """Rows of runs, tasks and outbox."""
        runs, tasks, messages = self._row(SQL["counts"])
        return runs, tasks, messages

    def high_water(self) -> tuple[int, int, int, int]:
        return reads.high_water(self._connection)

    def highest_numbers(self) -> tuple[int, int, int]:
        """The highest number of a run, a task and a message that there is."""
        run_no, task_no, message_no = self._row(SQL["highest_numbers"])
        return run_no, task_no, message_no

    # ---- runs and what lies beside them
    def runs(self) -> Iterator[ScannedRun]:
        """All of them, by run ID."""
        for row in self._rows(SQL["runs"]):
            yield ScannedRun(*row)

    def run_by_id(self, key: Key, run_id: str) -> ScannedRun | None:
        row = self._one(SQL["run_by_id"], (run_id, *key))
        return None if row is None else ScannedRun(*row)

    def stored(self, run: ScannedRun) -> StoredRun:
        """The run with its items and request IDs, as a server loads it."""
        number = (run.run_no,)
        items = list(self._rows(READS["items"], number))
        request_ids = list(self._rows(READS["request_ids"], number))
        return StoredRun(run.run_no, run.version, run.run_id, run.core, items, request_ids)

    def item(self, run_no: int, sort: int, key: str) -> bytes | None:
        row = self._one(SQL["item"], (run_no, sort, key))
        return None if row is None else row[0]

    def history(self, run_no: int) -> Iterator[HistoryBatch]:
        for row in self._rows(SQL["history"], (run_no,)):
            yield HistoryBatch(*row)

    def current(self, key: Key) -> CurrentWrite | None:
        row = self._one(READS["current"], key)
        return None if row is None else CurrentWrite(*row)

    def execution(self, run_no: int) -> VisibilityWrite | None:
        """What lists show of the run; `values` are not read."""
        row = self._one(EXECUTIONS["execution"], (run_no,))
        return None if row is None else row_of(row)

    def search_values(self, run_no: int) -> set[tuple[str, Any]]:
        return set(self._rows(SQL["search_values"], (run_no,)))

    def tasks(self) -> Iterator[TaskWrite]:
        """All of them, by run ID and number."""
        for row in self._rows(SQL["tasks"]):
            yield TaskWrite(*row)

    def outbox(self) -> Iterator[OutboxWrite]:
        for row in self._rows(READS["outbox"], (0, -1)):
            yield OutboxWrite(*row)

    def namespaces(self) -> list[NamespaceWrite]:
        return reads.load_namespaces(self._connection)

    def queues(self) -> list[QueueWrite]:
        return reads.load_queues(self._connection)

    # ---- rows that have nothing to belong to
    def current_without_run(self) -> Iterator[tuple[str, int, str, str]]:
        """(namespace ID, kind, execution ID, run ID) of pointers to no run of that execution."""
        yield from self._rows(SQL["current_without_run"])

    def numbers_without_run(self) -> Iterator[tuple[str, int, int]]:
        """(table, run number, rows)"""
        yield from self._rows(SQL["numbers_without_run"])

    def forgotten_runs(self) -> Iterator[tuple[int, str, int, str, str]]:
        """(run number, namespace ID, kind, execution ID, run ID) of runs that are there and deleted at once."""
        yield from self._rows(SQL["forgotten_runs"])

    def without_namespace(self) -> Iterator[tuple[str, str, int]]:
        """(table, namespace ID, rows)"""
        yield from self._rows(SQL["without_namespace"])

    def miscounted(self) -> Iterator[tuple[str, str, int, int, int]]:
        """(namespace ID, division, status, total that is kept, rows that there are)"""
        yield from self._rows(SQL["miscounted"])

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with connections.reported(self._path):
            yield from self._connection.execute(sql, values)

    def _one(self, sql: str, values: tuple[Any, ...]) -> Any:
        with connections.reported(self._path):
            return self._connection.execute(sql, values).fetchone()

    def _row(self, sql: str) -> Any:
        return self._one(sql, ())
