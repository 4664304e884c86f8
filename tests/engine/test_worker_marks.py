"""What workers leave behind in a run: the builds it ran on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from perdure.engine.worker_marks import BUILD_IDS, note_build_id


def run_with(data: bytes) -> Any:
    given = Payload(metadata={"encoding": b"json/plain", "type": b"KeywordList"}, data=data)
    attributes = {BUILD_IDS: given.SerializeToString(deterministic=True)}
    return SimpleNamespace(search_attributes=attributes, changes=SimpleNamespace(visibility=False))


@pytest.mark.parametrize("data", [b'"one"', b'["one"]', b"5", b'{"one": 1}', b"no json", b"\xff"])
def test_builds_that_a_client_gave_stay_as_they_are_until_a_worker_adds_its_own(data: bytes) -> None:
    """Whether that is asked once or, when a history is folded, with each task."""
    run = run_with(data)
    before = dict(run.search_attributes)
    note_build_id(run, "")
    assert (run.search_attributes, run.changes.visibility) == (before, False)


@pytest.mark.parametrize(
    ("data", "builds"), [(b'"one"', ["one"]), (b'["one", 2]', ["one"]), (b"5", []), (b"no json", [])]
)
def test_a_workers_build_joins_those_that_a_client_gave(data: bytes, builds: list[str]) -> None:
    run = run_with(data)
    note_build_id(run, "two")
    now = json.loads(Payload.FromString(run.search_attributes[BUILD_IDS]).data)
    assert now == [*builds, "unversioned:two"]
    assert run.changes.visibility
