"""One attempt of an activity, whoever scheduled it: how it is handed out, taken back, and what its worker reports.

Functions of the `Activity` record alone. A workflow's activity (`activities.py`) and a standalone one
(`standalone/attempts.py`) differ in where the record lives and in what its end brings about; what an attempt is, they
share.
"""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatByIdRequest,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskFailedByIdRequest,
    RespondActivityTaskFailedRequest,
)

from perdure.engine import failures
from perdure.engine.items import Activity
from perdure.engine.times import set_timestamp
from perdure.engine.workflow_tasks import Poller
from perdure.errors import InvalidArgument

FailedRequest = RespondActivityTaskFailedRequest | RespondActivityTaskFailedByIdRequest


def started(activity: Activity, poller: Poller, now: int) -> Activity:
    """The attempt in the hands of a poller."""
    taken: Activity = activity.replace(
        started_at=now,
        started_identity=poller.identity,
        last_worker_identity=poller.identity,
        request_id=poller.request_id,
        worker_version=poller.worker_version,
        offered=True,
    )
    return taken


def never_started(activity: Activity, stamp: int, *, offered: bool) -> Activity:
    """The same attempt as if nobody had taken it, under a new stamp, so that the first token is dead."""
    waiting: Activity = activity.replace(
        started_at=0, started_identity="", request_id="", worker_version=b"", stamp=stamp, offered=offered
    )
    return waiting


def poll_answer(fixed: bytes, activity: Activity, token: bytes) -> bytes:
    """The serialised PollActivityTaskQueueResponse of a started attempt; `fixed` is what all attempts share."""
    varying = PollActivityTaskQueueResponse()
    varying.task_token = token
    if activity.heartbeat_details:
        varying.heartbeat_details.MergeFromString(activity.heartbeat_details)
    set_timestamp(varying.current_attempt_scheduled_time, activity.attempt_scheduled_at)
    set_timestamp(varying.started_time, activity.started_at)
    varying.attempt = activity.attempt
    # Two serialised messages one after the other are the serialised merge of both.
    return fixed + varying.SerializeToString(deterministic=True)


def beaten(
    activity: Activity,
    request: RecordActivityTaskHeartbeatRequest | RecordActivityTaskHeartbeatByIdRequest,
    now: int,
) -> Activity:
    """The attempt after a heartbeat."""
    beating: Activity = activity.replace(
        heartbeat_details=request.details.SerializeToString(deterministic=True) if request.HasField("details") else b"",
        heartbeat_at=now,
    )
    if request.identity:
        beating.last_worker_identity = request.identity
    return beating


def reported_failure(request: FailedRequest) -> Failure | None:
    """What the worker says went wrong. Raises InvalidArgument for a failure that no application can have."""
    if not request.HasField("failure"):
        return None
    failure = request.failure
    if not failure.HasField("application_failure_info"):
        raise InvalidArgument("Failure must have ApplicationFailureInfo.")
    failures.check_retry_delays(failure)
    return failure


def take_report(
    activity: Activity, failure: Failure | None, request: FailedRequest, limit: int, now: int
) -> tuple[Activity, Failure | None, list[Failure]]:
    """The attempt with its last heartbeat, the failure cut to `limit` bytes, and what the worker is told about what was
    too large."""
    told = []
    if failure is not None and failure.ByteSize() > limit:
        failure = failures.fitting(failure, limit, non_retryable=True)
        told.append(failure)
    if request.HasField("last_heartbeat_details"):
        if request.last_heartbeat_details.ByteSize() > limit:
            told.append(failures.server_failure("Heartbeat details exceed size limit.", non_retryable=True))
        else:
            activity = activity.replace(
                heartbeat_details=request.last_heartbeat_details.SerializeToString(deterministic=True),
                heartbeat_at=now,
            )
    return activity, failure, told
