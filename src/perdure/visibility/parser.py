"""The list filter: text to a `Query`, names resolved, literals converted, every refusal in the reference's words.

Source: the reference server's list filter on its SQL stores.
"""

from __future__ import annotations

from collections.abc import Mapping

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import BOOL, KEYWORD, KEYWORD_LIST, TEXT, TYPE_NAMES
from perdure.visibility.literals import BadExpression, convert
from perdure.visibility.query import And, Between, Compare, Condition, In, IsNull, Not, Or, Query, Scalar
from perdure.visibility.syntax import Expression, Function, Junction, Literal, Name, Negation, Operand, Predicate, read
from perdure.visibility.vocabulary import WORKFLOWS, Vocabulary

MAX_DEPTH = 100
"""Parentheses and NOTs within each other."""

MAX_VALUES = 10_000
"""Literals in all of a filter."""

MAX_LENGTH = 512 * 1024
"""Characters of a filter."""

_COMPARISONS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_SUPPORTED = {TEXT: ("=", "!=", "<>"), KEYWORD_LIST: ("=", "!=", "<>", "in", "not in")}
"""Types that not every operator fits."""


def parse(text: str, custom: Mapping[str, int], vocabulary: Vocabulary = WORKFLOWS, *, counting: bool = False) -> Query:
    """`custom` gives the namespace's own attributes: name to number of IndexedValueType. GROUP BY is for counting only.

    Raises InvalidArgument for anything outside of the language.
    """
    query = _parsed(text, custom, vocabulary, counting)
    return query if vocabulary.only is None else query.narrowed(vocabulary.only, {"ExecutionStatus": KEYWORD})


def _parsed(text: str, custom: Mapping[str, int], vocabulary: Vocabulary, counting: bool) -> Query:
    types: dict[str, int] = {}
    if not text or text.isspace():
        return Query(None, types, division=vocabulary.division)
    if len(text) > MAX_LENGTH:
        raise BadExpression(f"the filter is {len(text)} characters long, the limit is {MAX_LENGTH}")
    written = read(text)
    for clause in written.clauses:
        raise _not_supported(f"'{clause}' clause")
    group_by = _group(written.group_by, custom, vocabulary, counting)
    if group_by:
        types[group_by] = KEYWORD
    condition = None
    if written.condition is not None:
        condition = _Meaning(custom, vocabulary, types).of(written.condition, 0)
    return Query(condition, types, group_by, vocabulary.division)


def _group(operands: tuple[Operand, ...], custom: Mapping[str, int], vocabulary: Vocabulary, counting: bool) -> str:
    if not operands:
        return ""
    if not counting or not vocabulary.groups:
        raise _not_supported("'GROUP BY' clause")
    if len(operands) > 1:
        raise _not_supported("'GROUP BY' clause supports only a single field")
    found = vocabulary.resolve(operands[0].text, custom) if isinstance(operands[0], Name) else None
    if found is None or found[0] not in vocabulary.groups:
        raise _not_supported("'GROUP BY' clause is only supported for ExecutionStatus")
    return found[0]


def _not_supported(what: str) -> InvalidArgument:
    return InvalidArgument(f"invalid query: operation is not supported: {what}")


class _Meaning:
    """Gives meaning to what was written, and collects the types of the attributes named."""

    def __init__(self, custom: Mapping[str, int], vocabulary: Vocabulary, types: dict[str, int]) -> None:
        self._custom = custom
        self._vocabulary = vocabulary
        self._types = types
        self._values = 0

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
        name, attribute, value_type = self._attribute(written.left)
        if op.startswith("is"):
            if written.right[0].text != "null":
                raise BadExpression("'IS' operator can only be used with 'NULL' or 'NOT NULL'")
            return IsNull(attribute) if op == "is" else Not(IsNull(attribute))
        bare = op.removeprefix("not ")
        if bare not in _COMPARISONS and bare not in ("in", "between", "starts_with"):
            raise BadExpression(f"invalid operator '{op}' in `{written.text}`")
        self._check(written, attribute, value_type)
        self._values += len(written.right)
        if self._values > MAX_VALUES:
            raise BadExpression(f"the filter has more than {MAX_VALUES} values")
        if bare == "starts_with":
            condition: Condition = Compare(attribute, "STARTS_WITH", _prefix_literal(written.right[0]))
        else:
            values = [self._value(operand, name, attribute, value_type) for operand in written.right]
            if bare == "in":
                condition = In(attribute, tuple(values))
            elif bare == "between":
                condition = Between(attribute, values[0], values[1])
            else:
                condition = Compare(attribute, _COMPARISONS[op], values[0])
        return condition if bare == op else Not(condition)

    def _attribute(self, operand: Operand) -> tuple[str, str, int]:
        """The name as written, the row's attribute, its type."""
        if isinstance(operand, Function):
            raise _not_supported("function expression")
        if isinstance(operand, Literal):
            quoted = isinstance(operand.value, str) and self._vocabulary.resolve(operand.value, self._custom)
            fix = f"; write {operand.value} without quotes" if quoted else ""
            raise BadExpression(f"left side of comparison must be a column name (got: {operand.text}{fix})")
        name = operand.text
        if (found := self._vocabulary.resolve(name, self._custom)) is None:
            raise self._unknown(name)
        attribute, value_type = found
        self._types[attribute] = value_type
        return name, attribute, value_type

    def _unknown(self, name: str) -> InvalidArgument:
        vocabulary = self._vocabulary
        if vocabulary.refusal and WORKFLOWS.resolve(name, {}) is not None:
            return InvalidArgument(vocabulary.refusal.format(name=name))
        nearest = vocabulary.nearest(name, self._custom)
        hint = f" (did you mean '{nearest}'?)" if nearest else ""
        return BadExpression(f"column name '{name}' is not a valid search attribute{hint}")

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

    def _value(self, operand: Operand, name: str, attribute: str, value_type: int) -> Scalar:
        match operand:
            case Name(text):
                raise _not_supported(
                    f"column name on the right side of comparison expression (did you forget to quote '{text}'?)"
                )
            case Function():
                raise _not_supported("function expression")
            case Literal(None, text):
                raise BadExpression(f"unexpected value {text} for search attribute {name} (did you mean IS NULL?)")
            case Literal(value, text):
                assert value is not None
                return convert(name, attribute, value_type, value, text, self._vocabulary)


def _unfit(op: str, kind: str, written: Predicate) -> BadExpression:
    return BadExpression(f"operator '{op}' not supported for {kind} type search attribute in `{written.text}`")


def _prefix_literal(operand: Operand) -> str:
    if isinstance(operand, Literal) and isinstance(operand.value, str):
        return operand.value
    raise BadExpression(f"right-hand side of 'starts_with' must be a literal string (got: {operand.text})")
