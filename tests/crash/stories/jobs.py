"""Schedules, and batch jobs over several workflows."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import temporalio.api.batch.v1 as batch
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.common.v1 import ResetOptions, WorkflowType
from temporalio.api.enums.v1 import BatchOperationState, ScheduleOverlapPolicy
from temporalio.api.schedule.v1 import IntervalSpec, Schedule, SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.service import RPCStatusCode

from tests.crash.calls import CANCELED, NAMESPACE, TERMINATED, Calls, Stories, payloads, request_id
from tests.crash.ledger import Plan, Sent
from tests.crash.reading import all_due_times
from tests.crash.stories.chains import Pays
from tests.crash.stories.kit import ACTIVITY, QUEUE, TASK_TIMEOUT
from tests.crash.stories.steps import double

TARGETS = 4


@workflow.defn
class Scheduled:
    @workflow.run
    async def run(self) -> int:
        return (await workflow.execute_activity(double, 21, **ACTIVITY)).value


async def job(calls: Calls, name: str, random: Random) -> None:
    """One thing is done to each of several workflows, exactly once."""
    targets = [f"{name}.{number}" for number in range(TARGETS)]
    for target in targets:
        await calls.start(target, Pays, random)
    request = ws.StartBatchOperationRequest(
        namespace=NAMESPACE,
        job_id=name,
        reason="load",
        visibility_query=f"WorkflowId STARTS_WITH '{name}.' AND ExecutionStatus = 'Running'",
        max_operations_per_second=50,
    )
    what = random.choice(("signal", "cancel", "terminate", "reset"))
    match what:
        case "signal":
            request.signal_operation.CopyFrom(batch.BatchOperationSignal(signal="pay", input=payloads(name, 0)))
        case "cancel":
            request.cancellation_operation.SetInParent()
        case "terminate":
            request.termination_operation.SetInParent()
        case "reset":
            request.reset_operation.CopyFrom(batch.BatchOperationReset(options=ResetOptions(first_workflow_task={})))
            for target in targets:
                await calls.until(lambda target=target: _has_answered(calls, target))
    await calls.until_answered(calls.rpc.start_batch_operation, request, but=RPCStatusCode.ALREADY_EXISTS)
    question = ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id=name)

    async def over() -> Any:
        done = await calls.until_answered(calls.rpc.describe_batch_operation, question)
        return done if done.state != BatchOperationState.BATCH_OPERATION_STATE_RUNNING else None

    done = await calls.until(over)
    counts = (done.total_operation_count, done.complete_operation_count)
    assert counts == (TARGETS, TARGETS), f"job {name}, {what}, ended as {done}"
    for target in targets:
        match what:
            case "signal":
                calls.ledger.sent[target, name] = [Sent(1, True)]
                await calls.signal(target, "pay", "ann", random)
                ending = await calls.ending(target)
                assert ending.result in ([[name, 0], ["ann", 0]],), f"{target} ended with {ending}"
            case "cancel":
                calls.ledger.cancels.add(target)
                await calls.ends(target, CANCELED)
            case "terminate":
                calls.ledger.terminations.add(target)
                await calls.ends(target, TERMINATED)
            case "reset":
                run_id = (await calls.describe(target)).workflow_execution_info.execution.run_id
                first = calls.ledger.starts[target]
                assert run_id != first, f"job {name} says it has reset {target}"
                calls.ledger.resets[target, first] = run_id
                for _ in range(2):
                    await calls.signal(target, "pay", "ann", random)
                ending = await calls.ending(target, run_id)
                assert ending.result == [["ann", 0], ["ann", 1]], f"{target} ended with {ending}"
        calls.ledger.touched.add(target)


async def _has_answered(calls: Calls, workflow_id: str) -> bool:
    """Its first workflow task is completed, so there is something to reset to."""
    shown = await calls.describe(workflow_id)
    return bool(shown.pending_activities) or shown.workflow_execution_info.history_length > 4


async def scheduled(calls: Calls, name: str, random: Random) -> None:
    """Each due time starts one run. So does each trigger, if the schedule has no due times: both would give their runs
    the same ID if they came in the same second."""
    triggers = random.choice((0, 2))
    schedule = Schedule()
    if not triggers:
        schedule.spec.interval.append(IntervalSpec(interval=Duration(seconds=1)))
    schedule.spec.end_time.GetCurrentTime()
    schedule.spec.end_time.seconds += random.randint(2, 4)
    schedule.policies.overlap_policy = ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
    action = NewWorkflowExecutionInfo(
        workflow_id=f"{name}.run",
        workflow_type=WorkflowType(name=Scheduled.__name__),
        task_queue=TaskQueue(name=QUEUE),
    )
    action.workflow_task_timeout.FromTimedelta(TASK_TIMEOUT)
    schedule.action.start_workflow.CopyFrom(action)
    create = ws.CreateScheduleRequest(
        namespace=NAMESPACE, schedule_id=name, schedule=schedule, request_id=request_id(random)
    )
    await calls.until_answered(calls.rpc.create_schedule, create)
    for _ in range(triggers):
        trigger = ws.PatchScheduleRequest(
            namespace=NAMESPACE,
            schedule_id=name,
            patch=SchedulePatch(trigger_immediately=TriggerImmediatelyRequest()),
            request_id=request_id(random),
        )
        await calls.until_answered(calls.rpc.patch_schedule, trigger)
        await asyncio.sleep(1.1)

    async def over() -> Any:
        """What it says of itself, once it has started all: a time that has come may still have to be seen to."""
        question = ws.DescribeScheduleRequest(namespace=NAMESPACE, schedule_id=name)
        said = await calls.until_answered(calls.rpc.describe_schedule, question)
        info = said.info
        asked = all_due_times(name, said)
        due = (await calls.until_answered(calls.rpc.list_schedule_matching_times, asked)).start_time
        all_started = not info.future_action_times and info.action_count >= len(due) + triggers
        return info if all_started else None

    for taken in (await calls.until(over, every=0.2)).recent_actions:
        run = taken.start_workflow_result
        await calls.ending(run.workflow_id, run.run_id)
    calls.ledger.plans.append(Plan(name, f"{name}.run", triggers))


STORIES: Stories = {"job": job, "scheduled": scheduled}
WORKFLOWS: list[Any] = [Scheduled]
