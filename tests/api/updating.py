"""Requests about updates, and how far one is."""

from __future__ import annotations

from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.update.v1 import UpdateRef, WaitPolicy

from tests.api.client import NAMESPACE, Api, Refused, execution, start_request, values

ADMITTED, ACCEPTED, COMPLETED = 1, 2, 3


def update_request(
    update_id: str = "u1", *, name: str = "set", workflow_id: str = "order-1", run_id: str = "", stage: int = 0
) -> ws.UpdateWorkflowExecutionRequest:
    request = ws.UpdateWorkflowExecutionRequest(
        namespace=NAMESPACE, workflow_execution=execution(workflow_id, run_id), wait_policy=wait(stage)
    )
    request.request.meta.update_id = update_id
    request.request.meta.identity = "client"
    request.request.input.name = name
    request.request.input.args.CopyFrom(values(5))
    return request


def wait(stage: int) -> WaitPolicy:
    return WaitPolicy(lifecycle_stage=stage)  # type: ignore[arg-type]


def poll_request(
    update_id: str = "u1", *, workflow_id: str = "order-1", run_id: str = "", stage: int = 0
) -> ws.PollWorkflowExecutionUpdateRequest:
    ref = UpdateRef(workflow_execution=execution(workflow_id, run_id), update_id=update_id)
    return ws.PollWorkflowExecutionUpdateRequest(namespace=NAMESPACE, update_ref=ref, wait_policy=wait(stage))


def with_start(
    update: ws.UpdateWorkflowExecutionRequest | None = None, **fields: Any
) -> ws.ExecuteMultiOperationRequest:
    start = start_request(**fields)
    request = ws.ExecuteMultiOperationRequest(namespace=NAMESPACE)
    request.operations.add().start_workflow.CopyFrom(start)
    request.operations.add().update_workflow.CopyFrom(update or update_request())
    return request


async def stage_of(api: Api, update_id: str = "u1") -> int:
    """0 as long as it has not come."""
    try:
        return int((await api.PollWorkflowExecutionUpdate(poll_request(update_id))).stage)
    except Refused:
        return 0
