"""What surrounds every handler, whatever carries the call: plain functions, composed once for each method.

The gate (readiness and drain), the size limit, the wire form of errors and their log lines belong to the transport,
which sees the bytes and knows when a call ends; `gate.py` and `api/status.py` hold what transports share of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from perdure.api.call import Call
from perdure.api.nesting import cutter
from perdure.api.registry import Method
from perdure.transport.versions import VersionCheck

AnyHandler = Callable[[Message, Call], Any]
"""A handler, plain or `async def`: a wrapper passes its result on, whatever that is."""

Interceptor = Callable[[Method, AnyHandler], AnyHandler]


_OF_WORKERS_AT_WORK = ("Poll", "Respond", "RecordActivityTaskHeartbeat")


def check_versions(check: VersionCheck) -> Interceptor:
    """Refuse clients that the server does not know how to serve. What only a worker at work calls is let through: its
    first calls (GetSystemInfo, DescribeNamespace) were checked, and reading headers costs as much as a poll."""

    def intercept(method: Method, handler: AnyHandler) -> AnyHandler:
        if method.rpc.startswith(_OF_WORKERS_AT_WORK):
            return handler

        def checked(request: Message, call: Call) -> Any:
            refusal = check.refusal(call.metadata)
            if refusal is not None:
                raise refusal.with_traceback(None)
            return handler(request, call)

        return checked

    return intercept


def cut_failures(method: Method, handler: AnyHandler) -> AnyHandler:
    """Keep failures readable where they will be put; methods whose requests hold none pay nothing."""
    descriptor: Any = method.request_class.DESCRIPTOR
    cut = cutter(descriptor)
    if cut is None or not method.implemented:
        return handler

    def with_readable_failures(request: Message, call: Call) -> Any:
        cut(request)
        return handler(request, call)

    return with_readable_failures


def intercepted(methods: Mapping[str, Method], interceptors: Sequence[Interceptor]) -> dict[str, Method]:
    """The same methods with their handlers wrapped, the first of `interceptors` outermost."""
    wrapped: dict[str, Method] = {}
    for name, method in methods.items():
        handler: AnyHandler = method.handler
        for interceptor in reversed(interceptors):
            handler = interceptor(method, handler)
        wrapped[name] = replace(method, handler=handler)
    return wrapped
