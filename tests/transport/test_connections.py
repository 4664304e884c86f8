"""What surrounds calls: health, reflection, version headers, keepalive, ports, shutdown."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from perdure.api.call import PENDING, Call
from perdure.errors import NotFound, Unavailable
from perdure.server import Server
from perdure.storage.store import StoreFailed
from perdure.transport.gate import NOT_READY, Gate
from perdure.transport.ports import PortUnavailable
from tests.transport.conftest import rpc
from tests.transport.fakes import Composition
from tests.transport.test_calls import Parking, refused

WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR_SERVICE = "temporal.api.operatorservice.v1.OperatorService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", WORKFLOW_SERVICE, OPERATOR_SERVICE])
async def test_health_says_that_our_services_serve(serve: Any, connect: Any, service: str) -> None:
    channel = connect(await serve())
    check = rpc(channel, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse)

    answer = await check(health_pb2.HealthCheckRequest(service=service))

    assert answer.status == SERVING


async def test_health_does_not_know_strangers(serve: Any, connect: Any) -> None:
    check = rpc(connect(await serve()), "/grpc.health.v1.Health/Check")

    error = await refused(check(health_pb2.HealthCheckRequest(service="nobody")))

    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_health_sees_the_drain(serve: Any, connect: Any) -> None:
    server = await serve()
    watch = connect(server).unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(service=WORKFLOW_SERVICE))
    first = await watch.read()

    stopping = asyncio.ensure_future(server.stop())
    second = await watch.read()
    await asyncio.wait_for(stopping, 5)

    assert (first.status, second.status) == (SERVING, NOT_SERVING)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services(serve: Any, connect: Any, version: str) -> None:
    channel = connect(await serve())
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()

    await ask.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    services = {service.name for service in (await ask.read()).list_services_response.service}
    await ask.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=WORKFLOW_SERVICE))
    files = (await ask.read()).file_descriptor_response.file_descriptor_proto
    await ask.done_writing()

    assert {WORKFLOW_SERVICE, OPERATOR_SERVICE, "grpc.health.v1.Health"} <= services
    assert any(b"SignalWorkflowExecution" in file for file in files)


@pytest.mark.parametrize(
    ("headers", "code", "text"),
    [
        ({"client-name": "temporal-go", "client-version": "1.40.0"}, "OK", ""),
        ({"client-name": "somebody", "client-version": "x"}, "OK", ""),
        ({"client-name": "temporal-go"}, "OK", ""),
        (
            {"client-name": "temporal-go", "client-version": "2.0.0"},
            "FAILED_PRECONDITION",
            "Client version 2.0.0 is not supported. Server supports temporal-go versions: <2.0.0",
        ),
        (
            {"client-name": "temporal-java", "client-version": "1.x"},
            "INVALID_ARGUMENT",
            "Unable to parse client version: '1.x' is not a semantic version",
        ),
        (
            {
                "client-name": "temporal-go",
                "client-version": "1.40.0",
                "supported-server-versions": ">=2.0.0 <3.0.0",
            },
            "FAILED_PRECONDITION",
            "Server version 1.31.2 is not supported. Client supports server versions: >=2.0.0 <3.0.0",
        ),
        (
            {"client-name": "temporal-go", "client-version": "1.40.0", "supported-server-versions": ">=1.0.0 <2.0.0"},
            "OK",
            "",
        ),
    ],
)
async def test_clients_of_other_ages_are_told(serve: Any, connect: Any, headers: Any, code: str, text: str) -> None:
    channel = connect(await serve())

    call = rpc(channel, "GetSystemInfo")(b"", metadata=tuple(headers.items()))

    assert (await call.code()).name == code
    assert await call.details() == text


async def test_the_python_sdk_connects_and_its_errors_are_typed(serve: Any) -> None:
    class Missing:
        def DescribeWorkflowExecution(self, request: Any, call: Call) -> Any:
            assert call.client_name == "temporal-python"
            raise NotFound(f"workflow not found for ID: {request.execution.workflow_id}")

    server = await serve(Missing())

    client = await Client.connect(server.address)
    with pytest.raises(RPCError) as failure:
        await client.get_workflow_handle("w").describe()

    assert failure.value.status is RPCStatusCode.NOT_FOUND
    assert failure.value.message == "workflow not found for ID: w"
    assert await client.service_client.check_health()


async def test_the_version_check_can_be_switched_off(serve: Any, connect: Any) -> None:
    channel = connect(await serve(dynamic_config={"frontend.enableServerVersionCheck": False}))

    call = rpc(channel, "GetSystemInfo")(b"", metadata=(("client-name", "temporal-go"), ("client-version", "2.0.0")))

    assert await call.code() is grpc.StatusCode.OK


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + bytes(4) + payload


def _ping_without_calls(port: int, pings: int) -> list[int]:
    """Kinds of the HTTP/2 frames answered to `pings` pings on a connection without streams."""
    ping, goaway, settings = 6, 7, 4
    kinds: list[int] = []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(settings, 0, b""))
        answers = connection.makefile("rb")
        for number in range(pings):
            connection.sendall(_frame(ping, 0, struct.pack(">Q", number)))
            while True:
                header = answers.read(9)
                kinds.append(header[3])
                answers.read(int.from_bytes(header[:3], "big"))
                if header[3] == goaway or (header[3] == ping and header[4] == 1):
                    break
            if kinds[-1] == goaway:
                break
    return kinds


async def test_pings_without_calls_are_answered_and_never_punished(serve: Any) -> None:
    server = await serve()

    kinds = await asyncio.to_thread(_ping_without_calls, server.port, 20)

    assert kinds.count(6) == 20
    assert 7 not in kinds


async def test_a_busy_port_is_one_clear_error_and_leaves_the_store_alone(serve: Any) -> None:
    server = await serve()
    composition = Composition()

    with pytest.raises(PortUnavailable) as failure:
        await Server(port=server.port, compose=composition).start()

    assert str(failure.value) == f"listen tcp 127.0.0.1:{server.port}: bind: address already in use"
    assert composition.diary == []


async def test_a_port_in_time_wait_is_taken(serve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        accepted.close()
        assert client.recv(1) == b""
        client.close()

    server = await serve(port=port)

    assert server.port == port


async def test_a_store_that_cannot_open_ends_the_start() -> None:
    composition = Composition(open_error=StoreFailed("database is locked by another server"))

    with pytest.raises(StoreFailed, match="locked by another server"):
        await Server(compose=composition).start()

    assert composition.diary == []


async def test_what_started_is_closed_again_when_a_later_part_fails() -> None:
    composition = Composition([object()])
    composition.handlers = [type("Wrong", (), {"NoSuchRpc": lambda self, request, call: None})()]

    with pytest.raises(TypeError, match="NoSuchRpc"):
        await Server(compose=composition).start()

    assert composition.diary == ["store opened", "runtime started", "runtime stopped", "store closed"]


async def test_draining_answers_parked_polls_refuses_new_calls_and_closes_in_order(connect: Any) -> None:
    parking = Parking()
    composition = Composition([parking])
    server = Server(compose=composition)
    await server.start()
    channel = connect(server)
    poll = rpc(channel, "PollWorkflowTaskQueue", PollWorkflowTaskQueueResponse)(b"")
    await parking.parked.wait()
    [parked] = parking.calls
    late: list[Any] = []

    async def call_late_and_release() -> None:
        late.append(await refused(rpc(channel, "GetSystemInfo")(b"")))
        parked.finish(PollWorkflowTaskQueueResponse())

    composition.runtime.on_drain = lambda: late.append(asyncio.ensure_future(call_late_and_release()))
    await server.stop()

    assert (await poll) == PollWorkflowTaskQueueResponse()
    assert late[1].code() is grpc.StatusCode.UNAVAILABLE
    assert composition.diary == [
        "store opened",
        "runtime started",
        "runtime drained",
        "runtime stopped",
        "store closed",
    ]


async def test_a_call_that_never_ends_is_cut_off_after_the_grace(connect: Any) -> None:
    class Stubborn:
        def PollWorkflowTaskQueue(self, request: Any, call: Call) -> Any:
            parked.set()
            return PENDING

    parked = asyncio.Event()
    composition = Composition([Stubborn()])
    server = Server(compose=composition)
    server.config = replace(server.config, drain_grace=0.05)
    await server.start()
    poll = rpc(connect(server), "PollWorkflowTaskQueue")(b"")
    await parked.wait()

    await asyncio.wait_for(server.stop(), 5)

    assert (await refused(poll)).code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_before_readiness_the_gate_says_so() -> None:
    with pytest.raises(Unavailable, match=NOT_READY):
        Gate().enter(0)


async def test_who_waits_for_it_learns_that_the_store_failed(serve: Any) -> None:
    composition = Composition()
    server = await serve(composition=composition)
    assert composition.surroundings is not None

    composition.surroundings.failed(StoreFailed("fsync failed: no space left on device"))

    assert str(await server.failed()) == "fsync failed: no space left on device"
