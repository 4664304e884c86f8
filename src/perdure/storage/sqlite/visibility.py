"""Lists and counts of executions on SQLite: pages by key, each read from the place that `seeks.py` finds best."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import apsw

from perdure.errors import InvalidArgument
from perdure.storage.sqlite.filters import compile_filter, value_of
from perdure.storage.sqlite.seeks import Seek, best_seek, walked_index
from perdure.storage.sqlite.sql import statements
from perdure.storage.store import VisibilityWrite
from perdure.visibility.query import Query
from perdure.visibility.simplify import simplified

SQL = statements("executions.sql")

SORTED = 10_000
"""Rows that are rather fetched and sorted than looked for along the list: some 50 ms."""

COUNTED_BY_KEY = 200_000
"""Rows that are rather fetched and counted than found by a look at every row: some 500 ms."""

COVERED = {"WorkflowType", "ExecutionStatus", "StartTime", "CloseTime", "TemporalNamespaceDivision"}
"""What each index that is walked knows itself: a count of these alone reads no row."""

COUNTED = {"ExecutionStatus", "TemporalNamespaceDivision"}
"""What `execution_counts` knows of an execution."""

PAGE_BYTES = 8 * 1024 * 1024
"""Of memos and search attributes, at which a page ends before it is full."""

Row = tuple[Any, ...]
Key = tuple[int, int, int]
"""Run number, close order, start time."""

# ---- pages

_TOKEN = struct.Struct(">Bqqq")
_TOKEN_VERSION = 1


def page_token(key: Key) -> bytes:
    """The place of a row in the order of all lists: the next page starts strictly after it."""
    run_no, close_order, start_time = key
    return _TOKEN.pack(_TOKEN_VERSION, close_order, start_time, run_no)


def read_token(token: bytes) -> tuple[int, int, int]:
    try:
        version, close_order, start_time, run_no = _TOKEN.unpack(token)
    except struct.error:
        raise InvalidArgument("Invalid NextPageToken.") from None
    if version != _TOKEN_VERSION:
        raise InvalidArgument("Invalid NextPageToken.")
    return close_order, start_time, run_no


def list_executions(
    connection: apsw.Connection, namespace_id: str, query: Query, page_size: int, after: bytes
) -> tuple[list[VisibilityWrite], bytes]:
    place = read_token(after) if after else None
    query = _simple(query)
    seek = best_seek(connection, namespace_id, query, SORTED)
    # One key more than asked for tells whether there is a next page.
    sql, parameters = list_statement(namespace_id, query, seek, place, page_size + 1)
    keys: list[Any] = connection.execute(sql, parameters).fetchall()
    found: list[VisibilityWrite] = []
    room = PAGE_BYTES
    for key in keys[:page_size]:
        row: Any = connection.execute(SQL["execution"], (key[0],)).fetchone()
        found.append(row_of(row))
        room -= len(row[17]) + len(row[18])
        if room < 0:
            break
    return found, page_token(keys[len(found) - 1]) if len(found) < len(keys) else b""


def _simple(query: Query) -> Query:
    return query if query.condition is None else replace(query, condition=simplified(query.condition))


def list_statement(
    namespace_id: str, query: Query, seek: Seek | None, place: tuple[int, int, int] | None, limit: int
) -> tuple[str, list[Any]]:
    source, said, parameters = _source(query, seek)
    condition, values = compile_filter(query)
    sql = f"{SQL['list_keys'].format(source=source)}{said} and {condition}"
    parameters = [namespace_id, *parameters, *values]
    if place is not None:
        close_order, start_time, run_no = place
        sql += f" and {SQL['after']}"
        parameters += [close_order, start_time, close_order, start_time, run_no]
    return f"{sql} {SQL['order']}", [*parameters, limit]


def _source(query: Query, seek: Seek | None) -> tuple[str, str, list[Any]]:
    """How the table is read, a condition on it, and that condition's parameters."""
    if seek is None:
        index, said = walked_index(query)
        return f"indexed by {index}", said, []
    return "not indexed", f" and e.run_no in ({seek.sql})", seek.parameters


def count_executions(
    connection: apsw.Connection, namespace_id: str, query: Query, group_by: str
) -> list[tuple[Any, int]]:
    sql, parameters = count_statement(connection, namespace_id, _simple(query), group_by)
    if not group_by:
        return [(None, connection.execute(sql, parameters).get)]
    group, group_parameters = value_of(group_by)
    # Repeated as the first column: the named statement begins with the count.
    sql = sql.replace("select ", f"select {group}, ", 1) + " group by 1 order by 1"
    rows: list[Row] = connection.execute(sql, group_parameters + parameters).fetchall()
    return [(value, count) for value, count in rows if count]


def count_statement(
    connection: apsw.Connection, namespace_id: str, query: Query, group_by: str
) -> tuple[str, list[Any]]:
    condition, values = compile_filter(query)
    named = set(query.types) | ({group_by} if group_by else set())
    if named <= COUNTED:
        return f"{SQL['count_by_status']} and {condition}", [namespace_id, *values]
    most = SORTED if named <= COVERED else COUNTED_BY_KEY
    source, said, parameters = _source(query, best_seek(connection, namespace_id, query, most))
    sql = f"{SQL['count_executions'].format(source=source)}{said} and {condition}"
    return sql, [namespace_id, *parameters, *values]


def row_of(row: Row) -> VisibilityWrite:
    """A row of the statement `execution`."""
    return VisibilityWrite(
        run_no=row[0],
        namespace_id=row[1],
        run_id=row[2],
        workflow_id=row[3],
        workflow_type=row[4],
        status=row[5],
        start_time=row[6],
        execution_time=row[7],
        close_time=row[8],
        task_queue=row[9],
        parent_workflow_id=row[10] or "",
        parent_run_id=row[11] or "",
        root_workflow_id=row[12] or "",
        root_run_id=row[13] or "",
        history_length=row[14],
        history_size=row[15],
        state_transitions=row[16],
        memo=row[17],
        search_attributes=row[18],
        division=row[19] or "",
    )
