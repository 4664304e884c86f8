"""grpc.aio server: one port, our methods, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from perdure.api.registry import Method, unknown_method
from perdure.api.status import Code, Status
from perdure.clock import Monotonic
from perdure.log import Log
from perdure.transport.gate import Gate
from perdure.transport.grpcio.adapter import refusing, unary
from perdure.transport.grpcio.ancillary import Health, Reflection
from perdure.transport.ports import PortUnavailable, check_port_free

MAX_RECEIVED_BYTES = 128 * 1024 * 1024
"""grpcio's own limit, which only protects memory: requests over 4 MiB are refused by us, in words SDKs recognise."""

FLUSH_SECONDS = 0.25
"""What grpcio gets at the end to write answers out; open health watches are cut off after it."""

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 1024 * 1024),
    # Calls that arrive faster than the loop takes them wait; from 1,000 on grpcio would drop some at random.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    # A port that another server uses is an error, not a share of its connections.
    ("grpc.so_reuseport", 0),
    # SDKs ping every 30 s, also on connections without calls; grpcio's defaults would answer "too_many_pings".
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
)


class GrpcServer:
    """Carries `methods`. `gate` says whether calls get in."""

    def __init__(self, methods: Mapping[str, Method], gate: Gate, monotonic: Monotonic, log: Log) -> None:
        self._methods = methods
        self._gate = gate
        self._monotonic = monotonic
        self._log = log
        services = sorted({method.service for method in methods.values()})
        self.health = Health(services)
        self._reflection = Reflection([*services, Health.SERVICE])
        self._server: Any = None

    async def start(self, ip: str, port: int) -> int:
        """Listen; returns the port (the one chosen when `port` is 0). Raises PortUnavailable."""
        check_port_free(ip, port)
        loop = asyncio.get_running_loop()
        handlers = {
            name: unary(method, self._gate, self._monotonic, self._log, loop) for name, method in self._methods.items()
        }
        self._server = grpc.aio.server(
            handlers=[_Handlers(handlers, self.health, self._reflection)],
            options=OPTIONS,
            compression=grpc.Compression.NoCompression,
        )
        try:
            bound: int = self._server.add_insecure_port(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")
        except RuntimeError as error:
            raise PortUnavailable(f"listen tcp {ip}:{port}: {error}") from error
        await self._server.start()
        return bound

    async def stop(self, grace: float) -> None:
        """Let calls that are inside finish for up to `grace` seconds, then close all connections."""
        if self._server is None:
            return
        await self._gate.emptied(within=grace)
        await self._server.stop(FLUSH_SECONDS)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """One lookup for every call; what is in no table is refused by name."""

    def __init__(self, handlers: Mapping[str, Any], health: Health, reflection: Reflection) -> None:
        self._handlers = dict(handlers)
        self._handlers.update(health.handlers())
        self._reflection = reflection

    def service(self, details: Any) -> Any:
        handler = self._handlers.get(details.method)
        if handler is None:
            handler = self._reflection.handler(details.method)
        if handler is None:
            handler = refusing(Status(Code.UNIMPLEMENTED, unknown_method(details.method)))
        return handler
