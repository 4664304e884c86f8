"""Pages of a list while the list changes: who stands still is seen exactly once."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.storage.sqlite import SqliteStore, visibility
from perdure.storage.store import VisibilityChange, VisibilityWrite
from perdure.visibility.query import Condition, Query
from tests.storage.rows import NAMESPACE, NOON, execution, written
from tests.visibility.test_filters import TYPES, conditions, holds, rows

moves = st.lists(st.tuples(st.sampled_from(["start", "close"]), st.integers(0, 7), st.integers(-2, 4)), max_size=4)
"""What happens between two pages: a run starts or a run closes, at a time before, among or after the others."""


async def pages(
    made: list[VisibilityWrite], condition: Condition | None, size: int, between: list[list[tuple[str, int, int]]]
) -> tuple[list[int], set[int]]:
    """Numbers of the runs in the order they were seen, and of those that moved meanwhile."""
    store = SqliteStore(None)
    await store.open()
    await written(store, visibility=made)
    query = Query(condition, TYPES if condition is not None else {})
    running = {row.run_no: row for row in made if row.close_time is None}
    seen: list[int] = []
    moved: set[int] = set()
    token, following = b"", iter(between)
    while True:
        found, token = await store.list_executions(NAMESPACE, query, size, token)
        assert len(found) <= size
        seen += [row.run_no for row in found]
        if not token:
            break
        assert len(found) == size
        for what, which, when in next(following, []):
            if what == "start":
                number = 100 + len(moved)
                moved.add(number)
                await written(store, visibility=[execution(number, start_time=NOON + when)])
            elif which in running:
                row = running.pop(which)
                moved.add(which)
                closed = replace(row, change=VisibilityChange.STATUS, status=2, close_time=NOON + when, values=None)
                await written(store, visibility=[closed])
    ((_, count),) = await store.count_executions(NAMESPACE, query)
    await store.close()
    if not moved:
        assert count == len(seen)
    return seen, moved


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(rows(), st.just([execution(number, start_time=NOON) for number in range(8)])),
    st.none() | conditions,
    st.integers(1, 3),
    st.lists(moves, max_size=6),
    st.sampled_from([0, 2, 10_000]),
)
def test_a_run_that_stands_still_is_on_exactly_one_page(
    made: list[VisibilityWrite],
    condition: Condition | None,
    size: int,
    between: list[list[tuple[str, int, int]]],
    sorted_rows: int,
) -> None:
    usual, visibility.SORTED = visibility.SORTED, sorted_rows  # each way of looking for rows gets its turn
    try:
        seen, moved = asyncio.run(pages(made, condition, size, between))
    finally:
        visibility.SORTED = usual

    still = [row.run_no for row in made if row.run_no not in moved and (condition is None or holds(row, condition))]
    assert sorted(number for number in seen if number not in moved) == sorted(still)
