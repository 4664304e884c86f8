"""What the shell is told about schedules."""

from __future__ import annotations

from typing import Final

from perdure.engine.kind import RecordKind
from perdure.engine.messages import Message, ScheduledClosed, ScheduledRefused, ScheduledStarted
from perdure.engine.record import Record, RecordTurn
from perdure.engine.schedules import acting
from perdure.engine.schedules.state import ScheduleState
from perdure.engine.turn import Shared
from perdure.visibility.attributes import SCHEDULE_DIVISION


class ScheduleKind(RecordKind):
    """A schedule waits for its next action time and is otherwise moved by messages. Paused, or with no time to come, it
    waits for nothing."""

    name: Final = "schedule"
    state = ScheduleState
    division = SCHEDULE_DIVISION
    type_name = "temporal-sys-scheduler-workflow"

    def next_deadline(self, run: Record) -> int:
        return int(run.state.wake_at) if run.running else 0

    def wake(self, shared: Shared, run: Record) -> bool:
        """One portion. If more is due, its `wake_at` says so, and others come first."""
        if run.running and 0 < run.state.wake_at <= shared.now:
            acting.advance(RecordTurn(shared, run))
        return False

    def deliver(self, shared: Shared, run: Record | None, message: Message) -> None:
        if run is None or not run.running:
            return
        turn = RecordTurn(shared, run)
        match message:
            case ScheduledStarted():
                acting.started(turn, message)
            case ScheduledRefused():
                acting.refused(turn, message)
            case ScheduledClosed():
                acting.closed(turn, message)
            case _:
                raise TypeError(f"no receiver for {type(message).__name__}")
