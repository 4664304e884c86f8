"""Where SQLite finds the rows of lists and counts. A wrong place answers rightly, and slowly with a million runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import apsw
import pytest

from perdure.storage.sqlite import SqliteStore, visibility
from perdure.storage.sqlite.reads import SQL as READS
from perdure.storage.sqlite.seeks import best_seek
from perdure.storage.sqlite.visibility import count_statement, list_statement
from perdure.storage.store import VisibilityWrite
from perdure.visibility.attributes import INT, KEYWORD, TEXT
from perdure.visibility.parser import parse
from tests.storage.rows import NAMESPACE, NOON, execution, run, written

CUSTOM = {"Customer": KEYWORD, "Amount": INT, "Note": TEXT}
FREQUENT = 30
"""Hits that are too many to be sorted, in these tests."""

ORDER = "executions_by_order (namespace_id=? AND division=?"


def many() -> Iterator[VisibilityWrite]:
    """A hundred runs: most are orders of one queue, and each tenth is something else."""
    for number in range(1, 101):
        rare = number % 10 == 0
        yield execution(
            number,
            workflow_type="Refund" if rare else "Order",
            status=3 if rare else 2,
            close_time=NOON + number,
            task_queue="refunds" if rare else "orders",
            parent_workflow_id="parent" if rare else "",
            values=[
                ("Customer", KEYWORD, f"customer-{number // 5}"),
                ("Amount", INT, number),
                ("Note", TEXT, "torn red box" if rare else "red box"),
                ("BuildIds", KEYWORD, "unversioned"),
            ],
        )


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    store = SqliteStore(None)

    async def fill() -> None:
        await store.open()
        await written(store, runs=[run(number) for number in range(1, 101)], visibility=list(many()))

    asyncio.run(fill())
    return store._main


def plan_of(connection: apsw.Connection, sql: str, parameters: list[object]) -> list[str]:
    return [row[3] for row in connection.execute(f"explain query plan {sql}", parameters)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ORDER),
        ("ExecutionStatus = 'Running'", ORDER + " AND close_order=?"),
        ("ExecutionStatus IN ('Running', 'Paused')", ORDER + " AND close_order=?"),
        ("CloseTime IS NULL", ORDER + " AND close_order=?"),
        ("CloseTime IS NOT NULL", ORDER + " AND close_order<?"),
        ("ExecutionStatus = 'Completed'", ORDER + " AND close_order<?"),
        ("CloseTime BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-02T00:00:00Z'", ORDER + " AND close_order>?"),
        ("WorkflowType = 'Order'", "executions_by_type (namespace_id=? AND workflow_type=?"),
        ("WorkflowType = 'Order' AND ExecutionStatus = 'Running'", "executions_by_type (namespace_id=? AND"),
        ("TaskQueue = 'orders'", ORDER),
        ("BuildIds = 'unversioned'", ORDER),
        ("Note = 'red'", ORDER),
        ("Amount > 10", ORDER),
        ("WorkflowId STARTS_WITH 'order-'", ORDER),
        ("TaskQueue = 'orders' AND WorkflowType = 'Order'", "executions_by_type"),
        ("TaskQueue = 'orders' OR Customer = 'customer-1'", ORDER),
        ("Customer != 'customer-1'", ORDER),
        ("NOT Customer = 'customer-1'", ORDER),
    ],
)
def test_what_is_frequent_is_found_along_the_list(connection: apsw.Connection, text: str, place: str) -> None:
    query = parse(text, CUSTOM)

    assert best_seek(connection, NAMESPACE, query, FREQUENT) is None
    plan = plan_of(connection, *list_statement(NAMESPACE, query, None, None, 10))
    assert place in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize(
    ("text", "index", "hits"),
    [
        ("ExecutionStatus = 'Failed'", "executions_by_status", 10),
        ("ExecutionStatus IN ('Failed', 'TimedOut')", "executions_by_status", 10),
        ("WorkflowType = 'Refund'", "executions_by_type", 10),
        ("WorkflowType = 'Order' AND TaskQueue = 'refunds'", "executions_by_queue", 10),
        ("WorkflowId = 'order-7'", "executions_by_id", 1),
        ("WorkflowId STARTS_WITH 'order-9'", "executions_by_id", 11),
        ("RunId = '00000000-0000-4000-8000-000000000007'", "runs_by_id", 1),
        ("ParentWorkflowId = 'parent'", "executions_by_parent", 10),
        ("RootWorkflowId = 'order-7'", "executions_by_root", 1),
        ("TaskQueue = 'refunds'", "executions_by_queue", 10),
        ("Customer = 'customer-7'", "search_values_by_value", 5),
        ("Customer = 'customer-7' OR Customer = 'customer-8'", "search_values_by_value", 10),
        ("Customer = 'customer-7' OR WorkflowId = 'order-1'", "executions_by_id", 6),
        ("Customer STARTS_WITH 'customer-7'", "search_values_by_value", 5),
        ("Amount BETWEEN 10 AND 12", "search_values_by_value", 3),
        ("Amount > 90 AND Note = 'red'", "search_values_by_value", 10),
        ("Note = 'torn paper'", "search_values_by_value", 10),
        ("BuildIds = 'unversioned' AND WorkflowType = 'Nobody'", "executions_by_type", 0),
    ],
)
def test_what_is_rare_is_looked_up_and_sorted(connection: apsw.Connection, text: str, index: str, hits: int) -> None:
    query = parse(text, CUSTOM)

    seek = best_seek(connection, NAMESPACE, query, FREQUENT)

    assert seek is not None
    assert seek.hits == hits
    plan = plan_of(connection, *list_statement(NAMESPACE, query, seek, None, 10))
    assert any("e USING INTEGER PRIMARY KEY" in step for step in plan), plan
    assert any(index in step for step in plan), plan
    assert not any(step.startswith("SCAN") and "(join" not in step for step in plan), plan


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ExecutionStatus = 'Failed' GROUP BY ExecutionStatus", "execution_counts USING PRIMARY KEY"),
        ("WorkflowType = 'Order'", "COVERING INDEX executions_by_type"),
        ("WorkflowType = 'Order' GROUP BY ExecutionStatus", "COVERING INDEX executions_by_type"),
        ("StartTime > '2023-01-01T00:00:00Z'", "COVERING INDEX executions_by_order"),
        ("CloseTime > '2023-01-01T00:00:00Z' AND WorkflowType != 'Order'", "COVERING INDEX executions_by_order"),
    ],
)
def test_counts_read_an_index_and_no_rows(
    connection: apsw.Connection, text: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visibility, "SORTED", FREQUENT)
    query = parse(text, CUSTOM, counting=True)

    plan = plan_of(connection, *count_statement(connection, NAMESPACE, query, query.group_by))

    assert any(place in step for step in plan), plan


@pytest.mark.parametrize(
    ("name", "parameters", "index"),
    [
        ("tasks", 7, "tasks_by_queue (namespace_id=? AND queue=? AND kind=? AND (priority,fairness_pass)>"),
        ("tasks_of_key", 8, "tasks_by_fairness_key (namespace_id=? AND queue=? AND kind=? AND priority=? AND fair"),
        ("first_pass", 4, "COVERING INDEX tasks_by_queue"),
        ("last_pass", 4, "COVERING INDEX tasks_by_queue"),
        ("last_pass_of_key", 5, "tasks_by_fairness_key (namespace_id=? AND queue=? AND kind=? AND priority=? AND fair"),
        ("task_counts", 3, "COVERING INDEX tasks_by_queue"),
    ],
)
def test_a_backlog_is_read_in_its_order(connection: apsw.Connection, name: str, parameters: int, index: str) -> None:
    plan = [row[3] for row in connection.execute(f"explain query plan {READS[name]}", [None] * parameters)]

    assert any(index in step for step in plan), plan
    assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in plan), plan


def test_due_runs_are_read_in_order_from_where_the_last_page_ended(connection: apsw.Connection) -> None:
    plan = [row[3] for row in connection.execute(f"explain query plan {READS['due_runs']}", [None] * 4)]

    assert any("runs_by_wake (wake_at=? AND rowid>?)" in step for step in plan), plan
    assert any("runs_by_wake (wake_at>? AND wake_at<?)" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_old_runs_are_found_at_the_end_of_the_list(connection: apsw.Connection) -> None:
    plan = [row[3] for row in connection.execute(f"explain query plan {READS['closed_runs']}", [None] * 4)]

    assert any(ORDER + " AND close_order<?" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan), plan
