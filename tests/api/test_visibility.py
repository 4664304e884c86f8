from __future__ import annotations

import json
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import Memo, SearchAttributes
from temporalio.api.enums.v1 import WorkflowExecutionStatus

from perdure.storage.sqlite import readers
from tests.api.client import NAMESPACE, Api, Refused, complete_workflow, execution, values

COMPLETED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED


async def find(api: Api, query: str = "", **fields: Any) -> list[str]:
    found = await api.ListWorkflowExecutions(
        ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query=query, **fields)
    )
    return [info.execution.workflow_id for info in found.executions]


async def three_orders(api: Api) -> None:
    """order-1 completed, order-2 and order-3 open."""
    await api.start("order-1")
    await api.step(complete_workflow())
    await api.start("order-2")
    await api.start("order-3")


async def test_what_was_just_done_is_listed(api: Api) -> None:
    await three_orders(api)

    assert await find(api) == ["order-3", "order-2", "order-1"]
    assert await find(api, "ExecutionStatus = 'Running'") == ["order-3", "order-2"]


async def test_a_row_shows_all_that_a_list_needs(api: Api) -> None:
    attributes = SearchAttributes()
    attributes.indexed_fields["CustomKeyword"].CopyFrom(values("big").payloads[0])
    memo = Memo()
    memo.fields["note"].CopyFrom(values("fragile").payloads[0])
    run_id = await api.start(search_attributes=attributes, memo=memo)
    await api.step(complete_workflow())

    request = ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query="CustomKeyword = 'big'")
    (info,) = (await api.ListWorkflowExecutions(request)).executions

    assert (info.execution, info.type.name, info.status) == (execution("order-1", run_id), "Order", COMPLETED)
    assert (info.task_queue, info.history_length) == ("orders", 5)
    assert info.root_execution == info.execution
    assert info.memo == memo
    assert json.loads(info.search_attributes.indexed_fields["CustomKeyword"].data) == "big"
    assert info.close_time.ToMicroseconds() - info.execution_time.ToMicroseconds() == (
        info.execution_duration.ToMicroseconds()
    )


async def test_what_the_server_sets_itself_can_be_filtered_by(api: Api) -> None:
    await api.start()
    await api.step(complete_workflow())

    assert await find(api, "BuildIds = 'unversioned'") == ["order-1"]


async def test_lists_come_in_pages(api: Api) -> None:
    await three_orders(api)

    found, token = [], b""
    while True:
        page = await api.ListWorkflowExecutions(
            ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, page_size=2, next_page_token=token)
        )
        found += [info.execution.workflow_id for info in page.executions]
        token = page.next_page_token
        if not token:
            break

    assert found == ["order-3", "order-2", "order-1"]


async def test_counts_are_exact(api: Api) -> None:
    await three_orders(api)

    counted = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE))

    assert (counted.count, len(counted.groups)) == (3, 0)


async def test_counts_by_status_carry_their_names(api: Api) -> None:
    await three_orders(api)

    counted = await api.CountWorkflowExecutions(
        ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE, query="GROUP BY ExecutionStatus")
    )

    groups = {json.loads(group.group_values[0].data): group.count for group in counted.groups}
    assert groups == {"Running": 2, "Completed": 1}
    assert counted.count == 3
    assert counted.groups[0].group_values[0].metadata["type"] == b"Keyword"


async def test_scan_is_another_name_for_list(api: Api) -> None:
    await three_orders(api)

    found = await api.ScanWorkflowExecutions(
        ws.ScanWorkflowExecutionsRequest(namespace=NAMESPACE, query="WorkflowId = 'order-2'")
    )

    assert [info.execution.workflow_id for info in found.executions] == ["order-2"]


async def test_open_workflows_are_listed_by_id_and_type(api: Api) -> None:
    await three_orders(api)

    async def open_(**filters: str) -> list[str]:
        request = ws.ListOpenWorkflowExecutionsRequest(namespace=NAMESPACE)
        if "workflow_id" in filters:
            request.execution_filter.workflow_id = filters["workflow_id"]
        if "type" in filters:
            request.type_filter.name = filters["type"]
        found = await api.ListOpenWorkflowExecutions(request)
        return [info.execution.workflow_id for info in found.executions]

    assert await open_() == ["order-3", "order-2"]
    assert await open_(workflow_id="order-2") == ["order-2"]
    assert await open_(type="Order") == ["order-3", "order-2"]
    assert await open_(type="Invoice") == []


async def test_closed_workflows_are_listed_by_status_and_close_time(api: Api) -> None:
    await three_orders(api)
    request = ws.ListClosedWorkflowExecutionsRequest(namespace=NAMESPACE)
    request.status_filter.status = COMPLETED
    later = ws.ListClosedWorkflowExecutionsRequest(namespace=NAMESPACE)
    later.start_time_filter.earliest_time.seconds = 4_000_000_000

    found = await api.ListClosedWorkflowExecutions(request)

    assert [info.execution.workflow_id for info in found.executions] == ["order-1"]
    assert not (await api.ListClosedWorkflowExecutions(later)).executions


async def test_closed_workflows_are_not_running(api: Api) -> None:
    request = ws.ListClosedWorkflowExecutionsRequest(namespace=NAMESPACE)
    request.status_filter.status = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING

    with pytest.raises(Refused) as refused:
        await api.ListClosedWorkflowExecutions(request)

    assert refused.value.message == "StatusFilter must be specified and must be not Running."


async def test_times_must_be_in_order(api: Api) -> None:
    request = ws.ListOpenWorkflowExecutionsRequest(namespace=NAMESPACE)
    request.start_time_filter.earliest_time.seconds = 2
    request.start_time_filter.latest_time.seconds = 1

    with pytest.raises(Refused) as refused:
        await api.ListOpenWorkflowExecutions(request)

    assert refused.value.message == "EarliestTime in StartTimeFilter should not be larger than LatestTime."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"query": "NoSuch = 1"},
            "invalid query: invalid expression: column name 'NoSuch' is not a valid search attribute",
        ),
        (
            {"query": "GROUP BY ExecutionStatus"},
            "invalid query: operation is not supported: 'GROUP BY' clause",
        ),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(api: Api, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        await find(api, **fields)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_a_page_token_that_is_none_is_refused(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        await find(api, next_page_token=b"garbage")

    assert refused.value.code == "INVALID_ARGUMENT"


async def test_a_run_is_found_by_words_of_its_text(api: Api) -> None:
    for workflow_id, text in (("order-1", "Red fox, torn box"), ("order-2", "blue box")):
        attributes = SearchAttributes()
        attributes.indexed_fields["CustomText"].CopyFrom(values(text).payloads[0])
        await api.start(workflow_id, search_attributes=attributes)

    assert await find(api, "CustomText = 'RED'") == ["order-1"]
    assert await find(api, "CustomText = 'torn paper'") == ["order-1"]
    assert await find(api, "CustomText = 'box'") == ["order-2", "order-1"]
    assert await find(api, "CustomText != 'torn'") == ["order-2"]
    assert await find(api, "CustomText = 'bo'") == []


async def test_counts_by_division_tell_users_workflows_from_the_server_s_own(api: Api) -> None:
    await three_orders(api)

    counted = await api.CountWorkflowExecutions(
        ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE, query="GROUP BY TemporalNamespaceDivision")
    )

    (group,) = counted.groups
    assert (counted.count, group.count, group.group_values[0].data) == (3, 3, b"null")


@pytest.mark.parametrize(
    ("page_size", "message"),
    [(10, "Cluster is not configured for visibility archival."), (10_001, "PageSize is larger than allowed 10000.")],
)
async def test_no_archive_is_kept(api: Api, page_size: int, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.ListArchivedWorkflowExecutions(
            ws.ListArchivedWorkflowExecutionsRequest(namespace=NAMESPACE, page_size=page_size)
        )

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_a_page_holds_a_thousand_at_most(api: Api) -> None:
    await three_orders(api)

    for size in (-1, 0, 1000, 100_000):
        assert len(await find(api, page_size=size)) == 3


async def test_a_list_that_takes_too_long_is_given_up_with_advice(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await three_orders(api)
    monkeypatch.setattr(readers, "QUERY_SECONDS", 0.0)
    monkeypatch.setattr(readers, "STEPS", 1)

    with pytest.raises(Refused) as refused:
        await find(api, "HistoryLength > 1000")

    assert refused.value.code == "DEADLINE_EXCEEDED"
    assert "make it narrower by a WorkflowId, WorkflowType, TaskQueue" in refused.value.message


async def test_a_filter_of_thousands_of_ids_is_answered(api: Api) -> None:
    await three_orders(api)

    wanted = " OR ".join(f"WorkflowId = 'order-{number}'" for number in range(2, 3000))

    assert await find(api, wanted) == ["order-3", "order-2"]
