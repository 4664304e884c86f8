"""A long filter made short: what programs write as a thousand comparisons of one attribute is one look at its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.errors import InvalidArgument
from perdure.visibility.query import And, Compare, Condition, In, Not, Or, Scalar

MAX_CONDITIONS = 1000
"""After all that could be put together was. More of them cost time with their square."""


Values = tuple[str, tuple[Scalar, ...]]


def simplified(condition: Condition) -> Condition:
    """The same meaning, unknown included. Raises InvalidArgument when it still has too many conditions."""
    simple = _simplified(condition)
    if _count(simple) > MAX_CONDITIONS:
        raise InvalidArgument(
            f"invalid query: invalid expression: more than {MAX_CONDITIONS} conditions; "
            "put values of one attribute into IN (...)"
        )
    return simple


def _simplified(condition: Condition) -> Condition:
    match condition:
        case And(parts):
            flat = [part for each in map(_simplified, parts) for part in _parts_of(each, And)]
            return _joined(And, _together(flat, _excluded, lambda name, values: Not(In(name, values))))
        case Or(parts):
            flat = [part for each in map(_simplified, parts) for part in _parts_of(each, Or)]
            return _joined(Or, _together(flat, _included, In))
        case Not(inner):
            return Not(_simplified(inner))
        case _:
            return condition


def _parts_of(condition: Condition, kind: type[And] | type[Or]) -> Sequence[Condition]:
    return condition.conditions if isinstance(condition, kind) else (condition,)


def _joined(kind: type[And] | type[Or], parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def _included(condition: Condition) -> Values | None:
    """Attribute and values, when the condition is that it has one of them."""
    match condition:
        case Compare(attribute, "=", value):
            return attribute, (value,)
        case In(attribute, values):
            return attribute, values
        case _:
            return None


def _excluded(condition: Condition) -> Values | None:
    """Attribute and values, when the condition is that it has a value, and none of them."""
    match condition:
        case Compare(attribute, "!=", value):
            return attribute, (value,)
        case Not(inner):
            return _included(inner)
        case _:
            return None


def _together(
    parts: Sequence[Condition],
    values_of: Callable[[Condition], Values | None],
    made: Callable[[str, tuple[Scalar, ...]], Condition],
) -> list[Condition]:
    """`parts` with those on the same attribute put into one, where its first stood."""
    together: dict[str, list[Scalar]] = {}
    places: dict[str, list[int]] = {}
    for place, part in enumerate(parts):
        if (found := values_of(part)) is not None:
            attribute, values = found
            together.setdefault(attribute, []).extend(values)
            places.setdefault(attribute, []).append(place)
    result: dict[int, Condition] = dict(enumerate(parts))
    for attribute, where in places.items():
        if len(where) > 1:
            for place in where[1:]:
                del result[place]
            result[where[0]] = made(attribute, tuple(dict.fromkeys(together[attribute])))
    return list(result.values())


def _count(condition: Condition) -> int:
    match condition:
        case And(parts) | Or(parts):
            return sum(map(_count, parts))
        case Not(inner):
            return _count(inner)
        case _:
            return 1
