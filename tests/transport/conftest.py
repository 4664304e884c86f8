"""Servers of fake parts, reached by real gRPC over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from perdure.server import Server
from tests.transport.fakes import Composition

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """`await serve(handler, ..., **settings)` gives a running server; all are stopped at the end."""
    running: list[Server] = []

    async def start(*handlers: object, **settings: Any) -> Server:
        composition = settings.pop("composition", None) or Composition(handlers)
        server = Server(compose=composition, **settings)
        await server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        await server.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """`connect(server)` gives a channel; all are closed at the end."""
    channels: list[Any] = []

    def channel(server: Server, options: Any = None) -> Any:
        channels.append(grpc.aio.insecure_channel(server.address, options=options))
        return channels[-1]

    yield channel
    for opened in channels:
        await opened.close()


def rpc(channel: Any, name: str, response: Any = None) -> Any:
    """A caller of raw requests: messages are serialised, bytes are sent as they are."""
    return channel.unary_unary(
        name if name.startswith("/") else SERVICE + name,
        request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
        response_deserializer=response.FromString if response is not None else None,
    )
