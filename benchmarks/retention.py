"""A hundred thousand closed runs pass their retention while callers go on starting workflows."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import apsw
import uvloop
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    UpdateNamespaceRequest,
)

from benchmarks import messages
from benchmarks.callers import Callers
from benchmarks.load import Connection
from benchmarks.messages import NAMESPACE
from benchmarks.sleepers import CALLERS, PAUSE_SECONDS, Figures, budget, kept_or_fresh
from benchmarks.stories import SECOND, fill, opened, progress, telling
from benchmarks.watched import watched_server
from tests.support.server_process import ServerProcess, dev_server_command, free_port

DAY = 86_400
OLD = 3 * DAY
"""Seconds ago at which the runs closed."""
STRETCH_SECONDS = 10.0
PATIENCE_SECONDS = 900.0


async def load_closed(path: Path, runs: int) -> None:
    async with opened(path) as store, telling(store.load_namespaces()) as teller:
        teller.at(time.time_ns() // 1000 - OLD * SECOND)
        story = await teller.closed("closed")
        stories = (story for _ in range(runs))
        await fill(store, stories, teller.namespaces, "closed-", progress(runs, "closed runs"))


async def keep_for(connection: Connection, days: int) -> None:
    request = UpdateNamespaceRequest(namespace=NAMESPACE)
    request.config.workflow_execution_retention_ttl.seconds = days * DAY
    await connection.call(messages.SERVICE + "UpdateNamespace", request.SerializeToString())


async def closed_runs(connection: Connection) -> int:
    request = CountWorkflowExecutionsRequest(namespace=NAMESPACE, query="ExecutionStatus = 'Completed'")
    reply = await connection.call(messages.SERVICE + "CountWorkflowExecutions", request.SerializeToString())
    return CountWorkflowExecutionsResponse.FromString(reply).count


def pages(path: Path) -> dict[str, int]:
    """Of the database, seen from outside while the server is at work."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        forgotten = connection.execute("select count(*) from forgotten").get
        return {
            "in_all": connection.pragma("page_count"),
            "free": connection.pragma("freelist_count"),
            "runs_half_gone": forgotten,
        }
    finally:
        connection.close()


def retention(runs: int) -> Figures:
    with kept_or_fresh(None) as path:
        lengthen(path)
        asyncio.run(load_closed(path, runs))
        with watched_server(path) as server:

            async def drive() -> Figures:
                callers = Callers(server.process.address)
                callers.paced(CALLERS, PAUSE_SECONDS)
                connection = callers.connection
                await asyncio.sleep(3)
                with server.window("before"):
                    before = await callers.stretch(STRETCH_SECONDS)
                full = pages(path)
                await keep_for(connection, 1)
                used, began = server.meter.cpu_ms(), time.monotonic()
                while await closed_runs(connection) == runs:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.05)
                waited = time.monotonic() - began
                callers.begin()
                with server.window("meanwhile"):
                    while left := await closed_runs(connection):
                        passed = time.monotonic() - began
                        print(f"  {left:,} left after {passed:.0f} s", file=sys.stderr, flush=True)
                        if passed > PATIENCE_SECONDS:
                            raise RuntimeError(f"{left} runs are still there after {passed:.0f} s")
                        await asyncio.sleep(2)
                    gone = time.monotonic() - began
                    meanwhile = callers.end()
                while (after := pages(path))["runs_half_gone"]:  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(1)
                swept = time.monotonic() - began
                used = server.meter.cpu_ms() - used
                with server.window("after"):
                    last = await callers.stretch(STRETCH_SECONDS)
                await callers.close()
                return {
                    "runs": runs,
                    "seconds_until_the_first_go": round(waited, 1),
                    "seconds_until_all_are_gone": round(gone, 1),
                    "seconds_until_all_rows_are_gone": round(swept, 1),
                    "deleted_a_second": round(runs / max(gone - waited, 0.001)),
                    "server_cpu_share_meanwhile": round(used / swept / 1000, 2),
                    "calls_before": before,
                    "calls_meanwhile": meanwhile,
                    "calls_after": last,
                    "pages_before": full,
                    "pages_when_all_rows_were_gone": after,
                    "pages_after_more_starts": pages(path),
                }

            figures = uvloop.run(drive())
        seen = server.figures()
    before, meanwhile = figures["calls_before"], figures["calls_meanwhile"]
    left, later = figures["pages_when_all_rows_were_gone"], figures["pages_after_more_starts"]
    added = later["in_all"] - left["in_all"] if later["free"] else 0
    return {
        **figures,
        **seen,
        "budgets": [
            budget("p99 of starts, with to without", round(meanwhile["p99_ms"] / before["p99_ms"], 2), 2),
            budget("the loop is late, ms, p99.9", seen["meanwhile"]["loop_late_p999_ms"], 20),
            budget("collections of garbage, ms, worst", seen["meanwhile"]["collection_worst_ms"], 20),
            budget("pages added by starts while others are free", added, 0),
        ],
    }


def lengthen(path: Path) -> None:
    """A new file whose namespace keeps closed runs for a month."""
    port = free_port()
    process = ServerProcess(dev_server_command(port, database=path), port)

    async def ask() -> None:
        connection = Connection(process.address)
        await keep_for(connection, 30)
        await connection.close()

    try:
        uvloop.run(ask())
    finally:
        process.stop()
