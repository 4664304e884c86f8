"""What operators do to activities: pause, unpause, reset, change their options.

Each comes twice: the older RPCs name activities of a workflow by ID or type, the newer ones one activity by its ID.
Source: temporal/api/workflowservice/v1/request_response.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.workflowservice.v1 import (
    PauseActivityExecutionRequest,
    PauseActivityExecutionResponse,
    PauseActivityRequest,
    PauseActivityResponse,
    ResetActivityExecutionRequest,
    ResetActivityExecutionResponse,
    ResetActivityRequest,
    ResetActivityResponse,
    UnpauseActivityExecutionRequest,
    UnpauseActivityExecutionResponse,
    UnpauseActivityRequest,
    UnpauseActivityResponse,
    UpdateActivityExecutionOptionsRequest,
    UpdateActivityExecutionOptionsResponse,
    UpdateActivityOptionsRequest,
    UpdateActivityOptionsResponse,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_identity, check_run_id, check_workflow_id, longer_than
from perdure.api.standalone_answers import check_activity_run_id, found
from perdure.engine.activity_operations import Target, pause_activities, reset_activities, unpause_activities
from perdure.engine.activity_options import PATHS, STANDALONE_PATHS, mask_paths, restore_options, update_options
from perdure.engine.execution import ACTIVITY
from perdure.engine.record import Record
from perdure.engine.standalone import operating
from perdure.engine.standalone.state import ActivityTurn
from perdure.engine.times import valid_duration
from perdure.engine.turn import Shared, Turn
from perdure.errors import InvalidArgument, Unimplemented
from perdure.runtime.namespaces import Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

STANDALONE_COMMANDS: Final = "activity.operatorCommandsEnabled"
"""Dynamic setting: whether standalone activities take these commands too; false as in the reference."""

Operation = PauseActivityRequest | UnpauseActivityRequest | ResetActivityRequest | UpdateActivityOptionsRequest
OneOperation = (
    PauseActivityExecutionRequest
    | UnpauseActivityExecutionRequest
    | ResetActivityExecutionRequest
    | UpdateActivityExecutionOptionsRequest
)


class ActivityOperationHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    # ---- by ID or type
    def PauseActivity(self, request: PauseActivityRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        target = _target(request)
        self._check_texts(request)

        def pause(turn: Turn) -> Reply:
            pause_activities(
                turn, target, identity=request.identity, reason=request.reason, request_id=request.request_id
            )
            return PauseActivityResponse()

        return self._decide(namespace, request, call, pause)

    def UnpauseActivity(self, request: UnpauseActivityRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        target = _target(request)
        jitter = _jitter(request.jitter)

        def unpause(turn: Turn) -> Reply:
            unpause_activities(
                turn,
                target,
                reset_attempts=request.reset_attempts,
                reset_heartbeat=request.reset_heartbeat,
                jitter=jitter,
            )
            return UnpauseActivityResponse()

        return self._decide(namespace, request, call, unpause)

    def ResetActivity(self, request: ResetActivityRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        target = _target(request)
        jitter = _jitter(request.jitter)

        def reset(turn: Turn) -> Reply:
            reset_activities(
                turn,
                target,
                reset_heartbeat=request.reset_heartbeat,
                keep_paused=request.keep_paused,
                jitter=jitter,
                restore_original_options=request.restore_original_options,
            )
            return ResetActivityResponse()

        return self._decide(namespace, request, call, reset)

    def UpdateActivityOptions(self, request: UpdateActivityOptionsRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        target = _target(request)
        paths = _paths(request)

        def update(turn: Turn) -> Reply:
            reply = UpdateActivityOptionsResponse()
            reply.activity_options.CopyFrom(_changed(turn, target, request.activity_options, paths))
            return reply

        return self._decide(namespace, request, call, update)

    # ---- one activity
    def PauseActivityExecution(self, request: PauseActivityExecutionRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        self._check_texts(request)

        def pause_standalone(turn: ActivityTurn) -> Reply:
            operating.pause(turn, request_id=request.request_id, identity=request.identity, reason=request.reason)
            return PauseActivityExecutionResponse()

        def pause(turn: Turn) -> Reply:
            pause_activities(
                turn,
                Target(request.activity_id),
                identity=request.identity,
                reason=request.reason,
                request_id=request.request_id,
            )
            return PauseActivityExecutionResponse()

        return self._decide_one(namespace, request, call, pause, pause_standalone)

    def UnpauseActivityExecution(self, request: UnpauseActivityExecutionRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        jitter = _jitter(request.jitter)

        def unpause(turn: Turn) -> Reply:
            unpause_activities(turn, Target(request.activity_id), jitter=jitter)
            return UnpauseActivityExecutionResponse()

        def unpause_standalone(turn: ActivityTurn) -> Reply:
            operating.unpause(turn, request_id=request.request_id, jitter=jitter)
            return UnpauseActivityExecutionResponse()

        return self._decide_one(namespace, request, call, unpause, unpause_standalone)

    def ResetActivityExecution(self, request: ResetActivityExecutionRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        jitter = _jitter(request.jitter)

        def reset(turn: Turn) -> Reply:
            reset_activities(
                turn,
                Target(request.activity_id),
                reset_heartbeat=request.reset_heartbeat,
                keep_paused=request.keep_paused,
                jitter=jitter,
                restore_original_options=request.restore_original_options,
            )
            return ResetActivityExecutionResponse()

        def reset_standalone(turn: ActivityTurn) -> Reply:
            operating.reset(
                turn,
                request_id=request.request_id,
                reset_heartbeat=request.reset_heartbeat,
                keep_paused=request.keep_paused,
                jitter=jitter,
                restore_original_options=request.restore_original_options,
            )
            return ResetActivityExecutionResponse()

        return self._decide_one(namespace, request, call, reset, reset_standalone)

    def UpdateActivityExecutionOptions(
        self, request: UpdateActivityExecutionOptionsRequest, call: Call
    ) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        paths = _paths(request, PATHS if request.workflow_id else STANDALONE_PATHS)

        def update(turn: Turn) -> Reply:
            reply = UpdateActivityExecutionOptionsResponse()
            options = _changed(turn, Target(request.activity_id), request.activity_options, paths)
            reply.activity_options.CopyFrom(options)
            return reply

        def update_standalone(turn: ActivityTurn) -> Reply:
            reply = UpdateActivityExecutionOptionsResponse()
            options = operating.update_options(
                turn, request_id=request.request_id, wanted=request.activity_options, paths=paths
            )
            reply.activity_options.CopyFrom(options)
            return reply

        return self._decide_one(namespace, request, call, update, update_standalone)

    # ----
    def _check_texts(self, request: PauseActivityRequest | PauseActivityExecutionRequest) -> None:
        limit = self._runtime.limits.id_length
        if longer_than(request.reason, limit):
            raise InvalidArgument("reason is too long.")
        if longer_than(request.request_id, limit):
            raise InvalidArgument("request id is too long.")

    def _decide(self, namespace: Namespace, request: Operation, call: Call, decide: Callable[[Turn], Reply]) -> Pending:
        runtime = self._runtime
        check_run_id(request.execution.run_id)
        check_identity(request.identity, runtime.limits)
        runtime.decide(namespace, request.execution.workflow_id, request.execution.run_id, decide, call)
        return PENDING

    def _decide_one(
        self,
        namespace: Namespace,
        request: OneOperation,
        call: Call,
        decide: Callable[[Turn], Reply],
        decide_standalone: Callable[[ActivityTurn], Reply],
    ) -> Pending:
        runtime = self._runtime
        if not request.workflow_id and not runtime.config.dynamic.bool(STANDALONE_COMMANDS, False):
            raise Unimplemented("Standalone activity operator commands are disabled")
        if not request.activity_id:
            raise InvalidArgument("activity ID is required")
        check_identity(request.identity, runtime.limits)
        if request.workflow_id:
            check_run_id(request.run_id)
            runtime.decide(namespace, request.workflow_id, request.run_id, decide, call)
            return PENDING
        check_activity_run_id(request.run_id)

        def on_record(shared: Shared, record: Record | None) -> Reply:
            return decide_standalone(ActivityTurn(shared, found(record, request)))

        runtime.decide_record(namespace.id, ACTIVITY, request.activity_id, request.run_id, on_record, call)
        return PENDING


def _target(request: Operation) -> Target:
    check_workflow_id(request.execution.workflow_id)
    how = request.WhichOneof("activity")
    if how == "id" and request.id:
        return Target(activity_id=request.id)
    if how == "type" and request.type:
        return Target(activity_type=request.type)
    if how in ("unpause_all", "match_all"):
        return Target()
    raise InvalidArgument("Either Activity.Id or Activity.Type should be set on request.")


def _jitter(jitter: Duration) -> int:
    try:
        return valid_duration(jitter)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid Jitter: {error.message}") from error


def _paths(
    request: UpdateActivityOptionsRequest | UpdateActivityExecutionOptionsRequest, known: frozenset[str] = PATHS
) -> list[str] | None:
    """None: the original options are wanted back."""
    if request.restore_original:
        if request.update_mask.paths:
            raise InvalidArgument("Both UpdateMask and RestoreOriginal are provided")
        return None
    if not request.HasField("activity_options"):
        raise InvalidArgument("ActivityOptions are not provided")
    if not request.HasField("update_mask"):
        raise InvalidArgument("UpdateMask is not provided")
    if not request.update_mask.paths:
        raise InvalidArgument("UpdateMask must specify at least one path")
    return mask_paths(request.update_mask.paths, known)


def _changed(turn: Turn, target: Target, options: ActivityOptions, paths: list[str] | None) -> ActivityOptions:
    return restore_options(turn, target) if paths is None else update_options(turn, target, options, paths)
