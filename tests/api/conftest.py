"""A server in memory, reached by raw gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from perdure import Server
from tests.api.client import Api


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(
        search_attributes={"CustomKeyword": "Keyword", "CustomInt": "Int", "CustomText": "Text"}
    ) as running:
        yield running


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Api(channel)
