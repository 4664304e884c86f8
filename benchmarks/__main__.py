"""What Perdure costs, measured from another process over raw gRPC. Prints JSON; progress goes to standard error.

    python -m benchmarks                                    everything, with the budgets
    python -m benchmarks workflow --in-flight 1             start to finish, one at a time, on a file
    python -m benchmarks workflow --pollers 5               tasks go through the backlog
    python -m benchmarks above-floor --pollers 64           floor and server in turns: Perdure's own CPU
    python -m benchmarks signals                            10,000 signals to one run
    python -m benchmarks workflow --profile server.prof     where the server's CPU goes
    python -m benchmarks workflow --address localhost:7233 --pid 4711
    python -m benchmarks schedules                          60,000 schedules due at one instant, beside 64 callers
    python -m benchmarks visibility                         lists and counts over a million runs
    python -m benchmarks overload                           64 starters at full speed beside 1,100 polls
    python -m benchmarks sleepers --file million.db         a million runs asleep: restart, and timers beside starts
    python -m benchmarks due-at-once                        10,000 timers at one instant, in as many runs and in one
    python -m benchmarks retention                          100,000 old runs go while others start
    python -m benchmarks long-run                           one run with 50,000 events

Parts: workflow, floor, above-floor, signals, timers (10,000 open in one run), pending (signals to a run with 2,000
pending activities), payloads (1 KiB to 1 MiB), launch (time to the first answer, idle memory),
schedules (not among everything: some three minutes), overload (neither: a minute), visibility (neither: it loads a
million runs first, some two minutes and 1.4 GB), nor are sleepers (five minutes and 2.1 GB; with --file the next time
takes one), due-at-once (two minutes), retention (ten minutes) and long-run (two minutes). These do less with --runs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path

import grpc

from benchmarks.meter import calibration_ms
from benchmarks.suite import PARTS, Options, UnfitOptions, everything
from tests.support.server_process import LaunchFailed


def arguments() -> argparse.Namespace:
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=["all", *PARTS], default="all", metavar="PART")
    parser.add_argument("--in-flight", type=int, default=usual.in_flight, help="workflows at a time (default 32)")
    parser.add_argument(
        "--pollers",
        type=int,
        default=usual.pollers,
        help="polls of each kind; fewer than in flight: backlog (default 64)",
    )
    parser.add_argument("--store", choices=["file", "memory"], default=usual.store, help="default file")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="length of a measured window (default 4)")
    parser.add_argument("--warm-up", type=float, default=usual.warm_up, help="seconds before it (default 1)")
    parser.add_argument("--payload-bytes", type=int, default=usual.payload_bytes, help="input and result (default 64)")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="pairs of floor and server (default 5)")
    parser.add_argument("--address", help="drive the server at HOST:PORT instead of launching one")
    parser.add_argument("--pid", type=int, help="that server's process, for its CPU and memory")
    parser.add_argument("--profile", type=Path, help="run the server under cProfile and keep its output in this file")
    parser.add_argument(
        "--runs",
        type=int,
        default=usual.runs,
        help="of visibility and sleepers (default 1,000,000), retention (100,000); timers of due-at-once (10,000); "
        "events of long-run (50,000)",
    )
    parser.add_argument(
        "--database",
        "--file",
        "--keep",
        type=Path,
        help="of visibility and sleepers: load this file and keep it, or use it when it is there",
    )
    parser.add_argument("--schedules", type=int, default=usual.schedules, help="due at once (default 60,000)")
    parser.add_argument(
        "--overload-seconds", type=float, default=usual.overload_seconds, help="length of overload (default 60)"
    )
    parser.add_argument("--pace", type=float, default=usual.pace, help="a caller's pause between calls (default 0.05)")
    return parser.parse_args()


def main() -> int:
    chosen = vars(arguments())
    part = chosen.pop("part")
    options = Options(**chosen)
    run = everything if part == "all" else PARTS[part]
    header = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at start",
        "python": platform.python_version(),
        "calibration_ms": calibration_ms(),
    }
    try:
        figures = run(options)
    except (LaunchFailed, UnfitOptions) as error:
        print(error, file=sys.stderr)
        return 2
    except grpc.aio.AioRpcError as error:
        print(f"a call failed with {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    print(json.dumps({**header, part: figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
