"""Replay one seed: `python -m tests.simulation --seed 7 --steps 1000 [--skipping]`; or many: `--seconds 600`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.loop import run
from tests.simulation.simulation import Simulation


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--skipping", action="store_true", help="time skips")
    parser.add_argument("--seconds", type=float, default=0, help="go on with the next seeds for so long")
    parser.add_argument("--log", action="store_true", help="print the server's warnings")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    seed = options.seed
    while True:
        simulation = Simulation(seed, options.steps, skipping=options.skipping)
        try:
            run(simulation.run())
        except BaseException:
            print(replay(simulation), file=sys.stderr)
            raise
        finally:
            if options.log:
                print("\n".join(simulation.log.lines))
        print(
            f"seed {seed}: {simulation.network.served} calls, {simulation.disk.commits} commits, "
            f"{sum(simulation.deaths.values())} deaths, {len(simulation.ledger.starts)} starts, "
            f"trace {simulation.network.trace.hexdigest()[:16]}"
        )
        seed += 1
        if time.monotonic() >= end:
            return


def replay(simulation: Simulation) -> str:
    skipping = " --skipping" if simulation.skipping else ""
    return f"replay: python -m tests.simulation --seed {simulation.seed} --steps {simulation.steps}{skipping}"


if __name__ == "__main__":
    main()
