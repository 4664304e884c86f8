"""Updates on the wire: what clients are told, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1.grpc_status_pb2 import GrpcStatus
from temporalio.api.errordetails.v1 import MultiOperationExecutionFailure, WorkflowNotReadyFailure
from temporalio.api.failure.v1 import MultiOperationExecutionAborted
from temporalio.api.update.v1 import Outcome, UpdateRef

from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    execution,
    kinds,
    start_timer,
)
from tests.api.updating import (
    ACCEPTED,
    ADMITTED,
    COMPLETED,
    poll_request,
    stage_of,
    update_request,
    with_start,
)
from tests.engine.updating import accept, place, reject, respond


async def refusal(answer: Any) -> str:
    with pytest.raises(Refused) as refused:
        await answer
    return str(refused.value)


async def idle(api: Api) -> str:
    run_id = await api.start()
    await api.step()
    return run_id


async def take(api: Api) -> Any:
    task = await api.poll()
    assert task.messages, "no update came"
    return task


async def accept_next(api: Api) -> Any:
    task = await take(api)
    yes = accept(task.messages[0])
    await api.complete(task, place(yes), messages=[yes])
    return task


def details_of(error: grpc.aio.AioRpcError) -> Any:
    metadata = dict(error.trailing_metadata() or ())
    return GrpcStatus.FromString(metadata["grpc-status-details-bin"]).details[0]  # type: ignore[arg-type]


# ---- stages
async def test_a_caller_is_answered_at_the_stage_it_waits_for(api: Api) -> None:
    run_id = await idle(api)
    accepted = asyncio.create_task(api.UpdateWorkflowExecution(update_request(stage=ACCEPTED)))
    completed = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    await accept_next(api)

    answer = await accepted
    assert answer.stage == ACCEPTED
    assert not answer.HasField("outcome")
    assert answer.update_ref == UpdateRef(workflow_execution=execution("order-1", run_id), update_id="u1")
    assert (await api.PollWorkflowExecutionUpdate(poll_request())).stage == ACCEPTED
    polled = asyncio.create_task(api.PollWorkflowExecutionUpdate(poll_request(stage=COMPLETED)))
    await api.signal()
    task = await api.poll()
    done = respond("u1", "five")
    await api.complete(task, place(done), messages=[done])

    outcome = Outcome()
    outcome.success.payloads.add(metadata={"encoding": b"json/plain"}, data=b'"five"')
    for answer in (await completed, await polled, await api.PollWorkflowExecutionUpdate(poll_request())):
        assert (answer.stage, answer.outcome) == (COMPLETED, outcome)
    again = await api.UpdateWorkflowExecution(update_request(stage=ACCEPTED))
    assert again.outcome == outcome


async def test_an_update_without_an_id_gets_one(api: Api) -> None:
    await idle(api)
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request("")))
    task = await take(api)
    await api.complete(task, messages=[reject(task.messages[0])])

    answer = await asked

    assert answer.update_ref.update_id == task.messages[0].protocol_instance_id != ""
    assert answer.outcome.failure.message == "no"


async def test_a_rejected_update_is_in_no_history_and_the_worker_told_to_go_back(api: Api) -> None:
    await idle(api)
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    task = await take(api)
    seen = (await api.history()).history
    reply = await api.complete(task, messages=[reject(task.messages[0])])
    await asked

    assert kinds(seen)[-2:] == ["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"]
    assert kinds((await api.history()).history) == kinds(seen)[:-2]
    assert reply.reset_history_event_id == 3
    assert (await api.describe()).workflow_execution_info.history_length == 4
    assert await refusal(api.PollWorkflowExecutionUpdate(poll_request())) == 'NOT_FOUND: update "u1" not found'


async def test_an_update_during_a_task_comes_back_with_its_answer(api: Api) -> None:
    await api.start()
    first = await api.poll()
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    while (await stage_of(api)) != ADMITTED:
        pass
    reply = await api.complete(first, return_new_workflow_task=True)
    task = reply.workflow_task
    await api.complete(task, messages=[accept(task.messages[0]), respond()])

    assert (await asked).stage == COMPLETED
    assert task.started_event_id == 6
    assert kinds((await api.history()).history)[4:] == [
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_COMPLETED",
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
        "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
    ]


async def test_a_caller_that_left_leaves_its_update(api: Api) -> None:
    await idle(api)
    with pytest.raises(Refused, match="DEADLINE_EXCEEDED"):
        await api.UpdateWorkflowExecution(update_request(), within=0.3)

    task = await accept_next(api)

    assert task.messages[0].id == "u1/request"
    assert await stage_of(api) == ACCEPTED


async def test_accepted_updates_of_closed_runs_are_answered_and_others_not_found(api: Api) -> None:
    run_id = await idle(api)
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    task = await take(api)
    lost = asyncio.create_task(api.UpdateWorkflowExecution(update_request("u2")))
    while (await stage_of(api, "u2")) != ADMITTED:
        pass
    yes = accept(task.messages[0])
    await api.complete(task, place(yes), complete_workflow(), messages=[yes])

    for answer in (await asked, await api.UpdateWorkflowExecution(update_request(run_id=run_id))):
        assert answer.stage == COMPLETED
        assert answer.outcome.failure.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"
    assert await refusal(lost) == "NOT_FOUND: workflow update was aborted by closing workflow"
    assert await refusal(api.UpdateWorkflowExecution(update_request("u2"))) == (
        "NOT_FOUND: workflow execution already completed"
    )


# ---- refusals
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.ClearField("workflow_execution"), "INVALID_ARGUMENT: Execution is not set on request."),
        (
            lambda r: r.workflow_execution.ClearField("workflow_id"),
            "INVALID_ARGUMENT: WorkflowId is not set on request.",
        ),
        (lambda r: setattr(r.workflow_execution, "run_id", "x"), "INVALID_ARGUMENT: Invalid RunId."),
        (lambda r: r.request.ClearField("meta"), "INVALID_ARGUMENT: Update meta is not set on request."),
        (
            lambda r: setattr(r.request.meta, "update_id", "x" * 1001),
            "INVALID_ARGUMENT: UpdateId length exceeds limit.",
        ),
        (lambda r: r.request.ClearField("input"), "INVALID_ARGUMENT: Update input is not set on request."),
        (lambda r: setattr(r.request.input, "name", ""), "INVALID_ARGUMENT: Update name is not set on request."),
        (
            lambda r: r.request.input.args.payloads.add(data=b"x" * (2 << 20)),
            "INVALID_ARGUMENT: Blob data size exceeds limit.",
        ),
        (
            lambda r: setattr(r.wait_policy, "lifecycle_stage", ADMITTED),
            "PERMISSION_DENIED: UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not "
            "supported.",
        ),
        (
            lambda r: r.request.completion_callbacks.add().nexus.SetInParent(),
            "INVALID_ARGUMENT: invalid *update.Request: request_id is required when completion_callbacks are set",
        ),
        (lambda r: r.request.links.add(), "INVALID_ARGUMENT: unsupported link variant"),
        (lambda r: setattr(r, "namespace", "none"), "NOT_FOUND: Namespace none is not found."),
        (lambda r: setattr(r.workflow_execution, "workflow_id", "none"), "NOT_FOUND: workflow not found for ID: none"),
        (lambda r: setattr(r, "first_execution_run_id", "other"), "NOT_FOUND: workflow execution not found"),
    ],
)
async def test_a_bad_update_is_refused_in_the_references_words(api: Api, change: Any, text: str) -> None:
    await api.start()
    request = update_request()
    change(request)
    assert await refusal(api.UpdateWorkflowExecution(request)) == text


async def test_an_update_that_a_bad_completion_lost_says_why(api: Api) -> None:
    await idle(api)
    asked = asyncio.create_task(raw_error(api, update_request()))
    task = await take(api)

    assert await refusal(api.complete(task, messages=[respond()])) == (
        "INVALID_ARGUMENT: BadUpdateWorkflowExecutionMessage: invalid state transition attempted for Update u1: "
        "received *update.Response message while in state Sent"
    )

    error = await asked
    assert error.details() == "Unable to perform workflow execution update due to unexpected workflow task failure."
    assert details_of(error).Is(WorkflowNotReadyFailure.DESCRIPTOR)


async def raw_error(api: Api, request: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(Refused) as refused:
        await getattr(api, type(request).__name__.removesuffix("Request"))(request)
    cause = refused.value.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError)
    return cause


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.ClearField("update_ref"), "INVALID_ARGUMENT: UpdateRef is not set on request."),
        (lambda r: r.update_ref.ClearField("workflow_execution"), "INVALID_ARGUMENT: Execution is not set on request."),
        (lambda r: None, 'NOT_FOUND: update "u1" not found'),
        (
            lambda r: setattr(r.update_ref.workflow_execution, "workflow_id", "none"),
            "NOT_FOUND: workflow not found for ID: none",
        ),
    ],
)
async def test_a_bad_poll_for_an_update_is_refused(api: Api, change: Any, text: str) -> None:
    await api.start()
    request = poll_request()
    change(request)
    assert await refusal(api.PollWorkflowExecutionUpdate(request)) == text


async def test_a_namespace_says_that_it_takes_updates(api: Api) -> None:
    described = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
    can = described.namespace_info.capabilities
    assert (can.sync_update, can.async_update, can.eager_workflow_start) == (True, True, True)


# ---- update-with-start
async def test_an_update_with_start_starts_what_is_not_there(api: Api) -> None:
    asked = asyncio.create_task(api.ExecuteMultiOperation(with_start()))
    task = await take(api)
    await api.complete(task, start_timer(), messages=[accept(task.messages[0]), respond()])

    start, update = (await asked).responses

    assert [event.event_id for event in task.history.events] == [1, 2, 3]
    assert task.messages[0].event_id == 2
    assert start.start_workflow.started
    assert start.start_workflow.run_id == task.workflow_execution.run_id
    assert start.start_workflow.link.workflow_event.event_ref.event_id == 1
    assert update.update_workflow.stage == COMPLETED
    assert update.update_workflow.update_ref.workflow_execution.run_id == task.workflow_execution.run_id


async def test_a_repeated_update_with_start_finds_what_it_started(api: Api) -> None:
    request = with_start(request_id="once")
    request.operations[1].update_workflow.wait_policy.lifecycle_stage = ACCEPTED  # type: ignore[assignment]
    asked = asyncio.create_task(api.ExecuteMultiOperation(request))
    await accept_next(api)
    first = (await asked).responses

    second = (await api.ExecuteMultiOperation(request)).responses

    assert second[0].start_workflow.run_id == first[0].start_workflow.run_id
    assert (first[0].start_workflow.started, second[0].start_workflow.started) == (True, False)
    assert second[1].update_workflow.stage == ACCEPTED


async def test_a_completed_update_is_answered_without_a_start_also_after_the_close(api: Api) -> None:
    asked = asyncio.create_task(api.ExecuteMultiOperation(with_start()))
    task = await take(api)
    await api.complete(task, complete_workflow(), messages=[reject(task.messages[0])])
    assert (await asked).responses[1].update_workflow.outcome.failure.message == "no"
    asked = asyncio.create_task(api.ExecuteMultiOperation(with_start(update_request("u2"))))
    task = await take(api)
    yes, done = accept(task.messages[0]), respond("u2", "last")
    await api.complete(task, place(yes), place(done), complete_workflow(), messages=[yes, done])
    await asked

    start, update = (await api.ExecuteMultiOperation(with_start(update_request("u2")))).responses

    assert not start.start_workflow.started
    assert start.start_workflow.status == 2  # WORKFLOW_EXECUTION_STATUS_COMPLETED
    assert start.start_workflow.run_id == task.workflow_execution.run_id
    assert (
        update.update_workflow.outcome.success
        == Outcome.FromString(
            (await api.PollWorkflowExecutionUpdate(poll_request("u2"))).outcome.SerializeToString()
        ).success
    )


async def test_a_workflow_that_runs_is_used_or_replaced_or_in_the_way(api: Api) -> None:
    first = await idle(api)
    refused = await raw_error(api, with_start())
    failure = MultiOperationExecutionFailure()
    assert details_of(refused).Unpack(failure)
    used = asyncio.create_task(api.ExecuteMultiOperation(with_start(workflow_id_conflict_policy=2)))
    await accept_next(api)
    replaced = asyncio.create_task(
        api.ExecuteMultiOperation(with_start(update_request("u2", stage=ACCEPTED), workflow_id_conflict_policy=3))
    )
    await accept_next(api)

    assert refused.code() == grpc.StatusCode.ALREADY_EXISTS
    assert refused.details() == "Update-with-Start could not be executed."
    assert [status.code for status in failure.statuses] == [6, 10]
    assert failure.statuses[1].message == "Operation was aborted."
    assert failure.statuses[1].details[0].Is(MultiOperationExecutionAborted.DESCRIPTOR)
    answer = (await used).responses
    assert (answer[0].start_workflow.started, answer[0].start_workflow.run_id) == (False, first)
    assert answer[1].update_workflow.outcome.failure.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"
    answer = (await replaced).responses
    assert answer[0].start_workflow.started
    assert answer[1].update_workflow.stage == ACCEPTED


async def test_an_update_that_a_closing_workflow_aborts_starts_the_next(api: Api) -> None:
    first = await idle(api)
    asked = asyncio.create_task(api.ExecuteMultiOperation(with_start(workflow_id_conflict_policy=2)))
    task = await take(api)
    await api.complete(task, complete_workflow())
    second = await accept_next(api)
    await api.TerminateWorkflowExecution(
        ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
    )

    start, update = (await asked).responses

    assert second.workflow_execution.run_id != first
    assert start.start_workflow.started
    assert update.update_workflow.update_ref.workflow_execution.run_id == second.workflow_execution.run_id


async def test_a_workflow_that_was_started_is_told_when_its_update_fails(api: Api) -> None:
    asked = asyncio.create_task(raw_error(api, with_start()))
    task = await take(api)
    await refusal(api.complete(task, messages=[respond()]))

    error = await asked
    failure = MultiOperationExecutionFailure()
    assert details_of(error).Unpack(failure)
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert [status.code for status in failure.statuses] == [0, 9]


def _set(operation: int, name: str, value: Any) -> Any:
    def change(request: ws.ExecuteMultiOperationRequest) -> None:
        chosen = request.operations[operation]
        target = chosen.start_workflow if operation == 0 else chosen.update_workflow
        *path, last = name.split(".")
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)

    return change


@pytest.mark.parametrize(
    ("change", "at", "text"),
    [
        (_set(0, "namespace", "other"), 0, "Operation namespace did not match request's namespace."),
        (_set(1, "namespace", "other"), 1, "Operation namespace did not match request's namespace."),
        (_set(0, "cron_schedule", "* * * * *"), 0, "CronSchedule is not allowed."),
        (_set(0, "request_eager_execution", True), 0, "RequestEagerExecution is not supported."),
        (_set(0, "workflow_start_delay.seconds", 1), 0, "WorkflowStartDelay is not supported."),
        (_set(0, "workflow_type.name", ""), 0, "WorkflowType is not set on request."),
        (_set(1, "first_execution_run_id", "x"), 1, "FirstExecutionRunId is not allowed."),
        (_set(1, "workflow_execution.run_id", "x"), 1, "RunId is not allowed."),
        (
            _set(1, "workflow_execution.workflow_id", "other"),
            1,
            "WorkflowId is not consistent with previous operation(s).",
        ),
        (_set(1, "request.input.name", ""), 1, "Update name is not set on request."),
    ],
)
async def test_each_part_of_an_update_with_start_is_checked(api: Api, change: Any, at: int, text: str) -> None:
    request = with_start()
    change(request)
    error = await raw_error(api, request)
    failure = MultiOperationExecutionFailure()
    assert details_of(error).Unpack(failure)

    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Update-with-Start could not be executed.",
    )
    assert [status.code for status in failure.statuses] == ([3, 10] if at == 0 else [10, 3])
    assert failure.statuses[at].message == text


async def test_a_list_of_other_operations_is_refused_as_a_whole(api: Api) -> None:
    request = with_start()
    del request.operations[1]
    assert await refusal(api.ExecuteMultiOperation(request)) == (
        "INVALID_ARGUMENT: Operations have to be exactly [Start, Update]."
    )
