from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.runtime_world import World, running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world
        assert not world.broken, world.broken
