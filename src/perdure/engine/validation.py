"""Requests to start and signal: defaults filled in place, then refused in the reference's order with its texts (engine
1.1).

Every check raises InvalidArgument unless it says otherwise. What commands share with requests is here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Priority, RetryPolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

from perdure.clock import Entropy
from perdure.engine import cron
from perdure.engine.limits import Limits
from perdure.engine.links import validate_links
from perdure.engine.search_attributes import validate_search_attributes
from perdure.engine.times import (
    MAX_DURATION,
    SECOND,
    capped_duration,
    duration_us,
    make_legal,
    set_duration,
    valid_duration,
)
from perdure.engine.versioning import validate_versioning_override
from perdure.enums import TaskQueueKind, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from perdure.errors import InvalidArgument, Unimplemented

__all__ = [
    "clamped_timeouts",
    "fill_and_validate_retry_policy",
    "validate_priority",
    "validate_search_attributes",
    "validate_signal",
    "validate_signal_with_start",
    "validate_start",
    "validate_task_queue",
]

_REUSE = WorkflowIdReusePolicy
_CONFLICT = WorkflowIdConflictPolicy
_TIMEOUT_TYPES: Final = {"StartToClose", "ScheduleToStart", "ScheduleToClose", "Heartbeat"}
_TIMEOUT_PREFIX: Final = "TemporalTimeout:"
_RESERVED_PREFIX: Final = "/_sys/"
_INTERNAL_QUEUE: Final = "temporal-sys-per-ns-tq"
_FAIRNESS_KEY: Final = 64

StartRequest = StartWorkflowExecutionRequest | SignalWithStartWorkflowExecutionRequest


# ---- start
def validate_start(
    request: StartWorkflowExecutionRequest, limits: Limits, types: Mapping[str, int], entropy: Entropy
) -> None:
    """Also raises Unimplemented for what this server does not offer."""
    _default_policies(request, _CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_FAIL)
    if not request.workflow_id:
        raise InvalidArgument("WorkflowId is not set on request.")
    if _long(request.workflow_id, limits):
        raise InvalidArgument("WorkflowId length exceeds limit.")
    _check_schedule(request)
    if not request.workflow_type.name:
        raise InvalidArgument("WorkflowType is not set on request.")
    if _long(request.workflow_type.name, limits):
        raise InvalidArgument("WorkflowType length exceeds limit.")
    _check_queue_and_timeouts(request, limits)
    if not request.request_id:
        request.request_id = entropy.uuid()
    elif _long(request.request_id, limits):
        raise InvalidArgument("RequestId length exceeds limit.")
    _check_policies(request)
    if request.HasField("on_conflict_options"):
        options = request.on_conflict_options
        if options.attach_completion_callbacks and not options.attach_request_id:
            raise InvalidArgument("attaching request ID is required for attaching completion callbacks")
    _check_rest(request, limits, types)
    if request.completion_callbacks:
        raise Unimplemented("Completion callbacks are not supported by this server.")
    _check_blobs(request, limits)


def validate_signal_with_start(
    request: SignalWithStartWorkflowExecutionRequest, limits: Limits, types: Mapping[str, int], entropy: Entropy
) -> None:
    """Also raises Unimplemented for what this server does not offer."""
    if request.workflow_id_conflict_policy == _CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_FAIL:
        raise InvalidArgument(
            "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation."
        )
    _default_policies(request, _CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
    if not request.workflow_id:
        raise InvalidArgument("WorkflowId is not set on request.")
    if _long(request.workflow_id, limits):
        raise InvalidArgument("WorkflowId length exceeds limit.")
    if not request.signal_name:
        raise InvalidArgument("signal not set")
    _check_length(request.signal_name, "signal name", limits)
    if not request.workflow_type.name:
        raise InvalidArgument("workflow type not set")
    _check_length(request.workflow_type.name, "workflow type name", limits)
    if not request.request_id:
        request.request_id = entropy.uuid()
    _check_length(request.request_id, "Request ID", limits)
    _check_schedule(request)
    _check_queue_and_timeouts(request, limits)
    _check_policies(request)
    _check_rest(request, limits, types)
    _check_blobs(request, limits)
    if request.signal_input.ByteSize() > limits.blob_size:
        raise InvalidArgument("Blob data size exceeds limit.")


def validate_signal(request: SignalWorkflowExecutionRequest, limits: Limits) -> None:
    if not request.signal_name:
        raise InvalidArgument("SignalName is not set on request.")
    if _long(request.signal_name, limits):
        raise InvalidArgument("SignalName length exceeds limit.")
    if _long(request.request_id, limits):
        raise InvalidArgument("RequestId length exceeds limit.")
    if _long(request.identity, limits):
        raise InvalidArgument("Identity length exceeds limit.")
    validate_links(request.links, limits)
    if request.input.ByteSize() > limits.blob_size:
        raise InvalidArgument("Blob data size exceeds limit.")


def _default_policies(request: StartRequest, conflict: WorkflowIdConflictPolicy.ValueType) -> None:
    if not request.workflow_id_conflict_policy:
        if request.workflow_id_reuse_policy == _REUSE.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
            request.workflow_id_conflict_policy = _CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
            request.workflow_id_reuse_policy = _REUSE.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
        else:
            request.workflow_id_conflict_policy = conflict
    if not request.workflow_id_reuse_policy:
        request.workflow_id_reuse_policy = _REUSE.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE


def _check_policies(request: StartRequest) -> None:
    if request.workflow_id_reuse_policy == _REUSE.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
        raise InvalidArgument(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together "
            "with a WorkflowIDConflictPolicy"
        )
    if (
        request.workflow_id_reuse_policy == _REUSE.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
        and request.workflow_id_conflict_policy == _CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    ):
        raise InvalidArgument(
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together with "
            "WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING"
        )


def _check_schedule(request: StartRequest) -> None:
    """Retry policy, cron, start delay."""
    if request.HasField("retry_policy"):
        fill_and_validate_retry_policy(request.retry_policy)
    if request.HasField("workflow_start_delay"):
        if request.cron_schedule:
            raise InvalidArgument("CronSchedule and WorkflowStartDelay may not be used together.")
        _check_duration(request.workflow_start_delay, "WorkflowStartDelaySeconds")
    if request.cron_schedule:
        cron.validate(request.cron_schedule)


def _check_queue_and_timeouts(request: StartRequest, limits: Limits) -> None:
    if not request.HasField("task_queue"):
        raise InvalidArgument("taskQueue is not set")
    validate_task_queue(request.task_queue, limits)
    if request.HasField("workflow_execution_timeout"):
        _check_duration(request.workflow_execution_timeout, "WorkflowExecutionTimeoutSeconds")
    if request.HasField("workflow_run_timeout"):
        _check_duration(request.workflow_run_timeout, "WorkflowRunTimeoutSeconds")
    if request.HasField("workflow_task_timeout"):
        _check_duration(request.workflow_task_timeout, "WorkflowTaskTimeoutSeconds")
    if _long(request.identity, limits):
        raise InvalidArgument("Identity length exceeds limit.")


def _check_duration(duration: Duration, name: str) -> None:
    try:
        capped_duration(duration)
    except InvalidArgument as error:
        raise InvalidArgument(f"An invalid {name} is set on request. cause: {error.message}") from error


def _check_rest(request: StartRequest, limits: Limits, types: Mapping[str, int]) -> None:
    if request.HasField("search_attributes"):
        validate_search_attributes(request.search_attributes.indexed_fields, types, limits, namespace=request.namespace)
    if request.HasField("priority"):
        validate_priority(request.priority)
    if request.HasField("versioning_override"):
        validate_versioning_override(request.versioning_override, request.task_queue.name)
    validate_links(request.links, limits)
    if request.HasField("time_skipping_config"):
        raise Unimplemented("The Time-Skipping feature is not enabled for namespace.")


def _check_blobs(request: StartRequest, limits: Limits) -> None:
    if request.input.ByteSize() > limits.blob_size:
        raise InvalidArgument("Blob data size exceeds limit.")
    if request.HasField("memo") and request.memo.ByteSize() > limits.memo_size:
        raise InvalidArgument("Memo size exceeds limit.")


# ---- parts that requests and commands share
def clamped_timeouts(limits: Limits, execution: int, run: int, task: int) -> tuple[int, int, int]:
    """Execution, run and task timeout as they are in force: run at most execution, task defaulted and at most run."""
    execution = min(execution, MAX_DURATION)
    run = min(run, MAX_DURATION)
    if execution:
        run = min(run, execution) if run else execution
    task = min(task or limits.task_timeout_default, limits.task_timeout_max)
    if run:
        task = min(task, run)
    return execution, run, task


def validate_task_queue(queue: TaskQueue, limits: Limits) -> None:
    """Its kind defaults to normal."""
    name = queue.name
    if not name:
        raise InvalidArgument("missing task queue name")
    if _long(name, limits):
        raise InvalidArgument("taskQueue length exceeds limit")
    if name.startswith(_RESERVED_PREFIX):
        raise InvalidArgument(f"task queue name cannot start with reserved prefix {_RESERVED_PREFIX}")
    if name.startswith(_INTERNAL_QUEUE):
        raise InvalidArgument(f"cannot use internal per-namespace task queue:{name}")
    if not queue.kind:
        queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL


def fill_and_validate_retry_policy(policy: RetryPolicy) -> None:
    """Defaults for what is unset (initial interval 1 s, coefficient 2, maximum 100 times the initial one), then the
    rules."""
    initial_interval, maximum_interval = policy.initial_interval, policy.maximum_interval
    if not initial_interval.seconds and not initial_interval.nanos:
        set_duration(initial_interval, SECOND)
    if not policy.backoff_coefficient:
        policy.backoff_coefficient = 2.0
    if not maximum_interval.seconds and not maximum_interval.nanos:
        hundredfold = 100 * duration_us(initial_interval)
        set_duration(maximum_interval, max(-MAX_DURATION, min(hundredfold, MAX_DURATION)))
    if policy.maximum_attempts == 1:  # never retried, so nothing else matters
        if initial_interval.seconds >> 32 or maximum_interval.seconds >> 32:
            make_legal(policy, "initial_interval", "maximum_interval")
        return
    try:
        initial = valid_duration(initial_interval)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid InitialInterval set on retry policy: {error.message}") from error
    if policy.backoff_coefficient < 1:
        raise InvalidArgument("BackoffCoefficient cannot be less than 1 on retry policy.")
    try:
        maximum = valid_duration(maximum_interval)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid MaximumInterval set on retry policy: {error.message}") from error
    if initial == MAX_DURATION or maximum == MAX_DURATION:  # capped also where it is shown
        set_duration(initial_interval, initial)
        set_duration(maximum_interval, maximum)
    if maximum < initial:
        raise InvalidArgument("MaximumInterval cannot be less than InitialInterval on retry policy.")
    if policy.maximum_attempts < 0:
        raise InvalidArgument("MaximumAttempts cannot be negative on retry policy.")
    for name in policy.non_retryable_error_types:
        if name.startswith(_TIMEOUT_PREFIX) and name.removeprefix(_TIMEOUT_PREFIX) not in _TIMEOUT_TYPES:
            raise InvalidArgument(f"Invalid timeout type value: {name.removeprefix(_TIMEOUT_PREFIX)}.")


def _default_retry_policy() -> bytes:
    policy = RetryPolicy()
    fill_and_validate_retry_policy(policy)
    return policy.SerializeToString()


DEFAULT_RETRY_POLICY: Final = _default_retry_policy()
"""Serialised: what is in force when nothing is said."""


def validate_priority(priority: Priority) -> None:
    if priority.priority_key < 0:
        raise InvalidArgument("priority key can't be negative")
    if len(priority.fairness_key.encode()) > _FAIRNESS_KEY:
        raise InvalidArgument("fairness key length exceeds limit")
    if not priority.fairness_weight >= 0:  # no number neither
        raise InvalidArgument("must be greater than zero")


def _long(text: str, limits: Limits) -> bool:
    return len(text) > limits.id_length or (not text.isascii() and len(text.encode()) > limits.id_length)


def _check_length(text: str, what: str, limits: Limits) -> None:
    if _long(text, limits):
        raise InvalidArgument(f"{what} exceeds maximum allowed length ({len(text.encode())}/{limits.id_length})")
