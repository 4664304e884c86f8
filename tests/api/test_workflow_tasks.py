from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import TaskQueueKind

from tests.api.client import NAMESPACE, Api, Refused, complete_workflow, execution, kinds, queue, start_timer

STICKY = TaskQueueKind.TASK_QUEUE_KIND_STICKY


# ---- polls
async def test_a_poll_brings_the_task_with_its_history(api: Api) -> None:
    run_id = await api.start()

    task = await api.poll()

    assert (task.workflow_execution.workflow_id, task.workflow_execution.run_id) == ("order-1", run_id)
    assert (task.started_event_id, task.previous_started_event_id, task.attempt) == (3, 0, 1)
    assert kinds(task.history)[-1] == "WORKFLOW_TASK_STARTED"
    assert task.workflow_execution_task_queue.name == "orders"


async def test_a_poll_that_waits_is_given_the_next_task(api: Api) -> None:
    waiting = asyncio.ensure_future(api.poll())
    await api.parked(queue())

    await api.start()

    assert (await waiting).task_token


async def test_a_poll_in_vain_is_answered_empty_before_its_deadline(api: Api) -> None:
    task = await api.poll(within=2.2)

    assert task == ws.PollWorkflowTaskQueueResponse()


async def test_the_poll_records_the_workers_build(api: Api) -> None:
    await api.start()
    request = ws.PollWorkflowTaskQueueRequest(namespace=NAMESPACE, task_queue=queue())
    request.worker_version_capabilities.build_id = "build-1"

    task = await api.PollWorkflowTaskQueue(request)

    assert task.history.events[2].workflow_task_started_event_attributes.worker_version.build_id == "build-1"


@pytest.mark.parametrize(
    ("fields", "within", "code", "message"),
    [
        ({}, None, "INVALID_ARGUMENT", "Context timeout is not set."),
        ({}, 1.0, "FAILED_PRECONDITION", "Context timeout is too short."),
        ({"identity": "i" * 1001}, 9.0, "INVALID_ARGUMENT", "Identity length exceeds limit."),
        ({"task_queue": None}, 9.0, "INVALID_ARGUMENT", "taskQueue is not set"),
        ({"task_queue": queue("")}, 9.0, "INVALID_ARGUMENT", "missing task queue name"),
        ({"task_queue": queue("q" * 1001)}, 9.0, "INVALID_ARGUMENT", "taskQueue length exceeds limit"),
        (
            {"task_queue": queue("/_sys/orders/1")},
            9.0,
            "INVALID_ARGUMENT",
            "task queue name cannot start with reserved prefix /_sys/",
        ),
        (
            {"task_queue": queue("a", normal_name="b")},
            9.0,
            "INVALID_ARGUMENT",
            "only sticky queues can have normal name. tq: a, normal name: b",
        ),
        ({"namespace": "nowhere"}, 9.0, "NOT_FOUND", "Namespace nowhere is not found."),
    ],
)
async def test_a_poll_that_cannot_be_served_is_refused(
    api: Api, fields: dict[str, Any], within: float | None, code: str, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        await api.poll(within=within, **fields)

    assert (refused.value.code, refused.value.message) == (code, message)


async def test_a_bad_build_gets_no_tasks(api: Api) -> None:
    request = ws.UpdateNamespaceRequest(namespace=NAMESPACE)
    request.config.bad_binaries.binaries["build-1"].reason = "loses orders"
    await api.UpdateNamespace(request)

    with pytest.raises(Refused) as refused:
        await api.poll(binary_checksum="build-1")

    assert refused.value.message == "Binary build-1 already marked as bad deployment."


# ---- answers
async def test_a_completed_task_moves_the_workflow_on(api: Api) -> None:
    await api.start()

    await api.step(complete_workflow("done"))

    assert kinds((await api.history()).history)[-1] == "WORKFLOW_EXECUTION_COMPLETED"


async def test_the_token_alone_tells_the_namespace(api: Api) -> None:
    await api.start()
    task = await api.poll()

    await api.RespondWorkflowTaskCompleted(ws.RespondWorkflowTaskCompletedRequest(task_token=task.task_token))

    assert kinds((await api.history()).history)[-1] == "WORKFLOW_TASK_COMPLETED"


async def test_an_answer_may_come_with_the_next_task(api: Api) -> None:
    await api.start()
    task = await api.poll()

    reply = await api.complete(task, start_timer(), force_create_new_workflow_task=True, return_new_workflow_task=True)

    assert reply.workflow_task.task_token
    assert kinds(reply.workflow_task.history) == [
        "WORKFLOW_TASK_COMPLETED",
        "TIMER_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
    ]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"namespace": NAMESPACE}, "INVALID_ARGUMENT", "Task token not set on request."),
        (
            {"namespace": NAMESPACE, "task_token": b"garbage"},
            "INVALID_ARGUMENT",
            "Error deserializing task token.",
        ),
        ({"namespace": "nowhere", "task_token": b"garbage"}, "NOT_FOUND", "Namespace nowhere is not found."),
    ],
)
async def test_an_answer_without_a_good_token_is_refused(
    api: Api, fields: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        await api.RespondWorkflowTaskCompleted(ws.RespondWorkflowTaskCompletedRequest(**fields))

    assert (refused.value.code, refused.value.message) == (code, message)


async def test_a_token_belongs_to_its_namespace(api: Api) -> None:
    await api.start()
    task = await api.poll()

    with pytest.raises(Refused) as refused:
        await api.RespondWorkflowTaskCompleted(
            ws.RespondWorkflowTaskCompletedRequest(namespace="temporal-system", task_token=task.task_token)
        )

    assert refused.value.message == "Operation requested with a token from a different namespace."


async def test_a_task_is_answered_once(api: Api) -> None:
    await api.start()
    task = await api.step(start_timer())

    with pytest.raises(Refused) as refused:
        await api.complete(task)

    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "Workflow task not found.")


async def test_pages_of_a_completion_are_not_taken(api: Api) -> None:
    await api.start()
    task = await api.poll()

    with pytest.raises(Refused) as refused:
        await api.complete(task, intermediate_page=True)

    assert refused.value.code == "FAILED_PRECONDITION"


async def test_a_failed_task_is_tried_again(api: Api) -> None:
    await api.start()
    task = await api.poll()

    await api.RespondWorkflowTaskFailed(
        ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, cause=1)
    )

    assert (await api.poll()).attempt == 2


# ---- sticky queues
async def test_a_worker_that_keeps_the_workflow_gets_only_what_is_new(api: Api) -> None:
    await api.start()
    task = await api.poll()
    completed = ws.RespondWorkflowTaskCompletedRequest(
        namespace=NAMESPACE, task_token=task.task_token, commands=[start_timer()]
    )
    completed.sticky_attributes.worker_task_queue.name = "sticky-1"
    completed.sticky_attributes.schedule_to_start_timeout.seconds = 5
    sticky = queue("sticky-1", kind=STICKY, normal_name="orders")
    await api.RespondWorkflowTaskCompleted(completed)
    waiting = asyncio.ensure_future(api.poll(task_queue=sticky))
    await api.parked(sticky)

    await api.signal()

    assert [event.event_id for event in (await waiting).history.events] == [4, 5, 6, 7, 8]


async def test_a_sticky_queue_that_was_reset_gets_nothing_more(api: Api) -> None:
    await api.start()
    task = await api.poll()
    completed = ws.RespondWorkflowTaskCompletedRequest(
        namespace=NAMESPACE, task_token=task.task_token, commands=[start_timer()]
    )
    completed.sticky_attributes.worker_task_queue.name = "sticky-1"
    completed.sticky_attributes.schedule_to_start_timeout.seconds = 5
    await api.RespondWorkflowTaskCompleted(completed)

    await api.ResetStickyTaskQueue(ws.ResetStickyTaskQueueRequest(namespace=NAMESPACE, execution=execution()))
    await api.signal()

    task = await api.poll()
    assert task.history.events[0].event_id == 1
