"""Batch operations: one operation on all executions that a filter finds, or on those named (reference: api 9.1).

Source: temporal/api/batch/v1/message.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.batch.v1 import BatchOperationInfo
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
    ListBatchOperationsRequest,
    ListBatchOperationsResponse,
    StartBatchOperationRequest,
    StartBatchOperationResponse,
    StopBatchOperationRequest,
    StopBatchOperationResponse,
)

from perdure.api.answers import committed
from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_run_id, longer_than
from perdure.api.lists import page
from perdure.engine.activity_options import mask_paths
from perdure.engine.batches.jobs import (
    DEFAULT_PER_SECOND,
    STATES,
    Job,
    Target,
    describe_job,
    listed_operation_type,
    start_job,
    stop_job,
)
from perdure.engine.execution import BATCH
from perdure.engine.reapplying import exclusions
from perdure.engine.record import Record
from perdure.engine.resetting import post_reset_options
from perdure.engine.times import set_timestamp, valid_duration
from perdure.engine.turn import Shared
from perdure.engine.workflow_options import option_paths
from perdure.enums import BatchOperationType, ExecutionType, ResetType, name_of
from perdure.errors import InvalidArgument, NotFound, ResourceExhausted
from perdure.runtime.lookups import batch_query
from perdure.visibility.parser import parse
from perdure.visibility.vocabulary import BATCH_JOBS

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_B = BatchOperationType
OPERATIONS: Final[dict[str, int]] = {
    "termination_operation": int(_B.BATCH_OPERATION_TYPE_TERMINATE),
    "signal_operation": int(_B.BATCH_OPERATION_TYPE_SIGNAL),
    "cancellation_operation": int(_B.BATCH_OPERATION_TYPE_CANCEL),
    "deletion_operation": int(_B.BATCH_OPERATION_TYPE_DELETE),
    "reset_operation": int(_B.BATCH_OPERATION_TYPE_RESET),
    "update_workflow_options_operation": int(_B.BATCH_OPERATION_TYPE_UPDATE_EXECUTION_OPTIONS),
    "unpause_activities_operation": int(_B.BATCH_OPERATION_TYPE_UNPAUSE_ACTIVITY),
    "reset_activities_operation": int(_B.BATCH_OPERATION_TYPE_RESET_ACTIVITY),
    "update_activity_options_operation": int(_B.BATCH_OPERATION_TYPE_UPDATE_ACTIVITY_OPTIONS),
    "cancel_activities_operation": int(_B.BATCH_OPERATION_TYPE_CANCEL_ACTIVITY),
    "terminate_activities_operation": int(_B.BATCH_OPERATION_TYPE_TERMINATE_ACTIVITY),
    "delete_activities_operation": int(_B.BATCH_OPERATION_TYPE_DELETE_ACTIVITY),
}
_OFFERED: Final = frozenset(
    {
        "termination_operation",
        "signal_operation",
        "cancellation_operation",
        "deletion_operation",
        "reset_operation",
        "update_workflow_options_operation",
        "unpause_activities_operation",
        "reset_activities_operation",
        "update_activity_options_operation",
    }
)
_CONCURRENT_LIMIT: Final = 2
"""enums.ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT."""
_NO_TYPE: Final = int(ResetType.RESET_TYPE_UNSPECIFIED)
_RESET_TYPES: Final = frozenset(map(int, ResetType.values()))


class BatchHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def StartBatchOperation(self, request: StartBatchOperationRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        _check(request)
        if longer_than(request.job_id, runtime.limits.id_length):
            raise InvalidArgument("JobId length exceeds limit.")
        name = request.WhichOneof("operation") or ""
        operation_type = OPERATIONS[name]
        if request.visibility_query:
            try:
                await batch_query(namespace, request.visibility_query, operation_type)
            except InvalidArgument as error:
                raise InvalidArgument(f"invalid visibility query: {error.message}") from error
        targets = None if request.visibility_query else _targets(request)
        await committed(runtime)
        running = parse("ExecutionStatus = 'Running'", {}, BATCH_JOBS)
        counted = await runtime.store.count_executions(namespace.id, running)
        full = sum(number for _, number in counted) >= runtime.limits.batch_jobs
        job = Job(
            operation=_operation(request),
            operation_type=operation_type,
            identity=getattr(getattr(request, name), "identity", ""),
            reason=request.reason,
            query=request.visibility_query,
            per_second=request.max_operations_per_second or DEFAULT_PER_SECOND,
        )

        def start(shared: Shared, current: Record | None) -> Reply:
            if current is None and full:  # who asks for the same job again hears that it is there
                raise ResourceExhausted("Max concurrent batch operations is reached", _CONCURRENT_LIMIT)
            start_job(shared, current, job.replace(), targets)
            return StartBatchOperationResponse()

        runtime.decide_record(namespace.id, BATCH, request.job_id, "", start, call)
        return PENDING

    def StopBatchOperation(self, request: StopBatchOperationRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if not request.job_id:
            raise InvalidArgument("JobId is not set on request.")
        if not request.reason:
            raise InvalidArgument("Reason is not set on request.")

        def stop(shared: Shared, record: Record | None) -> Reply:
            stop_job(shared, record, request.reason)
            return StopBatchOperationResponse()

        runtime.decide_record(namespace.id, BATCH, request.job_id, "", stop, call)
        return PENDING

    def DescribeBatchOperation(self, request: DescribeBatchOperationRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if not request.job_id:
            raise InvalidArgument("JobId is not set on request.")

        def look(shared: Shared, record: Record | None) -> Reply:
            if record is None:
                raise NotFound(f"workflow not found for ID: {request.job_id}")
            return describe_job(record)

        runtime.decide_record(namespace.id, BATCH, request.job_id, "", look, call)
        return PENDING

    async def ListBatchOperations(self, request: ListBatchOperationsRequest, call: Call) -> Reply:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        rows, token = await page(runtime, namespace, BATCH_JOBS, "", request.page_size, request.next_page_token)
        reply = ListBatchOperationsResponse(next_page_token=token)
        for row in rows:
            info: BatchOperationInfo = reply.operation_info.add()
            info.job_id = row.workflow_id
            info.state = STATES[row.status]
            info.operation_type = listed_operation_type(row.memo)  # type: ignore[assignment] # the number of an enum value
            set_timestamp(info.start_time, row.start_time)
            if row.close_time is not None:
                set_timestamp(info.close_time, row.close_time)
        return reply


def _operation(request: StartBatchOperationRequest) -> bytes:
    """What each target is told: the request without the targets."""
    operation = StartBatchOperationRequest()
    operation.CopyFrom(request)
    operation.ClearField("executions")
    operation.ClearField("target_executions")
    operation.ClearField("visibility_query")
    return operation.SerializeToString(deterministic=True)


# ---- checks
def _check(request: StartBatchOperationRequest) -> None:
    if not request.job_id:
        raise InvalidArgument("JobId is not set on request.")
    forms = (request.visibility_query, request.executions, request.target_executions)
    given = sum(bool(form) for form in forms)
    if given > 1:
        raise InvalidArgument("visibility query, executions, and target executions are mutually exclusive")
    name = request.WhichOneof("operation")
    if name is None or not request.reason or not given:
        raise InvalidArgument("must provide required parameters: BatchType/Reason/Namespace/Query/Executions")
    if name not in _OFFERED:
        raise InvalidArgument(f"The operation type {_B.Name(OPERATIONS[name])} is not supported")  # type: ignore[arg-type] # an enum's number
    if not request.max_operations_per_second >= 0:  # so neither is what is no number
        raise InvalidArgument("MaxOperationsPerSecond must not be negative.")
    operation = getattr(request, name)
    if name == "signal_operation":
        if not operation.signal:
            raise InvalidArgument("must provide signal name")
    elif name == "reset_operation":
        _check_reset(operation)
    elif name == "update_workflow_options_operation":
        if not operation.HasField("workflow_execution_options"):
            raise InvalidArgument("must provide UpdateOptions")
        if not operation.HasField("update_mask"):
            raise InvalidArgument("must provide UpdateMask")
        option_paths(operation.update_mask.paths)
    elif name == "update_activity_options_operation":
        _check_update(operation)
    if name in ("unpause_activities_operation", "reset_activities_operation"):
        _check_activities(operation)
        valid_duration(operation.jitter)


def _check_reset(operation: Any) -> None:
    post_reset_options(operation.post_reset_operations)
    if operation.HasField("options"):
        options = operation.options
        if options.WhichOneof("target") is None:
            raise InvalidArgument("batch reset missing target")
        exclusions(options.reset_reapply_type, options.reset_reapply_exclude_types)
        return
    if operation.reset_type == _NO_TYPE:
        raise InvalidArgument("reset operation is not set")
    if operation.reset_type not in _RESET_TYPES:
        raise InvalidArgument(f"unknown batch reset type {operation.reset_type}")
    exclusions(operation.reset_reapply_type, ())


def _check_activities(operation: Any) -> None:
    how = operation.WhichOneof("activity")
    if how is None:
        raise InvalidArgument("activity filter must be set")
    if (how == "type" and not operation.type) or (how == "match_all" and not operation.match_all):
        raise InvalidArgument("Either activity type must be set, or match all should be set to true")


def _check_update(operation: Any) -> None:
    if operation.restore_original and operation.HasField("activity_options"):
        raise InvalidArgument("cannot set both activity options and restore original")
    if not operation.restore_original:
        if not operation.HasField("activity_options"):
            raise InvalidArgument("ActivityOptions are not provided")
        if not operation.update_mask.paths:
            raise InvalidArgument("UpdateMask is not provided")
        mask_paths(operation.update_mask.paths)
    how = operation.WhichOneof("activity")
    if how is None or (how == "type" and not operation.type) or (how == "match_all" and not operation.match_all):
        raise InvalidArgument("must provide ActivityType or MatchAll")


def _targets(request: StartBatchOperationRequest) -> list[Target]:
    targets = [(execution.workflow_id, execution.run_id) for execution in request.executions]
    for index, target in enumerate(request.target_executions):
        if target.type not in (ExecutionType.EXECUTION_TYPE_UNSPECIFIED, ExecutionType.EXECUTION_TYPE_WORKFLOW):
            raise InvalidArgument(
                f"target_executions[{index}] has type {name_of(ExecutionType, target.type)}, "
                "which is not supported for this operation"
            )
        targets.append((target.business_id, target.run_id))
    for workflow_id, run_id in targets:
        if not workflow_id:
            raise InvalidArgument("WorkflowId is not set on request.")
        check_run_id(run_id)
    return targets
