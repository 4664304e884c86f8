"""ResetWorkflowExecution on the wire: what it refuses in which words, and what one reads afterwards."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflow.v1 import PostResetOperation

from perdure import Server
from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    execution,
    schedule_activity,
    start_timer,
    values,
)


def reset_request(finish_event_id: int = 4, run_id: str = "", **fields: Any) -> ws.ResetWorkflowExecutionRequest:
    fields.setdefault("request_id", str(uuid4()))
    return ws.ResetWorkflowExecutionRequest(
        namespace=NAMESPACE,
        workflow_execution=execution(run_id=run_id),
        reason="redo",
        workflow_task_finish_event_id=finish_event_id,
        **fields,
    )


async def test_a_reset_run_goes_on_from_the_point_and_both_runs_say_so(api: Api) -> None:
    base = await api.start()
    await api.step(start_timer())
    await api.signal("ship")

    run_id = (await api.ResetWorkflowExecution(reset_request())).run_id
    task = await api.step(complete_workflow("after all"))

    assert [event.event_id for event in task.history.events] == list(range(1, 8))
    assert task.workflow_execution.run_id == run_id
    before, after = await api.describe(run_id=base), await api.describe()
    assert before.workflow_extended_info.reset_run_id == after.workflow_execution_info.execution.run_id == run_id
    assert after.workflow_extended_info.HasField("last_reset_time")
    assert not before.workflow_extended_info.HasField("last_reset_time")
    history = (await api.history(run_id=run_id)).history.events
    assert history[3].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    assert [event.event_id for event in history] == list(range(1, 10))
    backwards = await api.GetWorkflowExecutionHistoryReverse(
        ws.GetWorkflowExecutionHistoryReverseRequest(namespace=NAMESPACE, execution=execution(run_id=run_id))
    )
    assert [event.event_id for event in backwards.history.events] == list(range(9, 0, -1))


async def test_the_same_reset_twice_makes_one_run(api: Api) -> None:
    base = await api.start()
    await api.step(start_timer())

    first = await api.ResetWorkflowExecution(reset_request(run_id=base, request_id="once"))
    second = await api.ResetWorkflowExecution(reset_request(run_id=base, request_id="once"))

    assert first.run_id == second.run_id


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"workflow_execution": None}, "INVALID_ARGUMENT", "Execution is not set on request."),
        ({"request_id": ""}, "INVALID_ARGUMENT", "RequestId is not set on request."),
        ({"request_id": "x" * 1001}, "INVALID_ARGUMENT", "RequestId length exceeds limit."),
        ({"reset_reapply_type": 77}, "INVALID_ARGUMENT", "unknown reset type: 77"),
        (
            {"workflow_task_finish_event_id": 1},
            "INVALID_ARGUMENT",
            "Workflow task finish ID must be > 1 && <= workflow last event ID.",
        ),
        (
            {"workflow_task_finish_event_id": 6},
            "INVALID_ARGUMENT",
            "Workflow task finish ID must be > 1 && <= workflow last event ID.",
        ),
        (
            {"workflow_task_finish_event_id": 5},
            "INVALID_ARGUMENT",
            "StateRebuilder unable to Rebuild mutable state to event ID: 4, version: 0, "
            "this event must be at the boundary",
        ),
        (
            {"post_reset_operations": [PostResetOperation(signal_workflow={"signal_name": "go"})]},
            "INVALID_ARGUMENT",
            "unsupported post reset operation: *workflow.PostResetOperation_SignalWorkflow_",
        ),
        (
            {"post_reset_operations": [PostResetOperation(update_workflow_options={})]},
            "INVALID_ARGUMENT",
            "UpdateMask is required",
        ),
        ({"workflow_execution": execution("nobody")}, "NOT_FOUND", "workflow not found for ID: nobody"),
        (
            {"workflow_execution": execution(run_id="00000000-0000-4000-8000-000000000000")},
            "NOT_FOUND",
            'workflow execution not found for workflow ID "order-1" and run ID "00000000-0000-4000-8000-000000000000"',
        ),
    ],
)
async def test_a_reset_that_cannot_be_is_refused_in_the_references_words(
    api: Api, changes: dict[str, Any], code: str, text: str
) -> None:
    await api.start()
    await api.step(start_timer())
    request = reset_request()
    for name, value in changes.items():
        request.ClearField(name)  # type: ignore[arg-type]
        if isinstance(value, list):
            getattr(request, name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(request, name).CopyFrom(value)
        elif value is not None:
            setattr(request, name, value)

    with pytest.raises(Refused) as refused:
        await api.ResetWorkflowExecution(request)

    assert (refused.value.code, refused.value.message) == (code, text)
    assert (await api.describe()).workflow_execution_info.history_length == 5


async def test_an_activity_of_the_kept_part_is_given_to_a_waiting_worker_again(api: Api) -> None:
    await api.start()
    await api.step(schedule_activity(), start_timer())
    await api.poll_activity()
    await api.signal("ship")
    await api.step()

    await api.ResetWorkflowExecution(reset_request(10))
    again = await api.poll_activity()

    assert again.attempt == 1
    await api.RespondActivityTaskCompleted(
        ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=again.task_token, result=values("paid"))
    )
    task = await api.step(complete_workflow())
    assert task.history.events[-1].event_id == 14


async def test_a_reset_survives_a_restart(tmp_path: Any) -> None:
    file = str(tmp_path / "perdure.db")
    async with Server(db_filename=file) as server, grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)
        base = await api.start()
        await api.step(start_timer())
        await api.signal("ship")
        run_id = (await api.ResetWorkflowExecution(reset_request())).run_id
    async with Server(db_filename=file) as server, grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)
        task = await api.step(complete_workflow())
        assert task.workflow_execution.run_id == run_id
        assert [event.event_id for event in task.history.events] == list(range(1, 8))
        again = (await api.ResetWorkflowExecution(reset_request(run_id=base))).run_id
        assert again not in (base, run_id)


async def test_options_are_set_on_the_run_that_goes_on(api: Api) -> None:
    await api.start()
    await api.step(start_timer())
    operation = PostResetOperation()
    update = operation.update_workflow_options
    update.workflow_execution_options.priority.priority_key = 2
    update.update_mask.paths.append("priority")

    await api.ResetWorkflowExecution(reset_request(post_reset_operations=[operation], identity="operator"))

    assert (await api.describe()).workflow_execution_info.priority.priority_key == 2
    [event] = [
        event
        for event in (await api.history()).history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
    ]
    assert event.workflow_execution_options_updated_event_attributes.identity == "operator"


@pytest.mark.parametrize(("mode", "build"), [(1, ""), (2, "1.0")], ids=["unversioned", "versioned"])
async def test_points_to_reset_to_name_the_build_that_the_history_names(api: Api, mode: int, build: str) -> None:
    """Else they would be others once the run was reset, as they are then made from the history."""
    await api.start()
    options = WorkerDeploymentOptions(deployment_name="orders", build_id="1.0")
    options.worker_versioning_mode = mode  # type: ignore[assignment]
    task = await api.poll()
    await api.complete(task, start_timer(), binary_checksum="abc", deployment_options=options)
    await api.signal()
    await api.step(start_timer("second"))

    before = (await api.describe()).workflow_execution_info.auto_reset_points
    await api.ResetWorkflowExecution(reset_request(finish_event_id=8))
    after = (await api.describe()).workflow_execution_info.auto_reset_points

    assert (before.points[0].binary_checksum, before.points[0].build_id) == ("abc", build)
    assert (after.points[0].binary_checksum, after.points[0].build_id) == ("abc", build)
