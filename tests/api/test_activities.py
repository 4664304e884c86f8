from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    cancel_activity,
    complete_workflow,
    kinds,
    queue,
    schedule_activity,
    values,
)

BY_ID = {"namespace": NAMESPACE, "workflow_id": "order-1", "activity_id": "charge"}
SCHEDULED = 5


async def scheduled(api: Api) -> None:
    """A workflow that waits for its activity."""
    await api.start()
    await api.step(schedule_activity())


async def started(api: Api) -> Any:
    await scheduled(api)
    task = await api.poll_activity()
    return {"namespace": NAMESPACE, "task_token": task.task_token}


async def cancelling(api: Api) -> Any:
    """A started activity that was asked to stop."""
    task = await started(api)
    await api.signal()
    await api.step(cancel_activity(SCHEDULED))
    return task


async def last_event(api: Api) -> Any:
    """The last one but the scheduling of the workflow task that tells of it."""
    return (await api.history()).history.events[-2]


# ---- polls
async def test_a_poll_brings_the_task(api: Api) -> None:
    await scheduled(api)

    task = await api.poll_activity()

    assert (task.activity_id, task.activity_type.name, task.attempt) == ("charge", "Charge", 1)
    assert (task.workflow_execution.workflow_id, task.workflow_namespace) == ("order-1", NAMESPACE)
    assert task.start_to_close_timeout.seconds == 60


async def test_a_poll_that_waits_is_given_the_next_task(api: Api) -> None:
    waiting = asyncio.ensure_future(api.poll_activity())
    await api.parked(queue(), kind=2)

    await scheduled(api)

    assert (await waiting).activity_id == "charge"


async def test_a_poll_in_vain_is_answered_empty_before_its_deadline(api: Api) -> None:
    assert await api.poll_activity(within=2.2) == ws.PollActivityTaskQueueResponse()


@pytest.mark.parametrize(
    ("fields", "within", "message"),
    [
        ({}, None, "Context timeout is not set."),
        ({}, 1.0, "Context timeout is too short."),
        ({"task_queue": None}, 9.0, "taskQueue is not set"),
        ({"task_queue": queue("")}, 9.0, "missing task queue name"),
        ({"identity": "i" * 1001}, 9.0, "Identity length exceeds limit."),
        ({"namespace": "nowhere"}, 9.0, "Namespace nowhere is not found."),
    ],
)
async def test_a_poll_that_cannot_be_served_is_refused(
    api: Api, fields: dict[str, Any], within: float | None, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        await api.poll_activity(within=within, **fields)

    assert refused.value.message == message


# ---- by token
async def test_a_result_is_in_the_history(api: Api) -> None:
    task = await started(api)

    await api.RespondActivityTaskCompleted(
        ws.RespondActivityTaskCompletedRequest(**task, result=values(42), identity="worker")
    )

    assert (await last_event(api)).activity_task_completed_event_attributes.result == values(42)


async def test_a_failure_is_in_the_history(api: Api) -> None:
    task = await started(api)
    request = ws.RespondActivityTaskFailedRequest(**task)
    request.failure.message = "card declined"
    request.failure.application_failure_info.type = "Declined"

    await api.RespondActivityTaskFailed(request)

    assert (await last_event(api)).activity_task_failed_event_attributes.failure == request.failure


async def test_a_failure_that_is_none_is_refused(api: Api) -> None:
    task = await started(api)
    request = ws.RespondActivityTaskFailedRequest(**task)
    request.failure.message = "card declined"

    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskFailed(request)

    assert refused.value.message == "Failure must have ApplicationFailureInfo."


async def test_a_heartbeat_keeps_its_details_and_learns_of_the_cancel(api: Api) -> None:
    task = await cancelling(api)

    beat = await api.RecordActivityTaskHeartbeat(ws.RecordActivityTaskHeartbeatRequest(**task, details=values("half")))

    (pending,) = (await api.describe()).pending_activities
    assert beat.cancel_requested
    assert pending.heartbeat_details == values("half")


async def test_a_cancelled_activity_is_in_the_history(api: Api) -> None:
    task = await cancelling(api)

    await api.RespondActivityTaskCanceled(ws.RespondActivityTaskCanceledRequest(**task, details=values("stopped")))

    assert (await last_event(api)).activity_task_canceled_event_attributes.details == values("stopped")


async def test_a_cancel_that_nobody_asked_for_is_refused(api: Api) -> None:
    task = await started(api)

    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskCanceled(ws.RespondActivityTaskCanceledRequest(**task))

    assert refused.value.message == "unable to mark activity as canceled without activity being request canceled first"


async def test_an_activity_is_answered_once(api: Api) -> None:
    task = await started(api)
    await api.RespondActivityTaskCompleted(ws.RespondActivityTaskCompletedRequest(**task))

    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskCompleted(ws.RespondActivityTaskCompletedRequest(**task))

    assert (refused.value.code, refused.value.message) == (
        "NOT_FOUND",
        "invalid activityID or activity already timed out or invoking workflow is completed",
    )


async def test_an_activity_of_a_closed_workflow_is_not_wanted(api: Api) -> None:
    task = await started(api)
    await api.signal()
    await api.step(complete_workflow())

    with pytest.raises(Refused) as refused:
        await api.RecordActivityTaskHeartbeat(ws.RecordActivityTaskHeartbeatRequest(**task))

    assert refused.value.message == "workflow execution already completed"


@pytest.mark.parametrize(
    ("token", "message"),
    [(b"", "Task token not set on request."), (b"garbage", "Error deserializing task token.")],
)
async def test_an_answer_without_a_good_token_is_refused(api: Api, token: bytes, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskCompleted(
            ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=token)
        )

    assert refused.value.message == message


async def test_a_workflow_tasks_token_answers_no_activity(api: Api) -> None:
    await api.start()
    task = await api.poll()

    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskCompleted(
            ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=task.task_token)
        )

    assert refused.value.message == "Error deserializing task token."


# ---- by ID
async def test_an_activity_nobody_took_can_be_completed_by_its_id(api: Api) -> None:
    await scheduled(api)

    await api.RespondActivityTaskCompletedById(
        ws.RespondActivityTaskCompletedByIdRequest(**BY_ID, result=values(42), identity="ann")
    )

    history = (await api.history()).history
    assert kinds(history)[-3:] == ["ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED", "WORKFLOW_TASK_SCHEDULED"]
    assert history.events[-3].activity_task_started_event_attributes.identity == "ann"


async def test_an_activity_fails_by_its_id(api: Api) -> None:
    await started(api)
    request = ws.RespondActivityTaskFailedByIdRequest(**BY_ID)
    request.failure.application_failure_info.type = "Declined"

    await api.RespondActivityTaskFailedById(request)

    assert (await last_event(api)).activity_task_failed_event_attributes.failure == request.failure


async def test_an_activity_is_cancelled_by_its_id(api: Api) -> None:
    await cancelling(api)

    await api.RespondActivityTaskCanceledById(ws.RespondActivityTaskCanceledByIdRequest(**BY_ID))

    assert kinds((await api.history()).history)[-2] == "ACTIVITY_TASK_CANCELED"


async def test_an_activity_beats_by_its_id(api: Api) -> None:
    await started(api)

    beat = await api.RecordActivityTaskHeartbeatById(
        ws.RecordActivityTaskHeartbeatByIdRequest(**BY_ID, details=values("half"))
    )

    (pending,) = (await api.describe()).pending_activities
    assert not beat.cancel_requested
    assert pending.heartbeat_details == values("half")


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"activity_id": ""}, "INVALID_ARGUMENT", "ActivityId is not set on request."),
        ({"workflow_id": ""}, "NOT_FOUND", "activity task not found"),  # a standalone one is meant
        ({"run_id": "yes"}, "INVALID_ARGUMENT", "Invalid RunId."),
        ({"workflow_id": "nobody"}, "NOT_FOUND", "workflow not found for ID: nobody"),
        (
            {"activity_id": "other"},
            "NOT_FOUND",
            "cannot find pending activity with ActivityID other, check workflow execution history for more details",
        ),
    ],
)
async def test_an_activity_that_cannot_be_found_is_refused(
    api: Api, fields: dict[str, Any], code: str, message: str
) -> None:
    await scheduled(api)

    with pytest.raises(Refused) as refused:
        await api.RespondActivityTaskCompletedById(ws.RespondActivityTaskCompletedByIdRequest(**{**BY_ID, **fields}))

    assert (refused.value.code, refused.value.message) == (code, message)
