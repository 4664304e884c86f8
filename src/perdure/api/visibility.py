"""Lists and counts of workflow executions: filters parsed here, answered by the store, behind all that was promised.

Source: temporal/api/workflowservice/v1/request_response.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.filter.v1 import StartTimeFilter, WorkflowExecutionFilter, WorkflowTypeFilter
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    GetSearchAttributesRequest,
    GetSearchAttributesResponse,
    ListArchivedWorkflowExecutionsRequest,
    ListClosedWorkflowExecutionsRequest,
    ListClosedWorkflowExecutionsResponse,
    ListOpenWorkflowExecutionsRequest,
    ListOpenWorkflowExecutionsResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
    ScanWorkflowExecutionsRequest,
    ScanWorkflowExecutionsResponse,
)

from perdure.api import lists
from perdure.api.call import Call, Reply
from perdure.engine.times import set_duration, set_timestamp, timestamp_us
from perdure.enums import WorkflowExecutionStatus
from perdure.errors import InvalidArgument
from perdure.runtime.namespaces import Namespace
from perdure.storage.store import VisibilityWrite
from perdure.visibility.attributes import DATETIME, KEYWORD, PREDEFINED, SYSTEM
from perdure.visibility.query import And, Compare, Condition, IsNull, Not, Query
from perdure.visibility.vocabulary import WORKFLOWS

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

MAX_ARCHIVED_PAGE: Final = 10_000

_RUNNING: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)

ListResponse = (
    ListWorkflowExecutionsResponse
    | ScanWorkflowExecutionsResponse
    | ListOpenWorkflowExecutionsResponse
    | ListClosedWorkflowExecutionsResponse
)


class VisibilityHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListWorkflowExecutions(self, request: ListWorkflowExecutionsRequest, call: Call) -> Reply:
        return await self._list(request, ListWorkflowExecutionsResponse())

    async def ScanWorkflowExecutions(self, request: ScanWorkflowExecutionsRequest, call: Call) -> Reply:
        return await self._list(request, ScanWorkflowExecutionsResponse())

    async def ListOpenWorkflowExecutions(self, request: ListOpenWorkflowExecutionsRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        conditions: list[Condition] = [IsNull("CloseTime")]
        conditions += _within(request.start_time_filter, "StartTime")
        conditions += _execution_or_type(request)
        reply = ListOpenWorkflowExecutionsResponse()
        return await self._page(namespace, _all(conditions), request.maximum_page_size, request.next_page_token, reply)

    async def ListClosedWorkflowExecutions(self, request: ListClosedWorkflowExecutionsRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        conditions: list[Condition] = [Not(IsNull("CloseTime"))]
        conditions += _within(request.start_time_filter, "CloseTime")
        conditions += _execution_or_type(request)
        if request.HasField("status_filter"):
            status = int(request.status_filter.status)
            if status in (0, _RUNNING):
                raise InvalidArgument("StatusFilter must be specified and must be not Running.")
            conditions.append(Compare("ExecutionStatus", "=", status))
        reply = ListClosedWorkflowExecutionsResponse()
        return await self._page(namespace, _all(conditions), request.maximum_page_size, request.next_page_token, reply)

    def ListArchivedWorkflowExecutions(self, request: ListArchivedWorkflowExecutionsRequest, call: Call) -> Reply:
        """Nothing is archived here: refused in the words of a reference server that archives nothing."""
        self._runtime.namespaces.active(request.namespace)
        if request.page_size > MAX_ARCHIVED_PAGE:
            raise InvalidArgument(f"PageSize is larger than allowed {MAX_ARCHIVED_PAGE}.")
        raise InvalidArgument("Cluster is not configured for visibility archival.")

    async def CountWorkflowExecutions(self, request: CountWorkflowExecutionsRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        reply = CountWorkflowExecutionsResponse()
        await lists.count(self._runtime, namespace, WORKFLOWS, request.query, reply)
        return reply

    def GetSearchAttributes(self, request: GetSearchAttributesRequest, call: Call) -> Reply:
        """Of all namespaces together: the request names none."""
        reply = GetSearchAttributesResponse()
        for attributes in (
            *(namespace.search_attributes for namespace in self._runtime.namespaces),
            PREDEFINED,
            SYSTEM,
        ):
            for name, kind in attributes.items():
                reply.keys[name] = kind  # type: ignore[assignment]  # the number of an enum value
        return reply

    async def _list(
        self, request: ListWorkflowExecutionsRequest | ScanWorkflowExecutionsRequest, reply: ListResponse
    ) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        query = await lists.parsed_filter(namespace, WORKFLOWS, request.query)
        return await self._page(namespace, query, request.page_size, request.next_page_token, reply)

    async def _page(
        self, namespace: Namespace, query: Query, page_size: int, token: bytes, reply: ListResponse
    ) -> Reply:
        rows, reply.next_page_token = await lists.page_of(self._runtime, namespace, query, page_size, token)
        for row in rows:
            _fill_info(reply.executions.add(), row, namespace)
        return reply


# ---- the older lists' filters
def _all(conditions: list[Condition]) -> Query:
    types = {"ExecutionStatus": KEYWORD, "StartTime": DATETIME, "CloseTime": DATETIME}
    types |= {"WorkflowId": KEYWORD, "RunId": KEYWORD, "WorkflowType": KEYWORD}
    return Query(And(tuple(conditions)), types)


def _within(times: StartTimeFilter, attribute: str) -> list[Condition]:
    earliest = timestamp_us(times.earliest_time) if times.HasField("earliest_time") else None
    latest = timestamp_us(times.latest_time) if times.HasField("latest_time") else None
    if earliest is not None and latest is not None and earliest > latest:
        raise InvalidArgument("EarliestTime in StartTimeFilter should not be larger than LatestTime.")
    conditions: list[Condition] = []
    if earliest is not None:
        conditions.append(Compare(attribute, ">=", earliest))
    if latest is not None:
        conditions.append(Compare(attribute, "<=", latest))
    return conditions


def _execution_or_type(
    request: ListOpenWorkflowExecutionsRequest | ListClosedWorkflowExecutionsRequest,
) -> list[Condition]:
    if request.HasField("execution_filter"):
        return _of_execution(request.execution_filter)
    if request.HasField("type_filter"):
        return _of_type(request.type_filter)
    return []


def _of_execution(wanted: WorkflowExecutionFilter) -> list[Condition]:
    conditions: list[Condition] = [Compare("WorkflowId", "=", wanted.workflow_id)]
    if wanted.run_id:
        conditions.append(Compare("RunId", "=", wanted.run_id))
    return conditions


def _of_type(wanted: WorkflowTypeFilter) -> list[Condition]:
    return [Compare("WorkflowType", "=", wanted.name)]


# ---- rows
def _fill_info(info: WorkflowExecutionInfo, row: VisibilityWrite, namespace: Namespace) -> None:
    _fill_execution(info.execution, row.workflow_id, row.run_id)
    info.type.name = row.workflow_type
    set_timestamp(info.start_time, row.start_time)
    set_timestamp(info.execution_time, row.execution_time)
    info.status = row.status  # type: ignore[assignment]  # the number of an enum value
    info.task_queue = row.task_queue
    if row.close_time is not None:
        set_timestamp(info.close_time, row.close_time)
        set_duration(info.execution_duration, row.close_time - row.execution_time)
        info.history_length = row.history_length
        info.history_size_bytes = row.history_size
        info.state_transition_count = row.state_transitions
    if row.parent_workflow_id:
        _fill_execution(info.parent_execution, row.parent_workflow_id, row.parent_run_id)
    _fill_execution(info.root_execution, row.root_workflow_id, row.root_run_id)
    info.memo.ParseFromString(row.memo)
    info.memo.SetInParent()
    if row.search_attributes:
        lists.fill_search_attributes(info.search_attributes, row, namespace)


def _fill_execution(execution: WorkflowExecution, workflow_id: str, run_id: str) -> None:
    execution.workflow_id = workflow_id
    execution.run_id = run_id
