"""All kinds of execution, by their number in stored rows. Numbers are never given to another kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perdure.engine import codec, delivery, waking
from perdure.engine.batches.jobs import BatchKind
from perdure.engine.execution import ACTIVITY, BATCH, SCHEDULE, WORKFLOW
from perdure.engine.finishing import finish
from perdure.engine.items import Activity, WorkflowTask, is_under_way
from perdure.engine.kind import Kind
from perdure.engine.messages import Message
from perdure.engine.schedules.kind import ScheduleKind
from perdure.engine.standalone.kind import StandaloneActivityKind
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.engine.visibility import VisibilityRow, visibility_row_fields


class WorkflowKind:
    """Workflows: a run with a history."""

    name = "workflow"

    encode = staticmethod(codec.encode_core)
    all_items = staticmethod(codec.all_items)
    item_value = staticmethod(codec.item_value)
    decode = staticmethod(codec.decode)
    next_deadline = staticmethod(waking.next_deadline)

    def wake(self, shared: Shared, run: Run) -> bool:
        turn = Turn(shared, run)
        found = waking.wake(turn)
        finish(turn)
        return found

    def deliver(self, shared: Shared, run: Run | None, message: Message) -> None:
        delivery.deliver(shared, run, message)

    def row(self, run: Run) -> VisibilityRow:
        return visibility_row_fields(run)

    def busy(self, run: Run) -> tuple[int, int]:
        if not run.running:
            return 0, 0
        # A speculative task is there for an update, which holds time itself: neither is in what is written.
        waits = run.workflow_task is not None and not run.workflow_task.speculative
        return int(waits), sum(map(is_under_way, run.activities.values()))

    def reasons(self, run: Run, *, hard: bool) -> Iterator[str]:
        if hard and run.workflow_task is not None:
            yield f"workflow {run.workflow_id!r}: {_workflow_task(run.workflow_task)}"
        elif not hard:
            for activity in run.activities.values():
                if is_under_way(activity):
                    yield f"workflow {run.workflow_id!r}: {_activity(activity)}"


def _workflow_task(task: WorkflowTask) -> str:
    name = f"workflow task (attempt {task.attempt}, task queue {task.queue!r})"
    if task.started_event_id:
        return f"{name} is being worked on by {task.identity!r}"
    return f"{name} waits for a worker"


def _activity(activity: Activity) -> str:
    name = (
        f"activity {activity.activity_id!r} (type {activity.activity_type!r}, attempt {activity.attempt}, "
        f"task queue {activity.queue!r})"
    )
    if activity.started_at:
        return f"{name} is running on {activity.started_identity!r}"
    return f"{name} waits for a worker"


KINDS: Final[dict[int, Kind]] = {
    WORKFLOW: WorkflowKind(),
    SCHEDULE: ScheduleKind(),
    ACTIVITY: StandaloneActivityKind(),
    BATCH: BatchKind(),
}
