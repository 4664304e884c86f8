"""Who wants to hear of a run's end, beside its parent: `run.watchers`, a list of [schedule ID, its run ID, number of
the action] in the run's own namespace. A chain of runs is one workflow: the watchers pass on to each successor."""

from __future__ import annotations

from temporalio.api.history.v1 import History

from perdure.engine.messages import ScheduledClosed
from perdure.engine.state import Run
from perdure.engine.turn import Turn


def tell_watchers(turn: Turn) -> None:
    """Send how it ended; the close event was just emitted."""
    run = turn.run
    event = History.FromString(run.changes.events[-1]).events[0]
    result = failure = b""
    completed = event.workflow_execution_completed_event_attributes
    failed = event.workflow_execution_failed_event_attributes
    if completed.HasField("result"):
        result = completed.result.SerializeToString(deterministic=True)
    if failed.HasField("failure"):
        failure = failed.failure.SerializeToString(deterministic=True)
    for schedule_id, schedule_run_id, number in run.watchers:
        turn.send(
            ScheduledClosed(
                to_namespace_id=run.namespace_id,
                to_workflow_id=schedule_id,
                to_run_id=schedule_run_id,
                number=number,
                workflow_id=run.workflow_id,
                status=run.status,
                failure=failure,
                result=result,
            )
        )


def hand_over(closed: Run | None, successor: Run) -> None:
    """To be called in the turn that created the successor."""
    if closed is not None and closed.watchers:
        successor.watchers = list(closed.watchers)
