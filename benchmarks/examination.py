"""What it costs to examine a file: 100,000 closed one-activity workflows, or as many as are asked for.

    python -m benchmarks.examination --runs 100000

One such workflow goes through the real runtime; the others are copies of its rows with IDs of the same length put in
their places. Prints JSON: seconds (CPU, and by the clock), events a second of CPU, and the largest resident size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import apsw
import temporalio.api.workflowservice.v1 as ws

from perdure.doctor import examine
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE, complete_workflow, schedule_activity, values
from tests.support.runtime_world import World

WORKFLOW_ID = "order-00000000"
TABLES = ("runs", "current", "history", "executions", "search_values")


async def _template(path: Path) -> str:
    """A file with the one workflow; its run ID."""
    store = SqliteStore(None)
    world = World(store=store)
    await world.start()
    run_id = await world.start_workflow(WORKFLOW_ID)
    await world.step(schedule_activity())
    poll = world.poll_activity()
    await world.settle()
    done = ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=poll.reply.task_token)
    done.result.CopyFrom(values("charged"))
    await world.ask(done)
    await world.step(complete_workflow("done"))
    copy = apsw.Connection(str(path))
    with copy.backup("main", store._connections[0], "main") as backup:
        backup.step()
    copy.close()
    await world.stop()
    return run_id


def multiply(path: Path, run_id: str, runs: int) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    rows = {table: list(connection.execute(f"select * from {table}")) for table in TABLES}
    with connection:
        for number in range(2, runs + 1):
            other_id = f"{number * 2654435761 % (1 << 32):08x}-0000-4000-8000-{number:012d}"
            exchange = ((run_id, other_id), (WORKFLOW_ID, f"order-{number:08d}"))
            for table, known in rows.items():
                for row in known:
                    copy = [_exchanged(value, exchange) for value in row]
                    copy[4 if table == "current" else 0] = number
                    connection.execute(f"insert into {table} values ({', '.join('?' * len(copy))})", copy)
        connection.execute("update marks set run_no = ?", (runs,))
    connection.close()


def _exchanged(value: object, exchange: tuple[tuple[str, str], ...]) -> object:
    for old, new in exchange:
        if isinstance(value, bytes):
            value = value.replace(old.encode(), new.encode())
        elif isinstance(value, str):
            value = value.replace(old, new)
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "many.db"
        multiply(path, asyncio.run(_template(path)), runs)
        size = path.stat().st_size
        began, began_cpu = time.perf_counter(), time.process_time()
        findings = examine(str(path))
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    assert findings.sound, findings
    figures = {
        "runs": findings.executions,
        "events": findings.events,
        "file_mib": round(size / 1024 / 1024, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "events_per_cpu_second": round(findings.events / cpu),
        "peak_resident_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
