"""Workflow updates: send one, wait for one, and start a workflow with one.

Source: temporal/api/workflowservice/v1/request_response.proto, temporal/api/update/v1/message.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.update.v1 import Request, UpdateRef
from temporalio.api.workflowservice.v1 import (
    ExecuteMultiOperationRequest,
    ExecuteMultiOperationResponse,
    PollWorkflowExecutionUpdateRequest,
    PollWorkflowExecutionUpdateResponse,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
    UpdateWorkflowExecutionResponse,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_execution, longer_than
from perdure.api.workflows import start_reply
from perdure.engine.effects import UpdateProgress
from perdure.engine.execution import WORKFLOW
from perdure.engine.links import validate_links
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.engine.update_with_start import StartedWithUpdate, update_with_start
from perdure.engine.updates import ADMITTED, COMPLETED, admit, look_up
from perdure.engine.validation import validate_start
from perdure.errors import (
    InvalidArgument,
    MultiOperationFailed,
    OperationAborted,
    PerdureError,
    PermissionDenied,
    Unimplemented,
)
from perdure.runtime.namespaces import Namespace
from perdure.runtime.updates import AwaitedUpdate, UpdateWithStart

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_START_AND_UPDATE: Final = ["start_workflow", "update_workflow"]


class UpdateHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def UpdateWorkflowExecution(self, request: UpdateWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        stage = self._check(request)
        workflow_id = request.workflow_execution.workflow_id
        update = request.request
        first_run_id = request.first_execution_run_id

        def ask(turn: Turn) -> tuple[str, UpdateProgress]:
            return turn.run.run_id, admit(turn, update, first_run_id)

        def reply(run_id: str, progress: UpdateProgress) -> Reply:
            return _update_reply(workflow_id, run_id, update.meta.update_id, progress)

        runtime.enter(
            AwaitedUpdate(
                runtime,
                (namespace.id, WORKFLOW, workflow_id),
                request.workflow_execution.run_id,
                update.meta.update_id,
                stage,
                call,
                ask,
                reply,
            )
        )
        return PENDING

    def PollWorkflowExecutionUpdate(self, request: PollWorkflowExecutionUpdateRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if not request.HasField("update_ref"):
            raise InvalidArgument("UpdateRef is not set on request.")
        ref = request.update_ref
        execution = ref.workflow_execution
        check_execution(execution, ref.HasField("workflow_execution"))
        update_id = ref.update_id

        def ask(turn: Turn) -> tuple[str, UpdateProgress]:
            return turn.run.run_id, look_up(turn, update_id)

        def reply(run_id: str, progress: UpdateProgress) -> Reply:
            response = PollWorkflowExecutionUpdateResponse()
            _fill(response, execution.workflow_id, run_id, update_id, progress)
            return response

        runtime.enter(
            AwaitedUpdate(
                runtime,
                (namespace.id, WORKFLOW, execution.workflow_id),
                execution.run_id,
                update_id,
                request.wait_policy.lifecycle_stage,
                call,
                ask,
                reply,
            )
        )
        return PENDING

    def ExecuteMultiOperation(self, request: ExecuteMultiOperationRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if [operation.WhichOneof("operation") for operation in request.operations] != _START_AND_UPDATE:
            raise InvalidArgument("Operations have to be exactly [Start, Update].")
        start = request.operations[0].start_workflow
        update = request.operations[1].update_workflow
        errors = [self._check_start(start, namespace), self._check_update(update, start, namespace)]
        if any(errors):
            raise MultiOperationFailed([error or OperationAborted() for error in errors])
        workflow_id = start.workflow_id
        update_id = update.request.meta.update_id

        def ask(shared: Shared, current: Run | None) -> StartedWithUpdate:
            return update_with_start(shared, current, start, update.request)

        def reply(started: StartedWithUpdate, progress: UpdateProgress) -> Reply:
            response = ExecuteMultiOperationResponse()
            answer = start_reply(started.start, namespace, start)
            answer.status = started.run.status  # type: ignore[assignment]  # the number of an enum value
            if started.attached and answer.link.workflow_event.HasField("event_ref"):
                answer.link.workflow_event.namespace = ""  # recorded: update_with_start
            response.responses.add().start_workflow.CopyFrom(answer)
            response.responses.add().update_workflow.CopyFrom(
                _update_reply(workflow_id, started.run.run_id, update_id, progress)
            )
            return response

        runtime.enter(
            UpdateWithStart(
                runtime,
                (namespace.id, WORKFLOW, workflow_id),
                update_id,
                _stage(update),
                call,
                ask,
                reply,
            )
        )
        return PENDING

    # ---- checks
    def _check(self, request: UpdateWorkflowExecutionRequest) -> int:
        """The stage to wait for. Fills the update's ID in."""
        runtime = self._runtime
        limits = runtime.limits
        check_execution(request.workflow_execution, request.HasField("workflow_execution"))
        update = request.request
        if not update.HasField("meta"):
            raise InvalidArgument("Update meta is not set on request.")
        if longer_than(update.meta.update_id, limits.id_length):
            raise InvalidArgument("UpdateId length exceeds limit.")
        if not update.meta.update_id:
            update.meta.update_id = runtime.entropy.uuid()
        if not update.HasField("input"):
            raise InvalidArgument("Update input is not set on request.")
        if not update.input.name:
            raise InvalidArgument("Update name is not set on request.")
        stage = _stage(request)
        if stage == ADMITTED:
            raise PermissionDenied(
                "UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported."
            )
        _check_callbacks(update)
        validate_links(update.links, limits)
        if update.input.args.ByteSize() > limits.blob_size:
            raise InvalidArgument("Blob data size exceeds limit.")
        return stage

    def _check_start(self, request: StartWorkflowExecutionRequest, namespace: Namespace) -> PerdureError | None:
        try:
            _check_namespace(request.namespace, namespace)
            if request.cron_schedule:
                raise InvalidArgument("CronSchedule is not allowed.")
            if request.request_eager_execution:
                raise InvalidArgument("RequestEagerExecution is not supported.")
            if request.HasField("workflow_start_delay"):
                raise InvalidArgument("WorkflowStartDelay is not supported.")
            runtime = self._runtime
            validate_start(request, runtime.limits, namespace.search_attributes, runtime.entropy)
        except PerdureError as error:
            return error
        return None

    def _check_update(
        self, request: UpdateWorkflowExecutionRequest, start: StartWorkflowExecutionRequest, namespace: Namespace
    ) -> PerdureError | None:
        try:
            _check_namespace(request.namespace, namespace)
            if request.first_execution_run_id:
                raise InvalidArgument("FirstExecutionRunId is not allowed.")
            if request.workflow_execution.run_id:
                raise InvalidArgument("RunId is not allowed.")
            if request.workflow_execution.workflow_id != start.workflow_id:
                raise InvalidArgument("WorkflowId is not consistent with previous operation(s).")
            self._check(request)
        except PerdureError as error:
            return error
        return None


def _check_namespace(name: str, namespace: Namespace) -> None:
    if name and name != namespace.name:
        raise InvalidArgument("Operation namespace did not match request's namespace.")


def _check_callbacks(update: Request) -> None:
    if update.completion_callbacks:
        if not update.request_id:
            raise InvalidArgument("invalid *update.Request: request_id is required when completion_callbacks are set")
        raise Unimplemented("completion callbacks of updates are not supported")


def _stage(request: UpdateWorkflowExecutionRequest) -> int:
    return request.wait_policy.lifecycle_stage or COMPLETED


def _update_reply(
    workflow_id: str, run_id: str, update_id: str, progress: UpdateProgress
) -> UpdateWorkflowExecutionResponse:
    response = UpdateWorkflowExecutionResponse()
    _fill(response, workflow_id, run_id, update_id, progress)
    return response


def _fill(
    response: UpdateWorkflowExecutionResponse | PollWorkflowExecutionUpdateResponse,
    workflow_id: str,
    run_id: str,
    update_id: str,
    progress: UpdateProgress,
) -> None:
    ref: UpdateRef = response.update_ref
    ref.workflow_execution.workflow_id = workflow_id
    ref.workflow_execution.run_id = run_id
    ref.update_id = update_id
    response.stage = progress.stage  # type: ignore[assignment]  # the number of an enum value
    if progress.stage == COMPLETED:
        response.outcome.SetInParent()
        response.outcome.MergeFromString(progress.outcome)
