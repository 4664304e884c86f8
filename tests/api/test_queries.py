from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import QueryRejectCondition, QueryResultType, WorkflowExecutionStatus

from tests.api.client import NAMESPACE, Api, Refused, complete_workflow, execution, start_timer, values


def asking(workflow_id: str = "order-1", **fields: Any) -> ws.QueryWorkflowRequest:
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution(workflow_id), **fields)
    request.query.query_type = "state"
    return request


async def answer(api: Api, task: Any, **fields: Any) -> None:
    await api.RespondQueryTaskCompleted(
        ws.RespondQueryTaskCompletedRequest(namespace=NAMESPACE, task_token=task.task_token, **fields)
    )


async def test_a_query_is_answered_by_a_worker(api: Api) -> None:
    await api.start()
    await api.step(start_timer())
    asked = asyncio.ensure_future(api.QueryWorkflow(asking()))

    task = await api.poll()
    await answer(
        api,
        task,
        completed_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED,
        query_result=values("packed"),
    )

    assert task.query.query_type == "state"
    assert (await asked).query_result == values("packed")


async def test_a_query_the_worker_fails_is_an_invalid_argument(api: Api) -> None:
    await api.start()
    await api.step(start_timer())
    asked = asyncio.ensure_future(api.QueryWorkflow(asking()))

    await answer(
        api,
        await api.poll(),
        completed_type=QueryResultType.QUERY_RESULT_TYPE_FAILED,
        error_message="unknown query type",
    )

    with pytest.raises(Refused) as refused:
        await asked
    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", "unknown query type")


async def test_a_query_of_a_closed_workflow_can_be_rejected(api: Api) -> None:
    await api.start()
    await api.step(complete_workflow())

    reply = await api.QueryWorkflow(asking(query_reject_condition=QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_OPEN))

    assert reply.query_rejected.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (ws.QueryWorkflowRequest(namespace=NAMESPACE), "INVALID_ARGUMENT", "Execution is not set on request."),
        (
            ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution()),
            "INVALID_ARGUMENT",
            "WorkflowQuery is not set on request.",
        ),
        (
            ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution(), query={}),
            "INVALID_ARGUMENT",
            "QueryType is not set on request.",
        ),
        (asking("nobody"), "NOT_FOUND", "workflow not found for ID: nobody"),
    ],
)
async def test_a_query_that_cannot_be_asked_is_refused(
    api: Api, request_: ws.QueryWorkflowRequest, code: str, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        await api.QueryWorkflow(request_)

    assert (refused.value.code, refused.value.message) == (code, message)


@pytest.mark.parametrize("token", [b"garbage"])
async def test_an_answer_without_a_good_token_is_refused(api: Api, token: bytes) -> None:
    with pytest.raises(Refused) as refused:
        await api.RespondQueryTaskCompleted(ws.RespondQueryTaskCompletedRequest(namespace=NAMESPACE, task_token=token))

    assert refused.value.message == "Error deserializing task token."


async def test_an_answer_too_late_is_not_found(api: Api) -> None:
    await api.start()
    await api.step(start_timer())
    asked = asyncio.ensure_future(api.QueryWorkflow(asking()))
    task = await api.poll()
    answered = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
    await answer(api, task, completed_type=answered)
    await asked

    with pytest.raises(Refused) as refused:
        await answer(api, task, completed_type=answered)

    assert (refused.value.code, refused.value.message) == (
        "NOT_FOUND",
        "query task not found, or already expired",
    )
