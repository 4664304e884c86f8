"""What operators do to standalone activities: pause, unpause, reset, change their options (reference: advanced 7.4).

A repeated request ID changes nothing, also when the activity has closed since. What cannot be done is refused with
FailedPrecondition, an option that cannot be with InvalidArgument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure.engine.activity_commands import valid_timeout
from perdure.engine.activity_operations import forget_heartbeat, unpaused
from perdure.engine.activity_options import fill_options, merge_options, options_of, with_options
from perdure.engine.items import Activity
from perdure.engine.standalone.describing import status_name
from perdure.engine.standalone.state import START, ActivityTurn, item
from perdure.engine.times import duration_us, later, set_duration, set_timestamp
from perdure.errors import FailedPrecondition

_PAUSED: Final = 2
_UNPAUSED: Final = 3
_RESET: Final = 4
_UPDATED: Final = 5
"""What a remembered request ID did."""


def pause(turn: ActivityTurn, *, request_id: str, identity: str, reason: str) -> None:
    """One that a worker runs goes on; it waits before its next attempt."""
    if _seen(turn, request_id, _PAUSED):
        return
    attempt = turn.state.attempt
    if not turn.record.running or attempt.paused or attempt.cancel_requested:
        raise FailedPrecondition(f"activity is in non-pausable state {status_name(turn.record)}")
    info = PendingActivityInfo.PauseInfo()
    set_timestamp(info.pause_time, turn.now)
    info.manual.identity = identity
    info.manual.reason = reason
    attempt = attempt.replace(paused=True, pause_info=info.SerializeToString(deterministic=True))
    if not attempt.started_at:
        attempt.stamp = turn.next_stamp()
        attempt.offered = False
    _remember(turn, request_id, _PAUSED)
    turn.put(attempt)
    turn.paused()


def unpause(turn: ActivityTurn, *, request_id: str, jitter: int = 0) -> None:
    """It goes on; an attempt that waits is given out within `jitter` (microseconds) from now."""
    if _seen(turn, request_id, _UNPAUSED):
        return
    attempt = turn.state.attempt
    if not turn.record.running or not attempt.paused:
        raise FailedPrecondition(f"activity is in non-unpausable state {status_name(turn.record)}")
    attempt = unpaused(attempt)
    _remember(turn, request_id, _UNPAUSED)
    if attempt.started_at:
        turn.put(attempt)
    else:
        _schedule(turn, attempt, jitter)
    turn.paused()


def reset(
    turn: ActivityTurn,
    *,
    request_id: str,
    reset_heartbeat: bool = False,
    keep_paused: bool = False,
    jitter: int = 0,
    restore_original_options: bool = False,
) -> None:
    """Count attempts from 1 again, beginning with the one that waits, or else with the next."""
    if _seen(turn, request_id, _RESET):
        return
    attempt = turn.state.attempt
    if not turn.record.running:
        raise FailedPrecondition("activity execution is not running")
    if attempt.cancel_requested:
        raise FailedPrecondition("cannot reset an activity with a pending cancellation")
    if attempt.reset:
        raise FailedPrecondition("cannot reset an activity with a pending reset")
    was_paused = attempt.paused
    if restore_original_options:
        attempt = _restored(turn, attempt)
    attempt = (unpaused(attempt) if attempt.paused and not keep_paused else attempt).replace(attempt=1)
    _remember(turn, request_id, _RESET)
    if attempt.started_at:
        attempt.reset = True
        attempt.reset_heartbeat = reset_heartbeat
        turn.put(attempt)
    else:
        if reset_heartbeat:
            forget_heartbeat(attempt)
        if attempt.paused:
            turn.put(attempt)
        else:
            _schedule(turn, attempt, jitter)
    if was_paused != attempt.paused:
        turn.paused()
    if restore_original_options:
        turn.show()  # lists show when it begins


def update_options(
    turn: ActivityTurn, *, request_id: str, wanted: ActivityOptions, paths: Iterable[str] | None
) -> ActivityOptions:
    """Take over what `paths` name (None: the options of the start are wanted back); the resulting options."""
    attempt = turn.state.attempt
    if _seen(turn, request_id, _UPDATED):
        return _options(turn, attempt)
    if not turn.record.running:
        raise FailedPrecondition("activity execution is not running")
    if paths is None:
        attempt = _restored(turn, attempt)
    else:
        attempt = _updated(turn, attempt, wanted, list(paths))
    _remember(turn, request_id, _UPDATED)
    if attempt.started_at or attempt.paused:
        turn.put(attempt)
    else:
        _offer(turn, attempt)
    turn.show()  # lists show when it begins
    return _options(turn, attempt)


def _updated(turn: ActivityTurn, attempt: Activity, wanted: ActivityOptions, paths: list[str]) -> Activity:
    state = turn.state
    original = _options(turn, attempt).SerializeToString(deterministic=True)
    delay = state.start_delay
    if "start_delay" in paths:
        if attempt.attempt > 1 or attempt.started_at or attempt.offered:
            raise FailedPrecondition(
                "cannot update start_delay: the first activity attempt has already been dispatched"
            )
        delay = valid_timeout("StartDelay", wanted.start_delay)
        paths = [path for path in paths if path != "start_delay"]
    options = options_of(attempt)
    merge_options(options, wanted, paths)
    attempt = with_options(attempt, options, turn.limits)
    _delay(turn, attempt, delay)
    state.original = state.original or original
    _rewrite_answer(turn, attempt)
    return attempt


def _restored(turn: ActivityTurn, attempt: Activity) -> Activity:
    state = turn.state
    if not state.original:
        return attempt
    options = ActivityOptions.FromString(state.original)
    attempt = with_options(attempt, options, turn.limits)
    if attempt.attempt == 1 and not attempt.started_at and not attempt.offered:
        _delay(turn, attempt, duration_us(options.start_delay))
    state.original = b""
    _rewrite_answer(turn, attempt)
    return attempt


def _delay(turn: ActivityTurn, attempt: Activity, delay: int) -> None:
    """Have the first attempt wait so long from the start. `attempt` is filled in place."""
    state = turn.state
    if delay != state.start_delay:
        state.start_delay = delay
        attempt.scheduled_at = attempt.attempt_scheduled_at = later(turn.record.started_at, delay)


def _options(turn: ActivityTurn, attempt: Activity) -> ActivityOptions:
    options = ActivityOptions()
    fill_options(attempt, options)
    if turn.state.start_delay:
        set_duration(options.start_delay, turn.state.start_delay)
    return options


def _rewrite_answer(turn: ActivityTurn, attempt: Activity) -> None:
    """Workers are given the options in force."""
    answer = PollActivityTaskQueueResponse.FromString(item(turn.record, START))
    options = options_of(attempt)
    answer.schedule_to_close_timeout.CopyFrom(options.schedule_to_close_timeout)
    answer.start_to_close_timeout.CopyFrom(options.start_to_close_timeout)
    answer.heartbeat_timeout.CopyFrom(options.heartbeat_timeout)
    answer.retry_policy.CopyFrom(options.retry_policy)
    answer.ClearField("priority")
    if options.HasField("priority"):
        answer.priority.CopyFrom(options.priority)
    turn.put_item(START, "", answer.SerializeToString(deterministic=True))


def _schedule(turn: ActivityTurn, attempt: Activity, jitter: int) -> None:
    """Give the attempt out at a moment within `jitter` from now. `attempt` may be filled in place."""
    attempt.attempt_scheduled_at = later(turn.now, int(jitter * turn.entropy.jitter()) if jitter else 0)
    _offer(turn, attempt)


def _offer(turn: ActivityTurn, attempt: Activity) -> None:
    """Have it given out when its time has come, under a new stamp. `attempt` may be filled in place."""
    attempt.stamp = turn.next_stamp()
    attempt.offered = attempt.attempt_scheduled_at <= turn.now
    turn.put(attempt)
    if attempt.offered:
        turn.offer()


def _seen(turn: ActivityTurn, request_id: str, what: int) -> bool:
    return bool(request_id) and turn.record.request_ids.get(request_id, (0, 0))[0] == what


def _remember(turn: ActivityTurn, request_id: str, what: int) -> None:
    if request_id:
        turn.remember_request(request_id, what)
