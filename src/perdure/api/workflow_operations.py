"""What operators do to running workflows: pause, unpause, change their options.

Source: temporal/api/workflowservice/v1/request_response.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.workflowservice.v1 import (
    PauseWorkflowExecutionRequest,
    PauseWorkflowExecutionResponse,
    UnpauseWorkflowExecutionRequest,
    UnpauseWorkflowExecutionResponse,
    UpdateWorkflowExecutionOptionsRequest,
    UpdateWorkflowExecutionOptionsResponse,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_identity, check_run_id, check_workflow_id, longer_than
from perdure.engine.pausing import pause_workflow, unpause_workflow
from perdure.engine.turn import Turn
from perdure.engine.workflow_options import option_paths, update_workflow_options
from perdure.errors import InvalidArgument, Unimplemented

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

PAUSE_ENABLED: Final = "frontend.WorkflowPauseEnabled"
"""Dynamic setting; false as in the reference."""


class WorkflowOperationHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def PauseWorkflowExecution(self, request: PauseWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if not runtime.config.dynamic.bool(PAUSE_ENABLED, False):
            raise Unimplemented(f"workflow pause is not enabled for namespace: {namespace.name}")
        self._check(request)

        def pause(turn: Turn) -> Reply:
            pause_workflow(turn, identity=request.identity, reason=request.reason, request_id=request.request_id)
            return PauseWorkflowExecutionResponse()

        runtime.decide(namespace, request.workflow_id, request.run_id, pause, call)
        return PENDING

    def UnpauseWorkflowExecution(self, request: UnpauseWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        self._check(request)

        def unpause(turn: Turn) -> Reply:
            unpause_workflow(turn, identity=request.identity, reason=request.reason, request_id=request.request_id)
            return UnpauseWorkflowExecutionResponse()

        runtime.decide(namespace, request.workflow_id, request.run_id, unpause, call)
        return PENDING

    def _check(self, request: PauseWorkflowExecutionRequest | UnpauseWorkflowExecutionRequest) -> None:
        check_workflow_id(request.workflow_id)
        check_run_id(request.run_id)
        limit = self._runtime.limits.id_length
        for name, text in (
            ("reason", request.reason),
            ("request id", request.request_id),
            ("identity", request.identity),
        ):
            if longer_than(text, limit):
                raise InvalidArgument(f"{name} is too long.")

    def UpdateWorkflowExecutionOptions(
        self, request: UpdateWorkflowExecutionOptionsRequest, call: Call
    ) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.workflow_execution
        check_workflow_id(execution.workflow_id)
        check_run_id(execution.run_id)
        check_identity(request.identity, runtime.limits)
        if not request.HasField("update_mask"):
            raise InvalidArgument("UpdateMask is required")
        if not request.HasField("workflow_execution_options"):
            raise InvalidArgument("WorkflowExecutionOptions is required")
        paths = option_paths(request.update_mask.paths)

        def update(turn: Turn) -> Reply:
            merged = update_workflow_options(turn, request.workflow_execution_options, paths, identity=request.identity)
            reply = UpdateWorkflowExecutionOptionsResponse()
            reply.workflow_execution_options.CopyFrom(merged)
            return reply

        runtime.decide(namespace, execution.workflow_id, execution.run_id, update, call)
        return PENDING
