"""Updates and virtual time: what no worker has accepted holds it, what a handler waits for is skipped."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure import Server
from perdure.runtime.skipping import Skipper
from tests.api.client import NAMESPACE, Api, Refused, complete_workflow, execution, start_timer
from tests.api.updating import ACCEPTED, COMPLETED, poll_request, stage_of, update_request, with_start
from tests.engine.updating import accept, place, reject, respond
from tests.skipping.clock import DAY, HOUR, Clock, about, duration


@activity.defn
async def charge(days: int) -> str:
    return f"charged after {days} days"


@workflow.defn
class Subscription:
    def __init__(self) -> None:
        self._ended = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._ended)

    @workflow.update
    async def charge_in(self, days: int) -> str:
        await workflow.sleep(timedelta(days=days))
        return await workflow.execute_activity(charge, days, start_to_close_timeout=timedelta(minutes=1))

    @workflow.update
    def end(self) -> None:
        self._ended = True


async def test_what_an_update_handler_waits_for_is_skipped(client: Client, clock: Clock) -> None:
    before = await clock.now()
    async with Worker(
        client,
        task_queue="orders",
        workflows=[Subscription],
        activities=[charge],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await client.start_workflow(Subscription.run, id="s", task_queue="orders")
        await clock.unlock()
        try:
            told = await handle.execute_update(Subscription.charge_in, 30)
        finally:
            await clock.lock()
        await handle.execute_update(Subscription.end)
        await handle.result()

    assert told == "charged after 30 days"
    assert await clock.now() - before == about(30 * DAY)


async def asleep(api: Api) -> None:
    await api.start()
    await api.step(start_timer(seconds=3600))


async def admitted(api: Api) -> asyncio.Task[Any]:
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    while await stage_of(api) == 0:
        pass
    return asked


async def test_time_waits_for_a_worker_to_take_an_update(api: Api, clock: Clock, skipper: Skipper) -> None:
    await asleep(api)
    asked = await admitted(api)
    await clock.unlock()

    assert skipper.explain() == ["update 'u1' of workflow 'order-1' waits for a worker to accept or reject it"]
    assert skipper.jumps == 0
    task = await api.poll()
    assert skipper.jumps == 0
    await api.complete(task, messages=[reject(task.messages[0])], capabilities=DISCARDS)
    await asked

    await api.step(complete_workflow())
    assert skipper.jumps == 1


DISCARDS = {"discard_speculative_workflow_task_with_events": True}


async def test_an_accepted_update_holds_no_time(api: Api, clock: Clock, skipper: Skipper) -> None:
    await asleep(api)
    before = await clock.now()
    asked = await admitted(api)
    task = await api.poll()
    yes = accept(task.messages[0])
    await api.complete(task, place(yes), messages=[yes])
    await clock.unlock()

    task = await api.poll()
    done = respond()
    await api.complete(task, place(done), complete_workflow(), messages=[done])

    assert await clock.now() - before == about(HOUR)
    assert (await asked).stage == COMPLETED
    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]


@pytest.mark.parametrize("end", ["terminated", "deleted"])
async def test_an_update_that_is_aborted_leaves_time_free(api: Api, clock: Clock, skipper: Skipper, end: str) -> None:
    await asleep(api)
    asked = await admitted(api)
    if end == "terminated":
        await api.TerminateWorkflowExecution(
            ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
        )
    else:
        await api.DeleteWorkflowExecution(
            ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
        )
    with pytest.raises(Refused, match="workflow update was aborted by closing workflow"):
        await asked
    await clock.unlock()

    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]


async def test_an_update_whose_caller_left_holds_time_until_a_worker_has_it(
    api: Api, clock: Clock, skipper: Skipper
) -> None:
    await asleep(api)
    asked = await admitted(api)
    asked.cancel()
    await clock.unlock()
    assert skipper.explain() == ["update 'u1' of workflow 'order-1' waits for a worker to accept or reject it"]

    task = await api.poll()
    await api.complete(task, messages=[reject(task.messages[0])], capabilities=DISCARDS)
    await api.step(complete_workflow())

    assert skipper.jumps == 1


async def test_an_update_with_start_holds_time_like_any_other(api: Api, clock: Clock, skipper: Skipper) -> None:
    asked = asyncio.create_task(api.ExecuteMultiOperation(with_start(update_request(stage=ACCEPTED))))
    task = await api.poll()
    before = await clock.now()
    await clock.unlock()
    yes = accept(task.messages[0])
    await api.complete(task, place(yes), start_timer(seconds=3600), messages=[yes])
    assert (await asked).responses[1].update_workflow.stage == ACCEPTED
    polled = asyncio.create_task(api.PollWorkflowExecutionUpdate(poll_request(stage=COMPLETED)))
    task = await api.poll()
    await api.complete(task, complete_workflow(), messages=[respond()])

    assert (await polled).outcome.failure.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"
    assert await clock.now() - before == about(HOUR)


async def test_a_run_that_ends_by_time_aborts_its_updates(server: Server, api: Api, clock: Clock) -> None:
    """A run timeout is due while an update waits: the wall's pace brings it about."""
    await api.start(workflow_run_timeout=duration(1))
    await api.step()
    asked = await admitted(api)

    with pytest.raises(Refused, match="workflow update was aborted by closing workflow"):
        await asked
