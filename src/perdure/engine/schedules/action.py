"""What a schedule starts, as the request that would start it."""

from __future__ import annotations

from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest


def start_request(action: NewWorkflowExecutionInfo, namespace: str) -> StartWorkflowExecutionRequest:
    """The action's own part of the start request: no identity, request ID or policies."""
    request = StartWorkflowExecutionRequest()
    request.namespace = namespace
    request.workflow_id = action.workflow_id
    request.workflow_type.CopyFrom(action.workflow_type)
    for name in (
        "task_queue",
        "input",
        "workflow_execution_timeout",
        "workflow_run_timeout",
        "workflow_task_timeout",
        "retry_policy",
        "memo",
        "search_attributes",
        "header",
        "user_metadata",
        "versioning_override",
        "priority",
    ):
        if action.HasField(name):
            getattr(request, name).CopyFrom(getattr(action, name))
    return request
