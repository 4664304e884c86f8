"""An activity's options while it is pending: queue, timeouts, retry policy and priority, changed path by path or put
back as they were scheduled (reference: engine 4.7, 4.8)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import RetryPolicy

from perdure.engine.activity_commands import TIMEOUTS, normalised, valid_timeout
from perdure.engine.activity_operations import Target, offer, put, select
from perdure.engine.failures import next_delay
from perdure.engine.items import Activity
from perdure.engine.limits import Limits
from perdure.engine.state import Run
from perdure.engine.times import set_duration
from perdure.engine.turn import Turn
from perdure.engine.validation import fill_and_validate_retry_policy, validate_priority, validate_task_queue
from perdure.errors import InvalidArgument

_WHOLE: Final = ("retry_policy", "priority")
PATHS: Final = frozenset(
    (
        "task_queue",
        "task_queue.name",
        *(path for _, path in TIMEOUTS),
        *_WHOLE,
        "retry_policy.initial_interval",
        "retry_policy.backoff_coefficient",
        "retry_policy.maximum_interval",
        "retry_policy.maximum_attempts",
        "retry_policy.non_retryable_error_types",
        "priority.priority_key",
        "priority.fairness_key",
        "priority.fairness_weight",
    )
)
"""What an update mask may name."""
STANDALONE_PATHS: Final = PATHS | {"start_delay"}


def mask_paths(paths: Iterable[str], known: frozenset[str] = PATHS) -> list[str]:
    """The paths in snake case: clients also send them as JSON spells them. Raises InvalidArgument for unknown ones."""
    wanted = []
    for path in paths:
        snake = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", path).lower()
        if snake not in known:
            raise InvalidArgument(f'unsupported update_mask path: "{path}"')
        wanted.append(snake)
    return wanted


def update_options(turn: Turn, target: Target, options: ActivityOptions, paths: list[str]) -> ActivityOptions:
    """Give each activity the named options; the resulting ones of the first. An attempt that waits is rescheduled by
    them, one that runs goes on. Raises InvalidArgument, NotFound."""
    changed = [_merged(turn, activity, options, paths) for activity in select(turn, target)]
    for activity in changed:
        _put_in_force(turn, activity)
    return options_of(changed[0])


def restore_options(turn: Turn, target: Target) -> ActivityOptions:
    """The same with the options that they were scheduled with. Raises Needs, NotFound."""
    changed = [restored(turn, activity) for activity in select(turn, target)]
    for activity in changed:
        _put_in_force(turn, activity)
    return options_of(changed[0])


def options_of(activity: Activity) -> ActivityOptions:
    """The options in force."""
    options = ActivityOptions()
    fill_options(activity, options)
    return options


def fill_options(activity: Activity, options: ActivityOptions) -> None:
    options.task_queue.name = activity.queue
    options.task_queue.normal_name = activity.queue
    set_duration(options.schedule_to_close_timeout, activity.schedule_to_close)
    set_duration(options.schedule_to_start_timeout, activity.schedule_to_start)
    set_duration(options.start_to_close_timeout, activity.start_to_close)
    set_duration(options.heartbeat_timeout, activity.heartbeat_timeout)
    options.retry_policy.MergeFromString(activity.retry_policy)
    if activity.priority or activity.fairness_key or activity.fairness_weight:
        options.priority.priority_key = activity.priority
        options.priority.fairness_key = activity.fairness_key
        options.priority.fairness_weight = activity.fairness_weight


def merge_options(current: ActivityOptions, wanted: ActivityOptions, paths: Iterable[str]) -> None:
    """Take over what `paths` name, also when it is unset."""
    for path in paths:
        parent, _, name = path.partition(".")
        source, into = wanted, current
        if name:
            source, into = getattr(wanted, parent), getattr(current, parent)
        else:
            name = parent
        into.ClearField(name)  # type: ignore[arg-type] # one of the known paths
        if not source.DESCRIPTOR.fields_by_name[name].has_presence:
            value = getattr(source, name)
            if hasattr(value, "extend"):
                getattr(into, name).extend(value)
            else:
                setattr(into, name, value)
        elif source.HasField(name):  # type: ignore[arg-type] # likewise
            getattr(into, name).CopyFrom(getattr(source, name))


def _merged(turn: Turn, activity: Activity, wanted: ActivityOptions, paths: list[str]) -> Activity:
    options = options_of(activity)
    merge_options(options, wanted, paths)
    return with_options(activity, options, turn.limits, turn.run)


def restored(turn: Turn, activity: Activity) -> Activity:
    """A copy with the options of the Scheduled event. Raises Needs."""
    source = turn.stored_event(activity.scheduled_event_id).activity_task_scheduled_event_attributes
    options = ActivityOptions()
    options.task_queue.name = source.task_queue.name
    for _, name in TIMEOUTS:
        getattr(options, name).CopyFrom(getattr(source, name))
    options.retry_policy.CopyFrom(source.retry_policy)
    if source.HasField("priority"):
        options.priority.CopyFrom(source.priority)
    return with_options(activity, options, turn.limits, turn.run)


def with_options(activity: Activity, options: ActivityOptions, limits: Limits, run: Run | None = None) -> Activity:
    """A copy with those options, unset timeouts following from the others, an unset priority from the run's. Raises
    InvalidArgument."""
    validate_task_queue(options.task_queue, limits)
    fill_and_validate_retry_policy(options.retry_policy)
    if options.HasField("priority"):
        validate_priority(options.priority)
    given = [valid_timeout(name, getattr(options, field)) for name, field in TIMEOUTS]
    schedule_to_close, schedule_to_start, start_to_close, heartbeat = given
    if not schedule_to_close and not start_to_close:
        raise InvalidArgument(
            "a valid StartToClose or ScheduleToCloseTimeout is not set on ScheduleActivityTaskCommand. "
            f"ActivityId={activity.activity_id} ActivityType={activity.activity_type}"
        )
    schedule_to_close, schedule_to_start, start_to_close, heartbeat = normalised(
        schedule_to_close, schedule_to_start, start_to_close, heartbeat, 0
    )
    priority = options.priority
    copy: Activity = activity.replace(
        queue=options.task_queue.name,
        schedule_to_close=schedule_to_close,
        schedule_to_start=schedule_to_start,
        start_to_close=start_to_close,
        heartbeat_timeout=heartbeat,
        retry_policy=options.retry_policy.SerializeToString(deterministic=True),
        priority=priority.priority_key or (run.priority_key if run is not None else 0),
        fairness_key=priority.fairness_key or (run.fairness_key if run is not None else ""),
        fairness_weight=priority.fairness_weight or (run.fairness_weight if run is not None else 0.0),
        answer=b"",  # made anew, with the options in force, when a poller comes
    )
    if not copy.started_at and not copy.offered and copy.attempt > 1:
        _reschedule(activity, copy)
    return copy


def _reschedule(before: Activity, activity: Activity) -> None:
    """The wait for the next attempt is that of the new policy, counted from the end of the last attempt."""
    if before.retry_policy == activity.retry_policy:
        return
    old = next_delay(RetryPolicy.FromString(before.retry_policy), activity.attempt - 1)
    new = next_delay(RetryPolicy.FromString(activity.retry_policy), activity.attempt - 1)
    ended = activity.last_attempt_completed_at or activity.attempt_scheduled_at - old
    activity.attempt_scheduled_at = ended + new


def _put_in_force(turn: Turn, activity: Activity) -> None:
    if activity.started_at or activity.paused:
        put(turn, activity)
    else:
        offer(turn, activity)
