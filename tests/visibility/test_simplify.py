"""Comparisons of one attribute become one; `test_filters.py` holds every filter to its meaning."""

from __future__ import annotations

import pytest

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import INT, KEYWORD
from perdure.visibility.parser import parse
from perdure.visibility.query import And, Compare, Condition, In, Not, Or
from perdure.visibility.simplify import MAX_CONDITIONS, simplified


def simple(text: str) -> Condition:
    condition = parse(text, {"Key": KEYWORD, "Int": INT}).condition
    assert condition is not None
    return simplified(condition)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Key = 'a' OR Key = 'b' OR Key IN ('c', 'a')", In("Key", ("a", "b", "c"))),
        ("Key = 'a' OR Int = 1 OR (Key = 'b' OR Int = 2)", Or((In("Key", ("a", "b")), In("Int", (1, 2))))),
        ("Key != 'a' AND Key NOT IN ('b') AND NOT Key = 'c'", Not(In("Key", ("a", "b", "c")))),
        ("Key = 'a' AND Key = 'b'", And((Compare("Key", "=", "a"), Compare("Key", "=", "b")))),
        ("Key != 'a' OR Key != 'b'", Or((Compare("Key", "!=", "a"), Compare("Key", "!=", "b")))),
        ("NOT (Key = 'a' OR Key = 'b')", Not(In("Key", ("a", "b")))),
    ],
)
def test_comparisons_of_one_attribute_become_one(text: str, expected: Condition) -> None:
    assert simple(text) == expected


def test_thousands_of_values_are_one_condition() -> None:
    assert simple(" OR ".join(f"Int = {number}" for number in range(5000))) == In("Int", tuple(range(5000)))


def test_more_conditions_than_can_be_decided_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="more than 1000 conditions; put values of one attribute into IN"):
        simple(" AND ".join(f"Int > {number}" for number in range(MAX_CONDITIONS + 1)))
