"""A server in the foreground: banner, signals, drain, exit status."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from perdure import __version__
from perdure.config import Config, ConfigError, shown_address
from perdure.log import Log

if TYPE_CHECKING:
    from perdure.server import Compose, Server

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

PARENT_SECONDS = 1.0
"""How often to see whether the parent lives, where the system cannot tell by itself."""

GC_THRESHOLDS = (100_000, 1_000_000, 1_000_000)
"""Never reached: the collector counts what is made less what is freed, so that beside a cache that gives up as much as
it takes in it comes late and then looks at a hundred thousand objects. See `collect_garbage`."""
GC_SECONDS = 0.1
GC_OBJECTS = 500
"""So many were made since: else there is nothing to do."""
GC_QUIET = 600
"""Rounds without any after which the old are looked at too, if there were `GC_WORTH_IT` before."""
GC_WORTH_IT = 100


def serve(config: Config, *, banner: bool = True, compose: Compose | None = None, with_parent: bool = False) -> int:
    """Run a server until a signal comes or its store fails; returns the exit status.

    `with_parent`: also until the process that started this one has ended.
    """
    # grpcio writes to stderr by itself, in C (needs this before its import) and by the logging module.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("grpc").addHandler(logging.NullHandler())
    logging.getLogger("grpc").propagate = False
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config, banner, compose, with_parent))


def banner_text(config: Config, port: int, persistence: str) -> str:
    """The reference's layout: labels in 21 columns."""
    rows = [("Temporal Server:", shown_address(config.ip, port)), ("Temporal Persistence:", persistence)]
    return "\n".join([f"Perdure {__version__}", "", *(f"{label:<21} {value}" for label, value in rows)])


def describe(config: Config) -> str:
    """The configuration as YAML, for --log-config."""
    import json

    lines = ["server:", f"  version: {__version__}", f"  follows: {config.server_version}"]
    lines += ["frontend:", f"  ip: {json.dumps(config.ip)}", f"  port: {config.port}"]
    lines += ["namespaces:", *(f"  - {json.dumps(name)}" for name in config.namespaces)]
    lines += [
        "persistence:",
        f"  file: {json.dumps(config.db_filename)}",
        f"  pragmas: {json.dumps(dict(config.pragmas))}",
    ]
    lines += [f"searchAttributes: {json.dumps(dict(config.search_attributes))}"]
    lines += [f"dynamicConfig: {json.dumps(dict(config.dynamic.as_mapping()))}"]
    lines += ["log:", f"  level: {config.log_level}", f"  format: {config.log_format}"]
    return "\n".join(lines)


async def _serve(config: Config, banner: bool, compose: Compose | None, with_parent: bool) -> int:
    from perdure.server import Server
    from perdure.storage.store import StoreFailed
    from perdure.transport.ports import PortUnavailable

    log = Log(config.log_level, config.log_format)
    stopped = _on_signals(asyncio.get_running_loop())
    if with_parent:
        on_parents_end(asyncio.get_running_loop(), stopped.set)
    try:
        server = Server(config=config, log=log, compose=compose)
        await server.start()
    except PortUnavailable as error:
        return _fail(f"can't set frontend port {config.port}: {error}")
    except (StoreFailed, ConfigError) as error:
        return _fail(str(error))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    collect_garbage(asyncio.get_running_loop())
    if banner:
        # The reader may be gone, or never have been there: a launcher that closed the pipe still wants its server.
        with suppress(OSError):
            print(banner_text(config, server.port, server.persistence_name), flush=True)
    return await _until_stopped(server, stopped, log)


async def _until_stopped(server: Server, stopped: asyncio.Event, log: Log) -> int:
    waiting = asyncio.ensure_future(stopped.wait())
    failing = asyncio.ensure_future(server.failed())
    try:
        await asyncio.wait([waiting, failing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        failing.cancel()
    if not failing.cancelled() and failing.done():
        # What is in memory may be ahead of what is stored: closing in order would only promise more.
        return _fail(str(failing.result()))
    log.quieten()
    await server.stop()
    return 0


def _on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """Set by the first signal; the second one ends the process at once."""
    stopped = asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            os._exit(1)
        stopped.set()

    for number in STOP_SIGNALS:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    return stopped


def collect_garbage(loop: asyncio.AbstractEventLoop, quiet: int = 0) -> None:
    """Collect what is young a little at a time: grpcio leaves a small circle with each call, which is garbage at once.
    Older objects hold no circles that matter, and looking at all of them takes tenths of a second, so that waits for a
    quiet minute."""
    quiet += 1
    made, rounds, _ = gc.get_count()
    if made >= GC_OBJECTS:
        gc.collect(0)
        quiet = 0
    elif quiet == GC_QUIET and rounds >= GC_WORTH_IT:
        gc.collect()
    loop.call_later(GC_SECONDS, collect_garbage, loop, quiet)


def on_parents_end(loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
    """Have `end` called when the process that started this one is gone, however it went."""
    parent = os.getppid()

    def look() -> None:
        if os.getppid() != parent:
            end()
        else:
            loop.call_later(PARENT_SECONDS, look)

    # A signal on its death (PR_SET_PDEATHSIG) would come when the *thread* that started us ends: launchers have pools.
    try:
        process = os.pidfd_open(parent)
    except (AttributeError, OSError):  # not Linux, or not allowed
        look()
        return

    def ended() -> None:
        loop.remove_reader(process)
        os.close(process)
        end()

    loop.add_reader(process, ended)
    if os.getppid() != parent:  # it ended before we looked
        ended()


def _fail(message: str) -> int:
    print(f"Error: {message}", file=sys.stderr, flush=True)
    return 1


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
