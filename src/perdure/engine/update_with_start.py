"""Update-with-start: an update for the workflow of that ID, which is started for it if it is not there.

One turn: the update is admitted before the first workflow task of a new run can start, so that it rides on that task
(reference: advanced 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.update.v1 import Request
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.engine.effects import UpdateProgress
from perdure.engine.finishing import finish
from perdure.engine.start import StartOutcome, existing, start_workflow
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.engine.updates import admit, check_admission, progress_of
from perdure.enums import WorkflowIdConflictPolicy
from perdure.errors import MultiOperationFailed, OperationAborted, PerdureError

_USE_EXISTING = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING


@dataclass(slots=True)
class StartedWithUpdate:
    """`attached`: the update went to a run that was there."""

    start: StartOutcome
    run: Run
    progress: UpdateProgress
    attached: bool


def update_with_start(
    shared: Shared, current: Run | None, start: StartWorkflowExecutionRequest, update: Request
) -> StartedWithUpdate:
    """Both requests validated. Raises MultiOperationFailed, having changed nothing; Needs."""
    if current is not None:
        turn = Turn(shared, current)
        update_id = update.meta.update_id
        known = current.updates.get(update_id)
        if known is not None and known.completed_event_id:
            progress = progress_of(turn, update_id)
            assert progress is not None
            return StartedWithUpdate(existing(current), current, progress, True)
        if current.running and (
            start.request_id in (current.create_request_id, current.chain_request_id)
            or progress_of(turn, update_id) is not None
        ):
            return _attach(turn, existing(current), update)
        if current.running and start.workflow_id_conflict_policy == _USE_EXISTING:
            try:
                check_admission(turn, update)
            except PerdureError as error:
                raise MultiOperationFailed([OperationAborted(), error]) from error
            outcome = start_workflow(shared, current, start)
            return _attach(turn, outcome, update)
    try:
        outcome = start_workflow(shared, current, start)
    except PerdureError as error:
        raise MultiOperationFailed([error, OperationAborted()]) from error
    run = outcome.run
    assert run is not None
    turn = Turn(shared, run)
    try:
        progress = admit(turn, update)
    except PerdureError as error:  # of a run that this very request started earlier
        raise MultiOperationFailed([None, error]) from error
    finish(turn)
    return StartedWithUpdate(outcome, run, progress, False)


def _attach(turn: Turn, outcome: StartOutcome, update: Request) -> StartedWithUpdate:
    try:
        progress = admit(turn, update)
    except PerdureError as error:
        raise MultiOperationFailed([OperationAborted(), error]) from error
    finish(turn)
    return StartedWithUpdate(outcome, turn.run, progress, True)
