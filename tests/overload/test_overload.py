"""At more load than it can take, a server stays in its memory, is fair, says so, and is itself again at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.overload import BURST, LIMIT, PARKED, RECOVERY_SECONDS, SERVER_OPTIONS, overload
from tests.support.server_process import ServerProcess, dev_server_command, free_port

SECONDS = 60.0


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a minute of 64 starters at full speed beside 500 idle workers and 100 long polls did to a server on a file,
    while it deleted a namespace of a thousand workflows."""
    import uvloop

    database: Path = tmp_path_factory.mktemp("overload") / "overload.db"
    port, metrics_port = free_port(), free_port()
    command = dev_server_command(port, "--metrics-port", str(metrics_port), *SERVER_OPTIONS, database=database)
    process = ServerProcess(command, port)
    try:
        figures = uvloop.run(overload(process.address, metrics_port, SECONDS))
        figures["log"] = process.output(None)
    finally:
        process.stop()
    print(figures, file=sys.stderr)
    return figures


@pytest.mark.timeout(240)
def test_no_starter_starves(loaded: dict[str, Any]) -> None:
    assert loaded["fewest_of_a_starter"] > 0
    assert loaded["fewest_of_a_starter"] > 0.5 * loaded["most_of_a_starter"]
    assert loaded["refusals"] == {}


def test_memory_is_bounded_and_levels_off(loaded: dict[str, Any]) -> None:
    assert loaded["resident_mib_most"] < 600
    assert loaded["resident_mib_most"] < loaded["resident_mib_halfway"] + 150


def test_what_is_too_much_is_refused_and_all_else_is_served(loaded: dict[str, Any]) -> None:
    assert loaded["beyond_the_limit"] == {"let_in": LIMIT - PARKED, "RESOURCE_EXHAUSTED": BURST - (LIMIT - PARKED) + 1}


def test_those_who_wait_go_on_waiting(loaded: dict[str, Any]) -> None:
    assert loaded["polls_that_ended"] == 0


def test_it_recovers_at_once(loaded: dict[str, Any]) -> None:
    assert loaded["recovered_after_s"] < RECOVERY_SECONDS


def test_nothing_stalls_the_loop(loaded: dict[str, Any]) -> None:
    """By the processor time of the loop's own thread, and generously: others use this machine too. The figure that is
    promised (20 ms) is measured by `python -m benchmarks overload`."""
    assert loaded["own_loop_lag_p999_ms"] < 100
    assert loaded["own_loop_lag_worst_ms"] < 500


def test_nothing_went_wrong_on_the_way(loaded: dict[str, Any]) -> None:
    assert "Traceback" not in loaded["log"]
    assert "level=ERROR" not in loaded["log"]
