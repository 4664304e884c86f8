"""Where a batch job resets a run to: its first or last workflow task, a given event, or the first task of a build.

Source: temporal/api/common/v1/message.proto, ResetOptions.
"""

from __future__ import annotations

from typing import Final

from temporalio.api.batch.v1 import BatchOperationReset
from temporalio.api.history.v1 import History
from temporalio.api.workflow.v1 import ResetPoints

from perdure.engine.needs import NeedsReading, NeedsRun
from perdure.engine.state import Run
from perdure.engine.turn import Shared
from perdure.enums import EventType, ResetType
from perdure.errors import InvalidArgument, NotFound

_SCHEDULED: Final = int(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
_COMPLETED: Final = int(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
_FIRST: Final = ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK


class FirstTask:
    """The event that completed the first workflow task, or, while none is completed, the one after the first was
    scheduled; 0: there is none."""

    def __init__(self) -> None:
        self.next_event_id = 1
        self.scheduled = 0
        self.completed = 0

    def take(self, first_event_id: int, last_event_id: int, blob: bytes) -> None:
        self.next_event_id = last_event_id + 1
        if self.completed:
            return
        for event in History.FromString(blob).events:
            if event.event_type == _SCHEDULED and not self.scheduled:
                self.scheduled = event.event_id
            elif event.event_type == _COMPLETED:
                self.completed = event.event_id
                return

    @property
    def event_id(self) -> int:
        return self.completed or (self.scheduled + 1 if self.scheduled else 0)


def point_of(shared: Shared, run: Run, operation: BatchOperationReset) -> tuple[Run, int]:
    """The run to reset and its event. Raises InvalidArgument or NotFound when there is no such point, Needs."""
    target = operation.options.WhichOneof("target")
    if target == "workflow_task_id":
        return run, operation.options.workflow_task_id
    if target == "build_id":
        return _of_build(shared, run, operation.options.build_id, operation.options.current_run_only)
    first = target == "first_workflow_task" or (target is None and operation.reset_type == _FIRST)
    if not first and run.previous_started_event_id:
        # Nothing is written between a task's start and its completion: what comes meanwhile is buffered.
        return run, run.previous_started_event_id + 1
    key = f"{run.run_id} first task"
    found = shared.readings.get(key)
    if not isinstance(found, FirstTask):
        raise NeedsReading(run, FirstTask(), key)
    if not found.event_id:
        raise NotFound("unable to find any scheduled or completed task")
    return run, found.event_id


def _of_build(shared: Shared, run: Run, build_id: str, current_run_only: bool) -> tuple[Run, int]:
    for point in ResetPoints.FromString(run.reset_points).points:
        if point.build_id != build_id:
            continue
        if not point.resettable:
            raise InvalidArgument(f"Reset point for {build_id} is not resettable")
        if point.run_id == run.run_id:
            return run, point.first_workflow_task_completed_id
        if current_run_only:
            raise InvalidArgument(f"Reset point for {build_id} points to previous run and CurrentRunOnly is set")
        earlier: Run | None = shared.execution.runs.get(point.run_id)
        if earlier is None:
            if point.run_id not in shared.readings:
                raise NeedsRun(point.run_id)
            raise NotFound("workflow execution not found")
        return earlier, point.first_workflow_task_completed_id
    raise NotFound(f"Can't find reset point for {build_id}")
