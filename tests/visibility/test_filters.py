"""Compiled filters against a plain reading of the tree, on rows and trees made at random."""

from __future__ import annotations

import asyncio
from collections import Counter
from operator import ge, gt, le, lt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import VisibilityWrite
from perdure.visibility.attributes import BOOL, DOUBLE, INT, KEYWORD, KEYWORD_LIST, SYSTEM, TEXT
from perdure.visibility.parser import parse
from perdure.visibility.query import And, Between, Compare, Condition, In, IsNull, Not, Or, Query
from perdure.visibility.text import tokens
from tests.storage.rows import NAMESPACE, NOON, execution, written

CUSTOM = {"Key": KEYWORD, "Int": INT, "Double": DOUBLE, "Bool": BOOL, "Tags": KEYWORD_LIST, "Note": TEXT}
TYPES = {**SYSTEM, **CUSTOM}
FOREVER = 253_402_300_799_999_999

# ---- rows

words = st.sampled_from(["a", "ab", "b", "B", "\U0010ffff", "a\U0010ffff", ""])
numbers = st.integers(-2, 2)
notes = st.sampled_from(["", "Red Fox", "red", "blue fox!", "--"])


@st.composite
def rows(draw: st.DrawFn) -> list[VisibilityWrite]:
    made = []
    for number in range(draw(st.integers(0, 8))):
        values: list[tuple[str, int, Any]] = []
        for name, value in (
            ("Key", words),
            ("Int", numbers),
            ("Double", numbers),
            ("Bool", st.booleans()),
            ("Note", notes),
        ):
            if draw(st.booleans()):
                values.append((name, CUSTOM[name], draw(value)))
        values += [("Tags", KEYWORD_LIST, tag) for tag in draw(st.lists(words, max_size=3))]
        closed = draw(st.none() | numbers)
        made.append(
            execution(
                number,
                workflow_id=draw(words),
                start_time=NOON + draw(numbers),
                execution_time=NOON,
                close_time=None if closed is None else NOON + closed,
                status=1 if closed is None else draw(st.integers(2, 4)),
                parent_workflow_id=draw(words),
                root_workflow_id=draw(words.filter(bool)),
                history_length=draw(st.integers(0, 2)),
                values=values,
            )
        )
    return made


# ---- filters

comparable = [
    ("WorkflowId", words), ("Key", words), ("ParentWorkflowId", words), ("Int", numbers | words), ("Double", numbers),
    ("StartTime", numbers.map(NOON.__add__)), ("CloseTime", numbers.map(NOON.__add__)), ("ExecutionDuration", numbers),
    ("HistoryLength", numbers), ("RootWorkflowId", words), ("ExecutionStatus", st.integers(1, 4)),
]  # fmt: skip
many = [("Tags", words), ("Note", st.sampled_from(["red", "FOX", "blue red"])), ("Bool", st.booleans())]


def predicates() -> st.SearchStrategy[Condition]:
    choices: list[st.SearchStrategy[Condition]] = [
        st.sampled_from([name for name, _ in comparable + many]).map(IsNull),
        st.builds(Compare, st.sampled_from(["WorkflowId", "Key"]), st.just("STARTS_WITH"), words),
    ]
    for name, values in comparable:
        just = st.just(name)
        choices.append(st.builds(Compare, just, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), values))
        choices.append(st.builds(Between, just, values, values))
    for name, values in comparable + many:
        choices.append(st.builds(Compare, st.just(name), st.sampled_from(["=", "!="]), values))
        if name != "Note":
            choices.append(st.builds(In, st.just(name), st.lists(values, min_size=1, max_size=3).map(tuple)))
    return st.one_of(choices)


conditions = st.recursive(
    predicates(),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)


# ---- the plain reading: True, False or None for unknown


def holds(row: VisibilityWrite, condition: Condition) -> bool | None:
    match condition:
        case And(parts):
            results = [holds(row, part) for part in parts]
            return False if False in results else None if None in results else True
        case Or(parts):
            results = [holds(row, part) for part in parts]
            return True if True in results else None if None in results else False
        case Not(inner):
            result = holds(row, inner)
            return None if result is None else not result
        case IsNull(attribute):
            return row.close_time is None if attribute == "CloseTime" else not values_of(row, attribute)
        case In(attribute, values):
            return any_of(row, attribute, values)
        case Between(attribute, low, high):
            value = scalar(row, attribute)
            return None if value is None else ranked(low) <= ranked(value) <= ranked(high)
        case Compare(attribute, "STARTS_WITH", prefix):
            value = scalar(row, attribute)
            return None if value is None else str(value).startswith(str(prefix))
        case Compare(attribute, "=", value):
            return any_of(row, attribute, (value,))
        case Compare(attribute, "!=", value):
            equal = any_of(row, attribute, (value,))
            return None if equal is None else not equal
        case Compare(attribute, op, literal):
            value = scalar(row, attribute)
            order = {"<": lt, "<=": le, ">": gt, ">=": ge}[op]
            return None if value is None else order(ranked(value), ranked(literal))


def any_of(row: VisibilityWrite, attribute: str, literals: tuple[Any, ...]) -> bool | None:
    values = values_of(row, attribute)
    if not values:
        return None
    if attribute == "Note":
        return bool(set(tokens(values[0])) & {word for literal in literals for word in tokens(literal)})
    return any(ranked(value) == ranked(literal) for value in values for literal in literals)


def ranked(value: Any) -> tuple[int, Any]:
    """Numbers before text, text by code point."""
    return (1, value.encode()) if isinstance(value, str) else (0, value)


def scalar(row: VisibilityWrite, attribute: str) -> Any:
    values = values_of(row, attribute)
    return values[0] if values else None


def values_of(row: VisibilityWrite, attribute: str) -> list[Any]:
    if attribute in CUSTOM:
        return [value for name, _, value in row.values if name == attribute]
    closed = row.close_time is not None
    value = {
        "WorkflowId": row.workflow_id,
        "RootWorkflowId": row.root_workflow_id,
        "ParentWorkflowId": row.parent_workflow_id or None,
        "StartTime": row.start_time,
        "CloseTime": row.close_time if closed else FOREVER,
        "ExecutionDuration": (row.close_time or 0) - row.execution_time if closed else None,
        "HistoryLength": row.history_length if closed else None,
        "ExecutionStatus": row.status,
    }[attribute]
    return [] if value is None else [value]


async def answers(made: list[VisibilityWrite], query: Query) -> tuple[list[str], dict[int, int]]:
    """Run IDs in the order of the list, and counts by status."""
    store = SqliteStore(None)
    await store.open()
    await written(store, visibility=made)
    found, _ = await store.list_executions(NAMESPACE, query, 100, b"")
    ((_, count),) = await store.count_executions(NAMESPACE, query)
    counts = dict(await store.count_executions(NAMESPACE, query, "ExecutionStatus"))
    await store.close()
    assert count == sum(counts.values())
    return [row.run_id for row in found], counts


@settings(max_examples=150, deadline=None)
@given(rows(), conditions)
def test_a_compiled_filter_finds_what_the_tree_says(made: list[VisibilityWrite], condition: Condition) -> None:
    expected = [row for row in made if holds(row, condition)]
    expected.sort(
        key=lambda row: (-(FOREVER if row.close_time is None else row.close_time), -row.start_time, row.run_id)
    )

    found, counts = asyncio.run(answers(made, Query(condition, TYPES)))

    assert found == [row.run_id for row in expected]
    assert counts == Counter(row.status for row in expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Int = 'x'", []),
        ("Int = '1'", [1]),
        ("Key != 'a'", [2]),
        ("NOT Key = 'a'", [2]),
        ("Tags = 'x' AND Tags = 'y'", [1]),
        ("Tags NOT IN ('x')", [2]),
        ("Note = 'FOX hound'", [1]),
        ("CloseTime > '2100-01-01T00:00:00Z'", [1]),
        ("CloseTime IS NULL", [1]),
        ("HistoryLength > 0", [2]),
        ("WorkflowId STARTS_WITH 'order-'", [1, 2, 3]),
    ],
)
async def test_filters_from_text_to_rows(text: str, expected: list[int]) -> None:
    made = [
        execution(
            1,
            values=[
                ("Key", KEYWORD, "a"),
                ("Int", INT, 1),
                ("Note", TEXT, "Red fox"),
                ("Tags", 7, "x"),
                ("Tags", 7, "y"),
            ],
        ),
        execution(2, close_time=NOON + 9, history_length=5, values=[("Key", KEYWORD, "b"), ("Tags", 7, "z")]),
        execution(3, close_time=NOON + 8),
    ]

    found, _ = await answers(made, parse(text, CUSTOM))

    assert sorted(int(run_id[-2:]) for run_id in found) == expected


async def test_a_thousand_conditions_are_one_query() -> None:
    text = " OR ".join(f"Int = {number}" for number in range(1000))

    found, _ = await answers([execution(1, values=[("Int", INT, 999)])], parse(text, CUSTOM))

    assert len(found) == 1
