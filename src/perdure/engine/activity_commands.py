"""Activities, as workflows ask for them: schedule one, request that one be cancelled (reference: engine 3.1, 3.2)."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command, ScheduleActivityTaskCommandAttributes
from temporalio.api.common.v1 import Payloads, Priority
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure.engine.apply import remove_activity
from perdure.engine.bad_command import BadCommand
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.pause_info import note_pauses
from perdure.engine.state import ACTIVITY, Run
from perdure.engine.times import set_duration, valid_duration
from perdure.engine.turn import Turn
from perdure.engine.validation import (
    DEFAULT_RETRY_POLICY,
    fill_and_validate_retry_policy,
    validate_priority,
    validate_task_queue,
)
from perdure.enums import EventType, TaskQueueKind, WorkflowTaskFailedCause
from perdure.errors import InvalidArgument

_E = EventType
_SCHEDULED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
_CANCEL_REQUESTED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
_CANCELED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
_CLOSES: Final = {
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}
_C = WorkflowTaskFailedCause
_BAD_SCHEDULE: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES)
_BAD_CANCEL: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES)
_DUPLICATE: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID)
_TOO_MANY: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED)
_NORMAL: Final = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
TIMEOUTS: Final = (
    ("ScheduleToCloseTimeout", "schedule_to_close_timeout"),
    ("ScheduleToStartTimeout", "schedule_to_start_timeout"),
    ("StartToCloseTimeout", "start_to_close_timeout"),
    ("HeartbeatTimeout", "heartbeat_timeout"),
)


def schedule_activity(completion: Completion, command: Command) -> None:
    if not command.HasField("schedule_activity_task_command_attributes"):
        raise attributes_missing(_BAD_SCHEDULE, "ScheduleActivityTask")
    wanted = command.schedule_activity_task_command_attributes
    turn = completion.turn
    run = turn.run
    timeouts = _validate(turn, wanted)
    completion.check_size(
        wanted.input,
        turn.limits.blob_size,
        _BAD_SCHEDULE,
        "ScheduleActivityTaskCommandAttributes.Input exceeds size limit.",
    )
    limit = turn.limits.pending_activities
    if len(run.activities) >= limit:
        raise BadCommand(
            _TOO_MANY,
            f"the number of pending activities, {len(run.activities)}, has reached the per-workflow limit of {limit}",
        )
    if wanted.activity_id in run.activity_ids:
        raise BadCommand(
            _DUPLICATE,
            "invalid history builder state for action: add-activitytask-scheduled-event, "
            f"ActivityID: {wanted.activity_id}",
        )
    event = completion.event(_SCHEDULED, command)
    attributes = event.activity_task_scheduled_event_attributes
    attributes.activity_id = wanted.activity_id
    attributes.activity_type.CopyFrom(wanted.activity_type)
    attributes.task_queue.name = wanted.task_queue.name
    attributes.task_queue.kind = _NORMAL
    if wanted.HasField("header"):
        attributes.header.CopyFrom(wanted.header)
    if wanted.HasField("input"):
        attributes.input.CopyFrom(wanted.input)
    for target, length in zip(
        (
            attributes.schedule_to_close_timeout,
            attributes.schedule_to_start_timeout,
            attributes.start_to_close_timeout,
            attributes.heartbeat_timeout,
        ),
        timeouts,
        strict=True,
    ):
        set_duration(target, length)
    attributes.workflow_task_completed_event_id = completion.event_id
    attributes.retry_policy.CopyFrom(wanted.retry_policy)
    attributes.use_workflow_build_id = wanted.use_workflow_build_id
    if wanted.HasField("priority"):
        attributes.priority.CopyFrom(wanted.priority)
    event_id = turn.emit(event)
    # Made in this turn, so no snapshot holds it: it may be filled in place.
    activity = run.activities[event_id]
    activity.stamp = turn.next_stamp()
    activity.offered = True
    answer = fixed_answer(run, event)
    if len(answer) <= turn.limits.answer_kept:
        activity.answer = answer
    if wanted.request_eager_execution:
        completion.eager.append(event_id)
    else:
        completion.offers.append(event_id)


def _validate(turn: Turn, wanted: ScheduleActivityTaskCommandAttributes) -> tuple[int, int, int, int]:
    """Checks in the reference's order, fills the retry policy; the four normalised timeouts."""
    limit = turn.limits.id_length
    try:
        if not wanted.HasField("task_queue"):
            raise InvalidArgument("taskQueue is not set")
        validate_task_queue(wanted.task_queue, turn.limits)
        if not wanted.activity_id:
            raise InvalidArgument("activityId is not set")
        if not wanted.activity_type.name:
            raise InvalidArgument("activityType is not set")
        if wanted.HasField("retry_policy"):
            fill_and_validate_retry_policy(wanted.retry_policy)
        else:
            wanted.retry_policy.MergeFromString(DEFAULT_RETRY_POLICY)
        for name, value in (("activityId", wanted.activity_id), ("activityType", wanted.activity_type.name)):
            length = len(value.encode())
            if length > limit:
                raise InvalidArgument(f"{name} exceeds length limit. Length={length} Limit={limit}")
        if wanted.HasField("priority"):
            try:
                validate_priority(wanted.priority)
            except InvalidArgument as error:
                raise InvalidArgument(f"invalid priorities: {error.message}") from error
        given = [
            valid_timeout(name, getattr(wanted, attribute)) if wanted.HasField(attribute) else 0  # type: ignore[arg-type] # a field
            for name, attribute in TIMEOUTS
        ]
        schedule_to_close, schedule_to_start, start_to_close, heartbeat = given
        if not schedule_to_close and not start_to_close:
            raise InvalidArgument(
                "a valid StartToClose or ScheduleToCloseTimeout is not set on ScheduleActivityTaskCommand. "
                f"ActivityId={wanted.activity_id} ActivityType={wanted.activity_type.name}"
            )
    except InvalidArgument as error:
        raise BadCommand(_BAD_SCHEDULE, error.message) from error
    return normalised(schedule_to_close, schedule_to_start, start_to_close, heartbeat, turn.run.run_timeout)


def valid_timeout(name: str, value: Duration) -> int:
    """Microseconds. Raises InvalidArgument that names the timeout."""
    try:
        return valid_duration(value)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid {name}: {error.message}") from error


def normalised(
    schedule_to_close: int, schedule_to_start: int, start_to_close: int, heartbeat: int, run_timeout: int
) -> tuple[int, int, int, int]:
    """Timeouts as they are kept: unset ones follow from the others, none is longer than the run's (0: none)."""
    if schedule_to_close:
        schedule_to_start = min(schedule_to_start or schedule_to_close, schedule_to_close)
        start_to_close = min(start_to_close or schedule_to_close, schedule_to_close)
    else:
        schedule_to_close = run_timeout
        schedule_to_start = schedule_to_start or run_timeout
    if run_timeout:
        schedule_to_close = min(schedule_to_close, run_timeout)
        schedule_to_start = min(schedule_to_start, run_timeout)
        start_to_close = min(start_to_close, run_timeout)
        heartbeat = min(heartbeat, run_timeout)
    return schedule_to_close, schedule_to_start, start_to_close, min(heartbeat, start_to_close)


def fixed_answer(run: Run, scheduled: HistoryEvent, retry_policy: bytes = b"") -> bytes:
    """The serialised part of an activity task's poll answer that is the same for all attempts.

    The timeouts are those of the Scheduled event, as in the reference, even when the options were updated since.
    `retry_policy`: the serialised one in force, when it is not that event's.
    """
    source = scheduled.activity_task_scheduled_event_attributes
    answer = PollActivityTaskQueueResponse()
    answer.workflow_namespace = run.namespace
    answer.workflow_type.name = run.workflow_type
    answer.workflow_execution.workflow_id = run.workflow_id
    answer.workflow_execution.run_id = run.run_id
    answer.activity_type.CopyFrom(source.activity_type)
    answer.activity_id = source.activity_id
    if source.HasField("header"):
        answer.header.CopyFrom(source.header)
    if source.HasField("input"):
        answer.input.CopyFrom(source.input)
    answer.scheduled_time.CopyFrom(scheduled.event_time)
    answer.schedule_to_close_timeout.CopyFrom(source.schedule_to_close_timeout)
    answer.start_to_close_timeout.CopyFrom(source.start_to_close_timeout)
    answer.heartbeat_timeout.CopyFrom(source.heartbeat_timeout)
    if retry_policy:
        answer.retry_policy.ParseFromString(retry_policy)
    else:
        answer.retry_policy.CopyFrom(source.retry_policy)
    if run.priority or source.HasField("priority"):
        answer.priority.CopyFrom(merged_priority(run.priority, source.priority))
    return answer.SerializeToString(deterministic=True)


def merged_priority(inherited: bytes, own: Priority) -> Priority:
    """Field by field, what is set in `own`, else in `inherited` (a serialised Priority)."""
    merged = Priority.FromString(inherited)
    merged.MergeFrom(own)
    return merged


def request_cancel_activity(completion: Completion, command: Command) -> None:
    """A started activity learns of it by its heartbeat; one that no worker holds is cancelled at once."""
    if not command.HasField("request_cancel_activity_task_command_attributes"):
        raise attributes_missing(_BAD_CANCEL, "RequestCancelActivityTask")
    scheduled_event_id = command.request_cancel_activity_task_command_attributes.scheduled_event_id
    if scheduled_event_id <= 0:
        raise BadCommand(_BAD_CANCEL, "ScheduledEventId is not set on RequestCancelActivityTaskCommand.")
    turn = completion.turn
    activity = turn.run.activities.get(scheduled_event_id)
    if activity.cancel_requested if activity is not None else not _close_is_waiting(turn, scheduled_event_id):
        raise BadCommand(
            _BAD_CANCEL,
            "invalid history builder state for action: add-activitytask-cancel-requested-event, "
            f"ScheduledEventID: {scheduled_event_id}",
        )
    event = completion.event(_CANCEL_REQUESTED, command)
    attributes = event.activity_task_cancel_requested_event_attributes
    attributes.scheduled_event_id = scheduled_event_id
    attributes.workflow_task_completed_event_id = completion.event_id
    event_id = turn.emit(event)
    if activity is None or activity.started_at:
        return
    canceled = turn.event(_CANCELED)
    outcome = canceled.activity_task_canceled_event_attributes
    outcome.scheduled_event_id = scheduled_event_id
    outcome.latest_cancel_requested_event_id = event_id
    outcome.details.CopyFrom(_not_started())
    outcome.identity = completion.identity
    turn.buffer(canceled)
    remove_activity(turn.run, scheduled_event_id)
    turn.dirty(ACTIVITY, scheduled_event_id)
    if activity.paused:
        note_pauses(turn)
    for waiting in (completion.offers, completion.eager):
        if scheduled_event_id in waiting:
            waiting.remove(scheduled_event_id)
    completion.needs_task = True


def _close_is_waiting(turn: Turn, scheduled_event_id: int) -> bool:
    """Whether the activity's end is buffered, so that the worker could not know of it."""
    for event in (*turn.unflushed, *(HistoryEvent.FromString(blob) for blob in turn.run.buffered)):
        attributes = _CLOSES.get(event.event_type)
        if attributes is not None and getattr(event, attributes).scheduled_event_id == scheduled_event_id:
            return True
    return False


def _not_started() -> Payloads:
    details = Payloads()
    payload = details.payloads.add()
    payload.metadata["encoding"] = b"json/plain"
    payload.data = b'"ACTIVITY_ID_NOT_STARTED"'
    return details
