"""Failures with as many causes as a request can hold: what they are put into can still be read, by all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import Failure
from temporalio.api.update.v1 import Acceptance, Rejection, Response

from perdure.engine.failures import MAX_CAUSES
from tests.api.client import NAMESPACE, Api, kinds, queue, schedule_activity, start_request
from tests.support.legal import illegal_times


def deep(causes: int) -> Failure:
    failure = Failure(message="outermost")
    failure.application_failure_info.type = "Deep"
    inner = failure
    for _ in range(causes):
        inner = inner.cause
        inner.message = "cause"
    return failure


def depth(failure: Failure) -> int:
    causes = 0
    while failure.HasField("cause"):
        failure, causes = failure.cause, causes + 1
    return causes


async def test_a_failure_whose_delay_is_none_leaves_a_readable_history(api: Api) -> None:
    request = start_request()
    failure = request.continued_failure
    for _ in range(2):
        failure.application_failure_info.next_retry_delay.seconds = (1 << 62) - 1
        failure = failure.cause
    await api.StartWorkflowExecution(request)
    failing = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    failing.fail_workflow_execution_command_attributes.failure.CopyFrom(request.continued_failure)
    await api.step(failing)
    assert list(illegal_times((await api.history()).history)) == []


async def test_an_activity_that_fails_from_many_causes_leaves_a_readable_history(api: Api) -> None:
    await api.start()
    await api.step(schedule_activity())
    activity = await api.poll_activity()
    await api.RespondActivityTaskFailed(
        ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=activity.task_token, failure=deep(98))
    )
    history = (await api.history()).history
    (failed,) = [event for event in history.events if event.HasField("activity_task_failed_event_attributes")]
    assert depth(failed.activity_task_failed_event_attributes.failure) == MAX_CAUSES
    assert (await api.poll()).task_token


async def test_a_parent_hears_of_a_child_that_failed_from_many_causes(api: Api) -> None:
    await api.start()
    child = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = child.start_child_workflow_execution_command_attributes
    attributes.namespace, attributes.workflow_id, attributes.workflow_type.name = NAMESPACE, "child", "Child"
    attributes.task_queue.name = "children"
    await api.step(child)
    task = await api.poll(task_queue=queue("children"))
    fail = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    fail.fail_workflow_execution_command_attributes.failure.CopyFrom(deep(96))
    await api.complete(task, fail)

    heard: list[str] = []
    while "CHILD_WORKFLOW_EXECUTION_FAILED" not in heard:
        task = await api.poll()
        heard = kinds(task.history)
        await api.complete(task)
    described = await api.history("child")
    assert depth(described.history.events[-1].workflow_execution_failed_event_attributes.failure) == MAX_CAUSES


async def test_an_update_that_is_rejected_from_many_causes_is_answered(api: Api) -> None:
    answer = await _updated(api, lambda message: [_rejection(message)])
    assert depth(answer.outcome.failure) == MAX_CAUSES


async def test_an_update_that_fails_from_many_causes_is_answered_and_read_again(api: Api) -> None:
    def fail(message: Any) -> list[Any]:
        accepted = Acceptance(
            accepted_request_message_id=message.id, accepted_request_sequencing_event_id=message.event_id
        )
        failed = Response()
        failed.meta.update_id = message.protocol_instance_id
        failed.outcome.failure.CopyFrom(deep(97))
        return [accepted, failed]

    answer = await _updated(api, fail)
    assert depth(answer.outcome.failure) == MAX_CAUSES
    await api.history()


def _rejection(message: Any) -> Rejection:
    return Rejection(
        rejected_request_message_id=message.id,
        rejected_request_sequencing_event_id=message.event_id,
        failure=deep(97),
    )


async def _updated(api: Api, answers: Callable[[Any], list[Any]]) -> Any:
    """Send an update to a workflow, and have its worker answer with these bodies."""
    await api.start()
    await api.step()
    update = ws.UpdateWorkflowExecutionRequest(namespace=NAMESPACE)
    update.workflow_execution.workflow_id = "order-1"
    update.request.meta.update_id = "change"
    update.request.input.name = "change"
    update.wait_policy.lifecycle_stage = 3  # type: ignore[assignment]
    asking = asyncio.ensure_future(api.UpdateWorkflowExecution(update))
    task = await api.poll()
    (message,) = task.messages
    done = ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=task.task_token)
    for number, body in enumerate(answers(message)):
        sent = done.messages.add(id=f"{message.id}/{number}", protocol_instance_id=message.protocol_instance_id)
        sent.body.Pack(body)
        command = done.commands.add(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
        command.protocol_message_command_attributes.message_id = sent.id
    await api.RespondWorkflowTaskCompleted(done)
    return await asking
