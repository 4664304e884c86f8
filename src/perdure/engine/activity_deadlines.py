"""What becomes due for a pending activity: its next attempt, or one of four timeouts (reference: engine 4.4)."""

from __future__ import annotations

from typing import Final

from perdure.engine import failures
from perdure.engine.activities import close
from perdure.engine.activity_retry import dispatch, retry
from perdure.engine.items import Activity
from perdure.engine.state import Run
from perdure.engine.turn import Turn
from perdure.enums import EventType

_TIMED_OUT: Final = int(EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
DISPATCH: Final = 0
_NOT_ENOUGH_TIME: Final = (
    "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
)


def deadlines(activity: Activity, *, held: bool = False) -> list[tuple[int, int]]:
    """(due, what) of all that is armed; `what` is a TimeoutType, or 0 for the next attempt's dispatch. Ties go by that
    number: an unstarted activity with schedule-to-close alone times out as schedule-to-start. `held`: its workflow is
    paused, no attempt is given out."""
    if activity.paused:
        return []
    armed = []
    if activity.schedule_to_close:
        armed.append((activity.scheduled_at + activity.schedule_to_close, failures.SCHEDULE_TO_CLOSE))
    if activity.started_at:
        if activity.start_to_close:
            armed.append((activity.started_at + activity.start_to_close, failures.START_TO_CLOSE))
        if activity.heartbeat_timeout:
            alive = max(activity.started_at, activity.heartbeat_at)
            armed.append((alive + activity.heartbeat_timeout, failures.HEARTBEAT))
    else:
        if not activity.offered and not held:
            armed.append((activity.attempt_scheduled_at, DISPATCH))
        if activity.schedule_to_start:
            armed.append((activity.attempt_scheduled_at + activity.schedule_to_start, failures.SCHEDULE_TO_START))
    return armed


def next_deadline(run: Run, activity: Activity) -> int:
    """Microseconds since 1970; 0 when nothing is armed."""
    armed = deadlines(activity, held=run.paused)
    return min(armed)[0] if armed and run.running else 0


def on_deadline(turn: Turn, activity: Activity) -> None:
    """Carry out the earliest thing that is due by now; nothing when none is."""
    armed = deadlines(activity, held=turn.run.paused)
    if not armed:
        return
    due, what = min(armed)
    if due > turn.now:
        return
    if what == DISPATCH:
        dispatch(turn, activity)
    else:
        _time_out(turn, activity, what)


def _time_out(turn: Turn, activity: Activity, timeout_type: int) -> None:
    failure = failures.timeout_failure(f"activity {failures.TIMEOUT_NAMES[timeout_type]} timeout", timeout_type)
    retry_state = retry(turn, activity, failure)
    if retry_state == failures.IN_PROGRESS:
        return
    if retry_state == failures.TIMEOUT and timeout_type != failures.SCHEDULE_TO_START:
        failure = failures.timeout_failure(_NOT_ENOUGH_TIME, failures.SCHEDULE_TO_CLOSE)
    if activity.last_failure:
        failure.cause.MergeFromString(activity.last_failure)
    if activity.heartbeat_details:
        failure.timeout_failure_info.last_heartbeat_details.MergeFromString(activity.heartbeat_details)
    event = turn.event(_TIMED_OUT)
    attributes = event.activity_task_timed_out_event_attributes
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.failure.CopyFrom(failure)
    attributes.retry_state = retry_state  # type: ignore[assignment] # an int of that enum
    close(turn, activity, event)
