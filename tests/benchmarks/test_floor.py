"""The benchmark's driver and its floor, so that neither rots between two measurements."""

from __future__ import annotations

import pytest

from benchmarks.suite import Options, UnfitOptions, floor, launch


@pytest.mark.parametrize("pollers", [1, 8])
def test_workflows_reach_their_end_with_fewer_and_with_more_pollers_than_in_flight(pollers: int) -> None:
    figures = floor(Options(in_flight=4, pollers=pollers, seconds=0.3, warm_up=0.2))

    assert figures["workflows"] > 0
    assert figures["server_cpu_ms_per_workflow"] > 0


def test_a_launch_of_somebody_elses_server_is_refused() -> None:
    with pytest.raises(UnfitOptions, match="--address"):
        launch(Options(address="127.0.0.1:1"))
