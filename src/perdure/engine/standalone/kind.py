"""Standalone activities as a kind of execution."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.engine.items import is_under_way
from perdure.engine.kind import RecordKind
from perdure.engine.record import Record
from perdure.engine.standalone.attempts import next_deadline, wake
from perdure.engine.standalone.describing import shown_status, size_of
from perdure.engine.standalone.state import ActivityExecution, ActivityTurn
from perdure.engine.times import later
from perdure.engine.turn import Shared
from perdure.engine.visibility import VisibilityRow
from perdure.visibility.attributes import ACTIVITY_DIVISION


class StandaloneActivityKind(RecordKind):
    name = "activity"
    state = ActivityExecution
    division = ACTIVITY_DIVISION

    def next_deadline(self, run: Record) -> int:
        return next_deadline(run)

    def wake(self, shared: Shared, run: Record) -> bool:
        return wake(ActivityTurn(shared, run))

    def row(self, run: Record) -> VisibilityRow:
        row = super().row(run)
        state: ActivityExecution = run.state
        row.workflow_type = state.attempt.activity_type
        row.task_queue = state.attempt.queue
        row.status = shown_status(run)
        row.execution_time = later(run.started_at, state.start_delay)
        row.state_transitions = state.transitions
        row.history_size = size_of(run)
        return row

    def busy(self, run: Record) -> tuple[int, int]:
        return 0, int(run.running and is_under_way(run.state.attempt))

    def reasons(self, run: Record, *, hard: bool) -> Iterator[str]:
        attempt = run.state.attempt
        if hard or not run.running or not is_under_way(attempt):
            return
        what = f"is running on {attempt.started_identity!r}" if attempt.started_at else "waits for a worker"
        yield (
            f"standalone activity {run.execution_id!r} (type {attempt.activity_type!r}, attempt {attempt.attempt}, "
            f"task queue {attempt.queue!r}) {what}"
        )
