"""Instructions of a one-activity workflow without transport: what a change costs, measured on a busy machine.

    python -m benchmarks.instructions          # needs valgrind; two or three minutes

Runs `benchmarks.inprocess` under callgrind with few and with more workflows and divides the difference, so that neither
start-up nor warm-up counts. Two runs of one version differ by less than half a per cent, where CPU time differs by ten.
Waiting, system calls and what cold caches cost are not in it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

FEW, MORE = 20, 220


def instructions(workflows: int) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "benchmarks.inprocess", "--workflows", str(workflows)]
    return subprocess.Popen(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def main() -> int:
    counts = []
    for run in [instructions(FEW), instructions(MORE)]:
        _, told = run.communicate()
        found = re.search(r"Collected : (\d+)", told)
        if found is None:
            print(told, file=sys.stderr)
            return 1
        counts.append(int(found[1]))
    print(f"{(counts[1] - counts[0]) / (MORE - FEW) / 1e6:.2f} million instructions a workflow, driver included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
