"""Numbers that `/metrics` shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from perdure.transport.gate import Gate


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is asked for whenever somebody looks; a `counter` only grows."""

    name: str
    help: str
    value: Callable[[], float]
    counter: bool = False


def gate_gauges(gate: Gate) -> list[Gauge]:
    return [
        Gauge("perdure_calls_in_flight", "Calls that are not answered yet.", lambda: gate.inside),
        Gauge("perdure_request_bytes_in_flight", "Bytes of their requests.", lambda: gate.request_bytes),
        Gauge("perdure_calls_refused_total", "Calls there was no room for.", lambda: gate.refused, counter=True),
    ]


def process_gauges() -> list[Gauge]:
    """Under the names that Prometheus' own clients use. Memory is known on Linux only."""

    def resident() -> float:
        with open("/proc/self/statm") as statm:  # answered from memory: nobody waits for a disk
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def spent() -> float:
        times = os.times()
        return times.user + times.system

    gauges = [Gauge("process_cpu_seconds_total", "Processor time, of all threads.", spent, counter=True)]
    if sys.platform == "linux":
        gauges.append(Gauge("process_resident_memory_bytes", "Memory in use.", resident))
    return gauges
