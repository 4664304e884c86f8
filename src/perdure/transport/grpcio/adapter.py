"""One gRPC method handler for each of our methods: bytes in, bytes out, errors as statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from perdure.api.call import PENDING
from perdure.api.registry import Method
from perdure.api.status import Code, Status, fingerprint, is_defect, is_failed_read, status_of
from perdure.clock import Monotonic
from perdure.errors import MessageTooLarge
from perdure.log import Log
from perdure.transport.gate import Gate
from perdure.transport.grpcio.call import GrpcCall

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Of the decompressed message. Ours, not grpcio's, because SDKs recognise the reference's text only."""

ENDS_WORK = ("Respond", "RecordActivityTaskHeartbeat")

_ALWAYS: Callable[[Any], bool] = lambda request: True  # noqa: E731 - a row of the table below
WAITS: Mapping[str, Callable[[Any], bool]] = {
    "PollWorkflowTaskQueue": _ALWAYS,
    "PollActivityTaskQueue": _ALWAYS,
    "PollNexusTaskQueue": _ALWAYS,
    "QueryWorkflow": _ALWAYS,
    "UpdateWorkflowExecution": _ALWAYS,
    "PollWorkflowExecutionUpdate": _ALWAYS,
    "ExecuteMultiOperation": _ALWAYS,
    "GetWorkflowExecutionHistory": lambda request: bool(request.wait_new_event),
    "PollActivityExecution": _ALWAYS,
    "DescribeActivityExecution": lambda request: bool(request.long_poll_token),
}
"""Calls that may wait for long, and whether a request of the kind does."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}

Behaviour = Callable[[bytes, Any], Awaitable[bytes]]


def unary(method: Method, gate: Gate, monotonic: Monotonic, log: Log, loop: asyncio.AbstractEventLoop) -> Any:
    """The grpc.RpcMethodHandler of `method`. It has no (de)serialisers, so that parsing fails in our own words."""
    return grpc.unary_unary_rpc_method_handler(_behaviour(method, gate, monotonic, log, loop))


def refusing(status: Status) -> Any:
    """A handler that answers `status`, whatever it is asked."""

    async def refuse(request: bytes, context: Any) -> bytes:
        return await _send(status, context)

    return grpc.unary_unary_rpc_method_handler(refuse)


def _behaviour(
    method: Method, gate: Gate, monotonic: Monotonic, log: Log, loop: asyncio.AbstractEventLoop
) -> Behaviour:
    name = method.name
    parse = method.request_class.FromString
    handler: Any = method.handler
    is_async = method.is_async
    ahead = method.rpc.startswith(ENDS_WORK)
    waits = WAITS.get(method.rpc)

    async def behave(raw: bytes, context: Any) -> bytes:
        call = GrpcCall(name, context, monotonic)
        size = len(raw)
        entered = False
        poll: tuple[str, str] | None = None
        try:
            if size > MAX_REQUEST_BYTES:
                raise MessageTooLarge(size, MAX_REQUEST_BYTES)
            gate.enter(size, ahead)
            entered = True
            try:
                request: Any = parse(raw)
            except DecodeError as error:
                return await _send(Status(Code.INTERNAL, f"grpc: error unmarshalling request: {error}"), context)
            if waits is not None and waits(request):
                poll = gate.begin_poll(name, request.namespace)
            reply: Any = handler(request, call)
            if is_async:
                reply = await reply
            if reply is PENDING:
                reply = await call.answer(loop)
            # Serialised inside the try: a reply that cannot be serialised is a defect like any other.
            answer: bytes = reply if type(reply) is bytes else reply.SerializeToString()
            return answer
        except asyncio.CancelledError:
            call.leave()
            raise
        except Exception as error:
            _log_failure(log, name, error)
            status = status_of(error)
            # Its frames hold the request, and some of them the error: a circle that would stay until the collector
            # comes, which counts objects and not their megabytes.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            return await _send(status, context)
        finally:
            if poll is not None:
                gate.end_poll(poll)
            if entered:
                gate.leave(size)

    return behave


async def _send(status: Status, context: Any) -> bytes:
    # Setting the status and returning costs less than context.abort(), which raises through grpcio; the message that is
    # returned is not sent.
    context.set_code(_CODES[status.code])
    context.set_details(status.message)
    if status.headers:
        await context.send_initial_metadata(status.headers)
    if status.details:
        context.set_trailing_metadata((("grpc-status-details-bin", status.details),))
    return b""


def _log_failure(log: Log, method: str, error: Exception) -> None:
    if is_defect(error):
        log.error("call failed by a defect", method=method, fingerprint=fingerprint(error), exc_info=error)
    elif is_failed_read(error):
        log.error("a read failed", method=method, reason=str(error))
    else:
        log.debug("call refused", method=method, error=type(error).__name__, message=str(error))
