"""Standalone activities by raw calls: what they answer, what they wait for, what they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration

from perdure import Server
from tests.api.client import NAMESPACE, QUEUE, Api, Refused, schedule_activity, start_activity_request, values

CHARGE = {"namespace": NAMESPACE, "activity_id": "charge"}


async def start(api: Api, activity_id: str = "charge", **fields: Any) -> str:
    """Its run ID."""
    return str((await api.StartActivityExecution(start_activity_request(activity_id, **fields))).run_id)


async def describe(api: Api, **fields: Any) -> Any:
    return await api.DescribeActivityExecution(ws.DescribeActivityExecutionRequest(**CHARGE, **fields))


async def outcome(api: Api, **fields: Any) -> Any:
    return await api.PollActivityExecution(ws.PollActivityExecutionRequest(**CHARGE, **fields))


async def complete(api: Api, task: Any, result: Any = "done") -> None:
    await api.RespondActivityTaskCompleted(
        ws.RespondActivityTaskCompletedRequest(
            namespace=NAMESPACE, task_token=task.task_token, result=values(result), identity="worker"
        )
    )


async def test_a_start_is_answered_with_its_run_and_a_link(api: Api) -> None:
    reply = await api.StartActivityExecution(start_activity_request(request_id="one"))

    assert reply.started
    link = reply.link.activity
    assert (link.namespace, link.activity_id, link.run_id) == (NAMESPACE, "charge", reply.run_id)
    assert (await api.StartActivityExecution(start_activity_request(request_id="one"))).run_id == reply.run_id


async def test_search_attributes_without_a_value_are_left_out(api: Api) -> None:
    request = start_activity_request()
    request.search_attributes.indexed_fields["CustomKeyword"].data = b""
    await api.StartActivityExecution(request)
    assert not (await describe(api)).info.search_attributes.indexed_fields


async def test_an_activity_and_a_workflow_may_share_an_id(api: Api) -> None:
    await api.start("charge")
    await start(api)
    await api.step(schedule_activity("charge"))

    first, second = await api.poll_activity(), await api.poll_activity()

    assert {first.workflow_execution.workflow_id, second.workflow_execution.workflow_id} == {"", "charge"}


async def test_who_waits_for_the_outcome_is_answered_when_it_is_there(api: Api) -> None:
    run_id = await start(api)
    waiting = asyncio.ensure_future(outcome(api))
    task = await api.poll_activity()
    assert task.activity_run_id == run_id
    await complete(api, task)

    reply = await waiting
    assert (reply.run_id, reply.outcome.result) == (run_id, values("done"))
    assert await outcome(api, run_id=run_id) == reply


async def test_who_waits_in_vain_is_answered_empty(api: Api) -> None:
    await start(api)
    request = ws.PollActivityExecutionRequest(**CHARGE)

    assert await api.PollActivityExecution(request, within=1.3) == ws.PollActivityExecutionResponse()


async def test_who_waits_for_an_activity_that_is_deleted_is_told(api: Api) -> None:
    run_id = await start(api)
    waiting = asyncio.ensure_future(outcome(api, run_id=run_id))
    await describe(api)

    await api.DeleteActivityExecution(ws.DeleteActivityExecutionRequest(**CHARGE))

    assert (await waiting).outcome.failure.message == "Delete activity execution"
    with pytest.raises(Refused, match="NOT_FOUND"):
        await describe(api)
    await start(api)


async def test_describe_waits_for_the_next_change(api: Api) -> None:
    run_id = await start(api, input=values("order"))
    seen = await describe(api, include_input=True)
    assert seen.input == values("order")
    assert not seen.HasField("outcome")

    waiting = asyncio.ensure_future(describe(api, run_id=run_id, long_poll_token=seen.long_poll_token))
    task = await api.poll_activity()
    changed = await waiting
    assert changed.info.run_state == 2  # PENDING_ACTIVITY_STATE_STARTED
    assert changed.info.state_transition_count > seen.info.state_transition_count

    await complete(api, task)
    closed = await describe(api, run_id=run_id, long_poll_token=changed.long_poll_token, include_outcome=True)
    assert closed.outcome.result == values("done")
    assert await describe(api, run_id=run_id, long_poll_token=closed.long_poll_token)


async def test_describe_without_a_change_is_answered_empty(api: Api) -> None:
    run_id = await start(api)
    seen = await describe(api)
    request = ws.DescribeActivityExecutionRequest(**CHARGE, run_id=run_id, long_poll_token=seen.long_poll_token)

    reply = await api.DescribeActivityExecution(request, within=1.3)

    assert reply == ws.DescribeActivityExecutionResponse()


async def test_workers_answer_by_id_without_a_workflow(api: Api) -> None:
    await start(api, heartbeat_timeout=Duration(seconds=30))
    task = await api.poll_activity()
    by_id = {"namespace": NAMESPACE, "activity_id": "charge"}
    await api.RequestCancelActivityExecution(
        ws.RequestCancelActivityExecutionRequest(**CHARGE, request_id="one", reason="why", identity="ops")
    )

    beat = await api.RecordActivityTaskHeartbeatById(
        ws.RecordActivityTaskHeartbeatByIdRequest(**by_id, run_id=task.activity_run_id, details=values(1))
    )
    assert beat.cancel_requested
    shown = await describe(api, include_heartbeat_details=True)
    assert (shown.info.heartbeat_details, shown.info.total_heartbeat_count) == (values(1), 1)

    await api.RespondActivityTaskCanceledById(
        ws.RespondActivityTaskCanceledByIdRequest(**by_id, details=values("bye"), identity="worker")
    )
    assert (await outcome(api)).outcome.failure.canceled_failure_info.details == values("bye")


async def test_a_failed_attempt_is_retried_and_tells_what_was_too_large(api: Api) -> None:
    await start(api)
    task = await api.poll_activity()
    request = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
    request.failure.message = "boom"
    request.failure.application_failure_info.next_retry_delay.nanos = 1_000_000

    assert not (await api.RespondActivityTaskFailed(request)).failures

    again = await api.poll_activity()
    assert again.attempt == 2
    failed = ws.RespondActivityTaskFailedByIdRequest(namespace=NAMESPACE, activity_id="charge")
    failed.failure.message = "boom"
    failed.failure.application_failure_info.non_retryable = True
    await api.RespondActivityTaskFailedById(failed)
    assert (await outcome(api)).outcome.failure.message == "boom"
    with pytest.raises(Refused) as refused:
        await complete(api, again)
    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "activity task not found")


async def test_lists_and_counts_see_activities_alone(api: Api) -> None:
    await api.start()
    for name in ("a", "b", "c"):
        await start(api, name)
    await api.TerminateActivityExecution(
        ws.TerminateActivityExecutionRequest(namespace=NAMESPACE, activity_id="b", reason="why", identity="ops")
    )

    first = await api.ListActivityExecutions(ws.ListActivityExecutionsRequest(namespace=NAMESPACE, page_size=2))
    rest = await api.ListActivityExecutions(
        ws.ListActivityExecutionsRequest(namespace=NAMESPACE, next_page_token=first.next_page_token)
    )
    listed = {row.activity_id: row for row in (*first.executions, *rest.executions)}
    assert set(listed) == {"a", "b", "c"}
    assert (listed["a"].status, listed["b"].status) == (1, 5)
    assert (listed["a"].activity_type.name, listed["a"].task_queue) == ("Charge", QUEUE)
    assert listed["b"].HasField("close_time")

    counted = await api.CountActivityExecutions(
        ws.CountActivityExecutionsRequest(
            namespace=NAMESPACE, query="ActivityType = 'Charge' AND ExecutionStatus = 'Running'"
        )
    )
    assert counted.count == 2
    workflows = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE))
    assert workflows.count == 1


async def test_an_activity_in_use_is_told_with_its_run(api: Api) -> None:
    await start(api)

    with pytest.raises(Refused) as refused:
        await start(api)

    assert (refused.value.code, refused.value.message) == ("ALREADY_EXISTS", "activity execution already started")


@pytest.mark.parametrize(
    ("rpc", "fields", "code", "message"),
    [
        ("DescribeActivityExecution", {"activity_id": ""}, "INVALID_ARGUMENT", "activity ID is required"),
        ("PollActivityExecution", {"run_id": "x"}, "INVALID_ARGUMENT", "invalid run id: must be a valid UUID"),
        ("DescribeActivityExecution", {"activity_id": "z"}, "NOT_FOUND", "activity not found for ID: z"),
        (
            "DescribeActivityExecution",
            {"long_poll_token": b"x"},
            "INVALID_ARGUMENT",
            "run id is required when long poll token is provided",
        ),
        (
            "DescribeActivityExecution",
            {"long_poll_token": b"x", "run_id": "00000000-0000-4000-8000-000000000000"},
            "INVALID_ARGUMENT",
            "invalid long poll token",
        ),
        ("TerminateActivityExecution", {"namespace": "nowhere"}, "NOT_FOUND", "Namespace nowhere is not found."),
        (
            "RequestCancelActivityExecution",
            {"request_id": "r" * 1001},
            "INVALID_ARGUMENT",
            "request ID exceeds length limit. Length=1001 Limit=1000",
        ),
        ("DeleteActivityExecution", {"activity_id": "z"}, "NOT_FOUND", "activity not found for ID: z"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    api: Api, rpc: str, fields: dict[str, Any], code: str, message: str
) -> None:
    await start(api)

    with pytest.raises(Refused) as refused:
        await getattr(api, rpc)(getattr(ws, f"{rpc}Request")(**{**CHARGE, **fields}))

    assert (refused.value.code, refused.value.message) == (code, message)


async def test_a_token_of_another_run_does_not_match(api: Api) -> None:
    await start(api)
    token = (await describe(api)).long_poll_token
    await api.TerminateActivityExecution(ws.TerminateActivityExecutionRequest(**CHARGE))
    run_id = await start(api)

    with pytest.raises(Refused, match="long poll token does not match execution"):
        await describe(api, run_id=run_id, long_poll_token=token)


async def test_a_group_by_anything_but_the_status_is_refused(api: Api) -> None:
    with pytest.raises(Refused, match="'GROUP BY' clause"):
        await api.CountActivityExecutions(
            ws.CountActivityExecutionsRequest(namespace=NAMESPACE, query="GROUP BY ActivityType")
        )


async def with_server(story: Callable[[Api], Any], **options: Any) -> None:
    async with Server(**options) as server, grpc.aio.insecure_channel(server.address) as channel:
        await story(Api(channel))


async def test_they_can_be_switched_off() -> None:
    async def story(api: Api) -> None:
        with pytest.raises(Refused) as refused:
            await start(api)
        assert (refused.value.code, refused.value.message) == ("UNIMPLEMENTED", "Standalone activity is disabled")
        by_id = ws.RespondActivityTaskCompletedByIdRequest(namespace=NAMESPACE, activity_id="charge")
        with pytest.raises(Refused, match="WorkflowId is not set on request"):
            await api.RespondActivityTaskCompletedById(by_id)
        namespace = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
        assert not namespace.namespace_info.capabilities.standalone_activities

    await with_server(story, dynamic_config={"activity.enableStandalone": False})


async def test_a_namespace_tells_that_it_has_them(api: Api) -> None:
    namespace = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
    can = namespace.namespace_info.capabilities
    assert (can.standalone_activities, can.standalone_activity_start_delay) == (True, True)
    assert not can.standalone_activity_operator_commands


async def test_a_server_that_starts_again_goes_on_with_them(tmp_path: Path) -> None:
    """One waits for a worker, one runs, one backs off: each goes on where it was."""
    file = str(tmp_path / "standalone.db")
    tokens = []

    async def before(api: Api) -> None:
        await start(api, "runs")
        tokens.append((await api.poll_activity()).task_token)
        await start(api, "backs-off")
        task = await api.poll_activity()
        failed = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
        failed.failure.application_failure_info.type = "Boom"
        await api.RespondActivityTaskFailed(failed)
        await start(api, "waits", input=values("x" * 20_000))

    async def after(api: Api) -> None:
        waits = await api.poll_activity()
        assert (waits.activity_id, waits.input) == ("waits", values("x" * 20_000))
        again = await api.poll_activity()
        assert (again.activity_id, again.attempt) == ("backs-off", 2)
        await api.RespondActivityTaskCompleted(
            ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=tokens[0], result=values("done"))
        )
        request = ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id="runs")
        assert (await api.PollActivityExecution(request)).outcome.result == values("done")

    await with_server(before, db_filename=file)
    await with_server(after, db_filename=file)


async def test_operators_commands_can_be_switched_on() -> None:
    by_id = {"namespace": NAMESPACE, "activity_id": "charge"}

    async def count(api: Api, status: str) -> int:
        query = f"ExecutionStatus = '{status}'"
        request = ws.CountActivityExecutionsRequest(namespace=NAMESPACE, query=query)
        return int((await api.CountActivityExecutions(request)).count)

    async def story(api: Api) -> None:
        namespace = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
        assert namespace.namespace_info.capabilities.standalone_activity_operator_commands
        await start(api)

        await api.PauseActivityExecution(ws.PauseActivityExecutionRequest(**by_id, request_id="one"))
        assert (await count(api, "Paused"), await count(api, "Running")) == (1, 0)
        assert await api.poll_activity(within=2.1) == ws.PollActivityTaskQueueResponse()
        options = ws.UpdateActivityExecutionOptionsRequest(**by_id)
        options.activity_options.heartbeat_timeout.seconds = 7
        options.update_mask.paths.append("heartbeat_timeout")
        changed = await api.UpdateActivityExecutionOptions(options)
        assert changed.activity_options.heartbeat_timeout.seconds == 7
        await api.ResetActivityExecution(ws.ResetActivityExecutionRequest(**by_id, keep_paused=True))
        await api.UnpauseActivityExecution(ws.UnpauseActivityExecutionRequest(**by_id))

        assert (await count(api, "Paused"), await count(api, "Running")) == (0, 1)
        assert (await api.poll_activity()).heartbeat_timeout.seconds == 7
        with pytest.raises(Refused) as refused:
            await api.UnpauseActivityExecution(ws.UnpauseActivityExecutionRequest(**by_id))
        assert (refused.value.code, refused.value.message) == (
            "FAILED_PRECONDITION",
            "activity is in non-unpausable state Running",
        )
        with pytest.raises(Refused, match="activity not found for ID: z"):
            await api.PauseActivityExecution(ws.PauseActivityExecutionRequest(**{**by_id, "activity_id": "z"}))

    await with_server(story, dynamic_config={"activity.operatorCommandsEnabled": True})
