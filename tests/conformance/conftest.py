"""One server and one concurrent round of all chosen scenarios a session; each test then looks up its own outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.corpus import Outcome, play
from tests.support.server_process import running_dev_server

SEARCH_ATTRIBUTES = ("--search-attribute", "CustomKeyword=Keyword", "--search-attribute", "CustomInt=Int")


@pytest.fixture(scope="session")
def outcome_of(request: pytest.FixtureRequest) -> Callable[[str], Outcome]:
    """Outcomes of the scenarios that this session's selection asks for."""
    chosen: list[Any] = [item for item in request.session.items if "outcome_of" in getattr(item, "fixturenames", ())]
    names = sorted({item.callspec.params["scenario"] for item in chosen})
    with running_dev_server(*SEARCH_ATTRIBUTES) as server:
        outcomes = play(server.address, names)
    return outcomes.__getitem__
