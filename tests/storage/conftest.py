"""The contract suite runs against every store; `reopen` gives the same memory to a new store where it outlives one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "perdure.db")


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, path: str) -> AsyncIterator[Store]:
    store = SqliteStore(path if request.param == "file" else None)
    await store.open()
    yield store
    await store.close()
