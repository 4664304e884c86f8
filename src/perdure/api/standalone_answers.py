"""Workers' answers that concern standalone activities: the RPCs are those of workflows' activities, with a token that
says so, or with no workflow's ID beside the activity's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
from perdure.engine.activities import Heartbeat, Which
from perdure.engine.execution import ACTIVITY
from perdure.engine.record import Record
from perdure.engine.standalone import attempts
from perdure.engine.standalone.state import ActivityTurn
from perdure.engine.turn import Shared
from perdure.errors import NotFound
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
