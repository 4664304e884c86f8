"""The workflow worker's side: poll for workflow tasks, answer them.

Source: temporal/api/workflowservice/v1/request_response.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkerVersionStamp
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    ResetStickyTaskQueueRequest,
    ResetStickyTaskQueueResponse,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    RespondWorkflowTaskFailedResponse,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_execution, check_identity, check_poll_deadline, check_task_queue
from perdure.engine.failing import fail_workflow_task
from perdure.engine.tokens import WORKFLOW_TASK
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import Poller, reset_sticky
from perdure.enums import TaskQueueKind
from perdure.errors import FailedPrecondition, InvalidArgument
from perdure.runtime.completions import complete_workflow_task
from perdure.runtime.polls import WORKFLOW_QUEUE

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_STICKY = TaskQueueKind.TASK_QUEUE_KIND_STICKY


class WorkflowTaskHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def PollWorkflowTaskQueue(self, request: PollWorkflowTaskQueueRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        check_poll_deadline(call, runtime.monotonic)
        check_identity(request.identity, runtime.limits)
        task_queue = request.task_queue
        name = check_task_queue(task_queue, request.HasField("task_queue"), runtime.limits)
        sticky = task_queue.kind == _STICKY
        normal_name = task_queue.normal_name
        if normal_name and not sticky:
            raise InvalidArgument(f"only sticky queues can have normal name. tq: {name}, normal name: {normal_name}")
        build = request.binary_checksum or request.worker_version_capabilities.build_id
        if build in namespace.bad_binaries:
            raise InvalidArgument(f"Binary {build} already marked as bad deployment.")
        poller = Poller()
        poller.identity = request.identity
        poller.queue = name
        poller.sticky = sticky
        poller.worker_version = worker_version(request)
        return runtime.dispatch.poll(
            (namespace.id, name, WORKFLOW_QUEUE),
            poller,
            call,
            normal_name=task_queue.normal_name,
            worker_instance_key=request.worker_instance_key,
        )

    def RespondWorkflowTaskCompleted(self, request: RespondWorkflowTaskCompletedRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace, token = runtime.namespaces.of_task(request.task_token, request.namespace, WORKFLOW_TASK)
        check_identity(request.identity, runtime.limits)
        if request.intermediate_page:
            raise FailedPrecondition(
                f"workflow task completion pagination is disabled for this namespace {namespace.name}"
            )
        complete_workflow_task(runtime, namespace, token, request, call)
        return PENDING

    def RespondWorkflowTaskFailed(self, request: RespondWorkflowTaskFailedRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace, token = runtime.namespaces.of_task(request.task_token, request.namespace, WORKFLOW_TASK)
        check_identity(request.identity, runtime.limits)

        def fail(turn: Turn) -> Reply:
            fail_workflow_task(turn, token, request)
            return RespondWorkflowTaskFailedResponse()

        runtime.decide(namespace, token.execution_id, token.run_id, fail, call)
        return PENDING

    def ResetStickyTaskQueue(self, request: ResetStickyTaskQueueRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.execution
        check_execution(execution, request.HasField("execution"))

        def reset(turn: Turn) -> Reply:
            reset_sticky(turn)
            return ResetStickyTaskQueueResponse()

        runtime.decide(namespace, execution.workflow_id, execution.run_id, reset, call)
        return PENDING


def worker_version(request: PollWorkflowTaskQueueRequest | PollActivityTaskQueueRequest) -> bytes:
    """What a poll says of its worker's build, as the stamp that histories record; empty when it says nothing."""
    if not request.HasField("worker_version_capabilities"):
        return b""
    capabilities = request.worker_version_capabilities
    stamp = WorkerVersionStamp()
    stamp.build_id = capabilities.build_id
    stamp.use_versioning = capabilities.use_versioning
    return stamp.SerializeToString(deterministic=True)
