"""Workflow updates: requests that a workflow accepts or rejects, carries out, and answers.

An update is *admitted* (held in memory, given to a worker with the next workflow task), then *accepted* or rejected,
then *completed*. Nothing is written for an admitted or rejected one, so that a workflow's history does not grow by what
it turns away. Accepted ones are in the history and in `run.updates`; their outcomes stay in their events. Who waits for
an update hears of it by the effect UpdatesMoved. Source of rules and texts: reference advanced 1.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.api.update.v1 import Outcome, Request

from perdure.engine.effects import UpdateAdmitted, UpdateProgress
from perdure.engine.items import AdmittedUpdate, Update
from perdure.engine.speculative import schedule_speculative
from perdure.engine.state import Run
from perdure.engine.turn import Turn
from perdure.enums import (
    EventType,
    ResourceExhaustedCause,
    UpdateAdmittedEventOrigin,
    UpdateWorkflowExecutionLifecycleStage,
)
from perdure.errors import (
    FailedPrecondition,
    NotFound,
    PerdureError,
    ResourceExhausted,
    WorkflowNotReady,
)

_S = UpdateWorkflowExecutionLifecycleStage
ADMITTED: Final = int(_S.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED)
ACCEPTED: Final = int(_S.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED)
COMPLETED: Final = int(_S.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED)
_BUSY: Final = int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)
_CONCURRENT: Final = int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT)
_ADMITTED_EVENT: Final = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED
_REAPPLY: Final = UpdateAdmittedEventOrigin.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY
_CLOSING: Final = "workflow operation can not be applied because workflow is closing"
ABORTED_BY_CLOSE: Final = "workflow update was aborted by closing workflow"

_IS_ADMITTED = UpdateProgress(ADMITTED)
IS_ACCEPTED: Final = UpdateProgress(ACCEPTED)


# ---- where an update stands
def progress_of(turn: Turn, update_id: str) -> UpdateProgress | None:
    """None: the run does not know it. Raises Needs (the outcome is in its event)."""
    run = turn.run
    if update_id in run.admitted:
        return _IS_ADMITTED
    update = run.updates.get(update_id)
    if update is None:
        return None
    if update.completed_event_id:
        event = turn.stored_event(update.completed_event_id)
        outcome = event.workflow_execution_update_completed_event_attributes.outcome
        return UpdateProgress(COMPLETED, outcome.SerializeToString(deterministic=True))
    if update.accepted_event_id:
        return IS_ACCEPTED if run.running else UpdateProgress(COMPLETED, _unfinished())
    return _IS_ADMITTED if run.running else None


def look_up(turn: Turn, update_id: str) -> UpdateProgress:
    """For PollWorkflowExecutionUpdate. Raises NotFound; Needs."""
    progress = progress_of(turn, update_id)
    if progress is None:
        raise NotFound(f'update "{update_id}" not found')
    return progress


# ---- coming in
def admit(turn: Turn, request: Request, first_execution_run_id: str = "") -> UpdateProgress:
    """UpdateWorkflowExecution, validated, with an update ID. A known ID is answered with what became of it, whatever
    else the request says.

    Raises NotFound (closed, or not of the chain asked for), WorkflowNotReady, ResourceExhausted, FailedPrecondition
    (limits); Needs.
    """
    run = turn.run
    if first_execution_run_id and first_execution_run_id != run.first_run_id:
        raise NotFound("workflow execution not found")
    update_id = request.meta.update_id
    known = check_admission(turn, request)
    if known is not None:
        return known
    body = request.SerializeToString(deterministic=True)
    run.admitted = {**run.admitted, update_id: AdmittedUpdate(update_id, body)}
    turn.effect(UpdateAdmitted(run, update_id))
    schedule_speculative(turn)
    return _IS_ADMITTED


def check_admission(turn: Turn, request: Request) -> UpdateProgress | None:
    """What `admit` would say, without admitting: where the update stands if the run knows it. Raises as `admit`."""
    run = turn.run
    update_id = request.meta.update_id
    if not run.running:
        known = progress_of(turn, update_id)
        if known is None:
            raise NotFound("workflow execution already completed")
        return known
    if run.paused:
        raise FailedPrecondition("Workflow is paused. Cannot update the workflow.")
    task = run.workflow_task
    if task is not None and task.attempt >= 3:
        raise WorkflowNotReady("Unable to perform workflow execution update due to Workflow Task in failed state.")
    if task is not None and task.started_event_id and task.force_closing:
        raise ResourceExhausted(_CLOSING, _BUSY)
    known = progress_of(turn, update_id)
    if known is None:
        _check_limits(turn, request.ByteSize())
    return known


def in_flight(run: Run) -> int:
    """Admitted, or accepted and not completed."""
    return len(run.admitted) + sum(not update.completed_event_id for update in run.updates.values())


def _check_limits(turn: Turn, size: int) -> None:
    run = turn.run
    limits = turn.limits
    if limits.updates_in_flight and in_flight(run) >= limits.updates_in_flight:
        raise ResourceExhausted(
            f"limit on number of concurrent in-flight updates has been reached ({limits.updates_in_flight})",
            _CONCURRENT,
        )
    held = sum(len(update.request) for update in run.admitted.values())
    if limits.update_bytes_in_flight and held + size > limits.update_bytes_in_flight:
        raise ResourceExhausted(
            f"limit on total payload size of in-flight updates has been reached ({limits.update_bytes_in_flight} "
            "bytes)",
            _CONCURRENT,
        )
    check_total(turn)


def check_total(turn: Turn) -> None:
    """Raises FailedPrecondition when the run has had all the updates it may have."""
    limit = turn.limits.updates_per_run
    if limit and total(turn.run) >= limit:
        raise FailedPrecondition(
            f"The limit on the total number of distinct updates in this workflow has been reached ({limit}). Make sure "
            "any duplicate updates share an Update ID so the server can deduplicate them, and consider rejecting "
            "updates that you aren't going to process. You can also Continue-as-New to avoid this; we recommend you "
            "check Continue-as-New Suggested in your Workflow."
        )


def total(run: Run) -> int:
    return len(run.admitted) + len(run.updates)


# ---- what becomes of those on their way
def drop_admitted(turn: Turn, update_id: str, progress: UpdateProgress) -> None:
    """An admitted update ends (or is accepted): it is not held any more."""
    run = turn.run
    run.admitted = {key: update for key, update in run.admitted.items() if key != update_id}
    turn.update_moved(update_id, progress)


def reject_unanswered(turn: Turn) -> None:
    """A worker ended the task that carried updates without a word about them: it does not know what they are."""
    for update in list(turn.run.admitted.values()):
        if update.sent:
            drop_admitted(turn, update.update_id, UpdateProgress(COMPLETED, _unprocessed()))


def fail_sent(turn: Turn) -> None:
    """The completion that should have answered them could not be taken: their callers hear of it; those that no worker
    has seen ride on the next task."""
    for update in list(turn.run.admitted.values()):
        if update.sent:
            error = WorkflowNotReady(
                "Unable to perform workflow execution update due to unexpected workflow task failure."
            )
            drop_admitted(turn, update.update_id, UpdateProgress(error=error))


def send_again(run: Run) -> None:
    """The task that carried them failed or timed out: the next one carries them."""
    if run.admitted:
        run.admitted = {key: AdmittedUpdate(key, update.request) for key, update in run.admitted.items()}


def has_unsent(run: Run) -> bool:
    return any(not update.sent for update in run.admitted.values())


def abort_all(turn: Turn) -> None:
    """The run closed. What was accepted is answered with a failure, now and whenever somebody asks; what was not is for
    the next run, if there is one, and else nobody's."""
    run = turn.run
    waiting = list(run.admitted)
    if run.updates:
        for update in run.updates.values():
            if update.completed_event_id:
                continue
            if update.accepted_event_id:
                turn.update_moved(update.update_id, UpdateProgress(COMPLETED, _unfinished()))
            else:
                waiting.append(update.update_id)
    if not waiting:
        return
    run.admitted = {}
    error: PerdureError = ResourceExhausted(_CLOSING, _BUSY) if run.successor_run_id else NotFound(ABORTED_BY_CLOSE)
    for update_id in waiting:
        turn.update_moved(update_id, UpdateProgress(error=error))


# ---- after a reset
def reapply_update(turn: Turn, request: Request) -> None:
    """Bring an update of the base run to the run that a reset made: as an event, by which the worker hears of it.

    For each UpdateAdmitted event after the reset point, and each UpdateAccepted with an `accepted_request`, in their
    order among the other reapplied events (reference advanced 1.11). The turn's caller schedules the workflow task. An
    ID that the run knows already is left alone; no limit applies.
    """
    if request.meta.update_id in turn.run.updates:
        return
    event = turn.event(_ADMITTED_EVENT)
    attributes = event.workflow_execution_update_admitted_event_attributes
    attributes.request.CopyFrom(request)
    attributes.origin = _REAPPLY
    turn.emit(event)


# ---- the server's own outcomes
@cache
def _unfinished() -> bytes:
    return _failed(
        "AcceptedUpdateCompletedWorkflow",
        "Workflow Update failed because the Workflow completed before the Update completed.",
    )


@cache
def _unprocessed() -> bytes:
    return _failed(
        "UnprocessedUpdate",
        "Workflow Update is rejected because it wasn't processed by worker. Probably, Workflow Update is not supported "
        "by the worker.",
    )


def _failed(failure_type: str, message: str) -> bytes:
    failure = Failure()
    failure.message = message
    failure.source = "Server"
    failure.application_failure_info.type = failure_type
    failure.application_failure_info.non_retryable = True
    outcome = Outcome()
    outcome.failure.CopyFrom(failure)
    return outcome.SerializeToString(deterministic=True)


def accepted_now(run: Run, update_id: str) -> Update | None:
    """The update if the run accepted it and has not completed it."""
    update = run.updates.get(update_id)
    return update if update is not None and update.accepted_event_id and not update.completed_event_id else None
