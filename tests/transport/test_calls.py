"""Calls over real gRPC: answers, errors on the wire, sizes, compression, callers that go away."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from temporalio.api.errordetails.v1 import NotFoundFailure, ResourceExhaustedFailure
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetClusterInfoRequest,
    GetClusterInfoResponse,
    GetSystemInfoRequest,
    GetSystemInfoResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    SignalWorkflowExecutionRequest,
    SignalWorkflowExecutionResponse,
)

from perdure.api.call import PENDING, Call
from perdure.clock import SystemMonotonic
from perdure.errors import InvalidArgument, NotFound, PerdureError, ResourceExhausted
from perdure.log import Log
from tests.transport.conftest import SERVICE, rpc


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value


def details_of(error: grpc.aio.AioRpcError) -> Status:
    trailers = dict(error.trailing_metadata())
    status = Status()
    status.ParseFromString(trailers["grpc-status-details-bin"])
    return status


class Raising:
    """SignalWorkflowExecution fails with `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def SignalWorkflowExecution(self, request: Any, call: Call) -> Any:
        raise self.error


class Parking:
    """Polls stay parked in `calls`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.parked = asyncio.Event()
        self.left = asyncio.Event()

    def PollWorkflowTaskQueue(self, request: Any, call: Call) -> Any:
        call.on_gone(self.left.set)
        self.calls.append(call)
        self.parked.set()
        return PENDING


async def test_a_plain_handler_is_answered(serve: Any, connect: Any) -> None:
    channel = connect(await serve())

    answer = await rpc(channel, "GetSystemInfo", GetSystemInfoResponse)(GetSystemInfoRequest())

    assert answer.server_version == "1.31.2"


async def test_an_async_handler_and_ready_bytes_are_answered(serve: Any, connect: Any) -> None:
    class Both:
        async def GetClusterInfo(self, request: Any, call: Call) -> Any:
            return GetClusterInfoResponse(cluster_name="active")

        def DescribeNamespace(self, request: Any, call: Call) -> Any:
            return DescribeNamespaceResponse(failover_version=7).SerializeToString()

    channel = connect(await serve(Both()))

    cluster = await rpc(channel, "GetClusterInfo", GetClusterInfoResponse)(GetClusterInfoRequest())
    namespace = await rpc(channel, "DescribeNamespace", DescribeNamespaceResponse)(DescribeNamespaceRequest())

    assert cluster.cluster_name == "active"
    assert namespace.failover_version == 7


async def test_methods_nobody_answers_are_refused_by_name(serve: Any, connect: Any) -> None:
    channel = connect(await serve())

    unanswered = await refused(rpc(channel, "ListSchedules")(b""))
    unheard = await refused(rpc(channel, "GetFoo")(b""))
    elsewhere = await refused(rpc(channel, "/some.Service/Do")(b""))

    assert unanswered.code() is unheard.code() is elsewhere.code() is grpc.StatusCode.UNIMPLEMENTED
    service = "temporal.api.workflowservice.v1.WorkflowService"
    assert unanswered.details() == f"unknown method ListSchedules for service {service}"
    assert unheard.details() == f"unknown method GetFoo for service {service}"
    assert elsewhere.details() == "unknown service some.Service"


async def test_an_error_carries_one_typed_detail(serve: Any, connect: Any) -> None:
    channel = connect(await serve(Raising(NotFound("workflow not found for ID: w"))))

    error = await refused(rpc(channel, "SignalWorkflowExecution")(SignalWorkflowExecutionRequest()))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "workflow not found for ID: w"
    status = details_of(error)
    assert (status.code, status.message) == (5, "workflow not found for ID: w")
    [detail] = status.details
    assert detail.Is(NotFoundFailure.DESCRIPTOR)
    assert detail.type_url == "type.googleapis.com/temporal.api.errordetails.v1.NotFoundFailure"


async def test_an_error_without_a_detail_has_no_details_trailer(serve: Any, connect: Any) -> None:
    channel = connect(await serve(Raising(InvalidArgument("WorkflowId is not set on request."))))

    error = await refused(rpc(channel, "SignalWorkflowExecution")(b""))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata())


async def test_exhaustion_names_cause_and_scope_in_headers_and_detail(serve: Any, connect: Any) -> None:
    channel = connect(await serve(Raising(ResourceExhausted("Workflow is busy.", cause=5))))

    call = rpc(channel, "SignalWorkflowExecution")(b"")
    error = await refused(call)

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    headers = dict(await call.initial_metadata())
    assert headers["x-resource-exhausted-cause"] == "BusyWorkflow"
    assert headers["x-resource-exhausted-scope"] == "Namespace"
    detail = ResourceExhaustedFailure()
    assert details_of(error).details[0].Unpack(detail)
    assert (detail.cause, detail.scope) == (5, 1)


async def test_a_defect_is_masked_and_logged_in_one_line(serve: Any, connect: Any) -> None:
    lines = io.StringIO()
    server = await serve(Raising(KeyError("secret")), log=Log("warn", stream=lines))
    channel = connect(server)

    error = await refused(rpc(channel, "SignalWorkflowExecution")(b""))
    later = await rpc(channel, "GetSystemInfo", GetSystemInfoResponse)(b"")

    assert error.code() is grpc.StatusCode.INTERNAL
    fingerprint = error.details().removeprefix("something went wrong, please retry (").removesuffix(")")
    [line] = lines.getvalue().splitlines()
    assert "level=ERROR" in line
    assert f"fingerprint={fingerprint}" in line
    assert "Traceback" in line
    assert later.server_version


async def test_a_client_mistake_leaves_no_line(serve: Any, connect: Any) -> None:
    lines = io.StringIO()
    channel = connect(await serve(Raising(InvalidArgument("no")), log=Log("info", stream=lines)))
    before = lines.getvalue()

    await refused(rpc(channel, "SignalWorkflowExecution")(b""))

    assert lines.getvalue() == before


async def test_bytes_that_are_no_message_are_refused(serve: Any, connect: Any) -> None:
    channel = connect(await serve(Raising(NotFound("not reached"))))

    error = await refused(rpc(channel, "SignalWorkflowExecution")(b"\xff\xff\xff"))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details().startswith("grpc: error unmarshalling request: ")


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_request_over_four_mebibytes_is_refused_in_the_words_sdks_know(
    serve: Any, connect: Any, compression: Any
) -> None:
    channel = connect(await serve(Raising(NotFound("arrived"))))
    request = SignalWorkflowExecutionRequest(signal_name="s" * (4 * 1024 * 1024))
    size = request.ByteSize()

    error = await refused(rpc(channel, "SignalWorkflowExecution")(request, compression=compression))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == f"grpc: received message larger than max ({size} vs. 4194304)"


async def test_a_large_answer_is_sent_whole(serve: Any, connect: Any) -> None:
    class Large:
        def GetClusterInfo(self, request: Any, call: Call) -> Any:
            return GetClusterInfoResponse(cluster_name="x" * (8 * 1024 * 1024))

    channel = connect(await serve(Large()), options=[("grpc.max_receive_message_length", -1)])

    answer = await rpc(channel, "GetClusterInfo", GetClusterInfoResponse)(b"")

    assert len(answer.cluster_name) == 8 * 1024 * 1024


async def test_a_gzipped_request_is_read(serve: Any, connect: Any) -> None:
    class Echo:
        def SignalWorkflowExecution(self, request: Any, call: Call) -> Any:
            assert request.signal_name == "go" * 1000
            return SignalWorkflowExecutionResponse()

    channel = connect(await serve(Echo()))

    answer = await rpc(channel, "SignalWorkflowExecution", SignalWorkflowExecutionResponse)(
        SignalWorkflowExecutionRequest(signal_name="go" * 1000), compression=grpc.Compression.Gzip
    )

    assert answer == SignalWorkflowExecutionResponse()


async def test_a_parked_call_is_finished_later_and_only_once(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking))
    poll = rpc(channel, "PollWorkflowTaskQueue", PollWorkflowTaskQueueResponse)(PollWorkflowTaskQueueRequest())
    await parking.parked.wait()
    [call] = parking.calls

    assert not call.gone
    assert call.finish(PollWorkflowTaskQueueResponse(task_token=b"t"))
    assert not call.finish(PollWorkflowTaskQueueResponse(task_token=b"again"))
    call.fail(NotFound("too late"))

    assert (await poll).task_token == b"t"
    assert call.gone
    assert not parking.left.is_set()


async def test_a_parked_call_may_fail_later(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking))
    poll = rpc(channel, "PollWorkflowTaskQueue")(b"")
    await parking.parked.wait()

    parking.calls[0].fail(NotFound("Workflow task not found."))

    assert (await refused(poll)).details() == "Workflow task not found."


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(SignalWorkflowExecutionResponse(), grpc.StatusCode.OK), (NotFound("gone"), grpc.StatusCode.NOT_FOUND)],
)
async def test_a_call_answered_before_its_handler_returns_is_answered(
    serve: Any, connect: Any, answer: Any, expected: Any
) -> None:
    class Inline:
        def SignalWorkflowExecution(self, request: Any, call: Call) -> Any:
            if isinstance(answer, PerdureError):
                call.fail(answer)
            else:
                assert call.finish(answer)
            return PENDING

    channel = connect(await serve(Inline()))

    call = rpc(channel, "SignalWorkflowExecution")(b"")

    assert await call.code() is expected


async def test_a_cancelled_call_tells_who_waits_and_takes_no_answer(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking))
    poll = rpc(channel, "PollWorkflowTaskQueue")(b"")
    await parking.parked.wait()

    poll.cancel()
    await asyncio.wait_for(parking.left.wait(), 5)

    [call] = parking.calls
    assert call.gone
    assert not call.finish(PollWorkflowTaskQueueResponse(task_token=b"t"))


async def test_a_call_whose_connection_is_lost_is_gone(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking))
    poll = rpc(channel, "PollWorkflowTaskQueue")(b"")
    await parking.parked.wait()

    await channel.close()
    await asyncio.wait_for(parking.left.wait(), 5)

    assert parking.calls[0].gone
    assert poll.done()


async def test_the_deadline_is_seen_and_its_passing_ends_the_call(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking))
    clock = SystemMonotonic()
    before = clock.now()

    poll = rpc(channel, "PollWorkflowTaskQueue")(b"", timeout=0.3)
    await parking.parked.wait()
    deadline = parking.calls[0].deadline

    assert deadline is not None
    assert before < deadline < before + 0.35
    assert (await refused(poll)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(parking.left.wait(), 5)


async def test_a_handler_sees_its_caller(serve: Any, connect: Any) -> None:
    seen: dict[str, Any] = {}

    class Looking:
        def GetClusterInfo(self, request: Any, call: Call) -> Any:
            seen.update(
                name=call.client_name, method=call.method, deadline=call.deadline, peer=call.peer, meta=call.metadata
            )
            return GetClusterInfoResponse()

    channel = connect(await serve(Looking()))
    await rpc(channel, "GetClusterInfo")(
        b"", metadata=(("client-name", "temporal-python"), ("x-token", "abc"), ("x-raw-bin", b"\x00"))
    )

    assert seen["name"] == "temporal-python"
    assert seen["method"] == SERVICE + "GetClusterInfo"
    assert seen["deadline"] is None
    assert "127.0.0.1" in seen["peer"]
    assert seen["meta"]["x-token"] == "abc"
    assert "x-raw-bin" not in seen["meta"]


async def test_two_thousand_polls_park_on_one_connection(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking, dynamic_config={"frontend.namespaceCount": 2000}))
    polls = [rpc(channel, "PollWorkflowTaskQueue")(b"") for _ in range(2000)]
    while len(parking.calls) < 2000:
        parking.parked.clear()
        await asyncio.wait_for(parking.parked.wait(), 10)

    for call in parking.calls:
        assert call.finish(b"")

    assert await asyncio.gather(*polls) == [b""] * 2000
