"""What is told of a standalone activity (reference: advanced 7.3)."""

from __future__ import annotations

from temporalio.api.activity.v1 import ActivityExecutionInfo, ActivityExecutionOutcome
from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.workflowservice.v1 import (
    DescribeActivityExecutionRequest,
    DescribeActivityExecutionResponse,
    PollActivityExecutionResponse,
    PollActivityTaskQueueResponse,
)

from perdure.engine.failures import next_delay
from perdure.engine.items import Activity
from perdure.engine.record import Record
from perdure.engine.standalone.state import ABOUT, OUTCOME, PAUSED, START, ActivityExecution, item
from perdure.engine.times import later, set_duration, set_timestamp
from perdure.enums import ActivityExecutionStatus, PendingActivityState

_P = PendingActivityState


def describe(record: Record, request: DescribeActivityExecutionRequest, now: int) -> DescribeActivityExecutionResponse:
    """All but the long poll's token."""
    response = DescribeActivityExecutionResponse()
    response.run_id = record.run_id
    answer = PollActivityTaskQueueResponse.FromString(item(record, START))
    _fill(record, response.info, answer, request, now)
    if request.include_input and answer.HasField("input"):
        response.input.CopyFrom(answer.input)
    if request.include_outcome and not record.running:
        response.outcome.CopyFrom(_outcome(record))
    return response


def outcome_of(record: Record) -> PollActivityExecutionResponse:
    """Of a closed one."""
    response = PollActivityExecutionResponse()
    response.run_id = record.run_id
    response.outcome.CopyFrom(_outcome(record))
    return response


def shown_status(record: Record) -> int:
    """A number of ActivityExecutionStatus: an open one is shown as paused while no worker holds it."""
    state: ActivityExecution = record.state
    attempt = state.attempt
    return PAUSED if record.running and attempt.paused and not attempt.started_at else record.status


def status_name(record: Record) -> str:
    """As filters spell it: `TimedOut`."""
    name = ActivityExecutionStatus.Name(shown_status(record))  # type: ignore[arg-type] # an int of that enum
    words = name.removeprefix("ACTIVITY_EXECUTION_STATUS_").split("_")
    return "".join(word.capitalize() for word in words)


def size_of(record: Record) -> int:
    """Bytes of state, roughly."""
    state: ActivityExecution = record.state
    attempt = state.attempt
    return 300 + len(attempt.heartbeat_details) + len(attempt.last_failure) + sum(map(len, record.items.values()))


def _outcome(record: Record) -> ActivityExecutionOutcome:
    return ActivityExecutionOutcome.FromString(item(record, OUTCOME))


def _fill(
    record: Record,
    info: ActivityExecutionInfo,
    answer: PollActivityTaskQueueResponse,
    request: DescribeActivityExecutionRequest,
    now: int,
) -> None:
    state: ActivityExecution = record.state
    attempt = state.attempt
    info.ParseFromString(item(record, ABOUT))
    info.activity_id = record.execution_id
    info.run_id = record.run_id
    info.activity_type.name = attempt.activity_type
    info.status = shown_status(record)  # type: ignore[assignment] # an int of that enum
    info.task_queue = attempt.queue
    set_duration(info.schedule_to_close_timeout, attempt.schedule_to_close)
    set_duration(info.schedule_to_start_timeout, attempt.schedule_to_start)
    set_duration(info.start_to_close_timeout, attempt.start_to_close)
    set_duration(info.heartbeat_timeout, attempt.heartbeat_timeout)
    info.retry_policy.ParseFromString(attempt.retry_policy)
    info.attempt = attempt.attempt
    set_timestamp(info.schedule_time, record.started_at)
    set_timestamp(info.execution_time, later(record.started_at, state.start_delay))
    if state.start_delay:
        set_duration(info.start_delay, state.start_delay)
    if attempt.schedule_to_close:
        set_timestamp(info.expiration_time, later(attempt.scheduled_at, attempt.schedule_to_close))
    if attempt.started_at:
        set_timestamp(info.last_started_time, attempt.started_at)
    info.last_worker_identity = attempt.last_worker_identity
    if attempt.heartbeat_at:
        set_timestamp(info.last_heartbeat_time, attempt.heartbeat_at)
    if request.include_heartbeat_details and attempt.heartbeat_details:
        info.heartbeat_details.ParseFromString(attempt.heartbeat_details)
    if request.include_last_failure and attempt.last_failure:
        info.last_failure.ParseFromString(attempt.last_failure)
    if attempt.last_attempt_completed_at:
        set_timestamp(info.last_attempt_complete_time, attempt.last_attempt_completed_at)
    if answer.HasField("priority") or attempt.priority or attempt.fairness_key or attempt.fairness_weight:
        info.priority.priority_key = attempt.priority
        info.priority.fairness_key = attempt.fairness_key
        info.priority.fairness_weight = attempt.fairness_weight
    if answer.HasField("header"):
        info.header.CopyFrom(answer.header)
    info.search_attributes.SetInParent()
    for name, value in record.search_attributes.items():
        info.search_attributes.indexed_fields[name].ParseFromString(value)
    info.state_transition_count = state.transitions
    info.state_size_bytes = size_of(record)
    info.total_heartbeat_count = state.heartbeats
    info.canceled_reason = state.cancel_reason
    if record.running:
        info.run_state = _run_state(attempt)
        _next_attempt(attempt, info, now)
    else:
        set_timestamp(info.close_time, record.closed_at)
        set_duration(info.execution_duration, max(0, record.closed_at - record.started_at - state.start_delay))


def _run_state(attempt: Activity) -> PendingActivityState.ValueType:
    if attempt.cancel_requested:
        return _P.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
    if attempt.started_at:
        return _P.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED if attempt.paused else _P.PENDING_ACTIVITY_STATE_STARTED
    return _P.PENDING_ACTIVITY_STATE_PAUSED if attempt.paused else _P.PENDING_ACTIVITY_STATE_SCHEDULED


def _next_attempt(attempt: Activity, info: ActivityExecutionInfo, now: int) -> None:
    if attempt.started_at or attempt.paused or attempt.attempt_scheduled_at <= now:
        return
    set_timestamp(info.next_attempt_schedule_time, attempt.attempt_scheduled_at)
    if attempt.attempt > 1:
        policy = RetryPolicy.FromString(attempt.retry_policy)
        set_duration(info.current_retry_interval, next_delay(policy, attempt.attempt - 1))
