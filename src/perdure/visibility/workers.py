"""The filter of ListWorkers and CountWorkers: the list filter's grammar, over what workers' heartbeats say.

Workers are kept in memory, so a filter is evaluated here rather than by a store.

Source: the reference server's worker query (its fields, operators and words).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import DATETIME, KEYWORD
from perdure.visibility.literals import BadExpression, as_datetime
from perdure.visibility.query import Scalar
from perdure.visibility.syntax import Expression, Function, Junction, Literal, Name, Negation, Operand, Predicate, read

FIELDS: Final[Mapping[str, int]] = {
    "WorkerInstanceKey": KEYWORD,
    "WorkerIdentity": KEYWORD,
    "HostName": KEYWORD,
    "TaskQueue": KEYWORD,
    "DeploymentName": KEYWORD,
    "BuildId": KEYWORD,
    "SdkName": KEYWORD,
    "SdkVersion": KEYWORD,
    "StartTime": DATETIME,
    "HeartbeatTime": DATETIME,
    "WorkerStatus": KEYWORD,
}
_ALIASES: Final = {"Status": "WorkerStatus", "status": "WorkerStatus"}

Known = Mapping[str, Scalar]
"""What is known of a worker, by field; datetimes in microseconds. A field without a value is absent."""
Filter = Callable[[Known], bool]

MAX_DEPTH: Final = 100
_COMPARISONS: Final[Mapping[str, Callable[[Scalar, Scalar], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OF_STRINGS: Final = ("=", "!=", "<>", "starts_with", "not starts_with")
_OF_TIMES: Final = (*_COMPARISONS, "between", "not between")
_MALFORMED: Final = "invalid query: malformed SQL query: "
_EXPRESSION: Final = "invalid query: invalid expression: "


def parse_worker_filter(text: str) -> Filter | None:
    """None when every worker is meant. Raises InvalidArgument for anything outside of the language."""
    if not text or text.isspace():
        return None
    try:
        written = read(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"malformed query: {error.message.removeprefix(_MALFORMED)}") from None
    for clause in written.clauses:
        raise _not_supported(f"'{clause}' clause")
    if written.group_by:
        raise _not_supported("'GROUP BY' clause")
    if written.condition is None:
        return None
    return _condition(written.condition, 0)


def _condition(expression: Expression, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidArgument("malformed query: too many conditions within each other")
    match expression:
        case Junction(word, parts):
            conditions = [_condition(part, depth + 1) for part in parts]
            together = all if word == "and" else any
            return lambda known: together(condition(known) for condition in conditions)
        case Negation():
            raise _not_supported("'NOT' expression")
        case Predicate():
            return _predicate(expression)


def _predicate(written: Predicate) -> Filter:
    op = written.op
    if not op:
        raise InvalidArgument("malformed query: incomplete expression")
    if not isinstance(written.left, Name):
        raise _not_supported(f"'{written.left.text}' on the left side of a comparison")
    field = _ALIASES.get(written.left.text, written.left.text)
    kind = FIELDS.get(field)
    if kind is None:
        raise InvalidArgument(f"unknown or unsupported worker heartbeat search field: {written.left.text}")
    if op.startswith("is"):
        return _presence(field, op, written.right[0])
    if op not in (_OF_STRINGS if kind == KEYWORD else _OF_TIMES):
        raise _not_supported(f"operator '{op}' for {field}")
    values = [_value(operand, field, kind) for operand in written.right]
    if op.endswith("between"):
        low, high = values
        wanted = op == "between"
        return lambda known: field in known and (low <= known[field] <= high) is wanted  # type: ignore[operator] # numbers
    value = values[0]
    if op.endswith("starts_with"):
        prefix, wanted = str(value), op == "starts_with"
        return lambda known: str(known.get(field, "")).startswith(prefix) is wanted
    compare = _COMPARISONS[op]
    if kind == KEYWORD:
        return lambda known: compare(known.get(field, ""), value)
    return lambda known: field in known and compare(known[field], value)


def _presence(field: str, op: str, what: Operand) -> Filter:
    if what.text != "null":
        raise _not_supported("'IS' can only be used with 'NULL' or 'NOT NULL'")
    return (lambda known: field not in known) if op == "is" else (lambda known: field in known)


def _value(operand: Operand, field: str, kind: int) -> Scalar:
    if isinstance(operand, Function) or not isinstance(operand, Literal) or operand.value is None:
        raise _not_supported(f"'{operand.text}' on the right side of a comparison")
    if kind == KEYWORD:
        if not isinstance(operand.value, str):
            raise InvalidArgument(f"malformed query: {field} is compared with a string in quotes, not {operand.text}")
        return operand.value
    try:
        return as_datetime(operand.value, operand.text)
    except BadExpression as error:
        raise InvalidArgument(f"malformed query: {error.message.removeprefix(_EXPRESSION)}") from None


def _not_supported(what: str) -> InvalidArgument:
    return InvalidArgument(f"operation is not supported: {what}")
