"""Attempts of a standalone activity, as workers see them: started, beating, ended; and what time does to them
(reference: advanced 7.2)."""

from __future__ import annotations

from typing import Final

from temporalio.api.activity.v1 import ActivityExecutionOutcome
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
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
from perdure.engine.activities import Heartbeat, StartedActivity, Which
from perdure.engine.activity_deadlines import DISPATCH, deadlines
from perdure.engine.activity_retry import evaluate, following
from perdure.engine.items import Activity
from perdure.engine.record import Record
from perdure.engine.stale import Stale
from perdure.engine.standalone.state import (
    CANCELED,
    COMPLETED,
    FAILED,
    START,
    TIMED_OUT,
    ActivityExecution,
    ActivityTurn,
    item,
)
from perdure.engine.times import later
from perdure.engine.tokens import ACTIVITY_TASK, TaskToken
from perdure.engine.workflow_tasks import Poller
from perdure.errors import InvalidArgument, NotFound

NOT_FOUND: Final = "activity task not found"


# ---- attempts start
def start_task(turn: ActivityTurn, stamp: int, poller: Poller) -> StartedActivity:
    """Hand the waiting attempt to a poller. Raises Stale when that very dispatch is not waiting any more."""
    record = turn.record
    attempt = turn.state.attempt
    if not record.running or attempt.stamp != stamp or attempt.started_at or attempt.paused:
        raise Stale
    attempt = attempts.started(attempt, poller, turn.now)
    turn.put(attempt)
    token = token_of(record, attempt).encode()
    answer = attempts.poll_answer(item(record, START), attempt, token)
    return StartedActivity(answer, token, 0, attempt.attempt, stamp)


def token_of(record: Record, attempt: Activity) -> TaskToken:
    return TaskToken(
        record.namespace_id,
        record.execution_id,
        record.run_id,
        ACTIVITY_TASK,
        0,
        0,
        attempt.attempt,
        attempt.stamp,
        attempt.started_at,
    )


def reissue_task(turn: ActivityTurn, token: TaskToken) -> None:
    """The poller of that token went away before a byte of its answer left: offer the same attempt again, as never
    started."""
    attempt = turn.state.attempt
    if not turn.record.running or not attempt.started_at or attempt.stamp != token.stamp:
        return
    attempt = attempts.never_started(attempt, turn.next_stamp(), offered=not attempt.paused)
    turn.put(attempt)
    if attempt.offered:
        turn.offer()


# ---- attempts beat and end
def find(turn: ActivityTurn, which: Which, *, started: bool = True) -> Activity:
    """The present attempt. Raises NotFound: closed, another attempt, or (unless `started` is False) not started."""
    attempt = turn.state.attempt
    if (
        not turn.record.running
        or (isinstance(which, TaskToken) and which.stamp != attempt.stamp)
        or (started and not attempt.started_at)
    ):
        raise NotFound(NOT_FOUND)
    return attempt


def record_heartbeat(
    turn: ActivityTurn,
    which: Which,
    request: RecordActivityTaskHeartbeatRequest | RecordActivityTaskHeartbeatByIdRequest,
) -> Heartbeat:
    attempt = find(turn, which)
    if request.details.ByteSize() > turn.limits.blob_size:
        failure = failures.server_failure("Heartbeat details exceed size limit.", non_retryable=True)
        _end_failed(turn, attempt, failure, request.identity)
        return Heartbeat(cancel_requested=True)
    attempt = attempts.beaten(attempt, request, turn.now)
    turn.state.heartbeats += 1
    turn.put(attempt)
    return Heartbeat(attempt.cancel_requested, attempt.paused, attempt.reset)


def complete(
    turn: ActivityTurn,
    which: Which,
    request: RespondActivityTaskCompletedRequest | RespondActivityTaskCompletedByIdRequest,
) -> None:
    """By ID, also one that no worker has taken can be completed."""
    attempt = find(turn, which, started=not isinstance(which, str))
    if request.result.ByteSize() > turn.limits.blob_size:
        failure = failures.server_failure("Complete result exceeds size limit.", non_retryable=True)
        _end_failed(turn, attempt, failure, request.identity)
        return
    outcome = ActivityExecutionOutcome()
    outcome.result.SetInParent()
    if request.HasField("result"):
        outcome.result.CopyFrom(request.result)
    _close(turn, attempt, COMPLETED, outcome, request.identity)


def fail(
    turn: ActivityTurn, which: Which, request: RespondActivityTaskFailedRequest | RespondActivityTaskFailedByIdRequest
) -> list[Failure]:
    """Retry the attempt or close the activity. Returns what the worker is told about its oversized report."""
    failure = attempts.reported_failure(request)
    attempt = find(turn, which)
    attempt, failure, told = attempts.take_report(attempt, failure, request, turn.limits.blob_size, turn.now)
    _end_failed(turn, attempt, failure, request.identity)
    return told


def cancel(
    turn: ActivityTurn,
    which: Which,
    request: RespondActivityTaskCanceledRequest | RespondActivityTaskCanceledByIdRequest,
) -> None:
    """The worker stopped because it was asked to. Raises InvalidArgument when nobody asked."""
    attempt = find(turn, which)
    if request.details.ByteSize() > turn.limits.blob_size:
        failure = failures.server_failure("Cancel details exceed size limit.", non_retryable=True)
        _end_failed(turn, attempt, failure, request.identity)
        return
    if not attempt.cancel_requested:
        raise InvalidArgument("unable to mark activity as canceled without activity being request canceled first")
    close_canceled(turn, attempt, request.details if request.HasField("details") else None, request.identity)


def close_canceled(turn: ActivityTurn, attempt: Activity, details: Payloads | None, identity: str) -> None:
    outcome = ActivityExecutionOutcome()
    outcome.failure.message = "Activity canceled"
    info = outcome.failure.canceled_failure_info
    info.identity = identity
    if details is not None:
        info.details.CopyFrom(details)
    _close(turn, attempt, CANCELED, outcome, identity)


def _end_failed(turn: ActivityTurn, attempt: Activity, failure: Failure | None, identity: str) -> None:
    """An attempt failed: another one follows, or the activity fails."""
    retry_state = _retry(turn, attempt, failure, completed_at=turn.now)
    if retry_state == failures.IN_PROGRESS:
        return
    outcome = ActivityExecutionOutcome()
    outcome.failure.SetInParent()
    if failure is not None:
        outcome.failure.CopyFrom(failure)
    outcome.retry_state = retry_state  # type: ignore[assignment] # an int of that enum
    _close(turn, attempt, FAILED, outcome, identity)


def _retry(turn: ActivityTurn, attempt: Activity, failure: Failure | None, *, completed_at: int = 0) -> int:
    """The RetryState; when it is IN_PROGRESS, the next attempt waits, else nothing was written."""
    retry_state, delay = evaluate(attempt, failure, turn.now)
    if retry_state == failures.IN_PROGRESS:
        held = attempt.paused
        turn.put(following(attempt, failure, later(turn.now, delay), turn.next_stamp(), turn.limits, completed_at))
        if held:
            turn.paused()
    return retry_state


def _close(
    turn: ActivityTurn, attempt: Activity, status: int, outcome: ActivityExecutionOutcome, identity: str
) -> None:
    attempt = attempt.replace(last_attempt_completed_at=turn.now)
    if identity:
        attempt.last_worker_identity = identity
    turn.state.attempt = attempt
    turn.end(status, outcome.SerializeToString(deterministic=True))


# ---- time
def next_deadline(record: Record) -> int:
    if not record.running:
        return 0
    state: ActivityExecution = record.state
    armed = deadlines(state.attempt)
    return min(armed)[0] if armed else 0


def wake(turn: ActivityTurn) -> bool:
    """Carry out what is due earliest. False when nothing is."""
    record = turn.record
    if not record.running:
        return False
    attempt = turn.state.attempt
    armed = deadlines(attempt)
    if not armed:
        return False
    due, what = min(armed)
    if due > turn.now:
        return False
    if what == DISPATCH:
        turn.put(attempt.replace(offered=True))
        turn.offer()
    else:
        _time_out(turn, attempt, what)
    return True


def _time_out(turn: ActivityTurn, attempt: Activity, timeout_type: int) -> None:
    failure = failures.timeout_failure(f"activity {failures.TIMEOUT_NAMES[timeout_type]} timeout", timeout_type)
    retry_state = _retry(turn, attempt, failure)
    if retry_state == failures.IN_PROGRESS:
        return
    if attempt.last_failure:
        failure.cause.MergeFromString(attempt.last_failure)
    if attempt.heartbeat_details:
        failure.timeout_failure_info.last_heartbeat_details.MergeFromString(attempt.heartbeat_details)
    outcome = ActivityExecutionOutcome()
    outcome.failure.CopyFrom(failure)
    outcome.retry_state = retry_state  # type: ignore[assignment] # an int of that enum
    _close(turn, attempt, TIMED_OUT, outcome, "")
