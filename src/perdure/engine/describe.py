"""DescribeWorkflowExecution: the whole of a run but its history (reference: engine 12.3, 4.8)."""

from __future__ import annotations

from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from perdure.engine.activity_options import fill_options
from perdure.engine.failures import next_delay
from perdure.engine.items import Activity
from perdure.engine.state import Run
from perdure.engine.times import SECOND, later, set_duration, set_timestamp
from perdure.enums import EventType, PendingActivityState, PendingWorkflowTaskState, TaskQueueKind

_SIGNALED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
_NO_TIME = -62_135_596_800 * SECOND
"""The first moment of the year 1."""
_A = PendingActivityState
_W = PendingWorkflowTaskState


def describe(run: Run, now: int) -> DescribeWorkflowExecutionResponse:
    response = DescribeWorkflowExecutionResponse()
    _config(run, response)
    _info(run, response)
    _extended(run, response)
    for activity in run.activities.values():
        _activity(activity, response.pending_activities.add(), now)
    for child in run.children.values():
        pending = response.pending_children.add()
        pending.workflow_id = child.workflow_id
        pending.run_id = child.run_id
        pending.workflow_type_name = child.workflow_type
        pending.initiated_id = child.initiated_event_id
        pending.parent_close_policy = child.parent_close_policy  # type: ignore[assignment] # an int of that enum
    _workflow_task(run, response)
    return response


def _config(run: Run, response: DescribeWorkflowExecutionResponse) -> None:
    config = response.execution_config
    config.task_queue.name = run.task_queue
    config.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
    if run.execution_timeout:
        set_duration(config.workflow_execution_timeout, run.execution_timeout)
    if run.run_timeout:
        set_duration(config.workflow_run_timeout, run.run_timeout)
    set_duration(config.default_workflow_task_timeout, run.task_timeout)
    if run.user_metadata:
        config.user_metadata.MergeFromString(run.user_metadata)


def _info(run: Run, response: DescribeWorkflowExecutionResponse) -> None:
    info = response.workflow_execution_info
    info.execution.workflow_id = run.workflow_id
    info.execution.run_id = run.run_id
    info.type.name = run.workflow_type
    set_timestamp(info.start_time, run.started_at)
    set_timestamp(info.execution_time, run.execution_at)
    if not run.running:
        set_timestamp(info.close_time, run.closed_at)
        set_duration(info.execution_duration, run.closed_at - run.execution_at)
    info.status = run.status  # type: ignore[assignment] # an int of that enum
    info.history_length = run.history_length
    info.history_size_bytes = run.history_size
    info.state_transition_count = run.state_transitions
    info.task_queue = run.task_queue
    if run.parent is not None:
        info.parent_namespace_id = run.parent.namespace_id
        info.parent_execution.workflow_id = run.parent.workflow_id
        info.parent_execution.run_id = run.parent.run_id
    info.root_execution.workflow_id = run.root_workflow_id
    info.root_execution.run_id = run.root_run_id
    info.first_run_id = run.first_run_id
    info.memo.SetInParent()
    info.memo.MergeFromString(run.memo)
    info.search_attributes.SetInParent()
    for name, value in run.search_attributes.items():
        info.search_attributes.indexed_fields[name].MergeFromString(value)
    if run.reset_points:
        info.auto_reset_points.MergeFromString(run.reset_points)
    if run.worker_version:
        info.most_recent_worker_version_stamp.MergeFromString(run.worker_version)
    if run.versioning_override:
        info.versioning_info.versioning_override.MergeFromString(run.versioning_override)
    if run.priority:
        info.priority.MergeFromString(run.priority)


def _extended(run: Run, response: DescribeWorkflowExecutionResponse) -> None:
    extended = response.workflow_extended_info
    if run.execution_expires_at:
        set_timestamp(extended.execution_expiration_time, run.execution_expires_at)
    # Without a run timeout the reference shows its own "no time" (recorded: reset_reapplies_signals).
    set_timestamp(extended.run_expiration_time, run.run_expires_at or _NO_TIME)
    extended.cancel_requested = run.cancel_requested
    if run.started_at != run.original_started_at:  # only a reset moves the start
        set_timestamp(extended.last_reset_time, run.started_at)
    set_timestamp(extended.original_start_time, run.original_started_at)
    extended.reset_run_id = run.reset_run_id
    if run.pause_info:
        extended.pause_info.MergeFromString(run.pause_info)
    for request_id, (event_type, event_id) in run.request_ids.items():
        if event_type == _SIGNALED:  # remembered to see repetitions, not shown
            continue
        shown = extended.request_id_infos[request_id]
        shown.event_type = event_type  # type: ignore[assignment] # an int of that enum
        shown.event_id = event_id
        shown.buffered = not event_id


def _activity(activity: Activity, info: PendingActivityInfo, now: int) -> None:
    policy = RetryPolicy.FromString(activity.retry_policy)
    info.activity_id = activity.activity_id
    info.activity_type.name = activity.activity_type
    if activity.cancel_requested:
        info.state = _A.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
    elif activity.started_at:
        info.state = _A.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED if activity.paused else _A.PENDING_ACTIVITY_STATE_STARTED
    else:
        info.state = _A.PENDING_ACTIVITY_STATE_PAUSED if activity.paused else _A.PENDING_ACTIVITY_STATE_SCHEDULED
    set_timestamp(info.scheduled_time, activity.attempt_scheduled_at)
    info.attempt = activity.attempt
    info.maximum_attempts = policy.maximum_attempts
    if activity.schedule_to_close:
        set_timestamp(info.expiration_time, later(activity.scheduled_at, activity.schedule_to_close))
    if activity.started_at:
        set_timestamp(info.last_started_time, activity.started_at)
        info.last_worker_identity = activity.started_identity
    else:
        info.last_worker_identity = activity.last_worker_identity
        if activity.attempt_scheduled_at > now and not activity.paused:
            set_timestamp(info.next_attempt_schedule_time, activity.attempt_scheduled_at)
            set_duration(info.current_retry_interval, activity.attempt_scheduled_at - now)
        else:  # also of an activity that waits for its first attempt (recorded: describe_running)
            set_duration(info.current_retry_interval, next_delay(policy, activity.attempt))
    if activity.last_failure:
        info.last_failure.MergeFromString(activity.last_failure)
    if activity.heartbeat_at:
        set_timestamp(info.last_heartbeat_time, activity.heartbeat_at)
        info.heartbeat_details.MergeFromString(activity.heartbeat_details)
    if activity.last_attempt_completed_at:
        set_timestamp(info.last_attempt_complete_time, activity.last_attempt_completed_at)
    info.paused = activity.paused
    if activity.pause_info:
        info.pause_info.MergeFromString(activity.pause_info)
    if activity.priority or activity.fairness_key or activity.fairness_weight:
        info.priority.priority_key = activity.priority
        info.priority.fairness_key = activity.fairness_key
        info.priority.fairness_weight = activity.fairness_weight
    fill_options(activity, info.activity_options)


def _workflow_task(run: Run, response: DescribeWorkflowExecutionResponse) -> None:
    task = run.workflow_task
    if task is None:
        return
    pending = response.pending_workflow_task
    pending.state = (
        _W.PENDING_WORKFLOW_TASK_STATE_STARTED if task.started_event_id else _W.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    )
    set_timestamp(pending.scheduled_time, task.scheduled_at)
    set_timestamp(pending.original_scheduled_time, task.original_scheduled_at)
    if task.started_event_id:
        set_timestamp(pending.started_time, task.started_at)
    pending.attempt = task.attempt
