"""Activities that operators hold and change, and activities without a workflow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import temporalio.api.activity.v1 as act
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import activity, workflow
from temporalio.api.common.v1 import ActivityType, RetryPolicy
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCStatusCode

from tests.crash.calls import COMPLETED, NAMESPACE, Calls, Stories, payloads, request_id
from tests.crash.ledger import all_ran
from tests.crash.stories.kit import ACTIVITY, QUEUE, Proof, proved
from tests.crash.stories.steps import double_at

PAUSED = PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED
PAUSE_REQUESTED = PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
HELD = (PAUSED, PAUSE_REQUESTED)
ATTEMPT_TIMEOUT = timedelta(seconds=2)


@activity.defn
async def released(path: str) -> Proof:
    if not _exists(path):
        raise ApplicationError("not released yet")
    return proved(1)


def _exists(path: str) -> bool:
    return os.path.exists(path)


@workflow.defn
class Held:
    @workflow.run
    async def run(self, path: str) -> int:
        return (await workflow.execute_activity(released, path, activity_id="held", **ACTIVITY)).value


async def held(calls: Calls, name: str, random: Random) -> None:
    """While an activity is paused nothing of it runs, whatever else is done to it; then it goes on."""
    release = calls.releases / name
    run_id = await calls.start(name, Held, random, str(release))

    async def look() -> Shown | None:
        for pending in (await calls.describe(name)).pending_activities:
            return Shown(pending.state, pending.attempt, pending.activity_options.heartbeat_timeout)
        return None

    whole = {"namespace": NAMESPACE, "workflow_id": name, "run_id": run_id, "activity_id": "held", "identity": "load"}
    await hold(calls, name, random, whole, look)
    release.touch()
    await calls.ends(name, COMPLETED, 1)


async def held_alone(calls: Calls, name: str, random: Random) -> None:
    """The same of an activity without a workflow."""
    release = calls.releases / name
    run_id = await start_activity(calls, name, random, released, str(release))
    whole = {"namespace": NAMESPACE, "run_id": run_id, "activity_id": name, "identity": "load"}
    question = ws.DescribeActivityExecutionRequest(namespace=NAMESPACE, activity_id=name, run_id=run_id)

    async def look() -> Shown:
        info = (await calls.until_answered(calls.rpc.describe_activity_execution, question)).info
        return Shown(info.run_state, info.attempt, info.heartbeat_timeout)

    await hold(calls, name, random, whole, look)
    release.touch()
    outcome = await activity_outcome(calls, name, run_id)
    assert outcome.HasField("result"), f"activity {name} ended with {outcome}"


@dataclass(frozen=True, slots=True)
class Shown:
    state: int
    attempt: int
    heartbeat_timeout: Duration


async def hold(
    calls: Calls, name: str, random: Random, whole: dict[str, str], look: Callable[[], Awaitable[Shown | None]]
) -> None:
    """Pause a failing activity, change it meanwhile, and let it go on."""

    async def has_failed() -> bool:
        shown = await look()
        return shown is not None and shown.attempt > 1

    async def is_held() -> Shown:
        shown = await look()
        assert shown is not None
        assert shown.state in HELD, f"the acknowledged pause of {name} is lost: {shown}"
        return shown

    def ran() -> int:
        return sum(ran.run_id == whole["run_id"] for ran in all_ran(calls.releases))

    await calls.until(has_failed)
    pause = ws.PauseActivityExecutionRequest(**whole, request_id=request_id(random))
    await calls.until_answered(calls.rpc.pause_activity_execution, pause)
    # An attempt that runs may end, and that alone: if its worker dies, its timeouts are suspended too.
    allowed = ((await is_held()).state == PAUSE_REQUESTED) + ran()
    heartbeat_timeout = Duration(seconds=1, nanos=random.randint(1, 999) * 1_000_000)
    options = act.ActivityOptions(heartbeat_timeout=heartbeat_timeout)
    change = ws.UpdateActivityExecutionOptionsRequest(
        **whole,
        activity_options=options,
        update_mask=FieldMask(paths=["heartbeat_timeout"]),
        request_id=request_id(random),
    )
    await calls.until_answered(calls.rpc.update_activity_execution_options, change)
    if random.random() < 0.5:
        again = ws.ResetActivityExecutionRequest(**whole, keep_paused=True, request_id=request_id(random))
        await calls.until_answered(calls.rpc.reset_activity_execution, again)
    await asyncio.sleep(random.uniform(0, 0.3))
    shown = await is_held()
    assert shown.heartbeat_timeout == heartbeat_timeout, f"{name} lost its new options: {shown}"
    assert ran() <= allowed, f"the paused activity of {name} ran"
    unpause = ws.UnpauseActivityExecutionRequest(**whole, request_id=request_id(random))
    await calls.until_answered(calls.rpc.unpause_activity_execution, unpause)


async def standalone(calls: Calls, name: str, random: Random) -> None:
    run_id = await start_activity(calls, name, random, double_at, 4, random.randint(1, 3))
    cancelled = random.random() < 0.3
    if cancelled:
        cancel = ws.RequestCancelActivityExecutionRequest(
            namespace=NAMESPACE, activity_id=name, run_id=run_id, identity="load", request_id=request_id(random)
        )
        # It may be over already.
        await calls.until_answered(
            calls.rpc.request_cancel_activity_execution, cancel, but=RPCStatusCode.FAILED_PRECONDITION
        )
    outcome = await activity_outcome(calls, name, run_id)
    assert cancelled or outcome.HasField("result"), f"activity {name} ended with {outcome}"


async def start_activity(calls: Calls, name: str, random: Random, function: Any, *args: Any) -> str:
    request = ws.StartActivityExecutionRequest(
        namespace=NAMESPACE,
        identity="load",
        request_id=request_id(random),
        activity_id=name,
        activity_type=ActivityType(name=function.__name__),
        task_queue=TaskQueue(name=QUEUE),
        retry_policy=RetryPolicy(initial_interval=Duration(nanos=100_000_000), backoff_coefficient=1),
        input=payloads(*args),
    )
    request.start_to_close_timeout.FromTimedelta(ATTEMPT_TIMEOUT)
    run_id: str = (await calls.until_answered(calls.rpc.start_activity_execution, request)).run_id
    calls.ledger.standalone[name, run_id] = ""
    return run_id


async def activity_outcome(calls: Calls, name: str, run_id: str) -> act.ActivityExecutionOutcome:
    poll = ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id=name, run_id=run_id)

    async def over() -> act.ActivityExecutionOutcome | None:
        reply = await calls.until_answered(calls.rpc.poll_activity_execution, poll)
        return reply.outcome if reply.HasField("outcome") else None

    outcome = await calls.until(over)
    calls.ledger.standalone[name, run_id] = str(outcome)
    return outcome


STORIES: Stories = {
    "held": held,
    "held-alone": held_alone,
    "standalone": standalone,
}
WORKFLOWS: list[Any] = [Held]
ACTIVITIES: list[Any] = [released]
