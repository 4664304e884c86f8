"""What operators do to pending activities: pause, unpause, reset (reference: engine 4.7).

None of it is in the history, and the workflow does not hear of it. An attempt that a worker runs goes on; it learns of
pause and reset by its heartbeat. One that waits is taken back: its task is dead by a new stamp.
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.workflow.v1 import PendingActivityInfo

from perdure.engine.activities import arm
from perdure.engine.effects import OfferActivityTask
from perdure.engine.items import Activity
from perdure.engine.pause_info import note_pauses
from perdure.engine.state import ACTIVITY
from perdure.engine.times import later, set_timestamp
from perdure.engine.turn import Turn
from perdure.errors import FailedPrecondition, NotFound


@dataclass(frozen=True, slots=True)
class Target:
    """Which pending activities are meant: the one of that ID, those of that type, or, without either, all."""

    activity_id: str = ""
    activity_type: str = ""


def select(turn: Turn, target: Target) -> list[Activity]:
    """In order of their scheduling. Raises NotFound: run closed, or none is pending that is meant."""
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    if target.activity_id:
        scheduled = run.activity_ids.get(target.activity_id)
        found = [] if scheduled is None else [run.activities[scheduled]]
    else:
        wanted = target.activity_type
        found = [activity for activity in run.activities.values() if not wanted or activity.activity_type == wanted]
    if not found:
        raise NotFound("Can't find pending activity with such ID. Invalid activityID or activity already completed")
    return found


def pause_activities(turn: Turn, target: Target, *, identity: str, reason: str, request_id: str) -> None:
    """Hold them back from their next attempt. Raises FailedPrecondition when one is paused by another request."""
    found = select(turn, target)
    if any(activity.paused and activity.pause_request_id != request_id for activity in found):
        raise FailedPrecondition("activity is already paused")
    info = PendingActivityInfo.PauseInfo()
    set_timestamp(info.pause_time, turn.now)
    info.manual.identity = identity
    info.manual.reason = reason
    for activity in found:
        if activity.paused:
            continue
        activity = activity.replace(
            paused=True, pause_info=info.SerializeToString(deterministic=True), pause_request_id=request_id
        )
        if not activity.started_at:
            activity.stamp = turn.next_stamp()
            activity.offered = False
        put(turn, activity)
    note_pauses(turn)


def unpause_activities(
    turn: Turn, target: Target, *, reset_attempts: bool = False, reset_heartbeat: bool = False, jitter: int = 0
) -> None:
    """Those that are paused go on: an attempt that waits is given out within `jitter` (microseconds) from now."""
    for activity in select(turn, target):
        if not activity.paused:
            continue
        activity = unpaused(activity)
        if reset_attempts:
            activity.attempt = 1
        if reset_heartbeat:
            forget_heartbeat(activity)
        if activity.started_at:
            put(turn, activity)
        else:
            schedule(turn, activity, jitter)
    note_pauses(turn)


def reset_activities(
    turn: Turn,
    target: Target,
    *,
    reset_heartbeat: bool = False,
    keep_paused: bool = False,
    jitter: int = 0,
    restore_original_options: bool = False,
) -> None:
    """Count their attempts from 1 again. One that waits is given out within `jitter` from now; one that runs may end
    well, and if it does not, its next attempt is the first. Raises Needs."""
    from perdure.engine.activity_options import restored  # options are put in force by functions of this module

    found = select(turn, target)
    if restore_original_options:
        found = [restored(turn, activity) for activity in found]
    for activity in found:
        activity = (unpaused(activity) if activity.paused and not keep_paused else activity).replace(attempt=1)
        if activity.started_at:
            activity.reset = True
            activity.reset_heartbeat = reset_heartbeat
            put(turn, activity)
            continue
        if reset_heartbeat:
            forget_heartbeat(activity)
        if activity.paused:
            put(turn, activity)
        else:
            schedule(turn, activity, jitter)
    note_pauses(turn)


def unpaused(activity: Activity) -> Activity:
    """A copy that is not paused."""
    copy: Activity = activity.replace(paused=False, pause_info=b"", pause_request_id="")
    return copy


def forget_heartbeat(activity: Activity) -> None:
    activity.heartbeat_details = b""
    activity.heartbeat_at = 0


def schedule(turn: Turn, activity: Activity, jitter: int) -> None:
    """Give the attempt that waits out at a moment within `jitter` from now. `activity` may be filled in place."""
    activity.attempt_scheduled_at = later(turn.now, int(jitter * turn.entropy.jitter()) if jitter else 0)
    offer(turn, activity)


def offer(turn: Turn, activity: Activity) -> None:
    """Have the attempt given out when its time has come, under a new stamp. `activity` may be filled in place."""
    activity.stamp = turn.next_stamp()
    activity.offered = activity.attempt_scheduled_at <= turn.now and not turn.run.paused
    put(turn, activity)
    if activity.offered:
        turn.effect(OfferActivityTask(turn.run, activity.scheduled_event_id))


def put(turn: Turn, activity: Activity) -> None:
    turn.run.activities[activity.scheduled_event_id] = activity
    turn.dirty(ACTIVITY, activity.scheduled_event_id)
    arm(turn.run, activity)
