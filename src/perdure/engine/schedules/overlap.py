"""What becomes of the starts that wait, by their overlap policies.

Source: temporal/api/enums/v1/schedule.proto, ScheduleOverlapPolicy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from perdure.engine.schedules.state import SKIP, Start
from perdure.enums import ScheduleOverlapPolicy

_P = ScheduleOverlapPolicy
BUFFER_ONE: Final = int(_P.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE)
BUFFER_ALL: Final = int(_P.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL)
CANCEL_OTHER: Final = int(_P.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER)
TERMINATE_OTHER: Final = int(_P.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER)
ALLOW_ALL: Final = int(_P.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL)


@dataclass(slots=True)
class Round:
    """What to do now: start `alone` (the one that others must not overlap with), start each of `beside`, keep `waiting`
    for later; `skipped` are dropped. `cancel` or `terminate` what is running to make room for one that waits."""

    alone: list[Any] | None = None
    beside: list[list[Any]] = field(default_factory=list)
    waiting: list[list[Any]] = field(default_factory=list)
    skipped: int = 0
    cancel: bool = False
    terminate: bool = False


def sort_out(buffer: Iterable[list[Any]], occupied: bool, default: int) -> Round:
    """`buffer` in the order of its times. A start without a policy of its own has the schedule's, as it is now."""
    found = Round()
    one_waits = False
    for start in buffer:
        policy = start[Start.OVERLAP] or default or SKIP
        if policy == ALLOW_ALL:
            found.beside.append(start)
        elif not occupied and found.alone is None:
            found.alone = start
        elif policy == BUFFER_ALL:
            found.waiting.append(start)
        elif policy == BUFFER_ONE and not one_waits:
            one_waits = True
            found.waiting.append(start)
        elif policy in (CANCEL_OTHER, TERMINATE_OTHER) and occupied:
            found.cancel |= policy == CANCEL_OTHER
            found.terminate |= policy == TERMINATE_OTHER
            found.waiting.append(start)
        elif policy in (CANCEL_OTHER, TERMINATE_OTHER):
            found.alone = start  # the other one has not even begun
        else:
            found.skipped += 1
    return found
