"""The disk is full, or breaks, under a server: what callers are told, what goes on, and what ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure import Server
from perdure.api.handlers import all_handlers
from perdure.runtime.runtime import Runtime
from perdure.server import Parts, Surroundings
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE, Api, execution, refused
from tests.power.faults import BROKEN, FULL, FaultyVFS

FULL_LINE = (
    "UNAVAILABLE: the store refused the write, please retry "
    "(disk full: nothing can be written until there is space again)"
)


@dataclass
class Patient:
    server: Server
    api: Api
    vfs: FaultyVFS
    log: list[str]

    async def signal(self, workflow_id: str) -> None:
        request = ws.SignalWorkflowExecutionRequest(namespace=NAMESPACE, signal_name="note")
        request.workflow_execution.workflow_id = workflow_id
        await self.api.SignalWorkflowExecution(request)

    async def describe(self, workflow_id: str) -> Any:
        request = ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution(workflow_id))
        return await self.api.DescribeWorkflowExecution(request)

    async def listed(self) -> set[str]:
        found = await self.api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
        return {each.execution.workflow_id for each in found.executions}

    async def refusal(self, call: Any) -> str:
        refusal = await refused(call)
        assert refusal is not None
        return str(refusal)


@asynccontextmanager
async def serving(path: Path, vfs: FaultyVFS | None = None) -> AsyncIterator[Patient]:
    vfs = vfs or FaultyVFS()
    log: list[str] = []

    def compose(given: Surroundings) -> Parts:
        store = SqliteStore(str(path), monotonic=given.monotonic, vfs=vfs.name)
        runtime = Runtime(
            store, given.config, given.time, given.monotonic, given.entropy, given.log, failed=given.failed
        )
        return Parts(store, runtime, lambda: all_handlers(runtime))

    server = Server(str(path), compose=compose)
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        yield Patient(server, Api(channel), vfs, log)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perdure.db"


# ---- full
async def test_a_full_disk_refuses_writes_serves_reads_and_heals_by_itself(path: Path) -> None:
    async with serving(path) as patient:
        await patient.api.start("before")
        patient.vfs.break_down("write", "-wal", FULL)

        assert await patient.refusal(patient.api.start("during")) == FULL_LINE
        assert await patient.refusal(patient.signal("before")) == FULL_LINE
        assert (await patient.describe("before")).workflow_execution_info.execution.workflow_id == "before"
        assert await patient.listed() == {"before"}

        patient.vfs.mend()
        await patient.api.start("during")
        await patient.signal("before")
    async with serving(path) as patient:
        assert await patient.listed() == {"before", "during"}


async def test_a_disk_that_stays_full_is_one_line_in_the_log(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(path) as patient:
        patient.vfs.break_down("write", "-wal", FULL)
        for n in range(5):
            await patient.refusal(patient.api.start(f"order-{n}"))
        patient.vfs.mend()
        await patient.api.start("order-5")

    lines = [line for line in capfd.readouterr().err.splitlines() if "disk full" in line]
    assert len(lines) == 2, lines
    assert "commit refused" in lines[0]
    assert "commits land again" in lines[1]


async def test_a_checkpoint_that_finds_the_disk_full_is_made_up_for_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.storage.sqlite.writer.CHECKPOINT_PAGES", 5)
    async with serving(path) as patient:
        patient.vfs.break_down("write", ".db", FULL)
        await patient.api.start("order-1")
        await asyncio.to_thread(patient.vfs.raised.wait, 10)
        await patient.api.start("order-2")
        patient.vfs.mend()
    async with serving(path) as patient:
        assert await patient.listed() == {"order-1", "order-2"}


# ---- broken
async def test_a_failed_sync_ends_the_server_and_its_callers_are_told_at_once(path: Path) -> None:
    async with serving(path) as patient:
        await patient.api.start("before")
        patient.vfs.break_down("sync", "-wal", BROKEN)

        told = await patient.refusal(patient.api.start("during"))

        failure = str(await asyncio.wait_for(patient.server.failed(), 5))
        assert failure == f"database {path}: I/O error (disk I/O error); check the disk, then start again"
        assert told == f"UNAVAILABLE: {failure}"
        # That the next sync works means nothing: what the first one was for may be gone.
        patient.vfs.mend()
        assert await patient.refusal(patient.api.start("after")) == told
        assert await patient.refusal(patient.signal("before")) == told
        assert await patient.listed() == {"before"}
    async with serving(path) as patient:
        assert "before" in await patient.listed()
        assert "after" not in await patient.listed()


async def test_a_checkpoint_whose_sync_fails_ends_the_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.storage.sqlite.writer.CHECKPOINT_PAGES", 5)
    async with serving(path) as patient:
        patient.vfs.break_down("sync", ".db", BROKEN)
        acknowledged = {"order-1"}
        await patient.api.start("order-1")
        await asyncio.to_thread(patient.vfs.raised.wait, 10)

        refusal = None
        while refusal is None:  # what is on its way when it fails may land: the log is sound
            workflow_id = f"order-{len(acknowledged) + 1}"
            refusal = await refused(patient.api.start(workflow_id))
            if refusal is None:
                acknowledged.add(workflow_id)

        assert "I/O error" in str(refusal)
        assert "I/O error" in str(await asyncio.wait_for(patient.server.failed(), 5))
        patient.vfs.mend()
    async with serving(path) as patient:
        assert await patient.listed() == acknowledged


@pytest.mark.parametrize("of", ["-wal", ".db"])
async def test_a_read_that_fails_is_told_to_its_caller_and_the_operator(
    path: Path, of: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(path) as patient:
        await patient.api.start("order-1")
        if of == ".db":
            await _checkpointed(path)
        patient.vfs.break_down("read", of, BROKEN)

        told = await patient.refusal(patient.listed())

        assert told == f"UNAVAILABLE: database {path}: I/O error (disk I/O error); check the disk, then start again"
        patient.vfs.mend()
        assert await patient.listed() == {"order-1"}
    assert "a read failed" in capfd.readouterr().err


# ---- damaged
async def test_a_damaged_page_is_told_to_who_reads_it_and_ends_the_server_when_written(path: Path) -> None:
    async with serving(path) as patient:
        await patient.api.start("order-1")
    _damage(path, "history")

    async with serving(path) as patient:
        request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution("order-1"))
        told = await patient.refusal(patient.api.GetWorkflowExecutionHistory(request))
        assert told.startswith(f"UNAVAILABLE: database {path} is damaged (")
        assert told.endswith("); restore a backup")
        assert await patient.listed() == {"order-1"}, "what is whole can be read"

        told = await patient.refusal(patient.api.start("order-2"))

        assert told == f"UNAVAILABLE: {await asyncio.wait_for(patient.server.failed(), 5)}"
        assert "is damaged" in told


def _damage(path: Path, table: str) -> None:
    """Overwrite the head of each page of `table`."""
    connection = apsw.Connection(str(path))
    size = connection.pragma("page_size")
    pages = [page for (page,) in connection.execute("select pageno from dbstat where name = ?", (table,))]
    connection.close()
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * 64)


async def _checkpointed(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.close()
