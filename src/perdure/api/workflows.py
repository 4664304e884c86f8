"""What clients do to workflow executions: start, signal, cancel, terminate, describe, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Link
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    DeleteWorkflowExecutionResponse,
    DescribeWorkflowExecutionRequest,
    RequestCancelWorkflowExecutionRequest,
    RequestCancelWorkflowExecutionResponse,
    SignalWithStartWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionResponse,
    SignalWorkflowExecutionRequest,
    SignalWorkflowExecutionResponse,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
    TerminateWorkflowExecutionRequest,
    TerminateWorkflowExecutionResponse,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_execution, check_identity
from perdure.api.lists import drop_removed
from perdure.engine.closing import terminate
from perdure.engine.describe import describe
from perdure.engine.execution import Execution
from perdure.engine.framing import field
from perdure.engine.links import validate_links
from perdure.engine.signals import request_cancel, signal_workflow
from perdure.engine.start import StartOutcome, signal_with_start, start_workflow
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.engine.validation import validate_signal, validate_signal_with_start, validate_start
from perdure.engine.workflow_tasks import StartedWorkflowTask
from perdure.enums import EventType
from perdure.runtime.deletion import delete_run
from perdure.runtime.inputs import Outcome
from perdure.runtime.namespaces import Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_EAGER_WORKFLOW_TASK = StartWorkflowExecutionResponse.DESCRIPTOR.fields_by_name["eager_workflow_task"].number

_STARTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
_SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED

TERMINATED_BY_USER = "terminated by user via frontend"
FRONTEND = "frontend-service"


class WorkflowHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    # ---- start
    def StartWorkflowExecution(self, request: StartWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.registered(request.namespace)
        validate_start(request, runtime.limits, namespace.search_attributes, runtime.entropy)

        def start(shared: Shared, current: Run | None) -> Reply | Outcome:
            outcome = start_workflow(shared, current, request)
            reply = start_reply(outcome, namespace, request)
            if outcome.eager is None:
                return reply
            return self._with_task(reply, outcome.eager, call)

        runtime.start_run(namespace, request.workflow_id, start, call)
        return PENDING

    def SignalWithStartWorkflowExecution(
        self, request: SignalWithStartWorkflowExecutionRequest, call: Call
    ) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.registered(request.namespace)
        validate_signal_with_start(request, runtime.limits, namespace.search_attributes, runtime.entropy)

        def start(shared: Shared, current: Run | None) -> Reply:
            outcome = signal_with_start(shared, current, request)
            reply = SignalWithStartWorkflowExecutionResponse()
            reply.run_id = outcome.run_id
            reply.started = outcome.started
            return reply

        runtime.start_run(namespace, request.workflow_id, start, call)
        return PENDING

    def _with_task(self, reply: StartWorkflowExecutionResponse, task: StartedWorkflowTask, call: Call) -> Outcome:
        """The reply that carries the first workflow task, put together once the task's events are durable."""

        def ready(task_answer: bytes) -> None:
            call.finish(reply.SerializeToString() + field(_EAGER_WORKFLOW_TASK, task_answer))

        def committed() -> None:
            self._runtime.histories.workflow_task_answer(task, b"", ready)

        return Outcome(PENDING, committed=committed)

    # ---- tell
    def SignalWorkflowExecution(self, request: SignalWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.workflow_execution
        check_execution(execution, request.HasField("workflow_execution"))
        validate_signal(request, runtime.limits)

        def signal(turn: Turn) -> Reply:
            signal_workflow(
                turn,
                signal_name=request.signal_name,
                input=request.input if request.HasField("input") else None,
                identity=request.identity,
                header=request.header if request.HasField("header") else None,
                request_id=request.request_id,
                links=request.links,
            )
            reply = SignalWorkflowExecutionResponse()
            _link_to_request(
                reply.link, namespace, execution.workflow_id, turn.run.run_id, request.request_id, _SIGNALED
            )
            return reply

        runtime.decide(namespace, execution.workflow_id, execution.run_id, signal, call)
        return PENDING

    def RequestCancelWorkflowExecution(
        self, request: RequestCancelWorkflowExecutionRequest, call: Call
    ) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.workflow_execution
        check_execution(execution, request.HasField("workflow_execution"))
        check_identity(request.identity, runtime.limits)
        validate_links(request.links, runtime.limits)

        def cancel(turn: Turn) -> Reply:
            request_cancel(
                turn,
                reason=request.reason,
                identity=request.identity,
                request_id=request.request_id,
                first_execution_run_id=request.first_execution_run_id,
                links=request.links,
            )
            return RequestCancelWorkflowExecutionResponse()

        run_id = _named_run(execution.run_id, request.first_execution_run_id)
        runtime.decide(namespace, execution.workflow_id, run_id, cancel, call)
        return PENDING

    def TerminateWorkflowExecution(self, request: TerminateWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.workflow_execution
        check_execution(execution, request.HasField("workflow_execution"))
        check_identity(request.identity, runtime.limits)
        validate_links(request.links, runtime.limits)

        def end(turn: Turn) -> Reply:
            terminate(
                turn,
                request.reason or TERMINATED_BY_USER,
                request.details if request.HasField("details") else None,
                request.identity or FRONTEND,
                request.links,
                first_execution_run_id=request.first_execution_run_id,
            )
            return TerminateWorkflowExecutionResponse()

        run_id = _named_run(execution.run_id, request.first_execution_run_id)
        runtime.decide(namespace, execution.workflow_id, run_id, end, call)
        return PENDING

    # ---- look, forget
    def DescribeWorkflowExecution(self, request: DescribeWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.execution
        check_execution(execution, request.HasField("execution"))

        def look(_: Execution, run: Run) -> Reply:
            reply = describe(run, runtime.time.now())
            drop_removed(reply.workflow_execution_info.search_attributes, namespace)
            return reply

        runtime.inspect(namespace, execution.workflow_id, execution.run_id, look, call)
        return PENDING

    def DeleteWorkflowExecution(self, request: DeleteWorkflowExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.workflow_execution
        check_execution(execution, request.HasField("workflow_execution"))
        delete_run(runtime, namespace, execution.workflow_id, execution.run_id, call, DeleteWorkflowExecutionResponse())
        return PENDING


def _named_run(run_id: str, first_execution_run_id: str) -> str:
    """Who names the first run of a chain means its current one, whatever run ID is given beside it."""
    return "" if first_execution_run_id else run_id


def start_reply(
    outcome: StartOutcome, namespace: Namespace, request: StartWorkflowExecutionRequest
) -> StartWorkflowExecutionResponse:
    reply = StartWorkflowExecutionResponse()
    reply.run_id = outcome.run_id
    reply.started = outcome.started
    reply.status = outcome.status  # type: ignore[assignment]  # the number of an enum value
    if outcome.link_request_id:
        _link_to_request(
            reply.link,
            namespace,
            request.workflow_id,
            outcome.run_id,
            outcome.link_request_id,
            outcome.link_event_type,
        )
    else:
        event = reply.link.workflow_event
        event.namespace = namespace.name
        event.workflow_id = request.workflow_id
        event.run_id = outcome.run_id
        event.event_ref.event_id = 1
        event.event_ref.event_type = _STARTED
    return reply


def _link_to_request(
    link: Link, namespace: Namespace, workflow_id: str, run_id: str, request_id: str, event_type: int
) -> None:
    event = link.workflow_event
    event.namespace = namespace.name
    event.workflow_id = workflow_id
    event.run_id = run_id
    event.request_id_ref.request_id = request_id
    event.request_id_ref.event_type = event_type  # type: ignore[assignment]  # the number of an enum value
