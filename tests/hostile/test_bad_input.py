"""What bad input gets, on the wire and from the command line: the reference's code and words; others are served on."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import grpc
import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure import Server
from perdure.config import Config
from perdure.server import Parts, Surroundings, compose_server
from perdure.storage.store import StoreFailed
from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    queue,
    refused,
    schedule_activity,
    start_request,
)

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"


async def alive(api: Api) -> None:
    """Others are served: a workflow runs from its start to its end."""
    await api.start("alive", task_queue=queue("alive"))
    task = await api.poll(task_queue=queue("alive"))
    await api.complete(task, complete_workflow())


@asynccontextmanager
async def served(path: Path, **settings: Any) -> AsyncIterator[tuple[Server, Api]]:
    async with (
        Server(config=Config(port=0, db_filename=str(path), **settings)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield server, Api(channel)


# ---- requests
async def test_bytes_that_are_no_message_are_refused_in_grpcs_words(server: Server, api: Api) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"{SERVICE}StartWorkflowExecution")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"\xff\xff\xff\xff", timeout=5)
    assert refused.value.code() == grpc.StatusCode.INTERNAL
    assert (refused.value.details() or "").startswith("grpc: error unmarshalling request:")
    await alive(api)


@pytest.mark.parametrize("rpc", ["StartWorkflowExecution", "PollWorkflowTaskQueue", "ListWorkflowExecutions"])
async def test_an_unknown_namespace_is_not_found(api: Api, rpc: str) -> None:
    request = {
        "StartWorkflowExecution": start_request(namespace="nowhere"),
        "PollWorkflowTaskQueue": ws.PollWorkflowTaskQueueRequest(namespace="nowhere", task_queue=queue()),
        "ListWorkflowExecutions": ws.ListWorkflowExecutionsRequest(namespace="nowhere"),
    }[rpc]
    with pytest.raises(Refused) as refused:
        await getattr(api, rpc)(request)
    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "Namespace nowhere is not found.")


async def test_a_payload_over_two_mebibytes_is_refused_and_one_over_four_stopped_at_the_door(api: Api) -> None:
    request = start_request()
    request.input.payloads.add(data=b"x" * (2 * 1024 * 1024 + 1))
    with pytest.raises(Refused) as refused:
        await api.StartWorkflowExecution(request)
    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", "Blob data size exceeds limit.")

    request.input.payloads.add(data=b"x" * (3 * 1024 * 1024))
    with pytest.raises(Refused) as refused:
        await api.StartWorkflowExecution(request)
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    assert refused.value.message == f"grpc: received message larger than max ({request.ByteSize()} vs. 4194304)"
    await alive(api)


# ---- workers
async def test_a_worker_that_answers_twice_or_late_or_with_a_made_up_token_is_told_so(api: Api) -> None:
    await api.start()
    task = await api.poll()
    await api.complete(task, schedule_activity())
    with pytest.raises(Refused, match=r"^NOT_FOUND: Workflow task not found\.$"):
        await api.complete(task, complete_workflow())

    activity = await api.poll_activity()
    done = ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.task_token)
    await api.RespondActivityTaskCompleted(done)
    gone = "NOT_FOUND: invalid activityID or activity already timed out or invoking workflow is completed"
    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskCompleted(done)
    assert str(refused.value) == gone
    with pytest.raises(Refused) as refused:
        await api.RecordActivityTaskHeartbeat(
            ws.RecordActivityTaskHeartbeatRequest(namespace=NAMESPACE, task_token=activity.task_token)
        )
    assert str(refused.value) == gone

    for token, text in ((b"", "Task token not set on request."), (b"made up", "Error deserializing task token.")):
        done.task_token = token
        with pytest.raises(Refused) as refused:
            await api.RespondActivityTaskCompleted(done)
        assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", text)


async def test_clients_that_vanish_while_they_poll_take_no_task_with_them(server: Server, api: Api) -> None:
    for _ in range(10):
        async with grpc.aio.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            leaving = [asyncio.ensure_future(Api(channel).poll(within=60)) for _ in range(20)]
            await api.parked(queue())
        await asyncio.gather(*leaving, return_exceptions=True)
    await api.start()
    task = await api.poll()
    assert task.attempt == 1
    await api.complete(task, complete_workflow())


# ---- disks and databases
async def test_a_full_disk_refuses_writes_serves_reads_and_is_over_when_there_is_space(tmp_path: Path) -> None:
    kept: list[Parts] = []

    def compose(given: Surroundings) -> Parts:
        kept.append(compose_server(given))
        return kept[0]

    config = Config(port=0, db_filename=str(tmp_path / "orders.db"))
    async with (
        Server(config=config, compose=compose) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        api = Api(channel)
        await api.start("before")
        store: Any = kept[0].store
        connection = store._writer._connection
        connection.pragma("max_page_count", connection.pragma("page_count"))
        acknowledged = ["before"]
        for n in range(200):
            request = start_request(f"order-{n}")
            request.input.payloads.add(data=b"x" * 20_000)
            refusal = await refused(api.StartWorkflowExecution(request))
            if refusal is not None:
                assert str(refusal).startswith("UNAVAILABLE: the store refused the write, please retry (disk full")
                break
            acknowledged.append(f"order-{n}")
        else:
            pytest.fail("the disk never filled up")
        assert (await api.describe("before")).workflow_execution_info.execution.workflow_id == "before"
        listed = await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
        assert sorted(info.execution.workflow_id for info in listed.executions) == sorted(acknowledged)

        connection.pragma("max_page_count", 1 << 30)
        await alive(api)

    async with served(tmp_path / "orders.db") as (_, again):
        for workflow_id in acknowledged:
            assert (await again.describe(workflow_id)).workflow_execution_info.status == 1


async def test_while_another_program_locks_the_database_writes_wait_and_all_else_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    async with served(path) as (_, api):
        await api.start("before")
        other = apsw.Connection(str(path))
        other.execute("begin immediate")
        waiting = asyncio.ensure_future(api.start("after"))
        for _ in range(5):
            began = asyncio.get_running_loop().time()
            await api.describe("before")
            assert asyncio.get_running_loop().time() - began < 0.5
        assert not waiting.done()
        other.execute("rollback")
        await waiting
        other.close()
        await alive(api)


async def test_a_read_that_fails_costs_its_caller_an_answer_and_no_traceback(
    server: Server, api: Api, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: Any) -> None:
        raise StoreFailed("database orders.db: I/O error (disk); check the disk, then start again")

    monkeypatch.setattr("perdure.storage.sqlite.store.SqliteStore.list_executions", fail)
    with pytest.raises(Refused, match=r"^UNAVAILABLE: database orders\.db: I/O error"):
        await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert "Traceback" not in capfd.readouterr().err
    await alive(api)


# ---- the command line
def start_dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli.main", "server", "start-dev", "--headless", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )


def check_refusal(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_busy_port_is_one_line_and_a_failure() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        check_refusal(start_dev("--port", str(busy.getsockname()[1])), "address already in use")


def test_a_file_that_is_no_database_is_one_line_and_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_bytes(b"this is a letter, not a database " * 1000)
    check_refusal(start_dev("--port", "0", "--db-filename", str(path)), "is not a SQLite database")
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_damaged_database_is_one_line_and_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def make() -> None:
        async with served(path) as (_, api):
            await api.start()

    asyncio.run(make())
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    check_refusal(start_dev("--port", "0", "--db-filename", str(path)), "damaged")


async def test_a_database_in_use_is_one_line_and_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    async with served(path) as (_, api):
        done = await asyncio.to_thread(start_dev, "--port", "0", "--db-filename", str(path))
        check_refusal(done, "in use by another server")
        await alive(api)
