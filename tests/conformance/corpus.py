"""Runs the recorded scenarios against a server and compares with what the reference server did.

    python -m tests.conformance.corpus --address HOST:PORT [--scenario NAME ...] [-j N]

Prints `ok` or a unified diff for each scenario (-golden, +server under test), then `N passed, N failed`.
The comparison is exact after normalisation; `golden/kit.py` says what is dropped, masked and renamed, and why.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parent / "golden"
AT_A_TIME = 12
"""Scenarios mostly wait for timers, so that twelve at a time finish in the time of the slowest."""


@dataclass(frozen=True)
class Outcome:
    scenario: str
    seconds: float
    diff: list[str]
    """Empty when the server did exactly what was recorded."""


def recorded() -> list[str]:
    """Names of all scenarios that have a recording."""
    return sorted(path.stem for path in (GOLDEN / "histories").glob("*.json"))


async def compare(kit: Any, client: Any, name: str, scenario: Any, limit: float) -> list[str]:
    try:
        golden = json.loads((GOLDEN / "histories" / f"{name}.json").read_text(encoding="utf-8"))
        got = json.loads(kit.dump(await kit.execute(client, name, scenario, limit)))
    except Exception as error:  # whatever a scenario raises is its result
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "scenarios" in frame.filename]
        where = [f"  at {Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}"] if frames else []
        return [f"{type(error).__name__}: {error}", *where]
    want, have = kit.dump(golden).splitlines(), kit.dump(got).splitlines()
    return list(difflib.unified_diff(want, have, f"golden/{name}", f"server/{name}", n=4, lineterm=""))


async def run(address: str, names: list[str], jobs: int, limit: float, report: Any) -> None:
    """Run `names`, `jobs` at a time; `report` gets each outcome as it comes. Raises RuntimeError: cannot connect."""
    sys.path.insert(0, str(GOLDEN))
    kit = importlib.import_module("kit")
    scenarios = kit.load(GOLDEN)
    client = await kit.connect(address)
    gate = asyncio.Semaphore(jobs)

    async def one(name: str) -> None:
        async with gate:
            started = time.monotonic()
            diff = await compare(kit, client, name, scenarios[name], limit)
            report(Outcome(name, time.monotonic() - started, diff))

    await asyncio.gather(*(one(name) for name in names))


def play(address: str, names: list[str], limit: float = 60) -> dict[str, Outcome]:
    """Run scenarios in a process of their own, which may abort as it ends. Raises RuntimeError: they did not run."""
    command = [sys.executable, "-m", "tests.conformance.corpus", "--json", "--address", address]
    command += ["--jobs", str(AT_A_TIME), "--limit", str(limit)]
    for name in names:
        command += ["--scenario", name]
    player = subprocess.run(command, cwd=GOLDEN.parents[2], capture_output=True, text=True, check=False)
    if player.returncode not in (0, 1):
        raise RuntimeError(f"the scenarios could not be run: {player.stderr.strip()}")
    outcomes = [Outcome(**json.loads(line)) for line in player.stdout.splitlines()]
    return {outcome.scenario: outcome for outcome in outcomes}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="HOST:PORT of the server under test")
    parser.add_argument("--scenario", action="append", help="run only this one (repeatable; prefix* allowed)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="scenarios at a time (default 1)")
    parser.add_argument("--limit", type=float, default=60, help="seconds a scenario may take (default 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of text")
    chosen = parser.parse_args()
    names = recorded()
    if chosen.scenario:
        wanted = chosen.scenario
        names = [n for n in names if any(n == w or (w.endswith("*") and n.startswith(w[:-1])) for w in wanted)]
        if unknown := [w for w in wanted if not w.endswith("*") and w not in names]:
            parser.error(f"no such scenario: {', '.join(unknown)}")
    chosen.names = names
    return chosen


def main() -> int:
    chosen = arguments()
    outcomes: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if chosen.json:
            print(json.dumps(vars(outcome)), flush=True)
        else:
            verdict = "DIFFERS" if outcome.diff else "ok"
            print(f"{outcome.scenario}: {verdict} ({outcome.seconds:.1f} s)", *outcome.diff, sep="\n", flush=True)

    try:
        asyncio.run(run(chosen.address, chosen.names, chosen.jobs, chosen.limit, report))
    except RuntimeError as error:
        print(f"cannot connect to {chosen.address}: {error}", file=sys.stderr, flush=True)
        return 2
    failed = sum(bool(outcome.diff) for outcome in outcomes)
    if not chosen.json:
        print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # skips the teardown of the SDK's native runtime, which can abort the interpreter
