"""The list filter: text to a `Query`, names resolved, literals converted, every refusal in the reference's words.

Source: the reference server's list filter on its SQL stores.
"""

from __future__ import annotations

from collections.abc import Mapping

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import (
    BOOL,
    KEYWORD,
    KEYWORD_LIST,
    SCHEDULE_ID,
    SCHEDULE_PREFIX,
    TEXT,
    TYPE_NAMES,
    resolve,
)
from perdure.visibility.literals import BadExpression, convert
from perdure.visibility.query import And, Between, Compare, Condition, In, IsNull, Not, Or, Query, Scalar
from perdure.visibility.syntax import Expression, Function, Junction, Literal, Name, Negation, Operand, Predicate, read

EVERYTHING = Query(None, {})

MAX_DEPTH = 100
"""Parentheses and NOTs within each other."""

_COMPARISONS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_SUPPORTED = {TEXT: ("=", "!=", "<>"), KEYWORD_LIST: ("=", "!=", "<>", "in", "not in")}
"""Types that not every operator fits."""


def parse(text: str, custom: Mapping[str, int], *, counting: bool = False) -> Query:
    """`custom` gives the namespace's own attributes: name to number of IndexedValueType. GROUP BY is for counting only.

    Raises InvalidArgument for anything outside of the language.
    """
    if not text or text.isspace():
        return EVERYTHING
    written = read(text)
    for clause in written.clauses:
        raise _not_supported(f"'{clause}' clause")
    group_by = _group(written.group_by, counting)
    types: dict[str, int] = {}
    if written.condition is None:
        return Query(None, types, group_by)
    return Query(_Meaning(custom, types).of(written.condition, 0), types, group_by)


def _group(operands: tuple[Operand, ...], counting: bool) -> str:
    if not operands:
        return ""
    if not counting:
        raise _not_supported("'GROUP BY' clause")
    if len(operands) > 1:
        raise _not_supported("'GROUP BY' clause supports only a single field")
    if operands[0] != Name("ExecutionStatus"):
        raise _not_supported("'GROUP BY' clause is only supported for ExecutionStatus")
    return "ExecutionStatus"


def _not_supported(what: str) -> InvalidArgument:
    return InvalidArgument(f"invalid query: operation is not supported: {what}")


class _Meaning:
    """Gives meaning to what was written, and collects the types of the attributes named."""

    def __init__(self, custom: Mapping[str, int], types: dict[str, int]) -> None:
        self._custom = custom
        self._types = types

    def of(self, expression: Expression, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise BadExpression("too many conditions within each other")
        match expression:
            case Junction(word, parts):
                conditions = tuple(self.of(part, depth + 1) for part in parts)
                return And(conditions) if word == "and" else Or(conditions)
            case Negation(inner):
                return Not(self.of(inner, depth + 1))
            case Predicate():
                return self._predicate(expression)

    def _predicate(self, written: Predicate) -> Condition:
        op = written.op
        if not op:
            raise BadExpression("incomplete expression")
        attribute, value_type, prefix = self._attribute(written.left)
        if op.startswith("is"):
            if written.right[0].text != "null":
                raise BadExpression("'IS' operator can only be used with 'NULL' or 'NOT NULL'")
            return IsNull(attribute) if op == "is" else Not(IsNull(attribute))
        bare = op.removeprefix("not ")
        if bare not in _COMPARISONS and bare not in ("in", "between", "starts_with"):
            raise BadExpression(f"invalid operator '{op}' in `{written.text}`")
        self._check(written, attribute, value_type)
        if bare == "starts_with":
            condition: Condition = Compare(attribute, "STARTS_WITH", prefix + _prefix_literal(written.right[0]))
        else:
            values = [self._value(operand, attribute, value_type, prefix) for operand in written.right]
            if bare == "in":
                condition = In(attribute, tuple(values))
            elif bare == "between":
                condition = Between(attribute, values[0], values[1])
            else:
                condition = Compare(attribute, _COMPARISONS[op], values[0])
        return condition if bare == op else Not(condition)

    def _attribute(self, operand: Operand) -> tuple[str, int, str]:
        """Name, type, and what is put before its values."""
        if isinstance(operand, Function):
            raise _not_supported("function expression")
        if isinstance(operand, Literal):
            raise BadExpression(f"left side of comparison must be a column name (got: {operand.text})")
        if operand.text == SCHEDULE_ID and SCHEDULE_ID not in self._custom:
            self._types["WorkflowId"] = KEYWORD
            return "WorkflowId", KEYWORD, SCHEDULE_PREFIX
        if (found := resolve(operand.text, self._custom)) is None:
            raise BadExpression(f"column name '{operand.text}' is not a valid search attribute")
        attribute, value_type = found
        self._types[attribute] = value_type
        return attribute, value_type, ""

    def _check(self, written: Predicate, attribute: str, value_type: int) -> None:
        op, kind = written.op, TYPE_NAMES[value_type]
        if op.endswith("between"):
            if value_type in (TEXT, KEYWORD_LIST, BOOL):
                raise BadExpression(f"cannot do range condition on search attribute '{attribute}' of type {kind}")
        elif op.endswith("starts_with"):
            if value_type != KEYWORD or attribute == "ExecutionStatus":
                raise _unfit(op, kind, written)
        elif op not in _SUPPORTED.get(value_type, (op,)):
            raise _unfit(op, kind, written)

    def _value(self, operand: Operand, attribute: str, value_type: int, prefix: str) -> Scalar:
        match operand:
            case Name(text):
                raise _not_supported(
                    f"column name on the right side of comparison expression (did you forget to quote '{text}'?)"
                )
            case Function():
                raise _not_supported("function expression")
            case Literal(None, text):
                raise BadExpression(f"unexpected value {text} for search attribute {attribute} (did you mean IS NULL?)")
            case Literal(value, text):
                assert value is not None
                converted = convert(attribute, value_type, value, text)
                return f"{prefix}{converted}" if prefix else converted


def _unfit(op: str, kind: str, written: Predicate) -> BadExpression:
    return BadExpression(f"operator '{op}' not supported for {kind} type search attribute in `{written.text}`")


def _prefix_literal(operand: Operand) -> str:
    if isinstance(operand, Literal) and isinstance(operand.value, str):
        return operand.value
    raise BadExpression(f"right-hand side of 'starts_with' must be a literal string (got: {operand.text})")
