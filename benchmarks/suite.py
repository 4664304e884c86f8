"""The parts of the benchmark: each launches the server it needs, drives it, and returns figures ready for JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import large_runs
from benchmarks.load import LoadFigures, OneActivityLoad
from benchmarks.long_run import long_run
from benchmarks.meter import ProcessMeter, calibration_ms
from benchmarks.overload import SERVER_OPTIONS, overload
from benchmarks.retention import retention
from benchmarks.schedules import schedules as schedule_wave
from benchmarks.sleepers import due_at_once, sleepers
from benchmarks.visibility import visibility
from tests.support.server_process import ServerProcess, dev_server_command, free_port

Figures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    in_flight: int = 32
    pollers: int = 64
    store: str = "file"
    seconds: float = 4
    warm_up: float = 1
    payload_bytes: int = 64
    rounds: int = 5
    address: str | None = None
    pid: int | None = None
    profile: Path | None = None
    runs: int = 0
    """0: as many as the part is about."""
    database: Path | None = None
    schedules: int = 60_000
    pace: float = 0.05
    overload_seconds: float = 60


class UnfitOptions(Exception):
    """What was asked for cannot be measured that way; the text is for the person at the command line."""


@dataclass(frozen=True)
class Target:
    address: str
    meter: ProcessMeter | None
    process: ServerProcess | None = None


@contextlib.contextmanager
def server(options: Options, database: Path | None = None) -> Iterator[Target]:
    """The server that `options` names: the one at `address`, or a fresh one on `database` or in memory."""
    if options.address:
        yield Target(options.address, ProcessMeter(options.pid) if options.pid else None)
        return
    port = free_port()
    command = dev_server_command(port, database=database)
    if options.profile:
        command[1:1] = ["-m", "cProfile", "-o", str(options.profile)]
    process = ServerProcess(command, port)
    try:
        yield Target(process.address, ProcessMeter(process.pid), process)
    finally:
        process.stop()
    if options.profile:
        show_profile(options.profile)


@contextlib.contextmanager
def fresh_store(options: Options) -> Iterator[Path | None]:
    """A path for a new database file, forgotten after the block; None for memory."""
    if options.store == "memory":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        yield Path(folder) / "bench.db"


def drive(target: Target, options: Options) -> LoadFigures:
    async def load() -> LoadFigures:
        load = OneActivityLoad(
            target.address, in_flight=options.in_flight, pollers=options.pollers, payload_bytes=options.payload_bytes
        )
        return await load.measure(options.seconds, options.warm_up, target.meter)

    return uvloop.run(load())


def workflow(options: Options) -> Figures:
    """The one-activity workflow on a fresh server."""
    with fresh_store(options) as database:
        with server(options, database) as target:
            figures = drive(target, options)
        # After the stop, so that the write-ahead log is in the file.
        stored = database.stat().st_size if database and not options.address else None
    return {
        "store": options.store,
        "in_flight": options.in_flight,
        "pollers": options.pollers,
        **dataclasses.asdict(figures),
        "disk_bytes_per_workflow": round(stored / figures.started_in_all) if stored else None,
    }


def floor(options: Options) -> Figures:
    """The same load on a server that only answers: what grpc.aio costs."""
    port = free_port()
    process = ServerProcess([sys.executable, "-m", "benchmarks.floor", "--port", str(port)], port)
    try:
        figures = drive(Target(process.address, ProcessMeter(process.pid)), options)
    finally:
        process.stop()
    return {"in_flight": options.in_flight, "pollers": options.pollers, **dataclasses.asdict(figures)}


def above_floor(options: Options) -> Figures:
    """Floor and server in turns, `rounds` times; the server's own CPU is the median of the differences."""
    pairs: list[tuple[Figures, Figures]] = []
    calibrations: list[float] = []
    for _ in range(options.rounds):
        calibrations.append(calibration_ms())
        pairs.append((floor(options), workflow(options)))
    cost = "server_cpu_ms_per_workflow"
    middle = {
        name: {key: statistics.median(figures[key] for figures in side) for key in (cost, "per_second", "p50_ms")}
        for name, side in zip(("floor", "server"), zip(*pairs, strict=True), strict=True)
    }
    return {
        "store": options.store,
        "in_flight": options.in_flight,
        "pollers": options.pollers,
        "rounds": options.rounds,
        "calibration_ms_each_round": calibrations,
        **middle,
        "above_floor_cpu_ms_each_round": [round(real[cost] - bare[cost], 3) for bare, real in pairs],
        "above_floor_cpu_ms": round(statistics.median(real[cost] - bare[cost] for bare, real in pairs), 3),
    }


def payloads(options: Options) -> Figures:
    """The one-activity workflow with larger and larger input and activity result."""
    sizes = (1 << 10, 16 << 10, 128 << 10, 1 << 20)
    some = dataclasses.replace(options, in_flight=4, pollers=8)
    return {f"{size >> 10} KiB": workflow(dataclasses.replace(some, payload_bytes=size)) for size in sizes}


def launch(options: Options) -> Figures:
    """Five launches: time to the first answered RPC, and memory a second later without any load."""
    seconds: list[float] = []
    resident: list[float] = []
    for _ in range(5):
        with fresh_store(options) as database, server(options, database) as target:
            if target.process is None or target.meter is None:
                raise UnfitOptions("launches are measured on servers of our own, not on one at --address")
            time.sleep(1)
            seconds.append(round(target.process.launch_seconds, 3))
            resident.append(target.meter.resident_mib())
    return {
        "store": options.store,
        "seconds_to_first_answer": statistics.median(seconds),
        "seconds_each": seconds,
        "idle_resident_mib": statistics.median(resident),
    }


def schedules(options: Options) -> Figures:
    """All due at one instant, while others start workflows."""
    with fresh_store(options) as database, server(options, database) as target:
        figures = uvloop.run(schedule_wave(target.address, target.meter, options.schedules, options.pace))
        return {"store": options.store, **figures}


def overloaded(options: Options) -> Figures:
    """64 starters at full speed beside 500 idle workers and 100 long polls, for `--overload-seconds`."""
    if options.address:
        raise UnfitOptions("the stalls of a server are read from its own metrics: this part launches its server")
    port, metrics_port = free_port(), free_port()
    with fresh_store(options) as database:
        command = dev_server_command(port, "--metrics-port", str(metrics_port), *SERVER_OPTIONS, database=database)
        if options.profile:
            command[1:1] = ["-m", "cProfile", "-o", str(options.profile)]
        process = ServerProcess(command, port)
        try:
            figures = uvloop.run(overload(process.address, metrics_port, options.overload_seconds))
        finally:
            process.stop()
    if options.profile:
        show_profile(options.profile)
    return {"store": options.store, **figures}


Growth = Callable[[str, ProcessMeter], Coroutine[Any, Any, Figures]]


def growing(scenario: Growth) -> Callable[[Options], Figures]:
    """A part made of a scenario of `large_runs`."""

    def part(options: Options) -> Figures:
        with fresh_store(options) as database, server(options, database) as target:
            if target.meter is None:
                raise UnfitOptions("server CPU is what this part measures: give the server's --pid with --address")
            return {"store": options.store, **uvloop.run(scenario(target.address, target.meter))}

    part.__doc__ = scenario.__doc__
    return part


signals = growing(large_runs.signals)
timers = growing(large_runs.timers)
pending = growing(large_runs.pending_activities)

PARTS: dict[str, Callable[[Options], Figures]] = {
    "workflow": workflow,
    "floor": floor,
    "above-floor": above_floor,
    "signals": signals,
    "timers": timers,
    "pending": pending,
    "payloads": payloads,
    "launch": launch,
    "schedules": schedules,
    "overload": overloaded,
    "visibility": lambda options: visibility(options.runs or 1_000_000, options.database),
    "sleepers": lambda options: sleepers(options.runs or 1_000_000, options.database),
    "due-at-once": lambda options: due_at_once(options.runs or 10_000),
    "retention": lambda options: retention(options.runs or 100_000),
    "long-run": lambda options: long_run(options.runs or 50_000),
}


def everything(options: Options) -> Figures:
    """All parts with the settings of the budgets; `--seconds` and `--rounds` are heeded."""

    def on(**changes: Any) -> Options:
        return dataclasses.replace(options, **changes)

    steps: dict[str, Callable[[], Figures]] = {
        "launch": lambda: launch(on(store="memory")),
        "one at a time, memory": lambda: workflow(on(store="memory", in_flight=1)),
        "one at a time, file": lambda: workflow(on(store="file", in_flight=1)),
        "32 in flight, memory": lambda: workflow(on(store="memory")),
        "32 in flight, file": lambda: workflow(on(store="file")),
        "above floor, 64 pollers": lambda: above_floor(on(store="file", pollers=64)),
        "above floor, 5 pollers": lambda: above_floor(on(store="file", pollers=5)),
        "signals": lambda: signals(on(store="file")),
        "pending": lambda: pending(on(store="file")),
        "timers": lambda: timers(on(store="file")),
        "payloads": lambda: payloads(on(store="file")),
    }
    figures: Figures = {}
    for name, step in steps.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures[name] = step()
    figures["budgets"] = budgets(figures)
    return figures


def budgets(figures: Figures) -> list[Figures]:
    """What we promise ourselves (docs/architecture.md), beside what was measured."""
    promised: list[tuple[str, float, float]] = [
        (
            "server CPU above the floor, ms a workflow, 64 pollers",
            figures["above floor, 64 pollers"]["above_floor_cpu_ms"],
            1.2,
        ),
        (
            "server CPU above the floor, ms a workflow, 5 pollers",
            figures["above floor, 5 pollers"]["above_floor_cpu_ms"],
            1.2,
        ),
        ("start to finish alone on a file, ms, median", figures["one at a time, file"]["p50_ms"], 15),
        ("idle memory, MiB", figures["launch"]["idle_resident_mib"], 110),
        ("launch to first answer, s", figures["launch"]["seconds_to_first_answer"], 1.0),
        ("last thousand of 10,000 signals to the first", figures["signals"]["last_tenth_to_first"], 1.5),
        ("signal with 2,000 pending activities to an empty run", figures["pending"]["ratio"], 1.3),
    ]
    return [{"what": what, "is": value, "at_most": limit, "met": value <= limit} for what, value, limit in promised]


def show_profile(path: Path) -> None:
    """The forty most expensive functions, on standard error."""
    statistics_of = pstats.Stats(str(path), stream=sys.stderr)
    statistics_of.sort_stats("tottime").print_stats(40)
