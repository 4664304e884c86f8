"""What a schedule is between two inputs. It has no history: this, and the items beside it, is all there is.

Lists hold lists, as they are stored; `Start`, `Running` and so on name their places.
"""

# ruff: noqa: RUF012 - msgspec gives each record its own copy of a default
from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from perdure.engine.items import Fields
from perdure.engine.times import DAY, SECOND
from perdure.enums import ScheduleOverlapPolicy

# Items of the record: bytes that may be large, and rarely change.
ACTION, RESULT, FAILURE = 1, 2, 3
"""Serialised ScheduleAction; Payloads and Failure that the next run is told of."""

SKIP: Final = int(ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_SKIP)
CATCHUP_DEFAULT: Final = 365 * DAY
CATCHUP_LEAST: Final = 10 * SECOND
BUFFER_LIMIT: Final = 1000
BACKFILL_LIMIT: Final = BUFFER_LIMIT // 2
"""Backfills add no more starts while so many wait."""
RECENT_ACTIONS: Final = 10
IDLE_LIFE: Final = 7 * DAY
"""A schedule that has nothing left to do is forgotten after so long."""
PAUSED_ATTRIBUTE: Final = "TemporalSchedulePaused"


class Start(IntEnum):
    """A start that waits: two times, its own overlap policy (0: the schedule's), whether somebody asked for it."""

    NOMINAL = 0
    ACTION_TIME = 1
    OVERLAP = 2
    MANUAL = 3


class Action(IntEnum):
    """An action taken: `recent` and `starting` hold these. `TRACKED`: others must not overlap with it. `STATUS` is a
    WorkflowExecutionStatus."""

    NUMBER = 0
    ACTION_TIME = 1
    STARTED_AT = 2
    WORKFLOW_ID = 3
    RUN_ID = 4
    STATUS = 5
    TRACKED = 6


class Running(IntEnum):
    """A started workflow that others must not overlap with. `STOPPING` 1: asked to cancel, 2: terminated."""

    NUMBER = 0
    WORKFLOW_ID = 1
    RUN_ID = 2
    STOPPING = 3


class Backfill(IntEnum):
    """Nominal times from NEXT to END, both included."""

    NEXT = 0
    END = 1
    OVERLAP = 2


class ScheduleState(Fields):
    """Times are microseconds since 1970, 0 for none."""

    spec: bytes = b""
    """Canonical, serialised."""
    overlap: int = SKIP
    catchup_window: int = CATCHUP_DEFAULT
    pause_on_failure: bool = False
    keep_original_workflow_id: bool = False
    notes: str = ""
    paused: bool = False
    limited: bool = False
    remaining: int = 0
    token: int = 1
    """The conflict token: moves whenever the schedule is changed, also by itself."""
    action_count: int = 0
    missed_catchup_window: int = 0
    overlap_skipped: int = 0
    buffer_dropped: int = 0
    processed_until: int = 0
    """Action times up to here have been seen to."""
    updated_at: int = 0
    buffer: list[list[Any]] = []
    backfills: list[list[Any]] = []
    starting: list[list[Any]] = []
    """Sent, and not yet heard of."""
    running: list[list[Any]] = []
    recent: list[list[Any]] = []
    action_number: int = 0
    invalid_error: str = ""
    wake_at: int = 0
    idle_since: int = 0

    @property
    def occupied(self) -> bool:
        """Something runs that others must not overlap with, or is being started."""
        return bool(self.running) or any(action[Action.TRACKED] for action in self.starting)

    @property
    def exhausted(self) -> bool:
        return self.limited and self.remaining <= 0

    @property
    def conflict_token(self) -> bytes:
        return self.token.to_bytes(8, "big")


def new_state() -> ScheduleState:
    return ScheduleState(buffer=[], backfills=[], starting=[], running=[], recent=[])
