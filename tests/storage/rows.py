"""Rows with sensible values, and the callbacks of a store as awaitables."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from msgspec.structs import replace

from perdure.storage.store import (
    Batch,
    CurrentWrite,
    HistoryBatch,
    OutboxWrite,
    Refused,
    RunWrite,
    Store,
    StoredExecution,
    StoreFailed,
    TaskWrite,
    VisibilityWrite,
)

NAMESPACE = "0a6e9a4e-1111-4222-8333-123456789abc"
WORKFLOW = 1
NOON = 1_700_000_000_000_000

_numbers = count(1)


def batch(**parts: Any) -> Batch:
    return Batch(next(_numbers), **parts)


def run_id(run_no: int) -> str:
    return f"00000000-0000-4000-8000-{run_no:012d}"


def run(run_no: int = 1, version: int = 1, **changes: Any) -> RunWrite:
    made = RunWrite(run_no, version, b"core %d" % version, None, NAMESPACE, WORKFLOW, f"order-{run_no}", run_id(run_no))
    return replace(made, **changes)


def current(run_no: int = 1, **changes: Any) -> CurrentWrite:
    made = CurrentWrite(
        NAMESPACE, WORKFLOW, f"order-{run_no}", run_id(run_no), run_no, 1, run_id(run_no), "request", NOON
    )
    return replace(made, **changes)


def execution(run_no: int = 1, **changes: Any) -> VisibilityWrite:
    made = VisibilityWrite(
        run_no=run_no,
        namespace_id=NAMESPACE,
        run_id=run_id(run_no),
        workflow_id=f"order-{run_no}",
        workflow_type="Order",
        status=1,
        start_time=NOON + run_no,
        execution_time=NOON + run_no,
        close_time=None,
        task_queue="orders",
        parent_workflow_id="",
        parent_run_id="",
        root_workflow_id=f"order-{run_no}",
        root_run_id=run_id(run_no),
        history_length=0,
        history_size=0,
        state_transitions=0,
        memo=b"memo",
        search_attributes=b"attributes",
    )
    return replace(made, **changes)


def events(first: int, last: int, size: int = 10) -> HistoryBatch:
    return HistoryBatch(first, last, b"%d-%d" % (first, last) + b"." * size)


def task(task_no: int, **changes: Any) -> TaskWrite:
    made = TaskWrite(task_no, NAMESPACE, "orders", 1, 3, "", "order-1", run_id(1), 5, 1, 0, NOON)
    return replace(made, **changes)


def message(message_no: int) -> OutboxWrite:
    return OutboxWrite(message_no, NAMESPACE, WORKFLOW, "order-2", b"message %d" % message_no)


async def outcome(store: Store, *batches: Batch) -> Refused | StoreFailed | None:
    """Submit all at once; the outcome of the last."""
    return (await outcomes(store, *batches))[-1]


async def outcomes(store: Store, *batches: Batch) -> list[Refused | StoreFailed | None]:
    loop = asyncio.get_running_loop()
    got: list[Refused | StoreFailed | None] = []
    finished = loop.create_future()

    def done(result: Refused | StoreFailed | None) -> None:
        got.append(result)
        if len(got) == len(batches):
            finished.set_result(None)

    for each in batches:
        store.submit(each, done)
    await finished
    return got


async def written(store: Store, **parts: Any) -> None:
    assert await outcome(store, batch(**parts)) is None


async def loaded(store: Store, run_no: int = 1, run: str = "") -> StoredExecution:
    return await answer(store.load_execution, NAMESPACE, WORKFLOW, f"order-{run_no}", run)


async def swept(store: Store, budget_rows: int) -> int:
    count: int = await answer(store.sweep, budget_rows)
    return count


async def answer(read: Any, *arguments: Any) -> Any:
    got = asyncio.get_running_loop().create_future()
    read(*arguments, got.set_result)
    result = await got
    assert not isinstance(result, StoreFailed), result
    return result
