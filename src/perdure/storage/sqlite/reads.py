"""Short reads, each one snapshot. They run on the event loop's thread and are kept to a few index seeks."""

from __future__ import annotations

from typing import Any

import apsw

from perdure.storage.sqlite.sql import statements
from perdure.storage.store import (
    CurrentWrite,
    DueRun,
    HistoryBatch,
    NamespaceWrite,
    OutboxWrite,
    QueueWrite,
    StoredExecution,
    StoredRun,
    StoredRunKey,
    TaskWrite,
)

SQL = statements("reads.sql")

Row = tuple[Any, ...]


def load_execution(
    connection: apsw.Connection, namespace_id: str, kind: int, execution_id: str, run_id: str
) -> StoredExecution:
    execute = connection.execute
    key = (namespace_id, kind, execution_id)
    # Most IDs that are asked for are new ones, in a start: then there is no second statement to agree with.
    if not run_id and execute(SQL["current"], key).fetchone() is None:
        return StoredExecution(None, None)
    # Without a transaction each statement would see a database of its own.
    execute("begin")
    try:
        current: Row | None = execute(SQL["current"], key).fetchone()
        row: Row | None = None
        if run_id:
            row = execute(SQL["run_by_id"], (run_id, *key)).fetchone()
        elif current is not None:
            row = execute(SQL["run_by_no"], (current[4],)).fetchone()
        run = None
        if row is not None:
            run_no = row[:1]
            items: list[Any] = execute(SQL["items"], run_no).fetchall()
            request_ids: list[Any] = execute(SQL["request_ids"], run_no).fetchall()
            run = StoredRun(row[0], row[1], row[2], row[3], items, request_ids)
    finally:
        if connection.in_transaction:  # an I/O error has ended it already
            execute("commit")
    return StoredExecution(None if current is None else CurrentWrite(*current), run)


def read_history(
    connection: apsw.Connection, run_no: int, first_event_id: int, last_event_id: int, max_bytes: int
) -> list[HistoryBatch]:
    batches: list[HistoryBatch] = []
    size = 0
    rows = connection.execute(SQL["history"], (run_no, first_event_id, last_event_id))
    for first, last, blob in rows:
        size += len(blob)
        if batches and size > max_bytes:
            rows.close()
            break
        batches.append(HistoryBatch(first, last, blob))
    return batches


def read_history_reverse(
    connection: apsw.Connection, run_no: int, last_event_id: int, max_events: int
) -> list[HistoryBatch]:
    batches: list[HistoryBatch] = []
    events = 0
    rows = connection.execute(SQL["history_reverse"], (run_no, last_event_id))
    for first, last, blob in rows:
        batches.append(HistoryBatch(first, last, blob))
        events += min(last, last_event_id) - first + 1
        if events >= max_events:
            rows.close()
            break
    return batches


def load_tasks(
    connection: apsw.Connection, namespace_id: str, queue: str, kind: int, after: tuple[int, int, int], limit: int
) -> list[TaskWrite]:
    return [TaskWrite(*row) for row in connection.execute(SQL["tasks"], (namespace_id, queue, kind, *after, limit))]


def load_tasks_of_key(
    connection: apsw.Connection, place: tuple[str, str, int, int, str], after: tuple[int, int], limit: int
) -> list[TaskWrite]:
    return [TaskWrite(*row) for row in connection.execute(SQL["tasks_of_key"], (*place, *after, limit))]


def task_passes(
    connection: apsw.Connection, namespace_id: str, queue: str, kind: int, priority: int, fairness_key: str
) -> tuple[int, int] | None:
    place = (namespace_id, queue, kind, priority)
    first: int | None = connection.execute(SQL["first_pass"], place).get
    if first is None:
        return None
    if fairness_key:
        last: int | None = connection.execute(SQL["last_pass_of_key"], (*place, fairness_key)).get
    else:
        last = connection.execute(SQL["last_pass"], place).get
    return first, -1 if last is None else last


def task_counts(connection: apsw.Connection, namespace_id: str, queue: str, kind: int) -> list[tuple[int, int, int]]:
    return list(connection.execute(SQL["task_counts"], (namespace_id, queue, kind)))


def load_queues(connection: apsw.Connection) -> list[QueueWrite]:
    return [QueueWrite(*row) for row in connection.execute(SQL["queues"])]


def due_runs(connection: apsw.Connection, after: tuple[int, int], until: int, limit: int) -> list[DueRun]:
    return [DueRun(*row) for row in connection.execute(SQL["due_runs"], (*after, until, limit))]


def closed_runs(
    connection: apsw.Connection, namespace_id: str, division: str, until: int, limit: int
) -> list[StoredRunKey]:
    rows = connection.execute(SQL["closed_runs"], (namespace_id, division, until, limit))
    return [StoredRunKey(*row) for row in rows]


def runs_of(connection: apsw.Connection, namespace_id: str, limit: int) -> list[StoredRunKey]:
    return [StoredRunKey(*row) for row in connection.execute(SQL["runs_of"], (namespace_id, limit))]


def open_executions(connection: apsw.Connection, after: tuple[str, int, str], limit: int) -> list[tuple[str, int, str]]:
    return list(connection.execute(SQL["open_executions"], (*after, limit)))


def load_outbox(connection: apsw.Connection, after: int, limit: int) -> list[OutboxWrite]:
    return [OutboxWrite(*row) for row in connection.execute(SQL["outbox"], (after, limit))]


def load_namespaces(connection: apsw.Connection) -> list[NamespaceWrite]:
    return [NamespaceWrite(*row) for row in connection.execute(SQL["namespaces"])]


def load_meta(connection: apsw.Connection) -> dict[str, bytes]:
    rows: list[Row] = connection.execute(SQL["meta"]).fetchall()
    return dict(rows)


def high_water(connection: apsw.Connection) -> tuple[int, int, int, int]:
    rows: list[Row] = connection.execute(SQL["marks"]).fetchall()
    batch_no, run_no, task_no, message_no = rows[0]
    return batch_no, run_no, task_no, message_no
