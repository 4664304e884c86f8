"""A capability is claimed exactly when what it stands for is there: SDKs act on the claim without asking again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import Header, Payload, WorkerVersionStamp
from temporalio.api.enums.v1 import CommandType, EventType, WorkflowExecutionStatus
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.sdk.v1 import WorkflowTaskCompletedMetadata

from perdure import Server
from perdure.api.handlers import HANDLERS
from perdure.api.registry import served_rpcs
from perdure.engine.commands import SERVED_COMMANDS
from tests.api.client import NAMESPACE, QUEUE, Api, Refused, schedule_activity, start_request, start_timer, values

Shows = Callable[[Api], Awaitable[bool]]
"""Does on a server what a capability stands for."""


def rpcs(*names: str) -> bool:
    """Whether all of them are served."""
    return set(names) <= {rpc for _, rpc in served_rpcs(HANDLERS)}


NOT_BUILT = False
"""Who builds it puts here how it shows."""


# ---- what the server can
async def headers_of_signals_are_kept(api: Api) -> bool:
    await api.start()
    await api.signal(header=Header(fields={"trace": Payload(data=b"1")}))
    signalled = await the_event(api, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    return bool(signalled.workflow_execution_signaled_event_attributes.header.fields)


async def bad_requests_are_not_internal_errors(api: Api) -> bool:
    with pytest.raises(Refused) as refused:
        await api.StartWorkflowExecution(ws.StartWorkflowExecutionRequest(namespace=NAMESPACE))
    return refused.value.code == "INVALID_ARGUMENT"


async def failures_bring_heartbeats(api: Api) -> bool:
    await api.start()
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.retry_policy.maximum_attempts = 2
    command.schedule_activity_task_command_attributes.retry_policy.initial_interval.nanos = 1_000_000
    await api.step(command)
    task = await api.poll_activity()
    await api.RespondActivityTaskFailed(
        ws.RespondActivityTaskFailedRequest(
            namespace=NAMESPACE,
            task_token=task.task_token,
            failure=Failure(message="no", application_failure_info=ApplicationFailureInfo()),
            last_heartbeat_details=values("half"),
        )
    )
    return bool((await api.poll_activity()).heartbeat_details == values("half"))


async def failures_may_be_encoded(api: Api) -> bool:
    await api.start()
    await api.step(schedule_activity())
    task = await api.poll_activity()
    failure = Failure(encoded_attributes=Payload(data=b"secret"), application_failure_info=ApplicationFailureInfo())
    await api.RespondActivityTaskFailed(
        ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, failure=failure)
    )
    failed = await the_event(api, EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
    return bool(failed.activity_task_failed_event_attributes.failure.encoded_attributes.data == b"secret")


async def stamps_of_workers_are_kept(api: Api) -> bool:
    completed = await completed_with(api, worker_version_stamp=WorkerVersionStamp(build_id="1.0"))
    return bool(completed.worker_version.build_id == "1.0")


async def metadata_of_sdks_is_kept(api: Api) -> bool:
    completed = await completed_with(api, sdk_metadata=WorkflowTaskCompletedMetadata(lang_used_flags=[7]))
    return list(completed.sdk_metadata.lang_used_flags) == [7]


async def the_first_task_comes_with_the_start(api: Api) -> bool:
    request = start_request(request_eager_execution=True)
    answer = await api.StartWorkflowExecution(request)
    return bool(answer.eager_workflow_task.task_token)


async def counts_are_grouped(api: Api) -> bool:
    await api.start()
    query = "GROUP BY ExecutionStatus"
    request = ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE, query=query)
    return len((await api.CountWorkflowExecutions(request)).groups) == 1


_SCHEDULES = rpcs(
    "CreateSchedule",
    "DescribeSchedule",
    "UpdateSchedule",
    "PatchSchedule",
    "ListScheduleMatchingTimes",
    "DeleteSchedule",
    "ListSchedules",
)

SYSTEM: dict[str, bool | Shows] = {
    "signal_and_query_header": headers_of_signals_are_kept,
    "internal_error_differentiation": bad_requests_are_not_internal_errors,
    "activity_failure_include_heartbeat": failures_bring_heartbeats,
    "supports_schedules": _SCHEDULES,
    "encoded_failure_attributes": failures_may_be_encoded,
    "build_id_based_versioning": stamps_of_workers_are_kept,
    "upsert_memo": CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES in SERVED_COMMANDS,
    "eager_workflow_start": the_first_task_comes_with_the_start,
    "sdk_metadata": metadata_of_sdks_is_kept,
    "count_group_by_execution_status": counts_are_grouped,
    "nexus": rpcs("PollNexusTaskQueue", "RespondNexusTaskCompleted", "CreateNexusEndpoint"),
    "server_scaled_deployments": rpcs("UpdateWorkerDeploymentVersionComputeConfig"),
    "server_scaled_provider_cloud_run": NOT_BUILT,
}


# ---- what namespaces can
async def problems_are_reported(api: Api) -> bool:
    await api.start()
    for _ in range(5):
        task = await api.poll()
        await api.RespondWorkflowTaskFailed(
            ws.RespondWorkflowTaskFailedRequest(
                namespace=NAMESPACE, task_token=task.task_token, failure=Failure(message="bug")
            )
        )
    found = (await api.describe()).workflow_execution_info.search_attributes.indexed_fields
    return "TemporalReportedProblems" in found


async def workflows_can_be_paused(api: Api) -> bool:
    await api.start()
    try:
        await api.PauseWorkflowExecution(
            ws.PauseWorkflowExecutionRequest(namespace=NAMESPACE, workflow_id="order-1", reason="stock-taking")
        )
    except Refused as refused:
        if refused.code != "UNIMPLEMENTED":
            raise
        return False
    return (await api.describe()).workflow_execution_info.status == WorkflowExecutionStatus.Value(
        "WORKFLOW_EXECUTION_STATUS_PAUSED"
    )


async def a_backlog_asks_for_more_pollers(api: Api) -> bool:
    """Two come for each that goes, so what waits gets older, until that is too old."""
    for number in range(500):
        await api.start(f"order-{2 * number}")
        await api.start(f"order-{2 * number + 1}")
        if (await api.poll()).HasField("poller_scaling_decision"):
            return True
    return False


async def polls_of_a_worker_end_with_it(api: Api) -> bool:
    polling = api.poll(worker_instance_key="worker-1")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(polling)
        await api.parked(start_request().task_queue)
        await api.ShutdownWorker(
            ws.ShutdownWorkerRequest(
                namespace=NAMESPACE, worker_instance_key="worker-1", task_queue="orders", task_queue_types=[1]
            )
        )
    return not waiting.result().task_token


async def activities_start_later(api: Api) -> bool:
    request = ws.StartActivityExecutionRequest(namespace=NAMESPACE, activity_id="charge", request_id="once")
    request.activity_type.name = "Charge"
    request.task_queue.name = QUEUE
    request.start_to_close_timeout.seconds = 60
    request.start_delay.seconds = 3600
    try:
        await api.StartActivityExecution(request)
    except Refused as refused:
        if refused.code != "UNIMPLEMENTED":
            raise
        return False
    described = ws.DescribeActivityExecutionRequest(namespace=NAMESPACE, activity_id="charge")
    return (await api.DescribeActivityExecution(described)).info.start_delay.seconds == 3600


_UPDATES = rpcs("UpdateWorkflowExecution", "PollWorkflowExecutionUpdate")

NAMESPACES: dict[str, bool | Shows] = {
    "eager_workflow_start": the_first_task_comes_with_the_start,
    "sync_update": _UPDATES,
    "async_update": _UPDATES,
    "worker_heartbeats": rpcs("RecordWorkerHeartbeat", "ListWorkers", "DescribeWorker"),
    "reported_problems_search_attribute": problems_are_reported,
    "workflow_pause": workflows_can_be_paused,
    "standalone_activities": rpcs(
        "StartActivityExecution",
        "DescribeActivityExecution",
        "PollActivityExecution",
        "ListActivityExecutions",
        "CountActivityExecutions",
        "RequestCancelActivityExecution",
        "TerminateActivityExecution",
        "DeleteActivityExecution",
    ),
    "worker_poll_complete_on_shutdown": polls_of_a_worker_end_with_it,
    "poller_autoscaling": a_backlog_asks_for_more_pollers,
    "worker_commands": NOT_BUILT,
    "standalone_nexus_operation": rpcs("StartNexusOperationExecution"),
    "workflow_update_callbacks": NOT_BUILT,
    "poller_autoscaling_auto_enroll": NOT_BUILT,
    "workflow_task_completion_pagination": NOT_BUILT,
    "standalone_activity_start_delay": activities_start_later,
    "standalone_activity_batch_operations": NOT_BUILT,
    "standalone_activity_operator_commands": NOT_BUILT,
}


async def claimed(api: Api, of: str) -> dict[str, bool]:
    able: Any
    if of == "system":
        able = (await api.GetSystemInfo(ws.GetSystemInfoRequest())).capabilities
    else:
        info = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
        able = info.namespace_info.capabilities
    return {field.name: getattr(able, field.name) for field in able.DESCRIPTOR.fields}


@pytest.mark.parametrize(("of", "table"), [("system", SYSTEM), ("namespace", NAMESPACES)])
async def test_what_rpcs_and_commands_make_possible_is_claimed_when_they_are_there(
    api: Api, of: str, table: dict[str, bool | Shows]
) -> None:
    claims = await claimed(api, of)

    known = {flag: there for flag, there in table.items() if isinstance(there, bool)}
    assert {flag: claims[flag] for flag in known} == known
    assert set(claims) == set(table), "a capability that nobody thought of"


@pytest.mark.parametrize(
    ("of", "flag", "shows"),
    [
        (of, flag, shows)
        for of, table in (("system", SYSTEM), ("namespace", NAMESPACES))
        for flag, shows in table.items()
        if not isinstance(shows, bool)
    ],
)
async def test_what_shows_in_behaviour_is_claimed_when_it_does(api: Api, of: str, flag: str, shows: Shows) -> None:
    assert (await claimed(api, of))[flag] == await shows(api)


async def test_what_is_switched_on_is_claimed_and_holds() -> None:
    switches = {"frontend.WorkflowPauseEnabled": True}
    async with Server(dynamic_config=switches) as server, grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)

        assert (await claimed(api, "namespace"))["workflow_pause"] is True is await workflows_can_be_paused(api)


async def test_a_namespace_says_whether_it_has_schedules(api: Api) -> None:
    info = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))

    assert info.namespace_info.supports_schedules == _SCHEDULES


# ---- steps
async def the_event(api: Api, kind: EventType.ValueType) -> Any:
    [event] = [event for event in (await api.history()).history.events if event.event_type == kind]
    return event


async def completed_with(api: Api, **fields: Any) -> Any:
    await api.start()
    await api.complete(await api.poll(), start_timer(), **fields)
    completed = await the_event(api, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    return completed.workflow_task_completed_event_attributes
