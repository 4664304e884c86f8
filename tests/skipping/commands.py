"""Commands, and what histories say, beyond what the stories of single RPCs need."""

from __future__ import annotations

from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.workflowservice.v1 import RespondActivityTaskCompletedRequest, RespondActivityTaskFailedRequest

from tests.api.client import NAMESPACE, QUEUE, Api


def at(event: Any) -> float:
    return float(event.event_time.ToMicroseconds() / 1e6)


def the(history: Any, kind: str) -> Any:
    """The only event of that kind."""
    [event] = [e for e in history.history.events if e.event_type == getattr(EventType, f"EVENT_TYPE_{kind}")]
    return event


def fail_workflow() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    command.fail_workflow_execution_command_attributes.failure.message = "no"
    return command


def continue_as_new(**fields: Any) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    attributes = command.continue_as_new_workflow_execution_command_attributes
    attributes.workflow_type.name = "Order"
    attributes.task_queue.name = QUEUE
    for name, value in fields.items():
        getattr(attributes, name).CopyFrom(value)
    return command


def start_child(workflow_id: str, parent_close_policy: int = 2) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.namespace = NAMESPACE
    attributes.workflow_id = workflow_id
    attributes.workflow_type.name = "Order"
    attributes.task_queue.name = QUEUE
    attributes.parent_close_policy = parent_close_policy  # type: ignore[assignment] # the number of an enum value
    return command


async def fail_activity(api: Api, task: Any) -> None:
    request = RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
    request.failure.message = "declined"
    request.failure.application_failure_info.type = "Declined"
    await api.RespondActivityTaskFailed(request)


async def complete_activity(api: Api, task: Any) -> None:
    await api.RespondActivityTaskCompleted(
        RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=task.task_token)
    )


def cancel_external(workflow_id: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.request_cancel_external_workflow_execution_command_attributes
    attributes.namespace = NAMESPACE
    attributes.workflow_id = workflow_id
    return command


def upsert(**payloads: Any) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    fields = command.upsert_workflow_search_attributes_command_attributes.search_attributes.indexed_fields
    for name, payload in payloads.items():
        fields[name].CopyFrom(payload)
    return command
