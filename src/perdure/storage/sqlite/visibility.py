"""A list filter as SQL: `compile_condition` turns the tree into a predicate over `executions e` with its parameters.

Two things shape it. SQL's three-valued logic is the filter language's own (`!=` and `NOT IN` skip rows where the
attribute is unset), so under a `NOT` an attribute must be read as a value that may be null. Outside of any `NOT`,
unknown and false are the same, and a search for an equal value may start from the index over the values instead of
from the executions.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import apsw

from perdure.errors import InvalidArgument
from perdure.storage.sqlite.sql import statements
from perdure.storage.store import VisibilityWrite
from perdure.visibility.query import And, Between, Compare, Condition, In, IsNull, Not, Or, Query, Scalar
from perdure.visibility.text import tokens

SQL = statements("executions.sql")

TEXT = 1
KEYWORD_LIST = 7
"""Numbers of IndexedValueType."""

COLUMNS = {
    "WorkflowId": "e.workflow_id",
    "RunId": "e.run_id",
    "WorkflowType": "e.workflow_type",
    "TaskQueue": "e.task_queue",
    "ExecutionStatus": "e.status",
    "StartTime": "e.start_time",
    "ExecutionTime": "e.execution_time",
    # Open runs compare as closing in the far future.
    "CloseTime": "e.close_order",
    "ExecutionDuration": "(e.close_time - e.execution_time)",
    # Known only once the run is closed.
    "HistoryLength": "iif(e.close_time is null, null, e.history_length)",
    "HistorySizeBytes": "iif(e.close_time is null, null, e.history_size)",
    "StateTransitionCount": "iif(e.close_time is null, null, e.state_transitions)",
    "ParentWorkflowId": "e.parent_workflow_id",
    "ParentRunId": "e.parent_run_id",
    "RootWorkflowId": "coalesce(e.root_workflow_id, e.workflow_id)",
    "RootRunId": "e.root_run_id",
    "TemporalNamespaceDivision": "e.division",
    # Users cannot have an attribute of this name: it begins with Temporal.
    "TemporalScheduleId": "iif(e.division = 'TemporalScheduler', e.workflow_id, null)",
}
"""Attributes with a column of their own; all others are rows of `search_values`."""

RUNNING, COMPLETED = 1, 2
"""WorkflowExecutionStatus. Those above have an index."""

FOREVER = 253_402_300_799_999_999
"""`close_order` while open."""

COUNTED = {"ExecutionStatus", "TemporalNamespaceDivision"}
"""What `execution_counts` knows of an execution."""

OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

MAX_DEPTH = 100
"""Parentheses and NOTs within each other; SQLite itself gives up somewhat below 1,000."""

Sql = tuple[str, list[Any]]
Row = tuple[Any, ...]
VALUE = "(select v.value from search_values v where v.run_no = e.run_no and v.name = ?)"
ANY = "(select max(v.value in (%s)) from search_values v where v.run_no = e.run_no and v.name = ?)"
SEEK = "e.run_no in (select v.run_no from search_values v where v.name = ? and v.value in (%s))"
UNSET = "not exists (select 1 from search_values v where v.run_no = e.run_no and v.name = ?)"


def compile_filter(query: Query) -> Sql:
    """The whole filter; without a mention of TemporalNamespaceDivision it sees one division only."""
    parts: list[Sql] = []
    if "TemporalNamespaceDivision" not in query.types:
        parts.append(("e.division = ?", [query.division]) if query.division else ("e.division is null", []))
    if query.condition is not None:
        parts.append(compile_condition(query.condition, query.types))
    return " and ".join(sql for sql, _ in parts) or "true", [value for _, values in parts for value in values]


def compile_condition(condition: Condition, types: dict[str, int], negated: bool = False, depth: int = 0) -> Sql:
    """`negated` is true beneath a NOT, where unknown must stay unknown. The SQL is safe to put beside an operator."""
    if depth > MAX_DEPTH:
        raise InvalidArgument("invalid query: invalid expression: too many conditions within each other")
    match condition:
        case And(parts):
            return _join([compile_condition(part, types, negated, depth + 1) for part in parts], "and")
        case Or(parts):
            return _join([compile_condition(part, types, negated, depth + 1) for part in parts], "or")
        case Not(inner):
            sql, parameters = compile_condition(inner, types, True, depth + 1)
            return f"(not {sql})", parameters
        case IsNull(attribute):
            return _is_null(attribute)
        case Compare(attribute, "STARTS_WITH", value):
            return _starts_with(attribute, str(value))
        case Compare(attribute, op, value):
            if op == "=" or (op == "!=" and _has_many(attribute, types)):
                sql, parameters = _equals(attribute, (value,), types, negated or op == "!=")
                return (sql, parameters) if op == "=" else (f"(not {sql})", parameters)
            sql, parameters = _value(attribute)
            return f"({sql} {OPERATORS[op]} ?)", [*parameters, value]
        case In(attribute, values):
            return _equals(attribute, values, types, negated)
        case Between(attribute, low, high):
            sql, parameters = _value(attribute)
            return f"({sql} between ? and ?)", [*parameters, low, high]


def _has_many(attribute: str, types: dict[str, int]) -> bool:
    return attribute not in COLUMNS and types.get(attribute) in (KEYWORD_LIST, TEXT)


def _value(attribute: str) -> Sql:
    column = COLUMNS.get(attribute)
    return (VALUE, [attribute]) if column is None else (column, [])


def _equals(attribute: str, values: Sequence[Scalar], types: dict[str, int], negated: bool) -> Sql:
    column = COLUMNS.get(attribute)
    if column is None and types.get(attribute) == TEXT:
        values = [word for value in values for word in tokens(str(value))]
    marks = ", ".join("?" * len(values))
    if column is not None:
        sql = f"({column} = ?)" if len(values) == 1 else f"({column} in ({marks}))"
        return (sql, list(values)) if negated else _indexed(attribute, sql, values)
    if not negated:
        return f"({SEEK % marks})", [attribute, *values]
    if _has_many(attribute, types):
        return ANY % marks, [*values, attribute]
    return f"({VALUE} in ({marks}))", [attribute, *values]


def _indexed(attribute: str, sql: str, values: Sequence[Scalar]) -> Sql:
    """`sql`, which says that the attribute is one of `values`, in words by which the planner finds an index."""
    marks = ", ".join("?" * len(values))
    match attribute:
        case "RunId":
            return f"(e.run_no in (select r.run_no from runs r where r.run_id in ({marks})))", list(values)
        case "RootWorkflowId":
            # A root of null is the run's own workflow ID.
            own = f"e.root_workflow_id is null and e.workflow_id in ({marks})"
            return f"(e.root_workflow_id in ({marks}) or ({own}))", [*values, *values]
        case "ExecutionStatus" if list(values) == [RUNNING]:
            return f"({sql} and e.close_order = {FOREVER})", list(values)
        case "ExecutionStatus" if all(isinstance(value, int) and value > COMPLETED for value in values):
            return f"({sql} and e.status > {COMPLETED})", list(values)
        case _:
            return sql, list(values)


def _is_null(attribute: str) -> Sql:
    if attribute == "CloseTime":
        return "(e.close_time is null)", []
    column = COLUMNS.get(attribute)
    return (f"({UNSET})", [attribute]) if column is None else (f"({column} is null)", [])


def _starts_with(attribute: str, prefix: str) -> Sql:
    # As a range, which an index can seek by; text is compared by code point, as UTF-8 sorts.
    sql, parameters = _value(attribute)
    end = _after_all_that_start_with(prefix)
    if end is None:
        return f"({sql} >= ?)", [*parameters, prefix]
    return f"({sql} >= ? and {sql} < ?)", [*parameters, prefix, *parameters, end]


def _after_all_that_start_with(prefix: str) -> str | None:
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    # Surrogates are no characters and have no UTF-8.
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)


def _join(parts: list[Sql], operator: str) -> Sql:
    # Balanced, since `a and b and c and …` nests as deep as it is long.
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    left, left_parameters = _join(parts[:middle], operator)
    right, right_parameters = _join(parts[middle:], operator)
    return f"({left} {operator} {right})", left_parameters + right_parameters


# ---- pages

_TOKEN = struct.Struct(">Bqqq")
_TOKEN_VERSION = 1


def page_token(close_order: int, start_time: int, run_no: int) -> bytes:
    """The place of a row in the order of all lists: the next page starts strictly after it."""
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
    condition, parameters = compile_filter(query)
    sql = f"{SQL['list_executions']} and {condition}"
    parameters = [namespace_id, *parameters]
    if after:
        close_order, start_time, run_no = read_token(after)
        sql += f" and {SQL['after']}"
        parameters += [close_order, start_time, close_order, start_time, run_no]
    # One row more than asked for tells whether there is a next page.
    rows: list[Row] = connection.execute(f"{sql} {SQL['order']}", [*parameters, page_size + 1]).fetchall()
    token = b""
    if len(rows) > page_size:
        rows.pop()
        last = rows[-1]
        token = page_token(last[-1], last[6], last[0])
    return [_row(row) for row in rows], token


def count_executions(
    connection: apsw.Connection, namespace_id: str, query: Query, group_by: str
) -> list[tuple[Any, int]]:
    condition, parameters = compile_filter(query)
    named = set(query.types) | ({group_by} if group_by else set())
    base = SQL["count_by_status" if named <= COUNTED else "count_executions"]
    sql = f"{base} and {condition}"
    parameters = [namespace_id, *parameters]
    if not group_by:
        return [(None, connection.execute(sql, parameters).get)]
    group, group_parameters = _value(group_by)
    # Repeated as the first column: the named statement begins with the count.
    sql = sql.replace("select ", f"select {group}, ", 1) + " group by 1 order by 1"
    rows: list[Row] = connection.execute(sql, group_parameters + parameters).fetchall()
    return [(value, count) for value, count in rows if count]


def _row(row: Row) -> VisibilityWrite:
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
