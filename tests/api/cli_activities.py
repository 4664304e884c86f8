"""`temporal activity …`, of activities in workflows and of those that run alone."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import ActivityExecutionStatus

from tests.api.cli import IDENTITY, Cli, command
from tests.api.cli_workflows import BATCH, batch, finished
from tests.api.client import schedule_activity, values

ACTIVITY = "charge"


# ---- in a workflow
async def waiting_activity(cli: Cli) -> None:
    await cli.start()
    scheduled = schedule_activity(ACTIVITY)
    scheduled.schedule_activity_task_command_attributes.task_queue.name = cli.name
    await cli.work(scheduled)


async def pending(cli: Cli) -> Any:
    return (await cli.others.describe(cli.name)).pending_activities[0]


@command("activity complete", "RespondActivityTaskCompletedById")
async def complete(cli: Cli) -> None:
    await waiting_activity(cli)
    await cli("RespondActivityTaskCompletedById", workflow_id=cli.name, activity_id=ACTIVITY, result=values("done"))
    assert not (await cli.others.describe(cli.name)).pending_activities


@command("activity fail", "RespondActivityTaskFailedById")
async def fail(cli: Cli) -> None:
    await waiting_activity(cli)
    assert (await cli.others.poll_activity(task_queue=cli.queue)).activity_id == ACTIVITY
    failure = {"message": "no", "source": "CLI", "application_failure_info": {"non_retryable": True}}
    await cli("RespondActivityTaskFailedById", workflow_id=cli.name, activity_id=ACTIVITY, failure=failure)
    assert not (await cli.others.describe(cli.name)).pending_activities


@command("activity pause", "PauseActivity")
async def pause(cli: Cli) -> None:
    await waiting_activity(cli)
    await cli("PauseActivity", execution=cli.execution, id=ACTIVITY, reason="stock-taking")
    assert (await pending(cli)).paused


@command("activity unpause", "UnpauseActivity")
async def unpause(cli: Cli) -> None:
    await pause(cli)
    cli.called.clear()
    await cli(
        "UnpauseActivity",
        execution=cli.execution,
        id=ACTIVITY,
        reset_attempts=True,
        reset_heartbeat=True,
        jitter={"seconds": 1},
    )
    assert not (await pending(cli)).paused


@command("activity reset", "ResetActivity")
async def reset(cli: Cli) -> None:
    await waiting_activity(cli)
    await cli("ResetActivity", execution=cli.execution, id=ACTIVITY, keep_paused=True, reset_heartbeat=True)
    assert (await pending(cli)).attempt == 1


@command("activity update-options", "UpdateActivityOptions")
async def update_options(cli: Cli) -> None:
    await waiting_activity(cli)
    answer = await cli(
        "UpdateActivityOptions",
        execution=cli.execution,
        id=ACTIVITY,
        activity_options={"start_to_close_timeout": {"seconds": 90}},
        update_mask={"paths": ["start_to_close_timeout"]},
    )
    assert answer.activity_options.start_to_close_timeout.seconds == 90


async def to_many(cli: Cli, **operation: Any) -> None:
    await waiting_activity(cli)
    await finished(cli, await batch(cli, **operation))


@command("activity unpause --query", *BATCH)
async def unpause_many(cli: Cli) -> None:
    await to_many(cli, unpause_activities_operation={"identity": IDENTITY, "type": "Charge"})


@command("activity reset --query", *BATCH)
async def reset_many(cli: Cli) -> None:
    await to_many(cli, reset_activities_operation={"identity": IDENTITY, "type": "Charge"})


@command("activity update-options --query", *BATCH)
async def update_options_of_many(cli: Cli) -> None:
    operation = {
        "identity": IDENTITY,
        "type": "Charge",
        "activity_options": {"start_to_close_timeout": {"seconds": 90}},
        "update_mask": {"paths": ["start_to_close_timeout"]},
    }
    await to_many(cli, update_activity_options_operation=operation)
    assert (await pending(cli)).activity_options.start_to_close_timeout.seconds == 90


# ---- alone
@command("activity start", "StartActivityExecution")
async def start(cli: Cli) -> None:
    answer = await cli(
        "StartActivityExecution",
        activity_id=cli.name,
        activity_type={"name": "Charge"},
        task_queue=cli.queue,
        start_to_close_timeout={"seconds": 60},
        retry_policy={"maximum_attempts": 1},
        input=values("pear"),
        id_reuse_policy=1,
        id_conflict_policy=1,
        user_metadata={"summary": values("A charge").payloads[0]},
    )
    assert answer.started
    assert answer.run_id


async def work(cli: Cli) -> None:
    task = await cli.others.poll_activity(task_queue=cli.queue)
    await cli.others.RespondActivityTaskCompleted(
        cli.request("RespondActivityTaskCompleted", task_token=task.task_token, result=values("done"))
    )


@command("activity execute", "StartActivityExecution", "PollActivityExecution")
async def execute(cli: Cli) -> None:
    await start(cli)
    answer, _ = await asyncio.gather(cli("PollActivityExecution", activity_id=cli.name), work(cli))
    assert answer.outcome.result == values("done")


@command("activity result", "PollActivityExecution")
async def result(cli: Cli) -> None:
    await start(cli)
    cli.called.clear()
    await work(cli)
    assert (await cli("PollActivityExecution", activity_id=cli.name)).outcome.result == values("done")


@command("activity describe", "DescribeActivityExecution")
async def describe(cli: Cli) -> None:
    await start(cli)
    cli.called.clear()
    described = await cli("DescribeActivityExecution", activity_id=cli.name, include_input=True)
    assert described.info.activity_type.name == "Charge"
    assert described.input == values("pear")


@command("activity list", "ListActivityExecutions")
async def list_activities(cli: Cli) -> None:
    await start(cli)
    cli.called.clear()
    query = f"ActivityId = '{cli.name}'"
    assert len((await cli("ListActivityExecutions", query=query, page_size=100)).executions) == 1


@command("activity count", "CountActivityExecutions")
async def count_activities(cli: Cli) -> None:
    await start(cli)
    cli.called.clear()
    assert (await cli("CountActivityExecutions", query=f"ActivityId = '{cli.name}'")).count == 1


@command("activity cancel", "RequestCancelActivityExecution")
async def cancel(cli: Cli) -> None:
    await start(cli)
    cli.called.clear()
    await cli("RequestCancelActivityExecution", activity_id=cli.name, reason="enough")


@command("activity terminate", "TerminateActivityExecution")
async def terminate(cli: Cli) -> None:
    await start(cli)
    cli.called.clear()
    await cli("TerminateActivityExecution", activity_id=cli.name, reason="enough")
    described = await cli.others.DescribeActivityExecution(
        cli.request("DescribeActivityExecution", activity_id=cli.name)
    )
    assert described.info.status == ActivityExecutionStatus.ACTIVITY_EXECUTION_STATUS_TERMINATED
