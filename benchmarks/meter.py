"""What a process costs, seen from outside, and how fast this machine is today."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from pathlib import Path

CPUCLOCK_SCHED = 2


class ProcessMeter:
    """CPU and memory of another process. Linux only: reads its CPU clock and /proc."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._main_thread = Path(f"/proc/{pid}/schedstat")
        # What clock_getcpuclockid(3) computes: nanoseconds of all threads, also ended ones, where /proc/PID/stat has
        # ticks of 10 ms and /proc/PID/schedstat the main thread only.
        self._clock = ~pid << 3 | CPUCLOCK_SCHED

    def cpu_ms(self) -> float:
        """User and system time of all threads so far."""
        return time.clock_gettime_ns(self._clock) / 1e6

    def main_thread_ms(self) -> float:
        """The same of the thread it began with alone, which is the one of a server's event loop."""
        return int(self._main_thread.read_text().split()[0]) / 1e6

    def resident_mib(self) -> float:
        found = re.search(r"^VmRSS:\s+(\d+) kB$", self._status.read_text(), re.MULTILINE)
        assert found, self._status
        return round(int(found[1]) / 1024, 1)


def calibration_ms() -> float:
    """CPU time of a fixed piece of pure Python, minimum of five: divide by it to compare figures of different days."""

    def work() -> int:
        total = 0
        for number in range(1_000_000):
            total += number & 7
        return total

    best = math.inf
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return round(best * 1000, 1)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
