"""What a batch job does to one execution, decided there, in one turn with the answer to the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from temporalio.api.workflowservice.v1 import StartBatchOperationRequest

from perdure.engine.activity_operations import Target, reset_activities, unpause_activities
from perdure.engine.activity_options import mask_paths, restore_options, update_options
from perdure.engine.batches.reset_points import point_of
from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.effects import Forget, Send
from perdure.engine.finishing import finish
from perdure.engine.messages import AGAIN, DONE, FAILED, BatchOperation, BatchResult
from perdure.engine.reapplying import exclusions
from perdure.engine.resetting import Reset, post_reset_options, reset_workflow
from perdure.engine.signals import request_cancel, signal_workflow
from perdure.engine.state import Run
from perdure.engine.times import valid_duration
from perdure.engine.turn import Shared, Turn
from perdure.engine.workflow_options import option_paths, update_workflow_options
from perdure.errors import NotFound, PerdureError, ResourceExhausted

BATCHER: Final = "1@perdure@batcher"
"""The identity of what a job does without one of its own, in the form of a worker's."""


def operate(shared: Shared, run: Run | None, message: BatchOperation) -> None:
    """Do it, and tell the job how it went. Raises Needs."""
    request = StartBatchOperationRequest.FromString(message.operation)
    outcome = DONE
    try:
        if run is None:
            raise NotFound("workflow execution not found")
        name = request.WhichOneof("operation") or ""
        operation = getattr(request, name)
        if name == "reset_operation":
            _reset(shared, run, request, message)
        else:
            turn = Turn(shared, run)
            _OPERATIONS[name](turn, operation, request.reason, message)
            if finish(turn) is not None:
                outcome = FAILED
            if name == "deletion_operation":
                shared.effects.append(Forget(run))
    except ResourceExhausted:
        outcome = AGAIN
    except PerdureError:
        outcome = FAILED
    shared.effects.append(
        Send(
            BatchResult(
                to_namespace_id=message.from_namespace_id,
                to_workflow_id=message.from_workflow_id,
                to_run_id=message.from_run_id,
                number=message.number,
                outcome=outcome,
            )
        )
    )


def _request_id(message: BatchOperation) -> str:
    return f"{message.from_run_id}:{message.number}"


def _terminate(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    details = operation.details if operation.HasField("details") else None
    terminate(turn, reason, details, BATCHER)  # not the operator's own identity (recorded: batch_terminate)


def _cancel(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    if not turn.run.running:
        raise NotFound("workflow execution already completed")
    identity = operation.identity or BATCHER
    request_cancel(turn, reason=reason, identity=identity, request_id=_request_id(message))


def _signal(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    signal_workflow(
        turn,
        signal_name=operation.signal,
        input=operation.input if operation.HasField("input") else None,
        header=operation.header if operation.HasField("header") else None,
        identity=operation.identity or BATCHER,
        request_id=_request_id(message),
    )


def _delete(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    if turn.run.running:
        terminate(turn, "Delete workflow execution", None, HISTORY_SERVICE)


def _reset(shared: Shared, run: Run, request: StartBatchOperationRequest, message: BatchOperation) -> None:
    operation = request.reset_operation
    base, finish_event_id = point_of(shared, run, operation)
    options = operation.options
    if operation.HasField("options"):
        excluded = exclusions(options.reset_reapply_type, options.reset_reapply_exclude_types)
    else:
        excluded = exclusions(operation.reset_reapply_type, ())
    after = post_reset_options(operation.post_reset_operations)
    wanted = Reset(
        finish_event_id, _request_id(message), request.reason, excluded, after, operation.identity or BATCHER
    )
    reset_workflow(shared, base, wanted)


def _target(operation: Any) -> Target:
    return Target() if operation.match_all else Target(activity_type=operation.type)


def _unpause_activities(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    unpause_activities(
        turn,
        _target(operation),
        reset_attempts=operation.reset_attempts,
        reset_heartbeat=operation.reset_heartbeat,
        jitter=valid_duration(operation.jitter),
    )


def _reset_activities(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    reset_activities(
        turn,
        _target(operation),
        reset_heartbeat=operation.reset_heartbeat,
        keep_paused=operation.keep_paused,
        jitter=valid_duration(operation.jitter),
        restore_original_options=operation.restore_original_options,
    )


def _update_workflow_options(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    paths = option_paths(operation.update_mask.paths)
    identity = operation.identity or BATCHER
    update_workflow_options(turn, operation.workflow_execution_options, paths, identity=identity)


def _update_activity_options(turn: Turn, operation: Any, reason: str, message: BatchOperation) -> None:
    if operation.restore_original:
        restore_options(turn, _target(operation))
    else:
        paths = mask_paths(operation.update_mask.paths)
        update_options(turn, _target(operation), operation.activity_options, paths)


_OPERATIONS: Final[dict[str, Callable[[Turn, Any, str, BatchOperation], None]]] = {
    "termination_operation": _terminate,
    "cancellation_operation": _cancel,
    "signal_operation": _signal,
    "deletion_operation": _delete,
    "update_workflow_options_operation": _update_workflow_options,
    "unpause_activities_operation": _unpause_activities,
    "reset_activities_operation": _reset_activities,
    "update_activity_options_operation": _update_activity_options,
}
