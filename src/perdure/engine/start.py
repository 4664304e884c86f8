"""Starting runs: by a client, with a signal, or (`create_run` alone) as child, retry, cron or continue-as-new.

Conflict policy alone governs a running workflow of that ID, reuse policy alone a closed one (reference: engine 1.7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import (
    ContinueAsNewInitiator,
    EventType,
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
)
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import SignalWithStartWorkflowExecutionRequest, StartWorkflowExecutionRequest

from perdure.engine import signals
from perdure.engine.apply import is_null
from perdure.engine.closing import terminate
from perdure.engine.cron import next_backoff
from perdure.engine.execution import Current
from perdure.engine.finishing import finish
from perdure.engine.state import RUNNING, Run
from perdure.engine.times import SECOND, duration_us, set_duration, set_timestamp
from perdure.engine.turn import Shared, Turn
from perdure.engine.workflow_tasks import Poller, StartedWorkflowTask, schedule_workflow_task, start_workflow_task
from perdure.errors import FailedPrecondition, WorkflowAlreadyStarted

_STARTED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_OPTIONS_UPDATED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_CRON: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
_MILLISECOND: Final = SECOND // 1000
_REJECT_DUPLICATE: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
_FAILED_ONLY: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
_USE_EXISTING: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
_TERMINATE_EXISTING: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
_SUCCEEDED: Final = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
)

StartRequest = StartWorkflowExecutionRequest | SignalWithStartWorkflowExecutionRequest


@dataclass(slots=True)
class StartOutcome:
    """`link_event_type` is STARTED for the run's start, OPTIONS_UPDATED for a request attached to a running one (the link is
    then by `link_request_id`), SIGNALED for signal-with-start."""

    run: Run | None
    run_id: str
    started: bool
    status: int
    first_run_id: str
    eager: StartedWorkflowTask | None = None
    link_request_id: str = ""
    link_event_type: int = _STARTED


def create_run(
    shared: Shared,
    run_id: str,
    request_id: str,
    fill: Callable[[HistoryEvent], None],
    *,
    schedule_first_task: bool = True,
    awaits_parent: bool = False,
) -> Turn:
    """A new run whose Started event `fill` fills, now the execution's current one. Returns its open turn: the caller goes on
    with it (a signal, say) and must `finish` it.

    The first task is scheduled unless the event says back-off, or the run `awaits_parent`, or the caller does it later.
    """
    execution = shared.execution
    run = Run()
    run.namespace_id = execution.namespace_id
    run.namespace = execution.namespace
    run.workflow_id = execution.execution_id
    run.run_id = run_id
    run.create_request_id = request_id
    run.root_workflow_id = execution.execution_id
    run.root_run_id = run_id
    run.awaits_parent = awaits_parent
    run.changes.started = True
    execution.runs[run_id] = run
    turn = Turn(shared, run)
    event = turn.event(_STARTED)
    fill(event)
    turn.emit(event)
    execution.current = Current(
        run_id=run_id,
        run_no=0,
        status=RUNNING,
        first_run_id=run.first_run_id,
        create_request_id=request_id,
        started_at=run.started_at,
    )
    turn.remember_request(request_id, _STARTED, 1)
    if schedule_first_task:
        schedule_workflow_task(turn)
    return turn
