"""`temporal workflow …` and `temporal batch …`."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import BatchOperationState, CommandType, WorkflowExecutionStatus
from temporalio.api.update.v1 import Acceptance, Outcome, Request, Response

from tests.api.cli import IDENTITY, Cli, command
from tests.api.client import complete_workflow, values

CLOSE_EVENT = 2
ACCEPTED, COMPLETED = 2, 3
PROTOCOL_MESSAGE = int(CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
TERMINATED = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED)


async def status(cli: Cli) -> int:
    return int((await cli.others.describe(cli.name)).workflow_execution_info.status)


async def follow_to_its_end(cli: Cli) -> Any:
    """As `execute`, `result` and `trace` wait for the end of a workflow."""
    answer = await cli(
        "GetWorkflowExecutionHistory",
        execution=cli.execution,
        wait_new_event=True,
        history_event_filter_type=CLOSE_EVENT,
        skip_archival=True,
    )
    return answer.history.events[-1]


# ---- one workflow
@command("workflow start", "StartWorkflowExecution")
async def start(cli: Cli) -> None:
    answer = await cli(
        "StartWorkflowExecution",
        **cli.starting(
            input=values("pear"),
            workflow_execution_timeout={"seconds": 3600},
            workflow_run_timeout={"seconds": 3600},
            workflow_task_timeout={"seconds": 10},
            workflow_id_reuse_policy=1,
            memo={"fields": {"note": values("gift").payloads[0]}},
            search_attributes={"indexed_fields": {"CustomKeyword": values("ann").payloads[0]}},
            user_metadata={"summary": values("An order").payloads[0]},
            priority={"priority_key": 2},
        ),
    )
    assert answer.run_id
    assert answer.started


@command("workflow execute", "StartWorkflowExecution", "GetWorkflowExecutionHistory")
async def execute(cli: Cli) -> None:
    await cli("StartWorkflowExecution", **cli.starting())
    last, _ = await asyncio.gather(follow_to_its_end(cli), cli.work(complete_workflow("done")))
    assert last.workflow_execution_completed_event_attributes.result == values("done")


@command("workflow signal-with-start", "SignalWithStartWorkflowExecution")
async def signal_with_start(cli: Cli) -> None:
    answer = await cli(
        "SignalWithStartWorkflowExecution", **cli.starting(signal_name="add", signal_input=values("pear"))
    )
    assert answer.run_id


@command("workflow show", "GetWorkflowExecutionHistory", "GetWorkflowExecutionHistoryReverse")
async def show(cli: Cli) -> None:
    await cli.run()
    forward = await cli("GetWorkflowExecutionHistory", execution=cli.execution, wait_new_event=True)
    backward = await cli("GetWorkflowExecutionHistoryReverse", execution=cli.execution)
    assert list(reversed(backward.history.events)) == list(forward.history.events)


@command("workflow result", "GetWorkflowExecutionHistory")
async def result(cli: Cli) -> None:
    await cli.run()
    assert (await follow_to_its_end(cli)).workflow_execution_completed_event_attributes.result == values("done")


@command("workflow describe", "DescribeWorkflowExecution", "GetWorkflowExecutionHistory")
async def describe(cli: Cli) -> None:
    await cli.run()
    described = await cli("DescribeWorkflowExecution", execution=cli.execution)
    assert described.workflow_execution_info.type.name == "Order"
    assert await follow_to_its_end(cli)


@command("workflow list", "ListWorkflowExecutions")
async def list_workflows(cli: Cli) -> None:
    await cli.start()
    query = f"WorkflowId = '{cli.name}'"
    assert len((await cli("ListWorkflowExecutions", query=query, page_size=100)).executions) == 1


@command("workflow count", "CountWorkflowExecutions")
async def count_workflows(cli: Cli) -> None:
    await cli.start()
    query = f"WorkflowId = '{cli.name}' GROUP BY ExecutionStatus"
    counted = await cli("CountWorkflowExecutions", query=query)
    assert (counted.count, len(counted.groups)) == (1, 1)


async def ask(cli: Cli, kind: str) -> None:
    await cli.start()
    await cli.work()
    asking = asyncio.create_task(
        cli(
            "QueryWorkflow",
            execution=cli.execution,
            query={"query_type": kind, "query_args": values("pear")},
            query_reject_condition=2,
        )
    )
    task = await cli.task()
    assert task.query.query_type == kind
    await cli.others.RespondQueryTaskCompleted(
        cli.request(
            "RespondQueryTaskCompleted",
            task_token=task.task_token,
            completed_type=1,
            query_result=values("here"),
        )
    )
    assert (await asking).query_result == values("here")


@command("workflow query", "QueryWorkflow")
async def query(cli: Cli) -> None:
    await ask(cli, "price")


@command("workflow stack", "QueryWorkflow")
async def stack(cli: Cli) -> None:
    await ask(cli, "__stack_trace")


@command("workflow metadata", "QueryWorkflow")
async def metadata(cli: Cli) -> None:
    await ask(cli, "__temporal_workflow_metadata")


@command("workflow signal", "SignalWorkflowExecution")
async def signal(cli: Cli) -> None:
    await cli.start()
    await cli("SignalWorkflowExecution", workflow_execution=cli.execution, signal_name="add", input=values("pear"))


@command("workflow cancel", "RequestCancelWorkflowExecution")
async def cancel(cli: Cli) -> None:
    await cli.start()
    await cli("RequestCancelWorkflowExecution", workflow_execution=cli.execution, reason="enough")


@command("workflow terminate", "TerminateWorkflowExecution")
async def terminate(cli: Cli) -> None:
    await cli.start()
    await cli("TerminateWorkflowExecution", workflow_execution=cli.execution, reason="enough", details=values("enough"))
    assert await status(cli) == TERMINATED


@command("workflow delete", "DescribeNamespace", "DeleteWorkflowExecution")
async def delete(cli: Cli) -> None:
    await cli.run()
    assert not (await cli("DescribeNamespace")).is_global_namespace
    await cli("DeleteWorkflowExecution", workflow_execution=cli.execution)


@command("workflow reset", "GetWorkflowExecutionHistory", "ResetWorkflowExecution")
async def reset(cli: Cli) -> None:
    await cli.run()
    events = (await cli("GetWorkflowExecutionHistory", execution=cli.execution)).history.events
    [first] = [event.event_id for event in events if event.HasField("workflow_task_completed_event_attributes")]
    answer = await cli(
        "ResetWorkflowExecution",
        workflow_execution=cli.execution,
        reason="again",
        workflow_task_finish_event_id=first,
        reset_reapply_exclude_types=[1],
    )
    assert answer.run_id


@command("workflow reset with-workflow-update-options", "ResetWorkflowExecution")
async def reset_with_options(cli: Cli) -> None:
    await cli.run()
    options = {
        "workflow_execution_options": {"versioning_override": {"auto_upgrade": True}},
        "update_mask": {"paths": ["versioning_override"]},
    }
    answer = await cli(
        "ResetWorkflowExecution",
        workflow_execution=cli.execution,
        reason="again",
        workflow_task_finish_event_id=4,
        post_reset_operations=[{"update_workflow_options": options}],
    )
    assert answer.run_id


@command("workflow update-options", "UpdateWorkflowExecutionOptions")
async def update_options(cli: Cli) -> None:
    await cli.start()
    answer = await cli(
        "UpdateWorkflowExecutionOptions",
        workflow_execution=cli.execution,
        workflow_execution_options={"versioning_override": {"auto_upgrade": True}},
        update_mask={"paths": ["versioning_override"]},
    )
    assert answer.workflow_execution_options.versioning_override.auto_upgrade


@command("workflow pause", "PauseWorkflowExecution")
async def pause(cli: Cli) -> None:
    await cli.start()
    await cli("PauseWorkflowExecution", workflow_id=cli.name, reason="stock-taking")


@command("workflow unpause", "UnpauseWorkflowExecution")
async def unpause(cli: Cli) -> None:
    await pause(cli)
    cli.called.clear()
    await cli("UnpauseWorkflowExecution", workflow_id=cli.name, reason="done")


@command("workflow trace", "DescribeWorkflowExecution", "GetWorkflowExecutionHistory")
async def trace(cli: Cli) -> None:
    await cli.run()
    await cli("DescribeWorkflowExecution", execution=cli.execution)
    await follow_to_its_end(cli)


# ---- updates
def update(cli: Cli, stage: int, update_id: str = "u-1") -> dict[str, Any]:
    return {
        "workflow_execution": cli.execution,
        "wait_policy": {"lifecycle_stage": stage},
        "request": {"meta": {"update_id": update_id, "identity": IDENTITY}, "input": {"name": "add"}},
    }


async def answer_update(cli: Cli) -> None:
    """Be the worker that accepts the update and answers it in one go."""
    task = await cli.task()
    [message] = task.messages
    request = Request.FromString(message.body.value)
    accepted = Acceptance(
        accepted_request_message_id=message.id,
        accepted_request_sequencing_event_id=message.event_id,
        accepted_request=request,
    )
    answered = Response(meta=request.meta, outcome=Outcome(success=values("ok")))
    completion = cli.request("RespondWorkflowTaskCompleted", task_token=task.task_token)
    for number, body in enumerate((accepted, answered)):
        sent = completion.messages.add(id=f"m-{number}", protocol_instance_id=request.meta.update_id)
        sent.body.Pack(body)
        attributes = {"message_id": sent.id}
        completion.commands.add(command_type=PROTOCOL_MESSAGE, protocol_message_command_attributes=attributes)
    await cli.others.RespondWorkflowTaskCompleted(completion)


async def updated(cli: Cli, stage: int) -> Any:
    await cli.start()
    await cli.work()
    call = cli("UpdateWorkflowExecution", **update(cli, stage))
    answer, _ = await asyncio.gather(call, answer_update(cli))
    return answer


@command("workflow update start", "UpdateWorkflowExecution", "PollWorkflowExecutionUpdate")
async def update_start(cli: Cli) -> None:
    answer = await updated(cli, ACCEPTED)
    assert answer.stage >= ACCEPTED
    await poll_update(cli, COMPLETED)


@command("workflow update execute", "UpdateWorkflowExecution")
async def update_execute(cli: Cli) -> None:
    assert (await updated(cli, COMPLETED)).outcome.success == values("ok")


async def poll_update(cli: Cli, stage: int) -> Any:
    return await cli(
        "PollWorkflowExecutionUpdate",
        update_ref={"workflow_execution": cli.execution, "update_id": "u-1"},
        wait_policy={"lifecycle_stage": stage} if stage else None,
    )


@command("workflow update result", "PollWorkflowExecutionUpdate")
async def update_result(cli: Cli) -> None:
    await updated(cli, COMPLETED)
    cli.called.clear()
    assert (await poll_update(cli, COMPLETED)).outcome.success == values("ok")


@command("workflow update describe", "PollWorkflowExecutionUpdate")
async def update_describe(cli: Cli) -> None:
    await updated(cli, COMPLETED)
    cli.called.clear()
    assert (await poll_update(cli, 0)).stage == COMPLETED


async def update_with_start(cli: Cli, stage: int) -> Any:
    start_request = cli.request("StartWorkflowExecution", **cli.starting(workflow_id_conflict_policy=2))
    update_request = cli.request("UpdateWorkflowExecution", **update(cli, stage))
    call = cli(
        "ExecuteMultiOperation",
        operations=[{"start_workflow": start_request}, {"update_workflow": update_request}],
    )
    answer, _ = await asyncio.gather(call, answer_update(cli))
    return answer.responses[1].update_workflow


@command("workflow start-update-with-start", "ExecuteMultiOperation", "PollWorkflowExecutionUpdate")
async def start_update_with_start(cli: Cli) -> None:
    assert (await update_with_start(cli, ACCEPTED)).stage >= ACCEPTED
    assert (await poll_update(cli, COMPLETED)).outcome.success == values("ok")


@command("workflow execute-update-with-start", "ExecuteMultiOperation")
async def execute_update_with_start(cli: Cli) -> None:
    assert (await update_with_start(cli, COMPLETED)).outcome.success == values("ok")


# ---- many workflows
async def batch(cli: Cli, **operation: Any) -> str:
    """Any command with --query: count, start a job."""
    query = f"WorkflowId = '{cli.name}'"
    assert (await cli("CountWorkflowExecutions", query=query)).count == 1
    await cli("StartBatchOperation", visibility_query=query, job_id=f"{cli.name}-job", reason="enough", **operation)
    return f"{cli.name}-job"


async def finished(cli: Cli, job: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            described = await cli("DescribeBatchOperation", job_id=job)
            if described.state != BatchOperationState.BATCH_OPERATION_STATE_RUNNING:
                assert (described.complete_operation_count, described.failure_operation_count) == (1, 0)
                return described


BATCH = ("CountWorkflowExecutions", "StartBatchOperation", "DescribeBatchOperation")


@command("workflow terminate --query", *BATCH)
async def terminate_many(cli: Cli) -> None:
    await cli.start()
    job = await batch(cli, termination_operation={"identity": IDENTITY})
    await finished(cli, job)
    assert await status(cli) == TERMINATED


@command("workflow cancel --query", *BATCH)
async def cancel_many(cli: Cli) -> None:
    await cli.start()
    await finished(cli, await batch(cli, cancellation_operation={"identity": IDENTITY}))


@command("workflow signal --query", *BATCH)
async def signal_many(cli: Cli) -> None:
    await cli.start()
    operation = {"identity": IDENTITY, "signal": "add", "input": values("pear")}
    await finished(cli, await batch(cli, signal_operation=operation))


@command("workflow delete --query", *BATCH)
async def delete_many(cli: Cli) -> None:
    await cli.run()
    await finished(cli, await batch(cli, deletion_operation={"identity": IDENTITY}))


@command("workflow reset --query", *BATCH)
async def reset_many(cli: Cli) -> None:
    await cli.run()
    operation = {"identity": IDENTITY, "options": {"first_workflow_task": {}}}
    await finished(cli, await batch(cli, reset_operation=operation))


@command("workflow update-options --query", *BATCH)
async def update_options_of_many(cli: Cli) -> None:
    await cli.start()
    operation = {
        "identity": IDENTITY,
        "workflow_execution_options": {"versioning_override": {"auto_upgrade": True}},
        "update_mask": {"paths": ["versioning_override"]},
    }
    await finished(cli, await batch(cli, update_workflow_options_operation=operation))


@command("batch list", "ListBatchOperations")
async def batch_list(cli: Cli) -> None:
    await cli.start()
    job = await batch(cli, termination_operation={"identity": IDENTITY})
    cli.called.clear()
    assert job in [listed.job_id for listed in (await cli("ListBatchOperations")).operation_info]


@command("batch describe", "DescribeBatchOperation")
async def batch_describe(cli: Cli) -> None:
    await cli.start()
    job = await batch(cli, termination_operation={"identity": IDENTITY})
    cli.called.clear()
    assert (await finished(cli, job)).total_operation_count == 1


@command("batch terminate", "StopBatchOperation", "DescribeBatchOperation")
async def batch_terminate(cli: Cli) -> None:
    for number in range(3):
        await cli.start(workflow_id=f"{cli.name}-{number}")
    job = f"{cli.name}-job"
    slowly = cli.request(
        "StartBatchOperation",
        visibility_query=f"WorkflowId STARTS_WITH '{cli.name}'",
        job_id=job,
        reason="enough",
        termination_operation={"identity": IDENTITY},
        max_operations_per_second=0.01,
    )
    await cli.others.StartBatchOperation(slowly)
    await cli("StopBatchOperation", job_id=job, reason="not so")
    described = await cli("DescribeBatchOperation", job_id=job)
    assert described.complete_operation_count < 3
