"""Where the rows of a filter are looked for: an index that holds few of them, or else the list's own order.

A list wants the newest rows of those that match. Where a condition can be looked up in an index, that may be the best
start (five runs of one order ID) or the worst (the build that ran them all), and no fixed statistics tell which. So the
index is asked first, up to a limit. If a condition has no more hits than that, its rows are fetched and sorted; if
every one has more, the list is walked in its order until the page is full: soon, since matches are frequent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from perdure.storage.sqlite.filters import COLUMNS, FOREVER, Sql, literals, marks, starts_with
from perdure.visibility.query import And, Between, Compare, Condition, In, Or, Query, Scalar
from perdure.visibility.vocabulary import RUNNING, WORKFLOW_STATUSES

ENOUGH = 100
"""Hits that are few enough to look no further."""

MAX_BRANCHES = 50
"""Alternatives that are looked up together."""

COMPLETED = 2
"""Statuses above it have an index."""

OPEN = {RUNNING, WORKFLOW_STATUSES["Paused"]}
"""Statuses that no closed execution of any kind has."""

_ROWS = "select x.run_no from executions x indexed by {index} where x.namespace_id = ? and {test}"
_VALUES = "select x.run_no from search_values x indexed by search_values_by_value where x.name = ? and {test}"

_INDEXES = {
    "WorkflowId": ("executions_by_id", "x.workflow_id"),
    "WorkflowType": ("executions_by_type", "x.workflow_type"),
    "TaskQueue": ("executions_by_queue", "x.task_queue"),
    "ParentWorkflowId": ("executions_by_parent", "x.parent_workflow_id"),
}

_RANGES = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True, slots=True)
class Seek:
    """`sql` gives the numbers of at least all runs that match, `hits` of them, some perhaps twice."""

    sql: str
    parameters: list[Any]
    hits: int


def best_seek(connection: apsw.Connection, namespace_id: str, query: Query, most: int) -> Seek | None:
    """The condition with the fewest hits; None when there is none with at most `most`."""
    if query.condition is None:
        return None
    return _Probing(connection, namespace_id, query.types, most).of(query.condition)


class _Probing:
    def __init__(self, connection: apsw.Connection, namespace_id: str, types: dict[str, int], most: int) -> None:
        self._connection = connection
        self._namespace_id = namespace_id
        self._types = types
        self._most = most

    def of(self, condition: Condition) -> Seek | None:
        match condition:
            case And(parts):
                return self._fewest(parts)
            case Or(parts):
                return self._together(parts)
            case _:
                return self._probe(self._lookup(condition))

    def _fewest(self, parts: Sequence[Condition]) -> Seek | None:
        best: Seek | None = None
        for part in parts:
            seek = self.of(part)
            if seek is not None and (best is None or seek.hits < best.hits):
                best = seek
                if best.hits <= ENOUGH:
                    break
        return best

    def _together(self, parts: Sequence[Condition]) -> Seek | None:
        if len(parts) > MAX_BRANCHES:
            return None
        found: list[Seek] = []
        for part in parts:
            seek = self.of(part)
            if seek is None:
                return None
            found.append(seek)
        hits = sum(seek.hits for seek in found)
        if hits > self._most:
            return None
        sql = " union all ".join(seek.sql for seek in found)
        return Seek(sql, [value for seek in found for value in seek.parameters], hits)

    def _probe(self, lookup: Sql | None) -> Seek | None:
        if lookup is None:
            return None
        sql, parameters = lookup
        hits: int = self._connection.execute(
            f"select count(*) from (select 1 from ({sql}) limit ?)", [*parameters, self._most + 1]
        ).get
        return Seek(sql, parameters, hits) if hits <= self._most else None

    def _lookup(self, condition: Condition) -> Sql | None:
        match condition:
            case Compare(attribute, "=", value):
                return self._equal(attribute, (value,))
            case In(attribute, values):
                return self._equal(attribute, values)
            case Compare(attribute, "STARTS_WITH", prefix):
                return self._within(attribute, starts_with(("{value}", []), str(prefix)))
            case Compare(attribute, op, value) if op in _RANGES:
                return self._within(attribute, (f"{{value}} {_RANGES[op]} ?", [value]))
            case Between(attribute, low, high):
                return self._within(attribute, ("{value} between ? and ?", [low, high]))
            case _:
                return None

    def _equal(self, attribute: str, values: Sequence[Scalar]) -> Sql | None:
        wanted = literals(attribute, values, self._types)
        among = f"in ({marks(wanted)})"
        match attribute:
            case "RunId":
                return f"select x.run_no from runs x indexed by runs_by_id where x.run_id {among}", wanted
            case "ExecutionStatus" if all(isinstance(value, int) and value > COMPLETED for value in wanted):
                test = f"x.status > {COMPLETED} and x.status {among}"
                return _ROWS.format(index="executions_by_status", test=test), [self._namespace_id, *wanted]
            case "RootWorkflowId":
                # The root of nearly all runs is their own, which is stored as null.
                roots = _ROWS.format(index="executions_by_root", test=f"x.root_workflow_id {among}")
                own = _ROWS.format(index="executions_by_id", test=f"x.workflow_id {among}")
                return f"{roots} union all {own}", [self._namespace_id, *wanted] * 2
            case _:
                return self._within(attribute, (f"{{value}} {among}", wanted))

    def _within(self, attribute: str, test: Sql) -> Sql | None:
        sql, parameters = test
        if attribute in _INDEXES:
            index, column = _INDEXES[attribute]
            return _ROWS.format(index=index, test=sql.format(value=column)), [self._namespace_id, *parameters]
        if attribute in COLUMNS:
            return None
        return _VALUES.format(test=sql.format(value="x.value")), [attribute, *parameters]


def walked_index(query: Query) -> tuple[str, str]:
    """The index that has the list's order, and what must be said beside the filter so that SQLite may use it."""
    parts = query.condition.conditions if isinstance(query.condition, And) else (query.condition,)
    index, said = "executions_by_order", ""
    for part in parts:
        match part:
            case Compare("ExecutionStatus", "=", int(status)) if status > COMPLETED:
                return "executions_by_status", f" and e.status > {COMPLETED}"
            case Compare("ExecutionStatus", "=", status) if status in OPEN:
                said = f" and e.close_order = {FOREVER}"
            case In("ExecutionStatus", statuses) if OPEN.issuperset(statuses):
                said = f" and e.close_order = {FOREVER}"
            case Compare("ExecutionStatus", "=", status) if status == COMPLETED:
                said = f" and e.close_order < {FOREVER}"
            case Compare("WorkflowType", "=", _):
                index = "executions_by_type"
            case _:
                pass
    return index, said
