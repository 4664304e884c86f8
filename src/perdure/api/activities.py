"""The activity worker's side: poll for activity tasks, heartbeat, answer; by token, or by the activity's ID.

Source: temporal/api/workflowservice/v1/request_response.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
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

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import (
    check_identity,
    check_poll_deadline,
    check_run_id,
    check_task_queue,
    check_workflow_id,
)
from perdure.api.standalone_answers import answer_standalone, filled, standalone_enabled
from perdure.api.workflow_tasks import worker_version
from perdure.engine.activities import (
    cancel_activity,
    complete_activity,
    fail_activity,
    record_heartbeat,
)
from perdure.engine.tokens import ACTIVITY_TASK, TaskToken
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import Poller
from perdure.errors import InvalidArgument
from perdure.runtime.polls import ACTIVITY_QUEUE

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

Answer = (
    RecordActivityTaskHeartbeatRequest
    | RespondActivityTaskCompletedRequest
    | RespondActivityTaskFailedRequest
    | RespondActivityTaskCanceledRequest
)
AnswerById = (
    RecordActivityTaskHeartbeatByIdRequest
    | RespondActivityTaskCompletedByIdRequest
    | RespondActivityTaskFailedByIdRequest
    | RespondActivityTaskCanceledByIdRequest
)


_COMPLETED = RespondActivityTaskCompletedResponse().SerializeToString()


class ActivityHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def PollActivityTaskQueue(self, request: PollActivityTaskQueueRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        check_poll_deadline(call, runtime.monotonic)
        task_queue = request.task_queue
        name = check_task_queue(task_queue, request.HasField("task_queue"), runtime.limits)
        check_identity(request.identity, runtime.limits)
        rate: float | None = None
        if request.HasField("task_queue_metadata"):
            metadata = request.task_queue_metadata
            if metadata.HasField("max_tasks_per_second") and isfinite(metadata.max_tasks_per_second.value):
                rate = metadata.max_tasks_per_second.value  # no number and infinity limit nothing
        poller = Poller()
        poller.identity = request.identity
        poller.queue = name
        poller.worker_version = worker_version(request)
        return runtime.dispatch.poll(
            (namespace.id, name, ACTIVITY_QUEUE),
            poller,
            call,
            worker_instance_key=request.worker_instance_key,
            rate=rate,
        )

    # ---- by token
    def RecordActivityTaskHeartbeat(self, request: RecordActivityTaskHeartbeatRequest, call: Call) -> Reply | Pending:
        def beat(turn: Turn, token: TaskToken) -> Reply:
            return filled(RecordActivityTaskHeartbeatResponse(), record_heartbeat(turn, token, request))

        return self._by_token(request, call, beat)

    def RespondActivityTaskCompleted(self, request: RespondActivityTaskCompletedRequest, call: Call) -> Reply | Pending:
        def complete(turn: Turn, token: TaskToken) -> Reply:
            complete_activity(turn, token, request)
            return _COMPLETED

        return self._by_token(request, call, complete)

    def RespondActivityTaskFailed(self, request: RespondActivityTaskFailedRequest, call: Call) -> Reply | Pending:
        def fail(turn: Turn, token: TaskToken) -> Reply:
            reply = RespondActivityTaskFailedResponse()
            reply.failures.extend(fail_activity(turn, token, request))
            return reply

        return self._by_token(request, call, fail)

    def RespondActivityTaskCanceled(self, request: RespondActivityTaskCanceledRequest, call: Call) -> Reply | Pending:
        def cancel(turn: Turn, token: TaskToken) -> Reply:
            cancel_activity(turn, token, request)
            return RespondActivityTaskCanceledResponse()

        return self._by_token(request, call, cancel)

    # ---- by ID
    def RecordActivityTaskHeartbeatById(
        self, request: RecordActivityTaskHeartbeatByIdRequest, call: Call
    ) -> Reply | Pending:
        def beat(turn: Turn) -> Reply:
            heartbeat = record_heartbeat(turn, request.activity_id, request)
            return filled(RecordActivityTaskHeartbeatByIdResponse(), heartbeat)

        return self._by_id(request, call, beat)

    def RespondActivityTaskCompletedById(
        self, request: RespondActivityTaskCompletedByIdRequest, call: Call
    ) -> Reply | Pending:
        def complete(turn: Turn) -> Reply:
            complete_activity(turn, request.activity_id, request)
            return RespondActivityTaskCompletedByIdResponse()

        return self._by_id(request, call, complete)

    def RespondActivityTaskFailedById(
        self, request: RespondActivityTaskFailedByIdRequest, call: Call
    ) -> Reply | Pending:
        def fail(turn: Turn) -> Reply:
            reply = RespondActivityTaskFailedByIdResponse()
            reply.failures.extend(fail_activity(turn, request.activity_id, request))
            return reply

        return self._by_id(request, call, fail)

    def RespondActivityTaskCanceledById(
        self, request: RespondActivityTaskCanceledByIdRequest, call: Call
    ) -> Reply | Pending:
        def cancel(turn: Turn) -> Reply:
            cancel_activity(turn, request.activity_id, request)
            return RespondActivityTaskCanceledByIdResponse()

        return self._by_id(request, call, cancel)

    # ----
    def _by_token(self, request: Answer, call: Call, decide: Callable[[Turn, TaskToken], Reply]) -> Pending:
        runtime = self._runtime
        namespace, token = runtime.namespaces.of_task(request.task_token, request.namespace, ACTIVITY_TASK)
        check_identity(request.identity, runtime.limits)
        if not token.scheduled_event_id:
            answer_standalone(runtime, namespace, token.execution_id, token.run_id, token, request, call)
            return PENDING
        runtime.decide(namespace, token.execution_id, token.run_id, lambda turn: decide(turn, token), call)
        return PENDING

    def _by_id(self, request: AnswerById, call: Call, decide: Callable[[Turn], Reply]) -> Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if not request.activity_id:
            raise InvalidArgument("ActivityId is not set on request.")
        check_run_id(request.run_id)
        check_identity(request.identity, runtime.limits)
        if not standalone_enabled(runtime):
            check_workflow_id(request.workflow_id)
        elif not request.workflow_id:
            answer_standalone(
                runtime, namespace, request.activity_id, request.run_id, request.activity_id, request, call
            )
            return PENDING
        runtime.decide(namespace, request.workflow_id, request.run_id, decide, call)
        return PENDING
