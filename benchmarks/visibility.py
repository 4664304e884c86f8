"""Lists and counts over a million runs in one file: loaded through the store protocol, asked as the API asks.

The runs are made up so that the hard cases are there: one type is most of all runs, one status almost never happens
(and never to one frequent type), one search attribute has the same value on every run, another five runs a value.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import Batch, Refused, RunWrite, StoreFailed, VisibilityWrite
from perdure.visibility.attributes import BOOL, DOUBLE, INT, KEYWORD, KEYWORD_LIST, TEXT
from perdure.visibility.parser import parse

RUNS = 1_000_000
NAMESPACE = "2f6c0c4e-0000-4000-8000-00000000beef"
CUSTOM = {"OrderId": KEYWORD, "Amount": INT, "Price": DOUBLE, "Urgent": BOOL, "Note": TEXT}
FIRST_START = 1_750_000_000_000_000
APART = 2_600_000
"""Microseconds between starts: a million of them are a month."""
BATCH = 5_000
TIMES = 5
"""How often each question is asked; the median and the worst are shown."""

TYPES = (["Order"] * 60 + ["Payment"] * 25 + ["Shipping"] * 10 + ["Refund"] * 5) * 25
WORDS = [f"{stem}{ending}" for stem in ("red", "blue", "late", "gift", "fragile") for ending in ("", "ish", "er", "s")]


class Question(NamedTuple):
    name: str
    query: str
    at_most_ms: float | None
    counting: bool = False
    page: int = 1


def questions(runs: int) -> list[Question]:
    middle, later = _moment(runs // 2), _moment(runs // 2 + 1000)
    return [
        Question("newest page", "", 50),
        Question("type and status", "WorkflowType = 'Order' AND ExecutionStatus = 'Completed'", 50),
        Question("type and running", "WorkflowType = 'Payment' AND ExecutionStatus = 'Running'", 50),
        Question("type and rare status", "WorkflowType = 'Order' AND ExecutionStatus = 'Terminated'", 50),
        Question("type and a status it never has", "WorkflowType = 'Payment' AND ExecutionStatus = 'Failed'", 100),
        Question("Keyword with 5 hits", f"OrderId = 'order-{runs // 10}'", 100),
        Question("status only", "ExecutionStatus = 'Completed'", 100),
        Question("rare status only", "ExecutionStatus = 'Terminated'", 100),
        Question("no match: type", "WorkflowType = 'Nobody'", 100),
        Question("no match: Keyword", "OrderId = 'nobody'", 100),
        Question("count", "", 100, counting=True),
        Question("count by status", "GROUP BY ExecutionStatus", 100, counting=True),
        Question("count of a rare status", "ExecutionStatus = 'Terminated'", 100, counting=True),
        Question("workflow ID starts with, few", f"WorkflowId STARTS_WITH 'workflow-{runs // 2}'", 100),
        Question("workflow ID starts with, all", "WorkflowId STARTS_WITH 'workflow-'", 100),
        Question("workflow ID starts with, none", "WorkflowId STARTS_WITH 'nobody-'", 100),
        Question("closed within a time", f"CloseTime BETWEEN '{middle}' AND '{later}'", 100),
        Question("started within a time", f"StartTime BETWEEN '{middle}' AND '{later}'", None),
        Question("either of two types", "WorkflowType = 'Refund' OR WorkflowType = 'Shipping'", 100),
        Question("IN two types, failed", "WorkflowType IN ('Order', 'Shipping') AND ExecutionStatus = 'Failed'", 100),
        Question("Text word, one run in a hundred", "Note = 'fragileish'", 100),
        Question("Text word and a type", "Note = 'fragileish' AND WorkflowType = 'Refund'", 100),
        Question("the value all runs have", "BuildIds = 'unversioned'", 100),
        Question("task queue of 40% of runs", "TaskQueue = 'queue-1'", 100),
        Question("task queue of a few runs", f"TaskQueue = 'queue-{runs}'", 100),
        Question("Int range, and a type", "Amount > 990 AND WorkflowType = 'Order'", 100),
        Question("page 2", "WorkflowType = 'Order'", 100, page=2),
        Question("page 100", "WorkflowType = 'Order'", None, page=100),
        Question("count of a type", "WorkflowType = 'Order'", None, counting=True),
        Question("count of a type by status", "WorkflowType = 'Order' GROUP BY ExecutionStatus", None, counting=True),
        Question("count of a week", f"StartTime > '{middle}' AND ExecutionStatus = 'Failed'", None, counting=True),
        Question("count of the value all runs have", "BuildIds = 'unversioned'", None, counting=True),
        Question("no match, no index", "HistoryLength > 1000000", None),
        Question("two frequent things, never together", "WorkflowType = 'Order' AND HistoryLength > 1000", None),
    ]


def _moment(number: int) -> str:
    seconds = (FIRST_START + number * APART) // 1_000_000
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def rows(runs: int) -> Iterator[tuple[RunWrite, VisibilityWrite]]:
    dice = random.Random(7)
    made = _sample()
    for number in range(1, runs + 1):
        run_id = f"{dice.getrandbits(32):08x}-0000-4000-8000-{number:012d}"
        start = FIRST_START + number * APART
        workflow_type = TYPES[dice.randrange(len(TYPES))]
        chance = dice.random()
        status = 1 if chance < 0.03 else 3 if chance < 0.06 else 5 if chance < 0.0601 else 2
        if status == 3 and workflow_type == "Payment":
            status = 2
        values: list[tuple[str, int, Any]] = [
            ("BuildIds", KEYWORD_LIST, "unversioned"),
            ("OrderId", KEYWORD, f"order-{dice.randrange(runs // 5)}"),
        ]
        if number % 2:
            values.append(("Amount", INT, dice.randrange(1000)))
        if number % 5 == 0:
            values.append(("Note", TEXT, " ".join(dice.sample(WORDS, 2))))
        workflow_id = f"workflow-{number}"
        queue = f"queue-{number % 2}" if chance < 0.8 else f"queue-{number - number % 3 + 1}"
        yield (
            RunWrite(number, 1, b"c" * 300, None, NAMESPACE, 1, workflow_id, run_id),
            replace(
                made,
                run_no=number,
                run_id=run_id,
                workflow_id=workflow_id,
                workflow_type=workflow_type,
                status=status,
                start_time=start,
                execution_time=start,
                close_time=None if status == 1 else start + dice.randrange(600_000_000),
                task_queue=queue,
                root_workflow_id=workflow_id,
                root_run_id=run_id,
                history_length=dice.randrange(5, 200),
                values=values,
            ),
        )


def _sample() -> VisibilityWrite:
    return VisibilityWrite(
        run_no=0,
        namespace_id=NAMESPACE,
        run_id="",
        workflow_id="",
        workflow_type="",
        status=1,
        start_time=0,
        execution_time=0,
        close_time=None,
        task_queue="",
        parent_workflow_id="",
        parent_run_id="",
        root_workflow_id="",
        root_run_id="",
        history_length=0,
        history_size=5_000,
        state_transitions=9,
        memo=b"m" * 40,
        search_attributes=b"s" * 120,
    )


async def load(path: Path, runs: int) -> float:
    """Fill a new file; seconds it took. Without waits for the disk: what is measured later is reading."""
    store = SqliteStore(str(path), pragmas={"synchronous": "off", "cache_size": "-1000000"})
    await store.open()
    started = time.monotonic()
    source = rows(runs)
    for number in range(1, -(-runs // BATCH) + 1):
        batch = Batch(number)
        for run, row in islice(source, BATCH):
            batch.runs.append(run)
            batch.visibility.append(row)
        landed: asyncio.Future[Refused | StoreFailed | None] = asyncio.get_running_loop().create_future()
        store.submit(batch, landed.set_result)
        if (outcome := await landed) is not None:
            raise outcome
        if number % 20 == 0:
            rate = number * BATCH / (time.monotonic() - started)
            print(f"  {min(number * BATCH, runs):,} of {runs:,} runs, {rate:,.0f}/s", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    await store.close()
    return seconds


async def ask(store: SqliteStore, question: Question) -> int:
    """How many rows came, or were counted."""
    query = parse(question.query, CUSTOM, counting=question.counting)
    if question.counting:
        return sum(count for _, count in await store.count_executions(NAMESPACE, query))
    token = b""
    for _ in range(question.page - 1):
        _, token = await store.list_executions(NAMESPACE, query, 100, token)
    return len((await store.list_executions(NAMESPACE, query, 100, token))[0])


async def measure(path: Path, runs: int) -> list[dict[str, Any]]:
    store = SqliteStore(str(path))
    await store.open()
    figures = []
    for question in questions(runs):
        took = []
        for _ in range(TIMES):
            started = time.perf_counter()
            found = await ask(store, question)
            took.append((time.perf_counter() - started) * 1000)
        figures.append(
            {
                "what": question.name,
                "found": found,
                "median_ms": round(statistics.median(took), 1),
                "worst_ms": round(max(took), 1),
                "at_most": question.at_most_ms,
                "met": question.at_most_ms is None or statistics.median(took) <= question.at_most_ms,
            }
        )
        print(f"  {question.name}: {figures[-1]['median_ms']} ms, {found} found", file=sys.stderr, flush=True)
    await store.close()
    return figures


def visibility(runs: int = RUNS, keep: Path | None = None) -> dict[str, Any]:
    """`keep`: the file to load into, or to ask again when it is there already."""
    with tempfile.TemporaryDirectory() as folder:
        path = keep or Path(folder) / "million.db"
        seconds = None if path.exists() else asyncio.run(load(path, runs))
        size = path.stat().st_size
        return {
            "runs": runs,
            "load_seconds": seconds and round(seconds, 1),
            "file_mib": size >> 20,
            "questions": asyncio.run(measure(path, runs)),
        }
