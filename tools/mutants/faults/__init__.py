"""The faults, by area."""

from __future__ import annotations

from typing import Final

from tools.mutants.fault import Fault
from tools.mutants.faults import (
    activities,
    api,
    batches,
    chains,
    children,
    durability,
    matching,
    queries,
    resets,
    schedules,
    skipping,
    standalone,
    storage,
    tasks,
    timers,
    updates,
    visibility,
)

FAULTS: Final[tuple[Fault, ...]] = tuple(
    fault
    for module in (
        durability,
        tasks,
        activities,
        timers,
        chains,
        children,
        updates,
        resets,
        queries,
        matching,
        storage,
        visibility,
        schedules,
        standalone,
        batches,
        skipping,
        api,
    )
    for fault in module.AREA.faults
)
