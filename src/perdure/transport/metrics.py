"""`/metrics`: what a server knows of itself, as text for Prometheus, on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from perdure.transport.gauges import Gauge
from perdure.transport.ports import PortUnavailable

_REQUEST_BYTES: Final = 16 * 1024
_SECONDS: Final = 5.0
_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Counted(Protocol):
    """A histogram: `counts` has one number more than there are bounds."""

    @property
    def counts(self) -> Sequence[int]: ...
    @property
    def total(self) -> float: ...
    @property
    def largest(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Histogram:
    name: str
    help: str
    bounds: Sequence[float]
    counted: Counted


def exposition(metrics: Sequence[Gauge | Histogram]) -> str:
    """Prometheus' text format. Of a histogram also the largest value, as a gauge."""
    lines: list[str] = []
    for metric in metrics:
        if isinstance(metric, Gauge):
            kind = "counter" if metric.counter else "gauge"
            lines += _head(metric.name, metric.help, kind)
            lines.append(f"{metric.name} {metric.value():.15g}")
            continue
        lines += _head(metric.name, metric.help, "histogram")
        seen = 0
        for bound, count in zip((*metric.bounds, "+Inf"), metric.counted.counts, strict=True):
            seen += count
            lines.append(f'{metric.name}_bucket{{le="{bound}"}} {seen}')
        lines += [f"{metric.name}_sum {metric.counted.total:.6f}", f"{metric.name}_count {seen}"]
        lines += _head(f"{metric.name}_max", f"The largest of {metric.name} since the start.", "gauge")
        lines.append(f"{metric.name}_max {metric.counted.largest:.6f}")
    return "\n".join(lines) + "\n"


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


class MetricsServer:
    """Answers GET /metrics, one request a connection."""

    def __init__(self, metrics: Sequence[Gauge | Histogram]) -> None:
        self._metrics = metrics
        self._server: asyncio.Server | None = None

    async def start(self, ip: str, port: int) -> int:
        """Listen; returns the port. Raises PortUnavailable."""
        try:
            self._server = await asyncio.start_server(self._serve, ip, port, limit=_REQUEST_BYTES)
        except OSError as error:
            raise PortUnavailable(f"listen tcp {ip}:{port}: {(error.strerror or str(error)).lower()}") from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split()
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "only GET\n", with_body=True)
        if words[1].split(b"?")[0] != b"/metrics":
            return _response("404 Not Found", "there is only /metrics\n", with_body=words[0] == b"GET")
        return _response("200 OK", exposition(self._metrics), with_body=words[0] == b"GET")


def _response(status: str, body: str, *, with_body: bool) -> bytes:
    content = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {_TYPE}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    ).encode()
    return head + content if with_body else head
