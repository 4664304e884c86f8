"""A batch as ready rows, and the one transaction that writes them.

Rows are made on the event loop, when the batch is handed over: whatever the runtime does to its objects afterwards, the
writer thread sees what was submitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import apsw
from msgspec import Struct
from msgspec.structs import astuple

from perdure.storage.sqlite.sql import statements
from perdure.storage.store import (
    Batch,
    Refused,
    RunWrite,
    VisibilityChange,
    VisibilityWrite,
)
from perdure.visibility.text import tokens

SQL = statements("writes.sql")
TEXT = 1
"""IndexedValueType INDEXED_VALUE_TYPE_TEXT: stored word by word."""

Row = tuple[Any, ...]
Points = Callable[[str], None]

# The fields of a write are the columns of its statement, in that order.
RUN_COLUMNS = 9
EXECUTION_COLUMNS = VisibilityWrite.__struct_fields__.index("change")
ATTRIBUTES = attrgetter(
    "run_no", "execution_time", "history_length", "history_size", "state_transitions", "memo", "search_attributes"
)
STATUS = attrgetter("status", "close_time")
FIRST = itemgetter(0)


class Transaction(Struct, eq=False):
    """Rows by statement, in the order they are run."""

    updates: list[Row]
    inserts: list[Row]
    rest: list[tuple[str, list[Row]]]
    mark: Row


def prepare(batch: Batch) -> Transaction:
    updates: list[Row] = []
    inserts: list[Row] = []
    history: list[Row] = []
    put_items: list[Row] = []
    deleted_items: list[Row] = []
    request_ids: list[Row] = []
    inherited: list[Row] = []
    for run in batch.runs:
        if run.version == 1:
            inserts.append(astuple(run)[:RUN_COLUMNS])
        else:
            updates.append((run.run_no, run.version, run.core, run.wake_at))
        if (events := run.history) is not None:
            history.append((run.run_no, events.first_event_id, events.last_event_id, events.blob))
        if run.inherits is not None:
            inherited.append((run.run_no, *run.inherits))
        if run.items:
            _items(run, put_items, deleted_items)
        for request_id, event_type, event_id in run.request_ids:
            request_ids.append((run.run_no, request_id, event_type, event_id))

    tasks = list(map(astuple, batch.tasks))
    messages = list(map(astuple, batch.outbox))
    rows: list[tuple[str, list[Row]]] = [
        ("insert_history", history),
        ("copy_history", inherited),
        ("put_item", put_items),
        ("delete_item", deleted_items),
        ("put_request_id", request_ids),
        ("put_current", list(map(astuple, batch.currents))),
    ]
    if batch.visibility:
        rows += _visibility(batch.visibility)
    rows += [
        ("insert_task", tasks),
        ("delete_task", [(task_no,) for task_no in batch.done_tasks]),
        ("insert_message", messages),
        ("delete_message", [(message_no,) for message_no in batch.delivered]),
    ]
    if batch.namespaces:
        gone: list[Row] = [(n.namespace_id,) for n in batch.namespaces if n.deleted]
        rows += [
            ("delete_namespace", gone),
            ("delete_tasks_of_namespace", gone),
            ("put_namespace", [(n.namespace_id, n.name, n.blob) for n in batch.namespaces if not n.deleted]),
            ("delete_queues", gone),
        ]
    if batch.queues:
        rows.append(("put_queue", [(q.namespace_id, q.queue, q.kind, q.config) for q in batch.queues]))
    if batch.run_deletes:
        deletes = batch.run_deletes
        rows += [
            ("forget_run", [(d.run_no,) for d in deletes]),
            ("delete_run", [(d.run_no,) for d in deletes]),
            ("delete_current", [(d.namespace_id, d.kind, d.execution_id, d.run_id) for d in deletes]),
            ("delete_execution", [(d.run_no,) for d in deletes]),
        ]
    rows.append(("put_meta", list(batch.meta.items())))
    rest = [(SQL[name], some) for name, some in rows if some]

    mark = (
        batch.number,
        max(map(FIRST, inserts), default=0),
        max(map(FIRST, tasks), default=0),
        max(map(FIRST, messages), default=0),
    )
    return Transaction(updates, inserts, rest, mark)


def write(connection: apsw.Connection, transaction: Transaction, points: Points | None) -> None:
    """Write all of it, or nothing and raise: Refused when a run moved on, apsw's errors otherwise."""
    fill(connection, transaction)
    commit(connection, points)


def fill(connection: apsw.Connection, transaction: Transaction) -> None:
    """Begin a transaction and put all rows into it. Raises as `write` does; nothing is left begun then."""
    execute, executemany = connection.execute, connection.executemany
    execute("begin immediate")
    try:
        if updates := transaction.updates:
            before = connection.total_changes()
            executemany(SQL["update_run"], updates)
            if connection.total_changes() - before != len(updates):
                raise Refused("a run moved past the version expected", _missed(connection, updates))
        if inserts := transaction.inserts:
            _insert_runs(connection, inserts)
        for statement, rows in transaction.rest:
            executemany(statement, rows)
        execute(SQL["mark"], transaction.mark)
    except BaseException:
        _roll_back(connection)
        raise


def commit(connection: apsw.Connection, points: Points | None) -> None:
    """Make durable what `fill` began."""
    try:
        if points is not None:
            points("before_commit")
        connection.execute("commit")
    except BaseException:
        _roll_back(connection)
        raise
    if points is not None:
        points("after_commit")


def _roll_back(connection: apsw.Connection) -> None:
    # A full disk may have ended the transaction already.
    if connection.in_transaction:
        connection.execute("rollback")


def _insert_runs(connection: apsw.Connection, inserts: list[Row]) -> None:
    try:
        connection.executemany(SQL["insert_run"], inserts)
    except apsw.ConstraintError:
        connection.execute("rollback")
        there = [row[0] for row in inserts if connection.execute(SQL["run_version"], (row[0],)).get is not None]
        raise Refused("a run is there already", there) from None


def _missed(connection: apsw.Connection, updates: list[Row]) -> list[int]:
    # Runs that were found carry their new version by now, still inside the transaction.
    return [row[0] for row in updates if connection.execute(SQL["run_version"], (row[0],)).get != row[1]]


def _items(run: RunWrite, put: list[Row], deleted: list[Row]) -> None:
    for item in run.items:
        if item.value is None:
            deleted.append((run.run_no, item.sort, item.key))
        else:
            put.append((run.run_no, item.sort, item.key, item.value))


def _visibility(writes: list[VisibilityWrite]) -> list[tuple[str, list[Row]]]:
    started: list[Row] = []
    moved: list[Row] = []
    updated: list[Row] = []
    requeued: list[Row] = []
    cleared: list[Row] = []
    values: list[Row] = []
    for write in writes:
        if write.change is VisibilityChange.STARTED:
            started.append(astuple(write)[:EXECUTION_COLUMNS])
        else:
            if write.change is VisibilityChange.ATTRIBUTES:
                updated.append(ATTRIBUTES(write))
            else:
                moved.append(ATTRIBUTES(write) + STATUS(write))
                if write.change is VisibilityChange.QUEUE:
                    requeued.append((write.run_no, write.task_queue))
            if write.values is not None:
                cleared.append((write.run_no,))
        if write.values:
            _values(write.run_no, write.values, values)
    return [
        ("insert_execution", started),
        ("move_execution", moved),
        ("update_execution", updated),
        ("requeue_execution", requeued),
        ("clear_search_values", cleared),
        ("put_search_value", values),
    ]


def _values(run_no: int, values: Sequence[tuple[str, int, str | int | float]], rows: list[Row]) -> None:
    for name, value_type, value in values:
        if value_type == TEXT:
            # A text without words is still set: the empty word keeps `IS NULL` honest and matches no filter.
            rows += [(run_no, name, word) for word in tokens(str(value)) or ("",)]
        else:
            rows.append((run_no, name, value))
