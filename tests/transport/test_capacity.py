"""More calls than there is room for: those inside are served, the rest is told so at once, and room comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    PollWorkflowTaskQueueRequest,
    RespondWorkflowTaskCompletedRequest,
)

from perdure.api.call import PENDING, Call
from perdure.errors import SystemOverloaded
from perdure.transport.gate import Capacity, Gate
from tests.transport.conftest import rpc
from tests.transport.test_calls import details_of, refused

POLL = PollWorkflowTaskQueueRequest(namespace="orders")


class Parking:
    """All calls stay inside until `answer`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def _park(self, request: Any, call: Call) -> Any:
        self.calls.append(call)
        return PENDING

    PollWorkflowTaskQueue = GetWorkflowExecutionHistory = RespondWorkflowTaskCompleted = SignalWorkflowExecution = _park

    async def hold(self, count: int) -> None:
        while len(self.calls) < count:
            await asyncio.sleep(0.001)

    def answer(self) -> None:
        for call in self.calls:
            call.finish(b"")
        self.calls.clear()


def exhaustion(error: grpc.aio.AioRpcError) -> tuple[str, str | None, int, int]:
    """Code, text, cause and scope."""
    detail = ResourceExhaustedFailure()
    assert details_of(error).details[0].Unpack(detail)
    return error.code().name, error.details(), detail.cause, detail.scope


OVERLOADED = ("RESOURCE_EXHAUSTED", "the server is overloaded, please retry", 3, 2)
TOO_MANY_POLLS = ("RESOURCE_EXHAUSTED", "namespace concurrent poller limit exceeded", 2, 1)


async def test_calls_beyond_the_limit_are_refused_until_others_are_answered(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking, dynamic_config={"perdure.callsInFlight": 8}))
    held = [rpc(channel, "SignalWorkflowExecution")(b"") for _ in range(8)]
    await parking.hold(8)

    assert exhaustion(await refused(rpc(channel, "SignalWorkflowExecution")(b""))) == OVERLOADED
    parking.answer()
    assert await asyncio.gather(*held) == [b""] * 8
    again = rpc(channel, "SignalWorkflowExecution")(b"")
    await parking.hold(1)
    parking.answer()
    assert await again == b""


async def test_answers_of_workers_still_get_in_when_starts_do_not(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking, dynamic_config={"perdure.callsInFlight": 8}))
    held = [rpc(channel, "SignalWorkflowExecution")(b"") for _ in range(8)]
    await parking.hold(8)
    held += [rpc(channel, "RespondWorkflowTaskCompleted")(b"") for _ in range(2)]
    await parking.hold(10)

    error = await refused(rpc(channel, "RespondWorkflowTaskCompleted")(b""))
    assert exhaustion(error) == OVERLOADED
    parking.answer()
    await asyncio.gather(*held)


async def test_the_bytes_of_requests_inside_are_limited_but_one_is_always_let_in(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking, dynamic_config={"perdure.requestBytesInFlight": 1000}))
    large = RespondWorkflowTaskCompletedRequest(task_token=b"x" * 3000).SerializeToString()
    signal = rpc(channel, "SignalWorkflowExecution")
    held = [rpc(channel, "RespondWorkflowTaskCompleted")(large)]
    await parking.hold(1)
    assert exhaustion(await refused(signal(PollWorkflowTaskQueueRequest(namespace="x" * 50)))) == OVERLOADED
    parking.answer()
    await asyncio.gather(*held)
    again = signal(PollWorkflowTaskQueueRequest(namespace="x" * 50))
    await parking.hold(1)
    parking.answer()
    await again


async def test_polls_are_limited_by_namespace_and_method(serve: Any, connect: Any) -> None:
    parking = Parking()
    channel = connect(await serve(parking, dynamic_config={"frontend.namespaceCount": 3}))
    poll = rpc(channel, "PollWorkflowTaskQueue")
    held = [poll(POLL) for _ in range(3)]
    await parking.hold(3)
    assert exhaustion(await refused(poll(POLL))) == TOO_MANY_POLLS

    history = rpc(channel, "GetWorkflowExecutionHistory")
    held.append(poll(PollWorkflowTaskQueueRequest(namespace="billing")))
    held += [history(GetWorkflowExecutionHistoryRequest(namespace="orders", wait_new_event=True)) for _ in range(3)]
    held += [history(GetWorkflowExecutionHistoryRequest(namespace="orders")) for _ in range(5)]
    await parking.hold(12)
    waiting = history(GetWorkflowExecutionHistoryRequest(namespace="orders", wait_new_event=True))
    assert exhaustion(await refused(waiting)) == TOO_MANY_POLLS

    held[0].cancel()
    while (error := await _outcome(poll(POLL))) is not None:  # the server may hear of it a moment later
        assert exhaustion(error) == TOO_MANY_POLLS
    parking.answer()
    await asyncio.gather(*held, return_exceptions=True)


async def _outcome(call: Any) -> grpc.aio.AioRpcError | None:
    """None: it was let in."""
    done, _ = await asyncio.wait([asyncio.ensure_future(_error_of(call))], timeout=0.2)
    return done.pop().result() if done else None


async def _error_of(call: Any) -> grpc.aio.AioRpcError:
    return await refused(call)


def test_a_gate_that_all_have_left_is_as_new() -> None:
    gate = Gate(Capacity(calls=2, request_bytes=100, polls=1))
    gate.open()
    for _ in range(3):
        gate.enter(60)
        gate.enter(40)
        with pytest.raises(SystemOverloaded):
            gate.enter(1)
        key = gate.begin_poll("Poll", "orders")
        gate.end_poll(key)
        gate.leave(60)
        gate.leave(40)
    assert (gate.inside, gate.request_bytes, gate.refused, gate._polls) == (0, 0, 3, {})
