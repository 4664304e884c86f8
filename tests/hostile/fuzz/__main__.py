"""Fuzz a server: `python -m tests.hostile.fuzz --seed 7 --seconds 60 [--skipping] [--rpc Schedule] [--all]`.

The same seed makes the same requests as long as the server's answers, which they are made from, come alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.fuzz.canary import sing
from tests.hostile.fuzz.fuzzer import Fuzzer, Report
from tests.support.server_process import ServerProcess, free_port, running_dev_server


@contextlib.contextmanager
def fuzzed_server(database: Path | None, *, skipping: bool) -> Iterator[ServerProcess]:
    """A server on a file on the wall clock, or one in memory whose time skips."""
    if not skipping:
        with running_dev_server(database=database) as server:
            yield server
        return
    port = free_port()
    launch = "from perdure.cli.test_server import main; main()"
    command = [sys.executable, "-c", launch, str(port), "--enable-time-skipping"]
    server = ServerProcess(command, port)
    try:
        yield server
    finally:
        server.stop()


def fuzz(
    server: ServerProcess, seed: int, seconds: float, *, skipping: bool = False, rpc: str = "", all_faults: bool = False
) -> Report:
    """Raises Fault, with the command that repeats it, at the first fault unless `all_faults`."""

    async def run() -> Report:
        return await Fuzzer(server, seed, skipping=skipping, only=rpc, stop_at_first=not all_faults).run(seconds)

    try:
        return asyncio.run(run())
    except BaseException as error:
        error.add_note(replay(seed, seconds, skipping, rpc))
        raise


def outlives(database: Path) -> None:
    """Nothing in the file is wrong, and the server comes up again on it and serves."""
    doctor = [sys.executable, "-m", "perdure.cli.main", "doctor", "--db-filename", str(database)]
    examined = subprocess.run(doctor, capture_output=True, text=True, timeout=120, check=False)
    assert examined.returncode == 0, examined.stdout[-6000:] + examined.stderr[-2000:]
    with running_dev_server(database=database) as server:
        asyncio.run(sing(server.address))
        assert "Traceback" not in server.output(None), server.output()


def replay(seed: int, seconds: float, skipping: bool, rpc: str = "") -> str:
    more = (" --skipping" if skipping else "") + (f" --rpc {rpc}" if rpc else "")
    return f"replay: python -m tests.hostile.fuzz --seed {seed} --seconds {seconds:g}{more}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--skipping", action="store_true", help="a server whose time skips")
    parser.add_argument("--rpc", default="", help="only RPCs with this in their name")
    parser.add_argument("--all", action="store_true", help="go on after a fault")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        database = Path(directory) / "fuzz.db"
        with fuzzed_server(database, skipping=options.skipping) as server:
            report = fuzz(
                server,
                options.seed,
                options.seconds,
                skipping=options.skipping,
                rpc=options.rpc,
                all_faults=options.all,
            )
        if not options.skipping:
            outlives(database)
    print(f"{report.calls} calls in {report.rounds} rounds, {report.compared} refusals compared; {dict(report.codes)}")
    print(f"{report.left_to_sweep} steps of the sweep are left")
    print(
        f"{len(report.accepted)} RPCs accepted something; {report.most_mib} MiB; "
        f"slowest {report.slowest} {report.slowest_ms:.0f} ms"
    )
    print("never accepted:", " ".join(sorted(report.never_accepted)))
    for fault in report.faults:
        print("FAULT", fault, end="\n\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
