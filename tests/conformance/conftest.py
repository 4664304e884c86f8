"""Two servers, one in memory and one on a file, and one concurrent round of all chosen scenarios on each a session.
Each test then looks up its own outcome."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.corpus import Outcome, play
from tests.support.server_process import running_dev_server

SEARCH_ATTRIBUTES = ("--search-attribute", "CustomKeyword=Keyword", "--search-attribute", "CustomInt=Int")


@pytest.fixture(scope="session")
def outcome_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Outcome]:
    """Outcomes by (store, scenario) of what this session's selection asks for."""
    chosen: list[Any] = [item for item in request.session.items if "outcome_of" in getattr(item, "fixturenames", ())]
    names: dict[str, set[str]] = {}
    for item in chosen:
        names.setdefault(item.callspec.params["store"], set()).add(item.callspec.params["scenario"])
    stores = {"memory": (), "file": ("--db-filename", str(tmp_path_factory.mktemp("conformance") / "perdure.db"))}

    def play_on(store: str) -> dict[str, Outcome]:
        with running_dev_server(*SEARCH_ATTRIBUTES, *stores[store]) as server:
            return play(server.address, sorted(names[store]))

    with ThreadPoolExecutor() as rounds:  # scenarios mostly wait for timers: both rounds take the time of one
        outcomes = dict(zip(names, rounds.map(play_on, names), strict=True))
    return lambda store, scenario: outcomes[store][scenario]
