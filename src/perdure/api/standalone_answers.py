"""Workers' answers that concern standalone activities: the RPCs are those of workflows' activities, with a token that
says so, or with no workflow's ID beside the activity's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatByIdRequest,
    RecordActivityTaskHeartbeatByIdResponse,
    RecordActivityTaskHeartbeatRequest,
    RecordActivityTaskHeartbeatResponse,
    RespondActivityTaskCanceledByIdRequest,
    RespondActivityTaskCanceledByIdResponse,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCanceledResponse,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedByIdResponse,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskCompletedResponse,
    RespondActivityTaskFailedByIdRequest,
    RespondActivityTaskFailedByIdResponse,
    RespondActivityTaskFailedRequest,
    RespondActivityTaskFailedResponse,
)

from perdure.api.call import Call, Reply
from perdure.api.checks import UUID
from perdure.engine.activities import Heartbeat, Which
from perdure.engine.execution import ACTIVITY
from perdure.engine.record import Record
from perdure.engine.standalone import attempts
from perdure.engine.standalone.state import ActivityTurn
from perdure.engine.turn import Shared
from perdure.errors import InvalidArgument, NotFound
from perdure.runtime.namespaces import Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

ENABLED: Final = "activity.enableStandalone"
"""Dynamic setting; true as in the reference."""

HeartbeatReply = RecordActivityTaskHeartbeatResponse | RecordActivityTaskHeartbeatByIdResponse
Answer = (
    RecordActivityTaskHeartbeatRequest
    | RespondActivityTaskCompletedRequest
    | RespondActivityTaskFailedRequest
    | RespondActivityTaskCanceledRequest
    | RecordActivityTaskHeartbeatByIdRequest
    | RespondActivityTaskCompletedByIdRequest
    | RespondActivityTaskFailedByIdRequest
    | RespondActivityTaskCanceledByIdRequest
)


def standalone_enabled(runtime: Runtime) -> bool:
    return runtime.config.dynamic.bool(ENABLED, True)


class Named(Protocol):
    """A request that names an activity; `run_id` empty: its latest run."""

    @property
    def activity_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...


def found(record: Record | None, request: Named) -> Record:
    if record is None:
        named = f", RunID: {request.run_id}" if request.run_id else ""
        raise NotFound(f"activity not found for ID: {request.activity_id}{named}")
    return record


def check_activity_run_id(run_id: str) -> None:
    if run_id and UUID.fullmatch(run_id) is None:
        raise InvalidArgument("invalid run id: must be a valid UUID")


def answer_standalone(
    runtime: Runtime, namespace: Namespace, activity_id: str, run_id: str, which: Which, request: Answer, call: Call
) -> None:
    def decide(shared: Shared, record: Record | None) -> Reply:
        if record is None:
            raise NotFound(attempts.NOT_FOUND)
        return _decide(ActivityTurn(shared, record), which, request)

    runtime.decide_record(namespace.id, ACTIVITY, activity_id, run_id, decide, call)


def _decide(turn: ActivityTurn, which: Which, request: Answer) -> Reply:
    match request:
        case RecordActivityTaskHeartbeatRequest():
            return filled(RecordActivityTaskHeartbeatResponse(), attempts.record_heartbeat(turn, which, request))
        case RecordActivityTaskHeartbeatByIdRequest():
            return filled(RecordActivityTaskHeartbeatByIdResponse(), attempts.record_heartbeat(turn, which, request))
        case RespondActivityTaskCompletedRequest():
            attempts.complete(turn, which, request)
            return RespondActivityTaskCompletedResponse()
        case RespondActivityTaskCompletedByIdRequest():
            attempts.complete(turn, which, request)
            return RespondActivityTaskCompletedByIdResponse()
        case RespondActivityTaskFailedRequest():
            return RespondActivityTaskFailedResponse(failures=attempts.fail(turn, which, request))
        case RespondActivityTaskFailedByIdRequest():
            return RespondActivityTaskFailedByIdResponse(failures=attempts.fail(turn, which, request))
        case RespondActivityTaskCanceledRequest():
            attempts.cancel(turn, which, request)
            return RespondActivityTaskCanceledResponse()
        case RespondActivityTaskCanceledByIdRequest():
            attempts.cancel(turn, which, request)
            return RespondActivityTaskCanceledByIdResponse()


def filled(reply: HeartbeatReply, heartbeat: Heartbeat) -> HeartbeatReply:
    reply.cancel_requested = heartbeat.cancel_requested
    reply.activity_paused = heartbeat.paused
    reply.activity_reset = heartbeat.reset
    return reply
