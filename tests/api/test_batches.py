"""Batch operations on the wire: each operation, and each refusal in the reference's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest
import temporalio.api.batch.v1 as batch
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import Execution, ResetOptions
from temporalio.api.enums.v1 import (
    BatchOperationState,
    BatchOperationType,
    EventType,
    ExecutionType,
    ResetReapplyExcludeType,
    ResetType,
)

from perdure import Server
from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    execution,
    kinds,
    schedule_activity,
    start_timer,
    values,
)

QUERY = "WorkflowType = 'Order'"
RUNNING = BatchOperationState.BATCH_OPERATION_STATE_RUNNING
COMPLETED = BatchOperationState.BATCH_OPERATION_STATE_COMPLETED


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(dynamic_config={"frontend.MaxConcurrentBatchOperationPerNamespace": 2}) as running:
        yield running


def request(job_id: str = "job", **fields: Any) -> ws.StartBatchOperationRequest:
    fields = {"visibility_query": QUERY, "reason": "cleaning up", "max_operations_per_second": 1000, **fields}
    if not any(name.endswith("_operation") for name in fields):
        fields["termination_operation"] = batch.BatchOperationTermination(identity="operator")
    return ws.StartBatchOperationRequest(namespace=NAMESPACE, job_id=job_id, **fields)


async def describe_job(api: Api, job_id: str = "job") -> Any:
    return await api.DescribeBatchOperation(ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id=job_id))


async def run(api: Api, job_id: str = "job", **fields: Any) -> Any:
    """Start a job and wait for its end."""
    await api.StartBatchOperation(request(job_id, **fields))
    while (job := await describe_job(api, job_id)).state == RUNNING:
        pass
    return job


def outcome(job: Any) -> tuple[int, int, int]:
    return job.total_operation_count, job.complete_operation_count, job.failure_operation_count


# ---- operations
async def test_all_running_workflows_of_a_query_are_terminated(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.start(name)
    await api.TerminateWorkflowExecution(
        ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution("c"))
    )

    job = await run(
        api, termination_operation=batch.BatchOperationTermination(identity="operator", details=values("x"))
    )

    assert (job.state, outcome(job)) == (COMPLETED, (2, 2, 0))
    assert job.operation_type == BatchOperationType.BATCH_OPERATION_TYPE_TERMINATE
    assert (job.identity, job.reason) == ("operator", "cleaning up")
    assert job.start_time.ToMicroseconds() <= job.close_time.ToMicroseconds()
    ended = (await api.history("a")).history.events[-1].workflow_execution_terminated_event_attributes
    assert (ended.reason, ended.details) == ("cleaning up", values("x"))


async def test_signals_and_cancel_requests_reach_all_that_were_named(api: Api) -> None:
    run_id = await api.start("a")
    await api.start("b")

    signalled = await run(
        api,
        "signals",
        visibility_query="",
        executions=[execution("a", run_id), execution("b"), execution("nobody")],
        signal_operation=batch.BatchOperationSignal(signal="news", input=values(1), identity="operator"),
    )
    cancelled = await run(
        api,
        "cancels",
        visibility_query="",
        target_executions=[Execution(type=ExecutionType.EXECUTION_TYPE_WORKFLOW, business_id="a")],
        cancellation_operation=batch.BatchOperationCancellation(identity="operator"),
    )

    assert outcome(signalled) == (3, 2, 1)
    assert outcome(cancelled) == (1, 1, 0)
    events = (await api.history("a")).history.events
    told = events[2].workflow_execution_signaled_event_attributes
    assert (told.signal_name, told.input, told.identity) == ("news", values(1), "operator")
    assert events[3].workflow_execution_cancel_requested_event_attributes.cause == "cleaning up"
    assert kinds((await api.history("b")).history)[2:] == ["WORKFLOW_EXECUTION_SIGNALED"]


async def test_open_and_closed_workflows_are_deleted(api: Api) -> None:
    await api.start("open")
    await api.step(complete_workflow())
    await api.start("closed")

    job = await run(api, deletion_operation=batch.BatchOperationDeletion(identity="operator"))

    assert outcome(job) == (2, 2, 0)
    for name in ("open", "closed"):
        with pytest.raises(Refused, match="NOT_FOUND"):
            await api.describe(name)
    listed = await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert not listed.executions
    await api.start("open")


async def reset_job(api: Api, job_id: str = "job", **fields: Any) -> Any:
    return await run(api, job_id, reset_operation=batch.BatchOperationReset(identity="operator", **fields))


async def a_run_of_two_tasks(api: Api, **completion: Any) -> str:
    """4 completed, 5 timer, 6 signal, 7-9 second task."""
    run_id = await api.start()
    await api.complete(await api.poll(), start_timer(), **completion)
    await api.signal("one")
    await api.complete(await api.poll(), binary_checksum="late")
    return run_id


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"options": ResetOptions(first_workflow_task={})}, 3),
        ({"options": ResetOptions(last_workflow_task={})}, 8),
        ({"options": ResetOptions(workflow_task_id=8)}, 7),
        ({"options": ResetOptions(build_id="1.0")}, 3),
        ({"reset_type": ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK}, 3),
        ({"reset_type": ResetType.RESET_TYPE_LAST_WORKFLOW_TASK}, 8),
    ],
)
async def test_workflows_are_reset_to_the_point_asked_for(api: Api, fields: dict[str, Any], kept: int) -> None:
    base = await a_run_of_two_tasks(api, worker_version_stamp={"build_id": "1.0"})

    job = await reset_job(api, **fields)

    assert outcome(job) == (1, 1, 0)
    info = await api.describe()
    events = (await api.history()).history.events
    assert info.workflow_execution_info.execution.run_id != base
    failed = next(event for event in events if event.HasField("workflow_task_failed_event_attributes"))
    assert failed.workflow_task_failed_event_attributes.failure.message == "cleaning up"
    assert failed.event_id in (kept + 1, kept + 2)


async def test_a_batch_reset_leaves_out_what_it_is_told_to(api: Api) -> None:
    await a_run_of_two_tasks(api)
    excluded = [ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL]

    await reset_job(api, options=ResetOptions(first_workflow_task={}, reset_reapply_exclude_types=excluded))

    assert "WORKFLOW_EXECUTION_SIGNALED" not in kinds((await api.history()).history)


async def test_a_build_that_a_workflow_never_ran_on_is_a_failure_of_the_target(api: Api) -> None:
    await a_run_of_two_tasks(api)

    assert outcome(await reset_job(api, options=ResetOptions(build_id="2.0"))) == (1, 0, 1)


async def test_a_workflow_without_a_completed_task_is_reset_to_its_scheduled_one(api: Api) -> None:
    await api.start()
    await api.poll()

    assert outcome(await reset_job(api, options=ResetOptions(first_workflow_task={}))) == (1, 1, 0)
    assert kinds((await api.history()).history)[2:] == [
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_FAILED",
        "WORKFLOW_TASK_SCHEDULED",
    ]


async def test_activities_are_unpaused_reset_and_given_other_options(api: Api) -> None:
    await api.start()
    await api.step(schedule_activity())
    pause = ws.PauseActivityRequest(namespace=NAMESPACE, execution=execution(), type="Charge", identity="operator")
    [pending] = (await api.describe()).pending_activities
    pause.type = pending.activity_type.name
    await api.PauseActivity(pause)

    unpaused = await run(
        api,
        "unpause",
        unpause_activities_operation=batch.BatchOperationUnpauseActivities(type=pending.activity_type.name),
    )
    assert outcome(unpaused) == (1, 1, 0)
    assert not (await api.describe()).pending_activities[0].paused

    update = batch.BatchOperationUpdateActivityOptions(match_all=True)
    update.activity_options.heartbeat_timeout.seconds = 7
    update.update_mask.paths.append("heartbeat_timeout")
    assert outcome(await run(api, "update", update_activity_options_operation=update)) == (1, 1, 0)
    assert (await api.describe()).pending_activities[0].activity_options.heartbeat_timeout.seconds == 7

    reset = batch.BatchOperationResetActivities(match_all=True)
    assert outcome(await run(api, "reset", reset_activities_operation=reset)) == (1, 1, 0)


async def test_options_of_workflows_are_updated(api: Api) -> None:
    await api.start()
    update = batch.BatchOperationUpdateWorkflowExecutionOptions(identity="operator")
    update.workflow_execution_options.priority.priority_key = 4
    update.update_mask.paths.append("priority.priority_key")

    assert outcome(await run(api, update_workflow_options_operation=update)) == (1, 1, 0)
    assert (await api.describe()).workflow_execution_info.priority.priority_key == 4


# ---- jobs
async def test_jobs_are_listed_newest_first_and_not_among_workflows(api: Api) -> None:
    for job_id in ("first", "second", "third"):
        await run(api, job_id)

    page = await api.ListBatchOperations(ws.ListBatchOperationsRequest(namespace=NAMESPACE, page_size=2))
    rest = await api.ListBatchOperations(
        ws.ListBatchOperationsRequest(namespace=NAMESPACE, page_size=2, next_page_token=page.next_page_token)
    )
    workflows = await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))

    assert [job.job_id for job in [*page.operation_info, *rest.operation_info]] == ["third", "second", "first"]
    assert not rest.next_page_token
    assert page.operation_info[0].state == COMPLETED
    assert page.operation_info[0].operation_type == BatchOperationType.BATCH_OPERATION_TYPE_TERMINATE
    assert page.operation_info[0].HasField("close_time")
    assert not workflows.executions


async def test_a_job_is_stopped_once(api: Api) -> None:
    for number in range(5):
        await api.start(f"order-{number}")
    await api.StartBatchOperation(request(max_operations_per_second=0.1))
    stop = ws.StopBatchOperationRequest(namespace=NAMESPACE, job_id="job", reason="a mistake", identity="operator")

    await api.StopBatchOperation(stop)

    job = await describe_job(api)
    assert job.state == BatchOperationState.BATCH_OPERATION_STATE_FAILED
    with pytest.raises(Refused, match="NOT_FOUND: workflow execution already completed"):
        await api.StopBatchOperation(stop)


async def test_so_many_jobs_run_at_once_and_no_id_is_used_twice(api: Api) -> None:
    for number in range(5):
        await api.start(f"order-{number}")
    await api.StartBatchOperation(request("one", max_operations_per_second=0.1))
    with pytest.raises(Refused, match="ALREADY_EXISTS: Workflow execution is already running"):
        await api.StartBatchOperation(request("one"))
    await api.StartBatchOperation(request("two", max_operations_per_second=0.1))

    with pytest.raises(Refused) as refused:
        await api.StartBatchOperation(request("three"))

    assert (refused.value.code, refused.value.message) == (
        "RESOURCE_EXHAUSTED",
        "Max concurrent batch operations is reached",
    )


REQUIRED = "must provide required parameters: BatchType/Reason/Namespace/Query/Executions"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"job_id": ""}, "JobId is not set on request."),
        ({"reason": ""}, REQUIRED),
        ({"visibility_query": ""}, REQUIRED),
        (
            {"executions": [execution()]},
            "visibility query, executions, and target executions are mutually exclusive",
        ),
        ({"visibility_query": "NoSuch = 1"}, lambda text: text.startswith("invalid visibility query: ")),
        ({"signal_operation": batch.BatchOperationSignal()}, "must provide signal name"),
        ({"reset_operation": batch.BatchOperationReset()}, "reset operation is not set"),
        ({"reset_operation": batch.BatchOperationReset(reset_type=9)}, "unknown batch reset type 9"),  # type: ignore[arg-type]
        ({"reset_operation": batch.BatchOperationReset(options=ResetOptions())}, "batch reset missing target"),
        (
            {"update_workflow_options_operation": batch.BatchOperationUpdateWorkflowExecutionOptions()},
            "must provide UpdateOptions",
        ),
        (
            {
                "update_workflow_options_operation": batch.BatchOperationUpdateWorkflowExecutionOptions(
                    workflow_execution_options={}
                )
            },
            "must provide UpdateMask",
        ),
        (
            {"unpause_activities_operation": batch.BatchOperationUnpauseActivities()},
            "activity filter must be set",
        ),
        (
            {"reset_activities_operation": batch.BatchOperationResetActivities(match_all=False)},
            "Either activity type must be set, or match all should be set to true",
        ),
        (
            {
                "update_activity_options_operation": batch.BatchOperationUpdateActivityOptions(
                    restore_original=True, activity_options={}, match_all=True
                )
            },
            "cannot set both activity options and restore original",
        ),
        (
            {"update_activity_options_operation": batch.BatchOperationUpdateActivityOptions(restore_original=True)},
            "must provide ActivityType or MatchAll",
        ),
        (
            {"cancel_activities_operation": batch.BatchOperationCancelActivities()},
            "The operation type BATCH_OPERATION_TYPE_CANCEL_ACTIVITY is not supported",
        ),
        (
            {
                "visibility_query": "",
                "target_executions": [Execution(type=ExecutionType.EXECUTION_TYPE_ACTIVITY, business_id="a")],
            },
            lambda text: text.startswith("target_executions[0] has type EXECUTION_TYPE_ACTIVITY"),
        ),
    ],
)
async def test_a_job_that_cannot_be_is_refused(
    api: Api, fields: dict[str, Any], text: str | Callable[[str], bool]
) -> None:
    wanted = request(fields.pop("job_id", "job"), **fields)

    with pytest.raises(Refused) as refused:
        await api.StartBatchOperation(wanted)

    assert refused.value.code == "INVALID_ARGUMENT"
    assert text(refused.value.message) if callable(text) else refused.value.message == text


async def test_jobs_that_are_not_there_and_requests_without_a_name_are_refused(api: Api) -> None:
    for call, code, text in (
        (describe_job(api, "nope"), "NOT_FOUND", "workflow not found for ID: nope"),
        (describe_job(api, ""), "INVALID_ARGUMENT", "JobId is not set on request."),
        (
            api.StopBatchOperation(ws.StopBatchOperationRequest(namespace=NAMESPACE, job_id="nope", reason="r")),
            "NOT_FOUND",
            "workflow not found for ID: nope",
        ),
        (
            api.StopBatchOperation(ws.StopBatchOperationRequest(namespace=NAMESPACE, job_id="job")),
            "INVALID_ARGUMENT",
            "Reason is not set on request.",
        ),
        (
            api.StopBatchOperation(ws.StopBatchOperationRequest(namespace=NAMESPACE, reason="r")),
            "INVALID_ARGUMENT",
            "JobId is not set on request.",
        ),
    ):
        with pytest.raises(Refused) as refused:
            await call
        assert (refused.value.code, refused.value.message) == (code, text)


async def test_a_job_survives_its_server(tmp_path: Any) -> None:
    file = str(tmp_path / "jobs.db")
    async with Server(db_filename=file) as server, grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)
        for number in range(8):
            await api.start(f"order-{number}")
        await api.StartBatchOperation(
            request(
                max_operations_per_second=10,
                signal_operation=batch.BatchOperationSignal(signal="news", identity="operator"),
            )
        )
        while not (await describe_job(api)).complete_operation_count:
            pass
    async with Server(db_filename=file) as server, grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)
        while (job := await describe_job(api)).state == RUNNING:
            pass
        assert outcome(job) == (8, 8, 0)
        for number in range(8):
            events = (await api.history(f"order-{number}")).history.events
            assert [e.event_type for e in events].count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) == 1
