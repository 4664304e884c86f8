from __future__ import annotations

import pytest

from perdure.errors import InvalidArgument
from perdure.visibility.workers import parse_worker_filter

NOON = 1_700_000_000_000_000
WORKER = {
    "WorkerInstanceKey": "key-1",
    "TaskQueue": "orders",
    "SdkName": "temporal-python",
    "StartTime": NOON,
    "WorkerStatus": "Running",
}


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("", True),
        ("TaskQueue = 'orders'", True),
        ("TaskQueue != 'orders'", False),
        ("SdkName STARTS_WITH 'temporal-'", True),
        ("SdkName NOT STARTS_WITH 'temporal-'", False),
        ("HostName IS NULL AND TaskQueue IS NOT NULL", True),
        ("HostName = '' OR TaskQueue = 'none'", True),
        ("WorkerStatus = 'Running'", True),
        ("Status = 'Shutdown'", False),
        ("(TaskQueue = 'a' OR TaskQueue = 'orders') AND WorkerInstanceKey = 'key-1'", True),
        (f"StartTime = {NOON * 1000}", True),
        ("StartTime > '2023-11-14T00:00:00Z'", True),
        ("StartTime BETWEEN '2023-11-14T00:00:00Z' AND '2023-11-15T00:00:00Z'", True),
        ("StartTime NOT BETWEEN '2023-11-14T00:00:00Z' AND '2023-11-15T00:00:00Z'", False),
        ("HeartbeatTime < '2030-01-01T00:00:00Z'", False),
    ],
)
def test_a_filter_means_the_workers_it_says(query: str, meant: bool) -> None:
    accepts = parse_worker_filter(query)

    assert (accepts is None or accepts(WORKER)) is meant


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Color = 'red'", "unknown or unsupported worker heartbeat search field: Color"),
        ("taskqueue = 'red'", "unknown or unsupported worker heartbeat search field: taskqueue"),
        ("TaskQueue =", "malformed query: syntax error at position"),
        ("TaskQueue", "malformed query: incomplete expression"),
        ("NOT TaskQueue = 'a'", "operation is not supported: 'NOT' expression"),
        ("TaskQueue > 'a'", "operation is not supported: operator '>' for TaskQueue"),
        ("TaskQueue IN ('a')", "operation is not supported: operator 'in' for TaskQueue"),
        ("StartTime STARTS_WITH '2023'", "operation is not supported: operator 'starts_with' for StartTime"),
        ("StartTime = 'soon'", "malformed query: unable to parse datetime 'soon'"),
        ("TaskQueue = 5", "malformed query: TaskQueue is compared with a string in quotes, not 5"),
        ("TaskQueue = 'a' ORDER BY TaskQueue", "operation is not supported: 'ORDER BY' clause"),
    ],
)
def test_what_is_outside_of_the_language_is_refused_with_a_reason(query: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_worker_filter(query)

    assert refused.value.message.startswith(message)
