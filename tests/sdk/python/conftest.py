"""One server for all stories; each works in queues and under workflow IDs of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from tests.support.server_process import running_dev_server

OPTIONS = (
    *("--dynamic-config-value", "activity.operatorCommandsEnabled=true"),
    *("--namespace", "other"),
    *("--search-attribute", "CustomerId=Keyword"),
    *("--search-attribute", "Amount=Int"),
    *("--search-attribute", "Tags=KeywordList"),
    *("--search-attribute", "Due=Datetime"),
)


@pytest.fixture(scope="session")
def server_address() -> Iterator[str]:
    with running_dev_server(*OPTIONS) as server:
        yield server.address


@pytest_asyncio.fixture
async def client(server_address: str) -> Client:
    return await Client.connect(server_address)
