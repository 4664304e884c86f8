"""A server in memory whose time skips, reached by raw gRPC and by the SDK. It starts locked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest
from temporalio.client import Client

from perdure import Server
from perdure.runtime.skipping import Skipper
from tests.api.client import Api
from tests.skipping.clock import Clock


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(
        time_skipping=True,
        search_attributes={"CustomKeyword": "Keyword"},
        dynamic_config={"frontend.WorkflowPauseEnabled": True},
    ) as running:
        yield running


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
async def api(channel: grpc.aio.Channel) -> Api:
    return Api(channel)


@pytest.fixture
async def clock(channel: grpc.aio.Channel) -> Clock:
    return Clock(channel)


@pytest.fixture
async def client(server: Server) -> Client:
    return await Client.connect(server.address)


@pytest.fixture
def skipper(server: Server) -> Skipper:
    assert server.skipper is not None
    return server.skipper
