"""Whether a failed attempt of an activity is followed by another (reference: engine 4.5)."""

from __future__ import annotations

from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.failure.v1 import Failure

from perdure.engine import failures
from perdure.engine.activities import arm
from perdure.engine.effects import OfferActivityTask
from perdure.engine.items import Activity
from perdure.engine.limits import Limits
from perdure.engine.state import ACTIVITY
from perdure.engine.times import later
from perdure.engine.turn import Turn


def retry(turn: Turn, activity: Activity, failure: Failure | None, *, completed_at: int = 0) -> int:
    """Prepare the next attempt when there is to be one: the RetryState, IN_PROGRESS if so; else nothing was written.

    `completed_at`: when a worker reported the end of the attempt; 0 when it timed out.
    """
    state, delay = evaluate(activity, failure, turn.now)
    if state != failures.IN_PROGRESS:
        return state
    activity = following(activity, failure, later(turn.now, delay), turn.next_stamp(), turn.limits, completed_at)
    turn.run.activities[activity.scheduled_event_id] = activity
    turn.dirty(ACTIVITY, activity.scheduled_event_id)
    arm(turn.run, activity)
    return state


def following(
    activity: Activity, failure: Failure | None, due: int, stamp: int, limits: Limits, completed_at: int
) -> Activity:
    """The activity with its next attempt prepared, for `due` unless it is paused."""
    kept = b""
    if failure is not None:
        limited = failures.fitting(failure, limits.activity_failure_kept, non_retryable=False)
        kept = limited.SerializeToString(deterministic=True)
    next_one: Activity = activity.replace(
        attempt=1 if activity.reset else activity.attempt + 1,
        attempt_scheduled_at=activity.attempt_scheduled_at if activity.paused else due,
        started_at=0,
        started_identity="",
        request_id="",
        worker_version=b"",
        last_failure=kept,
        stamp=stamp,
        offered=False,
        reset=False,
    )
    if activity.reset_heartbeat:
        next_one.reset_heartbeat = False
        next_one.heartbeat_details = b""
        next_one.heartbeat_at = 0
    if completed_at:
        next_one.last_attempt_completed_at = completed_at
    return next_one


def evaluate(activity: Activity, failure: Failure | None, now: int) -> tuple[int, int]:
    """RetryState and the wait before the next attempt in microseconds."""
    if activity.cancel_requested:
        return failures.CANCEL_REQUESTED, 0
    if failure is not None and failure.timeout_failure_info.timeout_type in (
        failures.SCHEDULE_TO_START,
        failures.SCHEDULE_TO_CLOSE,
    ):
        return failures.TIMEOUT, 0
    policy = RetryPolicy.FromString(activity.retry_policy)
    if not failures.is_retryable(failure, policy.non_retryable_error_types):
        return failures.NON_RETRYABLE, 0
    if activity.paused:
        return failures.IN_PROGRESS, 0
    if policy.maximum_attempts > 0 and not activity.reset and activity.attempt >= policy.maximum_attempts:
        return failures.MAXIMUM_ATTEMPTS, 0
    delay = failures.asked_delay(failure)
    if delay is None:
        delay = failures.next_delay(policy, activity.attempt)
    if not delay:
        return failures.TIMEOUT, 0
    if activity.schedule_to_close and now + delay > activity.scheduled_at + activity.schedule_to_close:
        return failures.TIMEOUT, 0
    return failures.IN_PROGRESS, delay


def dispatch(turn: Turn, activity: Activity) -> None:
    """The wait before an attempt is over: give it to matching."""
    activity = activity.replace(offered=True)
    turn.run.activities[activity.scheduled_event_id] = activity
    turn.dirty(ACTIVITY, activity.scheduled_event_id)
    arm(turn.run, activity)
    turn.effect(OfferActivityTask(turn.run, activity.scheduled_event_id))
