"""Queries: a client's question to a workflow, and the worker's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import (
    QueryWorkflowRequest,
    RespondQueryTaskCompletedRequest,
    RespondQueryTaskCompletedResponse,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_execution
from perdure.engine.execution import WORKFLOW
from perdure.engine.tokens import QUERY_TASK
from perdure.enums import QueryRejectCondition
from perdure.errors import InvalidArgument

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_NONE = QueryRejectCondition.QUERY_REJECT_CONDITION_NONE


class QueryHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def QueryWorkflow(self, request: QueryWorkflowRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        execution = request.execution
        check_execution(execution, request.HasField("execution"))
        if not request.HasField("query"):
            raise InvalidArgument("WorkflowQuery is not set on request.")
        query = request.query
        if not query.query_type:
            raise InvalidArgument("QueryType is not set on request.")
        if query.query_args.ByteSize() > runtime.limits.blob_size:
            raise InvalidArgument("Blob data size exceeds limit.")
        if not request.query_reject_condition:
            request.query_reject_condition = _NONE
        runtime.queries.query((namespace.id, WORKFLOW, execution.workflow_id), execution.run_id, request, call)
        return PENDING

    def RespondQueryTaskCompleted(self, request: RespondQueryTaskCompletedRequest, call: Call) -> Reply:
        runtime = self._runtime
        _, token = runtime.namespaces.of_task(request.task_token, request.namespace, QUERY_TASK)
        runtime.queries.complete(token, request)
        return RespondQueryTaskCompletedResponse()
