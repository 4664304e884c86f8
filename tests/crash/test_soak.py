"""Ten minutes of everything at once, under kills of the server and of its workers: `make soak`.

PERDURE_SOAK_SECONDS makes it shorter or longer, PERDURE_CRASH_SEED repeats it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.harness import (
    POINTS_OF_A_COMMIT,
    WORKERS,
    Kill,
    KillAfter,
    KillAt,
    KillWhileStarting,
    KillWorker,
    endure,
)

SECONDS = float(os.environ.get("PERDURE_SOAK_SECONDS") or 600)


def kills_until(end: float, seed: int) -> Iterator[Kill]:
    """Of every sort, some in quick succession, some after a while in which much gets done."""
    random = Random(seed)
    while time.monotonic() < end:
        match random.choice(("point", "point", "moment", "moment", "start", "worker", "worker")):
            case "point":
                yield KillAt(random.choice(POINTS_OF_A_COMMIT), random.choice((1, random.randint(1, 60), 300)))
            case "moment":
                yield KillAfter(random.choice((0, random.uniform(0, 1), random.uniform(0, 6))))
            case "start":
                yield KillWhileStarting(random.uniform(0, 0.15))
            case "worker":
                yield KillWorker(random.randrange(WORKERS))


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
async def test_nothing_acknowledged_is_lost_for_ten_minutes(
    tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def report(line: str) -> None:
        with capfd.disabled():
            print(line, flush=True)

    report(f"\n{SECONDS:.0f} s with PERDURE_CRASH_SEED={seed}")
    endured = await endure(kills_until(time.monotonic() + SECONDS, seed), tmp_path, seed, report=report)

    report(str(endured))
    assert all(endured.told.values()), "a family was never seen to its end"
