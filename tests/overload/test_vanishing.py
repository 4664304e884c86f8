"""Clients that vanish without a word, by the hundred: no task waits for a timeout because of them, nothing of them
stays in memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws

from benchmarks.meter import ProcessMeter
from benchmarks.overload import Metrics
from tests.api.client import Api, complete_workflow, kinds, queue
from tests.support.server_process import ServerProcess, free_port, running_dev_server

ROUNDS = 20
CLIENTS = 50
"""At a time: a thousand in all."""


class Wire:
    """A network between clients and a server that can be cut: both ends see a reset, nobody a goodbye."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._open: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server
        self.address = ""

    async def __aenter__(self) -> Wire:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._open:
            with contextlib.suppress(OSError):  # closed by the other end meanwhile
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._open.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._open |= {writer, server_writer}
        for source, target in ((reader, server_writer), (server_reader, writer)):
            pipe = asyncio.ensure_future(_pipe(source, target))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, int]]:
    """On a file, and the port of its metrics."""
    port = free_port()
    database: Path = tmp_path_factory.mktemp("vanishing") / "vanishing.db"
    with running_dev_server("--metrics-port", str(port), database=database) as running:
        yield running, port


@contextlib.asynccontextmanager
async def lost_clients(wire: Wire, count: int, act: Callable[[Api, int], Awaitable[Any]]) -> AsyncIterator[None]:
    """So many clients on connections of their own, each at `act`; cut off when the block ends."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    channels = [grpc.aio.insecure_channel(wire.address, options=options) for _ in range(count)]
    acting = [asyncio.ensure_future(act(Api(channel), number)) for number, channel in enumerate(channels)]
    try:
        yield
    finally:
        wire.cut()
        await asyncio.gather(*acting, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in channels))


async def inside(port: int, calls: int) -> None:
    """Wait until so many calls are inside the server."""
    while (await asyncio.to_thread(Metrics, port))["perdure_calls_in_flight"] != calls:
        await asyncio.sleep(0.01)


async def test_a_thousand_lost_polls_cost_no_task_a_timeout_and_no_memory(server: tuple[ServerProcess, int]) -> None:
    process, metrics_port = server
    meter = ProcessMeter(process.pid)
    before = 0.0
    async with grpc.aio.insecure_channel(process.address) as channel, Wire(int(process.address[10:])) as wire:
        api = Api(channel)
        for turn in range(ROUNDS):
            async with lost_clients(wire, CLIENTS, lambda lost, _: lost.poll(within=60)):
                await inside(metrics_port, CLIENTS)
            await inside(metrics_port, 0)
            await api.start(f"order-{turn}")
            task = await api.poll(within=5)
            assert task.attempt == 1
            await api.complete(task, complete_workflow())
            if turn == ROUNDS // 4:
                before = meter.resident_mib()
        for turn in range(ROUNDS):
            history = kinds((await api.history(f"order-{turn}")).history)
            assert "WORKFLOW_TASK_TIMED_OUT" not in history
    assert meter.resident_mib() < before + 30


async def test_callers_lost_in_the_middle_of_a_call_leave_nothing_half_done(server: tuple[ServerProcess, int]) -> None:
    """Their starts happened or did not; what happened is taken up at once by those who are left."""
    process, metrics_port = server
    meter = ProcessMeter(process.pid)
    before = 0.0
    async with grpc.aio.insecure_channel(process.address) as channel, Wire(int(process.address[10:])) as wire:
        api = Api(channel)
        for turn in range(ROUNDS // 4):

            async def start(lost: Api, number: int, turn: int = turn) -> None:
                for again in range(4):
                    await lost.start(f"lost-{turn}-{number}-{again}", task_queue=queue("lost"))

            async with lost_clients(wire, CLIENTS, start):
                while not await _count(api, f"WorkflowId starts_with 'lost-{turn}-'"):
                    pass
            await inside(metrics_port, 0)
            before = before or meter.resident_mib()
        started = await _count(api, "TaskQueue = 'lost'")
        finished = 0
        while finished < started:
            task = await api.poll(task_queue=queue("lost"), within=5)
            assert task.attempt == 1
            await api.complete(task, complete_workflow())
            finished += 1
        assert await _count(api, "TaskQueue = 'lost' and ExecutionStatus = 'Completed'") == started >= ROUNDS // 4
        nothing = await api.poll(task_queue=queue("lost"), within=2.3)
        assert not nothing.task_token, "a task was handed out twice"
    assert meter.resident_mib() < before + 60


async def _count(api: Api, query: str) -> int:
    reply = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace="default", query=query))
    return int(reply.count)
