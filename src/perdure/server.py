"""One server: store, runtime, handlers and transport, put together, started and stopped in order.

async with Server(db_filename="orders.db") as server:
    client = await Client.connect(server.address)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from perdure.api.registry import build_methods
from perdure.clock import (
    Entropy,
    Monotonic,
    SkippingTime,
    SystemEntropy,
    SystemMonotonic,
    Time,
    WallTime,
    thread_seconds,
)
from perdure.config import Config, DynamicConfig, namespaces_with_default, normal_ip, search_attribute_type
from perdure.log import Log
from perdure.storage.store import StoreFailed
from perdure.transport.gate import Capacity, Gate
from perdure.transport.gauges import Gauge
from perdure.transport.grpcio.server import GrpcServer
from perdure.transport.interceptors import Interceptor, check_versions, cut_failures, intercepted
from perdure.transport.ports import check_port_free
from perdure.transport.versions import VersionCheck

if TYPE_CHECKING:
    from perdure.engine.limits import Limits
    from perdure.runtime.skipping import Skipper


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a server is put into. `failed` is called, on the event loop, when the store can no longer be written."""

    config: Config
    time: Time
    monotonic: Monotonic
    entropy: Entropy
    log: Log
    failed: Callable[[StoreFailed], None]


class Opened(Protocol):
    """The store, as far as a server's life concerns it."""

    @property
    def persistence_name(self) -> str: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...


class Running(Protocol):
    """The runtime, as far as a server's life concerns it."""

    async def start(self) -> None:
        """Load what must be in memory, have the configured namespaces, fire what is due."""

    async def drain(self) -> None:
        """Answer parked long polls empty, take no more."""

    async def stop(self) -> None:
        """Commit what was decided and end all loops."""


@dataclass(frozen=True, slots=True)
class Parts:
    """`handlers` are called for after the runtime has started; see `api/registry.py` for what they are."""

    store: Opened
    runtime: Running
    handlers: Callable[[], Sequence[object]]
    skipper: Skipper | None = None
    gauges: Sequence[Gauge] = ()
    """What the runtime tells of itself in `/metrics`."""


Compose = Callable[[Surroundings], Parts]


class Server:
    """A whole server in this process, on the event loop that starts it.

    Give `config`, or the few settings most embedders need; `search_attributes` then maps names to types ("Keyword").
    Raises StoreFailed, PortUnavailable or ConfigError at start.
    """

    def __init__(
        self,
        db_filename: str | None = None,
        port: int = 0,
        *,
        ip: str = "127.0.0.1",
        namespaces: Sequence[str] = (),
        search_attributes: Mapping[str, str] | None = None,
        dynamic_config: Mapping[str, Any] | None = None,
        time_skipping: bool = False,
        config: Config | None = None,
        time: Time | None = None,
        monotonic: Monotonic | None = None,
        entropy: Entropy | None = None,
        log: Log | None = None,
        compose: Compose | None = None,
    ) -> None:
        self.config = config or Config(
            ip=normal_ip(ip),
            port=port,
            namespaces=namespaces_with_default(namespaces),
            search_attributes={name: search_attribute_type(kind) for name, kind in (search_attributes or {}).items()},
            db_filename=db_filename,
            dynamic=DynamicConfig(dynamic_config or {}),
            time_skipping=time_skipping,
        )
        self.port = 0
        self.metrics_port = 0
        """Where `/metrics` is, with `config.metrics_port`."""
        self.persistence_name = ""
        self._log = log or Log(self.config.log_level, self.config.log_format)
        self._time = time or (SkippingTime() if self.config.time_skipping else WallTime())
        self._monotonic = monotonic or SystemMonotonic()
        self._entropy = entropy or SystemEntropy()
        self._compose = compose or compose_server
        self._gate = Gate(capacity_of(self.config.dynamic))
        self._transport: GrpcServer | None = None
        self.skipper: Skipper | None = None
        """What moves the time of a server with `time_skipping`, for those in the same process; made by `start`."""
        self._failure: asyncio.Future[StoreFailed] | None = None
        self._running = AsyncExitStack()

    @property
    def address(self) -> str:
        """Where clients connect, such as `127.0.0.1:7233`."""
        ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.config.ip, self.config.ip)
        return f"[{ip}]:{self.port}" if ":" in ip else f"{ip}:{self.port}"

    async def start(self) -> None:
        """Serve. When this returns, namespaces exist and calls are answered."""
        config = self.config
        interceptors = self._interceptors()
        # Before the store is touched: a second server on this port must not even open its database.
        check_port_free(config.ip, config.port)
        self._failure = asyncio.get_running_loop().create_future()
        parts = self._compose(
            Surroundings(config, self._time, self._monotonic, self._entropy, self._log, self._store_failed)
        )
        self.skipper = parts.skipper
        async with AsyncExitStack() as stack:
            await parts.store.open()
            stack.push_async_callback(parts.store.close)
            self.persistence_name = parts.store.persistence_name
            await parts.runtime.start()
            stack.push_async_callback(parts.runtime.stop)
            methods = intercepted(build_methods(parts.handlers()), interceptors)
            transport = GrpcServer(methods, self._gate, self._monotonic, self._log)
            await transport.health.hold()
            stack.push_async_callback(self._drain, transport, parts.runtime)
            self.port = await transport.start(config.ip, config.port)
            if config.metrics_port is not None:
                await self._serve_metrics(config.metrics_port, parts.gauges, stack)
            self._gate.open()
            await transport.health.serve()
            self._running = stack.pop_all()
        self._log.info("serving", address=self.address, persistence=self.persistence_name)

    async def stop(self) -> None:
        """Drain and close, in this order: health, gate, parked polls, calls inside, runtime, store."""
        await self._running.aclose()

    async def failed(self) -> StoreFailed:
        """Wait until the store cannot go on. The server must then be given up: nothing more can be promised."""
        assert self._failure is not None, "the server was not started"
        return await asyncio.shield(self._failure)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _drain(self, transport: GrpcServer, runtime: Running) -> None:
        await transport.health.drain()
        self._gate.drain()
        await runtime.drain()
        await transport.stop(self.config.drain_grace)

    async def _serve_metrics(self, port: int, gauges: Sequence[Gauge], stack: AsyncExitStack) -> None:
        from perdure.pulse import BOUNDS, Pulse
        from perdure.transport.gauges import gate_gauges, process_gauges
        from perdure.transport.metrics import Histogram, MetricsServer

        pulse = Pulse(self._monotonic, thread_seconds)
        pulse.start()
        stack.callback(pulse.stop)
        loop = "perdure_loop_lag"
        histograms = (
            Histogram(f"{loop}_seconds", "By how much the event loop is late.", BOUNDS, pulse.lag),
            Histogram(f"{loop}_own_seconds", "As much of it as its own thread was running.", BOUNDS, pulse.own_lag),
            Histogram("perdure_collector_pause_seconds", "Garbage collections.", BOUNDS, pulse.collections),
        )
        server = MetricsServer((*histograms, *gate_gauges(self._gate), *gauges, *process_gauges()))
        stack.push_async_callback(server.stop)
        self.metrics_port = await server.start(self.config.ip, port)

    def _interceptors(self) -> list[Interceptor]:
        if self.config.dynamic.bool("frontend.enableServerVersionCheck", True):
            return [check_versions(VersionCheck(self.config.server_version)), cut_failures]
        return [cut_failures]

    def _store_failed(self, error: StoreFailed) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)


def compose_server(surroundings: Surroundings) -> Parts:
    """The real parts. Imported here: a server given other parts does not pay for the engine's imports."""
    from perdure.api.handlers import all_handlers
    from perdure.runtime.runtime import Runtime
    from perdure.storage.sqlite import SqliteStore

    config = surroundings.config
    store = SqliteStore(config.db_filename, pragmas=config.pragmas, monotonic=surroundings.monotonic)
    runtime = Runtime(
        store,
        config,
        surroundings.time,
        surroundings.monotonic,
        surroundings.entropy,
        surroundings.log,
        limits=limits_of(config.dynamic),
        failed=surroundings.failed,
    )

    def handlers() -> list[object]:
        handlers = all_handlers(runtime)
        if runtime.skipper is not None:
            from perdure.api.test_service import TestServiceHandlers

            handlers.append(TestServiceHandlers(runtime.skipper, runtime))
        return handlers

    gauges = (
        Gauge("perdure_executions_in_memory", "Executions in the cache.", lambda: len(runtime.executions)),
        Gauge("perdure_cache_bytes", "About what they take.", lambda: runtime.executions.bytes),
        Gauge(
            "perdure_inputs_waiting",
            "Inputs that wait for a read or for room.",
            lambda: runtime.decisions.waiting_inputs,
        ),
    )
    return Parts(store, runtime, handlers, runtime.skipper, gauges)


_LIMITS: Mapping[str, str] = {
    "blob_size": "limit.blobSize.error",
    "memo_size": "limit.memoSize.error",
    "history_size": "limit.historySize.error",
    "history_count": "limit.historyCount.error",
    "history_size_suggest": "limit.historySize.suggestContinueAsNew",
    "history_count_suggest": "limit.historyCount.suggestContinueAsNew",
    "mutable_state_size": "limit.mutableStateSize.error",
    "buffered_events": "history.maximumBufferedEventsBatch",
    "buffered_bytes": "history.maximumBufferedEventsSizeInBytes",
    "pending_activities": "limit.numPendingActivities.error",
    "pending_children": "limit.numPendingChildExecutions.error",
    "pending_signals": "limit.numPendingSignals.error",
    "pending_cancels": "limit.numPendingCancelRequests.error",
    "signals_per_run": "history.maximumSignalsPerExecution",
    "id_length": "limit.maxIDLength",
    "search_attribute_count": "frontend.searchAttributesNumberOfKeysLimit",
    "search_attribute_value": "frontend.searchAttributesSizeOfValueLimit",
    "search_attribute_total": "frontend.searchAttributesTotalSizeLimit",
    "links_per_request": "frontend.maxLinksPerRequest",
    "link_size": "frontend.linkMaxSize",
    "batch_jobs": "frontend.MaxConcurrentBatchOperationPerNamespace",
}
"""Which of the engine's limits the reference's settings change."""


def capacity_of(dynamic: DynamicConfig) -> Capacity:
    """How much may be under way at a time. Raises ConfigError for what is no number."""
    usual = Capacity()
    return Capacity(
        calls=dynamic.int("perdure.callsInFlight", usual.calls),
        request_bytes=dynamic.int("perdure.requestBytesInFlight", usual.request_bytes),
        polls=dynamic.int("frontend.namespaceCount", usual.polls),
    )


def limits_of(dynamic: DynamicConfig) -> Limits:
    """The engine's limits: its defaults, unless a setting says otherwise. Raises ConfigError for what is no number."""
    from perdure.engine.limits import Limits

    defaults = Limits()
    return Limits(**{field: dynamic.int(key, getattr(defaults, field)) for field, key in _LIMITS.items()})
