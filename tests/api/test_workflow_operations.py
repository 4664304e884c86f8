"""Pausing workflows and changing their options, by raw calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import Priority
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions

from perdure import Server
from tests.api.client import NAMESPACE, Api, Refused, execution, kinds, start_timer

ORDER = {"namespace": NAMESPACE, "workflow_id": "order-1"}


@pytest.fixture
async def pausing() -> AsyncIterator[Api]:
    """A server where pausing is switched on."""
    async with (
        Server(dynamic_config={"frontend.WorkflowPauseEnabled": True}) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Api(channel)


async def count(api: Api, query: str) -> int:
    reply = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE, query=query))
    return int(reply.count)


async def test_a_paused_workflow_waits_and_is_listed_as_paused(pausing: Api) -> None:
    api = pausing
    await api.start()
    await api.step(start_timer())

    await api.PauseWorkflowExecution(ws.PauseWorkflowExecutionRequest(**ORDER, reason="why", request_id="one"))
    await api.signal()

    assert (await api.describe()).workflow_execution_info.status == 8
    assert await api.poll(within=2.1) == ws.PollWorkflowTaskQueueResponse()
    assert await count(api, "ExecutionStatus = 'Paused'") == 1
    assert await count(api, "ExecutionStatus = 'Running'") == 0
    assert await count(api, "TemporalPauseInfo = 'Reason:why' AND CloseTime IS NULL") == 1
    [listed] = (await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))).executions
    assert (listed.status, listed.HasField("close_time")) == (8, False)

    await api.UnpauseWorkflowExecution(ws.UnpauseWorkflowExecutionRequest(**ORDER))
    await api.step()
    assert kinds((await api.history()).history)[-6:-3] == [
        "WORKFLOW_EXECUTION_PAUSED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_UNPAUSED",
    ]
    assert await count(api, "ExecutionStatus = 'Running'") == 1


async def test_a_query_of_a_paused_workflow_is_rejected(pausing: Api) -> None:
    api = pausing
    await api.start()
    await api.step(start_timer())
    await api.PauseWorkflowExecution(ws.PauseWorkflowExecutionRequest(**ORDER))

    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    request.query.query_type = "state"

    assert (await api.QueryWorkflow(request)).query_rejected.status == 8


async def test_the_namespace_tells_whether_workflows_can_be_paused(pausing: Api) -> None:
    reply = await pausing.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
    assert reply.namespace_info.capabilities.workflow_pause


async def test_pausing_is_switched_off_at_first(api: Api) -> None:
    await api.start()

    with pytest.raises(Refused) as refused:
        await api.PauseWorkflowExecution(ws.PauseWorkflowExecutionRequest(**ORDER))

    assert (refused.value.code, refused.value.message) == (
        "UNIMPLEMENTED",
        "workflow pause is not enabled for namespace: default",
    )
    reply = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
    assert not reply.namespace_info.capabilities.workflow_pause


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({}, "FAILED_PRECONDITION", "workflow is not paused."),
        ({"workflow_id": ""}, "INVALID_ARGUMENT", "WorkflowId is not set on request."),
        ({"run_id": "x"}, "INVALID_ARGUMENT", "Invalid RunId."),
        ({"reason": "r" * 1001}, "INVALID_ARGUMENT", "reason is too long."),
        ({"request_id": "r" * 1001}, "INVALID_ARGUMENT", "request id is too long."),
        ({"identity": "r" * 1001}, "INVALID_ARGUMENT", "identity is too long."),
        ({"workflow_id": "z"}, "NOT_FOUND", "workflow not found for ID: z"),
    ],
)
async def test_an_unpause_that_cannot_be_is_refused(api: Api, fields: dict[str, Any], code: str, message: str) -> None:
    await api.start()

    with pytest.raises(Refused) as refused:
        await api.UnpauseWorkflowExecution(ws.UnpauseWorkflowExecutionRequest(**{**ORDER, **fields}))

    assert (refused.value.code, refused.value.message) == (code, message)


def options_request(*paths: str, **options: Any) -> ws.UpdateWorkflowExecutionOptionsRequest:
    return ws.UpdateWorkflowExecutionOptionsRequest(
        namespace=NAMESPACE,
        workflow_execution=execution(),
        workflow_execution_options=WorkflowExecutionOptions(**options),
        update_mask=FieldMask(paths=paths),
        identity="ops",
    )


async def test_options_are_changed_and_told(api: Api) -> None:
    await api.start()

    reply = await api.UpdateWorkflowExecutionOptions(options_request("priority", priority=Priority(priority_key=1)))

    assert reply.workflow_execution_options.priority.priority_key == 1
    assert (await api.describe()).workflow_execution_info.priority.priority_key == 1
    assert kinds((await api.history()).history)[-1] == "WORKFLOW_EXECUTION_OPTIONS_UPDATED"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda request: request.ClearField("update_mask"), "UpdateMask is required"),
        (lambda request: request.ClearField("workflow_execution_options"), "WorkflowExecutionOptions is required"),
        (lambda request: request.ClearField("workflow_execution"), "WorkflowId is not set on request."),
        (
            lambda request: request.workflow_execution_options.priority.CopyFrom(Priority(priority_key=-1)),
            "priority key can't be negative",
        ),
    ],
)
async def test_options_that_cannot_be_are_refused(api: Api, spoil: Any, message: str) -> None:
    await api.start()
    request = options_request("priority", priority=Priority(priority_key=1))
    spoil(request)

    with pytest.raises(Refused) as refused:
        await api.UpdateWorkflowExecutionOptions(request)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_a_start_may_override_versioning(api: Api) -> None:
    await api.start(versioning_override=VersioningOverride(auto_upgrade=True))

    info = (await api.describe()).workflow_execution_info
    assert info.versioning_info.versioning_override.auto_upgrade
    with pytest.raises(Refused, match="override behavior is required"):
        await api.start("order-2", versioning_override=VersioningOverride())
