"""Hostile callers of every RPC: none is a defect, none stops the server or makes it slow, none spoils its database."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.hostile.fuzz.__main__ import fuzz, fuzzed_server, outlives
from tests.hostile.fuzz.fuzzer import Report


def check(report: Report) -> None:
    assert report.calls > 200
    assert report.codes["OK"] > report.calls / 20, "hardly anything gets through: no code is reached"
    assert report.compared


def test_a_server_on_a_file_stands_what_callers_make_up(tmp_path: Path) -> None:
    with fuzzed_server(tmp_path / "fuzz.db", skipping=False) as server:
        check(fuzz(server, seed=1, seconds=9))
    outlives(tmp_path / "fuzz.db")


def test_a_server_whose_time_skips_stands_what_callers_make_up() -> None:
    with fuzzed_server(None, skipping=True) as server:
        check(fuzz(server, seed=2, seconds=6, skipping=True))


@pytest.mark.soak
@pytest.mark.parametrize("skipping", [False, True], ids=["wall-clock", "skipping"])
def test_hostile_callers_for_minutes(tmp_path: Path, skipping: bool) -> None:
    with fuzzed_server(tmp_path / "fuzz.db", skipping=skipping) as server:
        check(fuzz(server, seed=int(time.time()), seconds=300, skipping=skipping))
    if not skipping:
        outlives(tmp_path / "fuzz.db")
