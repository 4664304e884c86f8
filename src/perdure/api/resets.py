"""ResetWorkflowExecution (reference: api 9.4, engine 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest, ResetWorkflowExecutionResponse

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_execution, longer_than
from perdure.engine.limits import Limits
from perdure.engine.reapplying import exclusions
from perdure.engine.resetting import Reset, post_reset_options, reset_workflow
from perdure.engine.state import Run
from perdure.engine.turn import Shared
from perdure.errors import InvalidArgument
from perdure.runtime.decisions import missing_run

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


class ResetHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def ResetWorkflowExecution(self, request: ResetWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.workflow_execution
        check_execution(execution, request.HasField("workflow_execution"))
        wanted = validated_reset(request, runtime.limits)

        def reset(shared: Shared, base: Run | None) -> Reply:
            if base is None:
                raise missing_run(execution.workflow_id, execution.run_id)
            reply = ResetWorkflowExecutionResponse()
            reply.run_id = reset_workflow(shared, base, wanted)
            return reply

        runtime.start_run(namespace, execution.workflow_id, reset, call, run_id=execution.run_id)
        return PENDING


def validated_reset(request: ResetWorkflowExecutionRequest, limits: Limits) -> Reset:
    if not request.request_id:
        raise InvalidArgument("RequestId is not set on request.")
    if longer_than(request.request_id, limits.id_length):
        raise InvalidArgument("RequestId length exceeds limit.")
    return Reset(
        finish_event_id=request.workflow_task_finish_event_id,
        request_id=request.request_id,
        reason=request.reason,
        excluded=exclusions(request.reset_reapply_type, request.reset_reapply_exclude_types),
        options=post_reset_options(request.post_reset_operations),
        identity=request.identity,
    )
