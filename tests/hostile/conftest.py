from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from perdure import Server
from tests.api.client import Api


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Api(channel)
