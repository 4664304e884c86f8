"""A list filter as SQL: `compile_filter` turns the tree into a predicate over `executions e` with its parameters.

SQL's three-valued logic is the filter language's own (`!=` and `NOT IN` skip rows where the attribute is unset), so
every attribute is read as a value that may be null. Which index the rows come from is none of a predicate's business:
`seeks.py` and `visibility.py` decide that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import KEYWORD_LIST, TEXT
from perdure.visibility.query import And, Between, Compare, Condition, In, IsNull, Not, Or, Query, Scalar
from perdure.visibility.text import tokens

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

FOREVER = 253_402_300_799_999_999
"""`close_order` while open."""

OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

MAX_DEPTH = 100
"""Parentheses and NOTs within each other; SQLite itself gives up somewhat below 1,000."""

MAX_TERMS = 20
"""Conditions that the planner looks at."""

Sql = tuple[str, list[Any]]
VALUE = "(select v.value from search_values v where v.run_no = e.run_no and v.name = ?)"
ANY = "(select max(v.value in (%s)) from search_values v where v.run_no = e.run_no and v.name = ?)"
UNSET = "not exists (select 1 from search_values v where v.run_no = e.run_no and v.name = ?)"


def compile_filter(query: Query) -> Sql:
    """The whole filter; without a mention of TemporalNamespaceDivision it sees one division only."""
    parts: list[Sql] = []
    if "TemporalNamespaceDivision" not in query.types:
        parts.append(("e.division = ?", [query.division]) if query.division else ("e.division is null", []))
    if query.condition is not None:
        parts += _terms(query.condition, query.types)
    return " and ".join(sql for sql, _ in parts) or "true", [value for _, values in parts for value in values]


def _terms(condition: Condition, types: dict[str, int]) -> Iterator[Sql]:
    """Conditions on columns one by one, as the planner needs them to use an index, and all else as one that it does not
    look into: the time it takes to plan grows with the square of the conditions."""
    parts = condition.conditions if isinstance(condition, And) else (condition,)
    rest: list[Condition] = []
    terms = 0
    for part in parts:
        if terms < MAX_TERMS and _is_of_column(part):
            terms += 1
            yield compile_condition(part, types)
        else:
            rest.append(part)
    if rest:
        sql, parameters = compile_condition(And(tuple(rest)), types)
        yield f"+({sql})", parameters


def _is_of_column(condition: Condition) -> bool:
    inner = condition.condition if isinstance(condition, Not) else condition
    return isinstance(inner, Compare | In | Between | IsNull) and inner.attribute in COLUMNS


def compile_condition(condition: Condition, types: dict[str, int], depth: int = 0) -> Sql:
    """The SQL is safe to put beside an operator."""
    if depth > MAX_DEPTH:
        raise InvalidArgument("invalid query: invalid expression: too many conditions within each other")
    match condition:
        case And(parts):
            return _join([compile_condition(part, types, depth + 1) for part in parts], "and")
        case Or(parts):
            return _join([compile_condition(part, types, depth + 1) for part in parts], "or")
        case Not(IsNull("CloseTime")):
            return f"(e.close_order < {FOREVER})", []
        case Not(inner):
            sql, parameters = compile_condition(inner, types, depth + 1)
            return f"(not {sql})", parameters
        case IsNull(attribute):
            return _is_null(attribute)
        case Compare(attribute, "STARTS_WITH", value):
            return starts_with(value_of(attribute), str(value))
        case Compare(attribute, "=", value):
            return _equals(attribute, (value,), types)
        case Compare(attribute, "!=", value) if _has_many(attribute, types):
            sql, parameters = _equals(attribute, (value,), types)
            return f"(not {sql})", parameters
        case Compare(attribute, op, value):
            sql, parameters = value_of(attribute)
            return f"({sql} {OPERATORS[op]} ?)", [*parameters, value]
        case In(attribute, values):
            return _equals(attribute, values, types)
        case Between(attribute, low, high):
            sql, parameters = value_of(attribute)
            return f"({sql} between ? and ?)", [*parameters, low, high]


def value_of(attribute: str) -> Sql:
    """The attribute of a row `e` as an expression, null where it is unset. Not for attributes of many values."""
    column = COLUMNS.get(attribute)
    return (VALUE, [attribute]) if column is None else (column, [])


def _has_many(attribute: str, types: dict[str, int]) -> bool:
    return attribute not in COLUMNS and types.get(attribute) in (KEYWORD_LIST, TEXT)


def literals(attribute: str, values: Sequence[Scalar], types: dict[str, int]) -> list[Scalar]:
    """What stored values are compared with: a Text is stored word by word."""
    if attribute not in COLUMNS and types.get(attribute) == TEXT:
        return [word for value in values for word in tokens(str(value))]
    return list(values)


def marks(values: Sequence[Scalar]) -> str:
    return ", ".join("?" * len(values))


def _equals(attribute: str, values: Sequence[Scalar], types: dict[str, int]) -> Sql:
    wanted = literals(attribute, values, types)
    if _has_many(attribute, types):
        return ANY % marks(wanted), [*wanted, attribute]
    sql, parameters = value_of(attribute)
    # The planner takes `= ?` for an index where it would not take `in (?)`.
    return f"({sql} = ?)" if len(wanted) == 1 else f"({sql} in ({marks(wanted)}))", [*parameters, *wanted]


def _is_null(attribute: str) -> Sql:
    if attribute == "CloseTime":
        return f"(e.close_order = {FOREVER})", []
    column = COLUMNS.get(attribute)
    return (f"({UNSET})", [attribute]) if column is None else (f"({column} is null)", [])


def starts_with(value: Sql, prefix: str) -> Sql:
    """As a range, which an index can seek by; text is compared by code point, as UTF-8 sorts."""
    sql, parameters = value
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
