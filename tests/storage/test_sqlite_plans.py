"""Which index SQLite takes for what lists ask most. A wrong one answers rightly, and slowly with a million runs."""

from __future__ import annotations

import apsw
import pytest

from perdure.storage.sqlite.migrate import migrate
from perdure.storage.sqlite.reads import SQL as TASKS
from perdure.storage.sqlite.visibility import SQL, compile_filter
from perdure.visibility.parser import parse


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection, "in-memory", "test")
    return connection


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("", "executions_by_order"),
        ("ExecutionStatus = 'Running'", "executions_by_order (namespace_id=? AND division=? AND close_order=?)"),
        ("ExecutionStatus = 'Completed'", "executions_by_order"),
        ("ExecutionStatus = 'Failed'", "executions_by_status"),
        ("ExecutionStatus IN ('Failed', 'TimedOut')", "executions_by_status"),
        ("WorkflowType = 'a'", "executions_by_type"),
        ("WorkflowType = 'a' AND ExecutionStatus = 'Running'", "executions_by_type"),
        ("WorkflowId = 'a'", "executions_by_id"),
        ("WorkflowId = 'a' AND ExecutionStatus = 'Running'", "executions_by_id"),
        ("RunId = 'a'", "runs_by_id"),
        ("ParentWorkflowId = 'a'", "executions_by_parent"),
        ("RootWorkflowId = 'a'", "executions_by_root"),
        ("TaskQueue = 'a'", "executions_by_queue"),
    ],
)
def test_a_list_starts_from_the_index_made_for_it(connection: apsw.Connection, text: str, index: str) -> None:
    condition, parameters = compile_filter(parse(text, {}))
    sql = f"explain query plan {SQL['list_executions']} and {condition} {SQL['order']}"

    plan = [row[3] for row in connection.execute(sql, ["namespace", *parameters, 10])]

    assert any(index in step for step in plan), plan
    assert not any(step.startswith("SCAN") for step in plan), plan


@pytest.mark.parametrize(
    ("name", "parameters", "index"),
    [
        ("tasks", 7, "tasks_by_queue (namespace_id=? AND queue=? AND kind=? AND (priority,fairness_pass)>"),
        ("first_pass", 4, "COVERING INDEX tasks_by_queue"),
        ("last_pass", 4, "COVERING INDEX tasks_by_queue"),
        ("last_pass_of_key", 5, "tasks_by_fairness_key (namespace_id=? AND queue=? AND kind=? AND priority=? AND fair"),
        ("task_counts", 3, "COVERING INDEX tasks_by_queue"),
    ],
)
def test_a_backlog_is_read_in_its_order(connection: apsw.Connection, name: str, parameters: int, index: str) -> None:
    plan = [row[3] for row in connection.execute(f"explain query plan {TASKS[name]}", [None] * parameters)]

    assert any(index in step for step in plan), plan
    assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in plan), plan
