"""Activities, as workers see them: an attempt starts, beats, ends (reference: engine 4.1-4.3, 4.6).

The start of an attempt writes no event: when the activity closes, ActivityTaskStarted (stamped with the real start of
the last attempt) and the close event are written together. Attempts that were retried stay out of the history.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatByIdRequest,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledByIdRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedByIdRequest,
    RespondActivityTaskFailedRequest,
)

from perdure.engine import attempts, failures
from perdure.engine.activity_commands import fixed_answer
from perdure.engine.apply import remove_activity
from perdure.engine.effects import OfferActivityTask
from perdure.engine.items import Activity
from perdure.engine.pause_info import note_pauses
from perdure.engine.stale import Stale
from perdure.engine.state import ACTIVITY, Run
from perdure.engine.times import set_timestamp
from perdure.engine.tokens import ACTIVITY_TASK, TaskToken
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import Poller, schedule_workflow_task
from perdure.enums import EventType
from perdure.errors import InvalidArgument, NotFound

_E = EventType
_STARTED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_STARTED)
_COMPLETED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
_FAILED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_FAILED)
_CANCELED: Final = int(_E.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
_NOT_FOUND: Final = "invalid activityID or activity already timed out or invoking workflow is completed"

Which = TaskToken | str
"""How a worker names an activity: by the token of its task, or by the activity ID."""


class StartedActivity(Struct):
    """`answer` is a complete serialised PollActivityTaskQueueResponse."""

    answer: bytes
    token: bytes
    scheduled_event_id: int
    attempt: int
    stamp: int


class Heartbeat(Struct):
    """What a worker learns when its activity beats."""

    cancel_requested: bool = False
    paused: bool = False
    reset: bool = False


# ---- attempts start
def start_activity_task(turn: Turn, scheduled_event_id: int, stamp: int, poller: Poller) -> StartedActivity:
    """Hand the waiting attempt to a poller. Raises Stale when that very dispatch is not waiting any more, Needs when
    the input is large, so that it must be read back from the Scheduled event."""
    run = turn.run
    activity = run.activities.get(scheduled_event_id)
    if (
        activity is None
        or not run.running
        or activity.stamp != stamp
        or activity.started_at
        or activity.paused
        or run.paused
    ):
        raise Stale
    fixed = activity.answer or fixed_answer(run, turn.stored_event(scheduled_event_id), activity.retry_policy)
    activity = attempts.started(activity, poller, turn.now)
    _put(turn, activity)
    arm(run, activity)
    token = token_of(run, activity).encode()
    answer = attempts.poll_answer(fixed, activity, token)
    return StartedActivity(answer, token, scheduled_event_id, activity.attempt, stamp)


def start_eager_activity(
    turn: Turn, scheduled_event_id: int, identity: str, worker_version: bytes = b""
) -> StartedActivity:
    """Start an activity that this turn scheduled, for the worker that waits for the answer to its completion."""
    activity = turn.run.activities[scheduled_event_id]
    poller = Poller(
        identity=identity, queue=activity.queue, request_id=turn.entropy.uuid(), worker_version=worker_version
    )
    return start_activity_task(turn, scheduled_event_id, activity.stamp, poller)


def token_of(run: Run, activity: Activity) -> TaskToken:
    return TaskToken(
        run.namespace_id,
        run.workflow_id,
        run.run_id,
        ACTIVITY_TASK,
        activity.scheduled_event_id,
        0,
        activity.attempt,
        activity.stamp,
        activity.started_at,
    )


def reissue_activity_task(turn: Turn, token: TaskToken) -> bool:
    """The poller of that token went away before a byte of its answer left: offer the same attempt again, as never
    started. False when the token is not the current one."""
    run = turn.run
    activity = run.activities.get(token.scheduled_event_id)
    if activity is None or not run.running or not activity.started_at or activity.stamp != token.stamp:
        return False
    held = activity.paused or run.paused
    activity = attempts.never_started(activity, turn.next_stamp(), offered=not held)
    _put(turn, activity)
    arm(run, activity)
    if not held:
        turn.effect(OfferActivityTask(run, activity.scheduled_event_id))
    return True


def arm(run: Run, activity: Activity) -> None:
    """Have the run woken for the activity's next deadline."""
    from perdure.engine.activity_deadlines import next_deadline  # deadlines end activities: they import this module

    run.arm(next_deadline(run, activity), activity.scheduled_event_id, ACTIVITY, str(activity.scheduled_event_id))


def _put(turn: Turn, activity: Activity) -> None:
    turn.run.activities[activity.scheduled_event_id] = activity
    turn.dirty(ACTIVITY, activity.scheduled_event_id)


# ---- which activity
def find(turn: Turn, which: Which, *, started: bool = True) -> Activity:
    """Raises NotFound when the run is closed, or nothing pending (and, unless `started` is False, started) is meant."""
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    if isinstance(which, str):
        scheduled_event_id = run.activity_ids.get(which)
        if scheduled_event_id is None:
            raise NotFound(
                f"cannot find pending activity with ActivityID {which}, "
                "check workflow execution history for more details"
            )
        activity = run.activities[scheduled_event_id]
    else:
        found = run.activities.get(which.scheduled_event_id)
        # The stamp alone tells the attempt: a reset counts attempts anew while one runs.
        if found is None or found.stamp != which.stamp:
            raise NotFound(_NOT_FOUND)
        activity = found
    if started and not activity.started_at:
        raise NotFound(_NOT_FOUND)
    return activity


# ---- attempts beat and end
def record_heartbeat(
    turn: Turn, which: Which, request: RecordActivityTaskHeartbeatRequest | RecordActivityTaskHeartbeatByIdRequest
) -> Heartbeat:
    activity = find(turn, which)
    if request.details.ByteSize() > turn.limits.blob_size:
        failure = failures.server_failure("Heartbeat details exceed size limit.", non_retryable=True)
        end_failed(turn, activity, failure, request.identity)
        return Heartbeat(cancel_requested=True)
    activity = attempts.beaten(activity, request, turn.now)
    _put(turn, activity)
    return Heartbeat(activity.cancel_requested, activity.paused, activity.reset)


def complete_activity(
    turn: Turn, which: Which, request: RespondActivityTaskCompletedRequest | RespondActivityTaskCompletedByIdRequest
) -> None:
    """By ID, also an activity that no worker has taken can be completed."""
    activity = find(turn, which, started=not isinstance(which, str))
    if request.result.ByteSize() > turn.limits.blob_size:
        failure = failures.server_failure("Complete result exceeds size limit.", non_retryable=True)
        end_failed(turn, activity, failure, request.identity)
        return
    if not activity.started_at:
        activity = activity.replace(
            started_at=turn.now, started_identity=request.identity, request_id="", worker_version=b""
        )
    event = turn.event(_COMPLETED)
    attributes = event.activity_task_completed_event_attributes
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.identity = request.identity
    if request.HasField("result"):
        attributes.result.CopyFrom(request.result)
    close(turn, activity, event)


def fail_activity(
    turn: Turn, which: Which, request: RespondActivityTaskFailedRequest | RespondActivityTaskFailedByIdRequest
) -> list[Failure]:
    """Retry the attempt or close the activity. Returns what the worker is told about its oversized report."""
    failure = attempts.reported_failure(request)
    activity = find(turn, which)
    activity, failure, told = attempts.take_report(activity, failure, request, turn.limits.blob_size, turn.now)
    end_failed(turn, activity, failure, request.identity)
    return told


def cancel_activity(
    turn: Turn, which: Which, request: RespondActivityTaskCanceledRequest | RespondActivityTaskCanceledByIdRequest
) -> None:
    """The worker stopped its activity because it was asked to. Raises InvalidArgument when nobody asked."""
    activity = find(turn, which)
    if request.details.ByteSize() > turn.limits.blob_size:
        failure = failures.server_failure("Cancel details exceed size limit.", non_retryable=True)
        end_failed(turn, activity, failure, request.identity)
        return
    if not activity.cancel_requested:
        raise InvalidArgument("unable to mark activity as canceled without activity being request canceled first")
    event = turn.event(_CANCELED)
    attributes = event.activity_task_canceled_event_attributes
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.latest_cancel_requested_event_id = activity.cancel_event_id
    attributes.identity = request.identity
    if request.HasField("details"):
        attributes.details.CopyFrom(request.details)
    close(turn, activity, event)


def end_failed(turn: Turn, activity: Activity, failure: Failure | None, identity: str) -> None:
    """An attempt failed: another one follows, or the activity fails."""
    from perdure.engine.activity_retry import retry  # retries come back here to be started

    retry_state = retry(turn, activity, failure, completed_at=turn.now)
    if retry_state == failures.IN_PROGRESS:
        return
    event = turn.event(_FAILED)
    attributes = event.activity_task_failed_event_attributes
    attributes.scheduled_event_id = activity.scheduled_event_id
    attributes.identity = identity
    attributes.retry_state = retry_state  # type: ignore[assignment] # an int of that enum
    if failure is not None:
        attributes.failure.CopyFrom(failure)
    close(turn, activity, event)


def close(turn: Turn, activity: Activity, event: HistoryEvent) -> None:
    """Write the start of the last attempt and the end, and have the workflow hear of it. `activity` may differ from the
    pending one by facts learnt in this turn."""
    if activity.started_at:
        started = turn.event(_STARTED)
        set_timestamp(started.event_time, activity.started_at)
        attributes = started.activity_task_started_event_attributes
        attributes.scheduled_event_id = activity.scheduled_event_id
        attributes.identity = activity.started_identity
        attributes.request_id = activity.request_id
        attributes.attempt = activity.attempt
        if activity.last_failure:
            attributes.last_failure.MergeFromString(activity.last_failure)
        if activity.worker_version:
            attributes.worker_version.MergeFromString(activity.worker_version)
        turn.buffer(started)
    turn.buffer(event)
    remove_activity(turn.run, activity.scheduled_event_id)
    if activity.paused:
        note_pauses(turn)
    schedule_workflow_task(turn)
