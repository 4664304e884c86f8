from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus, WorkflowIdConflictPolicy

from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    execution,
    kinds,
    start_request,
    start_timer,
    values,
)

RUNNING = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
TERMINATED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED
NOBODY = "11111111-2222-4333-8444-555555555555"


# ---- start
async def test_a_start_answers_with_its_run_and_a_link_to_its_first_event(api: Api) -> None:
    reply = await api.StartWorkflowExecution(start_request(input=values("cart")))

    link = reply.link.workflow_event
    assert reply.started
    assert reply.status == RUNNING
    assert (link.namespace, link.workflow_id, link.run_id) == (NAMESPACE, "order-1", reply.run_id)
    assert (link.event_ref.event_id, link.event_ref.event_type) == (
        1,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    )


async def test_a_start_repeated_with_its_request_id_is_the_same_start(api: Api) -> None:
    first = await api.StartWorkflowExecution(start_request(request_id="r"))
    again = await api.StartWorkflowExecution(start_request(request_id="r"))

    assert again == first


async def test_a_running_workflow_is_not_started_twice(api: Api) -> None:
    run_id = await api.start()

    with pytest.raises(Refused) as refused:
        await api.start()

    assert (refused.value.code, refused.value.message) == (
        "ALREADY_EXISTS",
        f"Workflow execution is already running. WorkflowId: order-1, RunId: {run_id}.",
    )


async def test_a_start_that_uses_the_existing_run_says_so(api: Api) -> None:
    run_id = await api.start()
    use = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING

    reply = await api.StartWorkflowExecution(start_request(workflow_id_conflict_policy=use))

    assert (reply.run_id, reply.started) == (run_id, False)


async def test_a_request_attached_to_a_run_is_linked_by_its_id(api: Api) -> None:
    await api.start()
    request = start_request(
        request_id="r",
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
    )
    request.on_conflict_options.attach_request_id = True

    reference = (await api.StartWorkflowExecution(request)).link.workflow_event.request_id_ref

    assert reference.request_id == "r"
    assert reference.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED


async def test_an_eager_start_brings_the_first_task_along(api: Api) -> None:
    reply = await api.StartWorkflowExecution(start_request(request_eager_execution=True))

    task = reply.eager_workflow_task
    assert kinds(task.history) == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
    ]
    assert (task.started_event_id, task.attempt, task.workflow_execution.run_id) == (3, 1, reply.run_id)
    await api.complete(task, complete_workflow())


async def test_an_eager_start_retried_brings_the_task_again(api: Api) -> None:
    request = start_request(request_eager_execution=True, request_id="r")
    first = await api.StartWorkflowExecution(request)

    again = await api.StartWorkflowExecution(request)

    assert again.eager_workflow_task == first.eager_workflow_task


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"namespace": ""}, "INVALID_ARGUMENT", "Namespace is empty."),
        ({"namespace": "n" * 1001}, "INVALID_ARGUMENT", "Namespace length exceeds limit."),
        ({"namespace": "nowhere"}, "NOT_FOUND", "Namespace nowhere is not found."),
        ({"workflow_id": ""}, "INVALID_ARGUMENT", "WorkflowId is not set on request."),
        ({"request_id": "r" * 1001}, "INVALID_ARGUMENT", "RequestId length exceeds limit."),
    ],
)
async def test_a_start_that_cannot_be_is_refused(api: Api, fields: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.StartWorkflowExecution(start_request(**fields))

    assert (refused.value.code, refused.value.message) == (code, message)


# ---- signal
async def test_a_signal_is_in_the_history_once_it_is_answered(api: Api) -> None:
    run_id = await api.start()

    reply = await api.signal("ship", input=values("now"), request_id="s")

    (_, _, signaled) = (await api.history()).history.events
    assert signaled.workflow_execution_signaled_event_attributes.signal_name == "ship"
    assert reply.link.workflow_event.run_id == run_id
    assert reply.link.workflow_event.request_id_ref.request_id == "s"


async def test_signal_with_start_starts_then_only_signals(api: Api) -> None:
    def request(name: str) -> ws.SignalWithStartWorkflowExecutionRequest:
        request = ws.SignalWithStartWorkflowExecutionRequest(
            namespace=NAMESPACE, workflow_id="order-1", signal_name=name, request_id=name
        )
        request.workflow_type.name = "Order"
        request.task_queue.name = "orders"
        return request

    first = await api.SignalWithStartWorkflowExecution(request("pay"))
    second = await api.SignalWithStartWorkflowExecution(request("ship"))

    assert (first.started, second.started) == (True, False)
    assert first.run_id == second.run_id
    assert kinds((await api.history()).history) == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_EXECUTION_SIGNALED",
    ]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({}, "INVALID_ARGUMENT", "Execution is not set on request."),
        ({"workflow_execution": execution("")}, "INVALID_ARGUMENT", "WorkflowId is not set on request."),
        ({"workflow_execution": execution("order-1", "yes")}, "INVALID_ARGUMENT", "Invalid RunId."),
        (
            {"workflow_execution": execution("order-1"), "signal_name": ""},
            "INVALID_ARGUMENT",
            "SignalName is not set on request.",
        ),
        ({"workflow_execution": execution("nobody")}, "NOT_FOUND", "workflow not found for ID: nobody"),
        (
            {"workflow_execution": execution("order-1", NOBODY)},
            "NOT_FOUND",
            f'workflow execution not found for workflow ID "order-1" and run ID "{NOBODY}"',
        ),
    ],
)
async def test_a_signal_to_nobody_is_refused(api: Api, fields: dict[str, Any], code: str, message: str) -> None:
    await api.start()

    with pytest.raises(Refused) as refused:
        await api.SignalWorkflowExecution(
            ws.SignalWorkflowExecutionRequest(**{"namespace": NAMESPACE, "signal_name": "ship", **fields})
        )

    assert (refused.value.code, refused.value.message) == (code, message)


# ---- cancel, terminate
async def cancel(api: Api, **fields: Any) -> None:
    await api.RequestCancelWorkflowExecution(
        ws.RequestCancelWorkflowExecutionRequest(
            **{"namespace": NAMESPACE, "workflow_execution": execution(), **fields}
        )
    )


async def terminate(api: Api, **fields: Any) -> None:
    await api.TerminateWorkflowExecution(
        ws.TerminateWorkflowExecutionRequest(**{"namespace": NAMESPACE, "workflow_execution": execution(), **fields})
    )


async def test_cancel_is_requested_once_and_never_fails_again(api: Api) -> None:
    await api.start()

    await cancel(api, reason="changed my mind", identity="ann")
    await cancel(api)
    await terminate(api)
    await cancel(api)

    requested = (await api.history()).history.events[2].workflow_execution_cancel_requested_event_attributes
    assert (requested.cause, requested.identity) == ("changed my mind", "ann")


async def test_cancel_of_another_chain_is_not_found(api: Api) -> None:
    await api.start()

    with pytest.raises(Refused) as refused:
        await cancel(api, first_execution_run_id=NOBODY)

    assert refused.value.message == "workflow execution not found"


async def test_terminating_without_words_says_who_did_it(api: Api) -> None:
    await api.start()

    await terminate(api)
    with pytest.raises(Refused) as refused:
        await terminate(api)

    closed = (await api.history()).history.events[-1].workflow_execution_terminated_event_attributes
    assert (closed.reason, closed.identity) == ("terminated by user via frontend", "frontend-service")
    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "workflow execution already completed")


async def test_terminate_by_first_run_ignores_the_run_id_beside_it(api: Api) -> None:
    run_id = await api.start()

    await terminate(api, workflow_execution=execution("order-1", NOBODY), first_execution_run_id=run_id, reason="over")

    assert (await api.describe()).workflow_execution_info.status == TERMINATED


@pytest.mark.parametrize("call", [cancel, terminate])
async def test_too_long_an_identity_is_refused(api: Api, call: Any) -> None:
    with pytest.raises(Refused) as refused:
        await call(api, identity="i" * 1001)

    assert refused.value.message == "Identity length exceeds limit."


# ---- describe, delete
async def test_describe_tells_what_runs_and_what_is_pending(api: Api) -> None:
    run_id = await api.start()
    await api.step(start_timer())
    await api.signal()

    described = await api.describe()

    info = described.workflow_execution_info
    assert (info.execution.run_id, info.type.name, info.status) == (run_id, "Order", RUNNING)
    assert info.history_length == 7
    assert described.pending_workflow_task.attempt == 1


async def test_a_deleted_run_is_gone_and_its_id_free(api: Api) -> None:
    await api.start()

    await api.DeleteWorkflowExecution(
        ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
    )
    with pytest.raises(Refused) as refused:
        await api.describe()

    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "workflow not found for ID: order-1")
    await api.start()
