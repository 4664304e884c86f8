"""What a standalone activity is between two inputs.

Times are microseconds since 1970 UTC, durations microseconds; 0 is "none" for both.
"""

from __future__ import annotations

from typing import Any, Final, Self

from perdure.engine.effects import OfferActivityTask
from perdure.engine.items import Activity, Fields
from perdure.engine.record import Record, RecordTurn
from perdure.enums import ActivityExecutionStatus

_S = ActivityExecutionStatus
COMPLETED: Final = int(_S.ACTIVITY_EXECUTION_STATUS_COMPLETED)
FAILED: Final = int(_S.ACTIVITY_EXECUTION_STATUS_FAILED)
CANCELED: Final = int(_S.ACTIVITY_EXECUTION_STATUS_CANCELED)
TERMINATED: Final = int(_S.ACTIVITY_EXECUTION_STATUS_TERMINATED)
TIMED_OUT: Final = int(_S.ACTIVITY_EXECUTION_STATUS_TIMED_OUT)
PAUSED: Final = int(_S.ACTIVITY_EXECUTION_STATUS_PAUSED)

# Sorts of items: what may be large, and does not change from attempt to attempt.
START: Final = 1
"""Serialised PollActivityTaskQueueResponse with all that is the same for each attempt: input, header, timeouts."""
ABOUT: Final = 2
"""Serialised ActivityExecutionInfo with what only describe shows: user metadata, links."""
OUTCOME: Final = 3
"""Serialised ActivityExecutionOutcome of a closed one."""


class ActivityExecution(Fields):
    """`attempt` is the present attempt, as a workflow's pending activity is kept; its `scheduled_at` is when
    schedule-to-close begins to count (after the start delay), its `scheduled_event_id` 0: history has no part in it."""

    attempt: Activity
    start_delay: int = 0
    stamp: int = 0
    """Source of task stamps."""
    transitions: int = 0
    """How often it changed: describe's long polls wait for the next."""
    heartbeats: int = 0
    cancel_request_id: str = ""
    cancel_reason: str = ""
    cancel_identity: str = ""
    terminate_request_id: str = ""
    original: bytes = b""
    """Serialised ActivityOptions of the start, kept once options were changed."""

    @classmethod
    def unpack(cls, values: list[Any]) -> Self:
        attempt, *others = values
        return super().unpack([Activity.unpack(attempt), *others])


class ActivityTurn(RecordTurn):
    """One input's decision about a standalone activity."""

    __slots__ = ()

    @property
    def state(self) -> ActivityExecution:
        state: ActivityExecution = self.record.state
        return state

    def next_stamp(self) -> int:
        """A number no task of this execution had before."""
        self.state.stamp += 1
        return self.state.stamp

    def put(self, attempt: Activity) -> None:
        if attempt.queue != self.state.attempt.queue:
            self.record.changes.queue = True
            self.show()
        self.state.attempt = attempt
        self.moved()

    def moved(self) -> None:
        """Something changed that readers can see."""
        self.state.transitions += 1
        self.touch()

    def offer(self) -> None:
        """Give the attempt to matching."""
        self.effect(OfferActivityTask(self.record, 0))

    def paused(self) -> None:
        """Whether it is shown as paused moved."""
        self.record.changes.status = True
        self.show()

    def end(self, status: int, outcome: bytes) -> None:
        self.put_item(OUTCOME, "", outcome)
        self.state.transitions += 1
        self.close(status)


def item(record: Record, sort: int) -> bytes:
    return record.items.get((sort, ""), b"")
