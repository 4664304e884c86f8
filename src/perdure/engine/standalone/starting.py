"""Starting a standalone activity: the request checked and defaulted, and what an ID that is in use means (reference:
advanced 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from temporalio.api.activity.v1 import ActivityExecutionInfo
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, StartActivityExecutionRequest

from perdure.clock import Entropy
from perdure.engine.activity_commands import TIMEOUTS, normalised, valid_timeout
from perdure.engine.apply import stored_values
from perdure.engine.items import Activity
from perdure.engine.limits import Limits
from perdure.engine.links import validate_links
from perdure.engine.record import Record, create_record
from perdure.engine.search_attributes import validate_search_attributes
from perdure.engine.standalone.state import ABOUT, COMPLETED, START, ActivityExecution, ActivityTurn, item
from perdure.engine.times import MAX_DURATION, duration_us, later, set_duration, set_timestamp
from perdure.engine.turn import Shared
from perdure.engine.validation import (
    fill_and_validate_retry_policy,
    validate_priority,
    validate_task_queue,
)
from perdure.enums import ActivityIdConflictPolicy, ActivityIdReusePolicy
from perdure.errors import ActivityAlreadyStarted, FailedPrecondition, InvalidArgument

_USE_EXISTING: Final = ActivityIdConflictPolicy.ACTIVITY_ID_CONFLICT_POLICY_USE_EXISTING
_REUSE = ActivityIdReusePolicy
_ATTACHED: Final = 1
"""What a remembered request ID did."""


@dataclass(slots=True)
class Started:
    """`started`: by this very request, now or before."""

    run_id: str
    started: bool


def validate_start(
    request: StartActivityExecutionRequest, limits: Limits, types: Mapping[str, int], entropy: Entropy
) -> None:
    """Defaults filled in place; then refused with InvalidArgument."""
    if not request.HasField("task_queue"):
        raise InvalidArgument("taskQueue is not set")
    validate_task_queue(request.task_queue, limits)
    if not request.activity_id:
        raise InvalidArgument("activityId is not set")
    if not request.activity_type.name:
        raise InvalidArgument("activityType is not set")
    fill_and_validate_retry_policy(request.retry_policy)
    for name, text in (
        ("activityId", request.activity_id),
        ("activityType", request.activity_type.name),
        ("request ID", request.request_id),
        ("identity", request.identity),
    ):
        length = len(text.encode())
        if length > limits.id_length:
            raise InvalidArgument(f"{name} exceeds length limit. Length={length} Limit={limits.id_length}")
    if not request.request_id:
        request.request_id = entropy.uuid()
    if request.HasField("priority"):
        validate_priority(request.priority)
    schedule_to_close, schedule_to_start, start_to_close, heartbeat = (
        valid_timeout(name, getattr(request, field)) for name, field in TIMEOUTS
    )
    if not schedule_to_close and not start_to_close:
        raise InvalidArgument(
            "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity. "
            f"ActivityId={request.activity_id} ActivityType={request.activity_type.name}"
        )
    timeouts = normalised(schedule_to_close, schedule_to_start, start_to_close, heartbeat, 0)
    for (_, field), length in zip(TIMEOUTS, timeouts, strict=True):
        set_duration(getattr(request, field), length)
    if valid_timeout("StartDelay", request.start_delay) == MAX_DURATION:
        set_duration(request.start_delay, MAX_DURATION)
    if request.input.ByteSize() > limits.blob_size:
        raise InvalidArgument("input exceeds length limit")
    if request.HasField("search_attributes"):
        validate_search_attributes(request.search_attributes.indexed_fields, types, limits, namespace=request.namespace)
    if request.completion_callbacks:
        raise InvalidArgument("completion callbacks are not enabled for this namespace")
    validate_links(request.links, limits)
    options = request.on_conflict_options
    if options.attach_completion_callbacks and not options.attach_request_id:
        raise InvalidArgument("on_conflict_options: attach_completion_callbacks requires attach_request_id to be set")
    if options.attach_request_id and not request.links:
        raise InvalidArgument(
            "on_conflict_options: attach_request_id requires at least one completion callback or link"
        )


def start(shared: Shared, current: Record | None, request: StartActivityExecutionRequest) -> Started:
    """`request` was validated. Raises ActivityAlreadyStarted, FailedPrecondition."""
    if current is not None:
        if request.request_id == current.create_request_id:
            return Started(current.run_id, True)
        if current.request_ids.get(request.request_id, (0, 0))[0] == _ATTACHED:
            return Started(current.run_id, False)
        if current.running:
            if request.id_conflict_policy != _USE_EXISTING:
                raise _already_started(current)
            _attach(shared, current, request)
            return Started(current.run_id, False)
        policy = request.id_reuse_policy
        if policy == _REUSE.ACTIVITY_ID_REUSE_POLICY_REJECT_DUPLICATE or (
            policy == _REUSE.ACTIVITY_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY and current.status == COMPLETED
        ):
            raise _already_started(current)
    return Started(_create(shared, request), True)


def _already_started(current: Record) -> ActivityAlreadyStarted:
    return ActivityAlreadyStarted("activity execution already started", current.create_request_id, current.run_id)


def _attach(shared: Shared, current: Record, request: StartActivityExecutionRequest) -> None:
    """The caller joins the activity that runs, as its options say."""
    options = request.on_conflict_options
    if not options.attach_request_id and not options.attach_links:
        return
    turn = ActivityTurn(shared, current)
    about = ActivityExecutionInfo.FromString(item(current, ABOUT))
    if options.attach_links and request.links:
        limit = shared.limits.links_per_request * 10
        if len(about.links) + len(request.links) > limit:
            raise FailedPrecondition(
                f"cannot attach more than {limit} links to an activity ({len(about.links)} links already attached)"
            )
        about.links.extend(request.links)
        turn.put_item(ABOUT, "", about.SerializeToString(deterministic=True))
    if options.attach_request_id:
        turn.remember_request(request.request_id, _ATTACHED)
    turn.moved()


def _create(shared: Shared, request: StartActivityExecutionRequest) -> str:
    run_id = shared.entropy.uuid()
    delay = duration_us(request.start_delay)
    begins = later(shared.now, delay)
    attempt = Activity(
        activity_id=request.activity_id,
        activity_type=request.activity_type.name,
        queue=request.task_queue.name,
        scheduled_at=begins,
        attempt_scheduled_at=begins,
        stamp=1,
        schedule_to_close=duration_us(request.schedule_to_close_timeout),
        schedule_to_start=duration_us(request.schedule_to_start_timeout),
        start_to_close=duration_us(request.start_to_close_timeout),
        heartbeat_timeout=duration_us(request.heartbeat_timeout),
        retry_policy=request.retry_policy.SerializeToString(deterministic=True),
        priority=request.priority.priority_key,
        fairness_key=request.priority.fairness_key,
        fairness_weight=request.priority.fairness_weight,
        offered=not delay,
    )
    state = ActivityExecution(attempt=attempt, start_delay=delay, stamp=1, transitions=1)
    record_turn = create_record(shared, state, run_id, request.request_id)
    record = record_turn.record
    turn = ActivityTurn(shared, record)
    record.search_attributes.update(stored_values(request.search_attributes.indexed_fields))
    turn.put_item(START, "", _fixed_answer(record, request))
    about = ActivityExecutionInfo()
    about.links.extend(request.links)
    if request.HasField("user_metadata"):
        about.user_metadata.CopyFrom(request.user_metadata)
    if about.ByteSize():
        turn.put_item(ABOUT, "", about.SerializeToString(deterministic=True))
    if attempt.offered:
        turn.offer()
    return run_id


def _fixed_answer(record: Record, request: StartActivityExecutionRequest) -> bytes:
    answer = PollActivityTaskQueueResponse()
    answer.workflow_namespace = record.namespace
    answer.activity_type.CopyFrom(request.activity_type)
    answer.activity_id = request.activity_id
    answer.activity_run_id = record.run_id
    if request.HasField("header"):
        answer.header.CopyFrom(request.header)
    if request.HasField("input"):
        answer.input.CopyFrom(request.input)
    set_timestamp(answer.scheduled_time, record.started_at)
    answer.schedule_to_close_timeout.CopyFrom(request.schedule_to_close_timeout)
    answer.start_to_close_timeout.CopyFrom(request.start_to_close_timeout)
    answer.heartbeat_timeout.CopyFrom(request.heartbeat_timeout)
    answer.retry_policy.CopyFrom(request.retry_policy)
    if request.HasField("priority"):
        answer.priority.CopyFrom(request.priority)
    return answer.SerializeToString(deterministic=True)
