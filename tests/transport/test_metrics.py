"""`/metrics`: a text that Prometheus reads, and numbers that tell of stalls."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from perdure.config import Config
from perdure.pulse import BOUNDS, STRIKE_SECONDS, Histogram, Pulse
from perdure.server import Server
from perdure.transport.ports import PortUnavailable
from tests.transport.fakes import Composition


async def ask(port: int, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[str, str]:
    """Status line and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split("\r\n")[0], body


def value(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def serving(serve: Any, **settings: Any) -> Server:
    server: Server = await serve(config=Config(port=0, metrics_port=0, **settings))
    return server


async def test_it_is_prometheus_text(serve: Any) -> None:
    server = await serving(serve)
    status, text = await ask(server.metrics_port)
    assert status == "HTTP/1.1 200 OK"
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or re.fullmatch(
            r'[a-z_]+(\{le="([0-9.]+|\+Inf)"\})? [0-9.e+-]+', line
        ), line
    assert value(text, "process_resident_memory_bytes") > 10_000_000
    assert value(text, "perdure_calls_in_flight") == 0


async def test_other_requests_are_refused_and_the_next_is_served(serve: Any) -> None:
    port = (await serving(serve)).metrics_port
    assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
    assert (await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"
    assert (await ask(port, b"\xff\xfe\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"
    assert (await ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"))[0] == ""
    assert (await ask(port))[0] == "HTTP/1.1 200 OK"


async def test_a_stall_of_the_loop_is_seen_with_all_the_moments_it_held_up(serve: Any) -> None:
    server = await serving(serve)
    await asyncio.sleep(0.05)
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
    await asyncio.sleep(0.05)
    _, text = await ask(server.metrics_port)
    assert 0.15 < value(text, "perdure_loop_lag_own_seconds_max") < 0.5
    assert value(text, "perdure_loop_lag_seconds_max") >= value(text, "perdure_loop_lag_own_seconds_max")
    within = value(text, 'perdure_loop_lag_own_seconds_bucket{le="0.05"}')
    assert value(text, "perdure_loop_lag_own_seconds_count") - within >= 0.1 / STRIKE_SECONDS


async def test_a_port_in_use_is_named(serve: Any) -> None:
    server = await serving(serve)
    second = Server(config=Config(port=0, metrics_port=server.metrics_port), compose=Composition())
    with pytest.raises(PortUnavailable, match=str(server.metrics_port)):
        await second.start()


async def test_a_server_that_shows_no_metrics_does_not_measure(serve: Any) -> None:
    import gc

    before = len(gc.callbacks)
    server = await serve()
    assert server.metrics_port == 0
    assert len(gc.callbacks) == before


class Standing:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at


async def test_time_that_others_had_the_processor_is_not_the_servers_own() -> None:
    clock = Standing()
    spent = 0.0
    pulse = Pulse(clock, lambda: spent)
    pulse.start()
    try:
        clock.at += STRIKE_SECONDS + 0.1
        spent += 0.001
        pulse._strike()
    finally:
        pulse.stop()
    assert pulse.lag.largest == pytest.approx(0.1)
    assert pulse.own_lag.largest == pytest.approx(0.001)
    assert sum(pulse.lag.counts) == 1 + round(0.1 / STRIKE_SECONDS)


def test_a_histogram_counts_bounds_inclusively_and_keeps_the_largest() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, 1e9):
        histogram.add(seconds)
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[-1] == 1
    assert histogram.largest == 1e9
