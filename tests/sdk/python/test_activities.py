"""Activities as the Python SDK's workers run them: retries, timeouts, heartbeats, cancellation, async completion."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.workflowservice.v1 import PauseActivityRequest, ResetActivityRequest, UnpauseActivityRequest
from temporalio.client import (
    AsyncActivityCancelledError,
    AsyncActivityHandle,
    Client,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TimeoutError,
    TimeoutType,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import ActivityCancellationType

from tests.sdk.python.kit import SECOND, SOON, event_of, kinds, replay, unique, working

pytestmark = pytest.mark.timeout(30)

AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=1), backoff_coefficient=1)
ONCE = RetryPolicy(maximum_attempts=1)


@dataclass
class Ask:
    """An activity for `Asking` to run, with its options in seconds."""

    activity: str
    argument: Any = None
    start_to_close: float | None = 10
    schedule_to_start: float | None = None
    schedule_to_close: float | None = None
    heartbeat: float | None = None
    attempts: int = 0
    backoff: float = 0.001
    fatal_types: list[str] = field(default_factory=list)
    task_queue: str | None = None


@workflow.defn
class Asking:
    @workflow.run
    async def run(self, ask: Ask) -> Any:
        return await workflow.execute_activity(
            ask.activity,
            ask.argument,
            task_queue=ask.task_queue,
            start_to_close_timeout=_seconds(ask.start_to_close),
            schedule_to_start_timeout=_seconds(ask.schedule_to_start),
            schedule_to_close_timeout=_seconds(ask.schedule_to_close),
            heartbeat_timeout=_seconds(ask.heartbeat),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=ask.backoff),
                backoff_coefficient=1,
                maximum_attempts=ask.attempts,
                non_retryable_error_types=ask.fatal_types,
            ),
        )


def _seconds(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def succeed_at(attempt: int) -> int:
    if activity.info().attempt < attempt:
        raise ApplicationError(f"not at attempt {activity.info().attempt}", type="TooEarly")
    return activity.info().attempt


@activity.defn
async def refuse(_: None) -> None:
    raise ApplicationError("no such customer", {"id": 7}, type="NoCustomer", non_retryable=True)


@activity.defn
async def ask_for_a_later_retry(_: None) -> int:
    if activity.info().attempt == 1:
        raise ApplicationError("wait", next_retry_delay=timedelta(milliseconds=20))
    return activity.info().attempt


@activity.defn
async def hang(_: None) -> None:
    await asyncio.Event().wait()


@activity.defn
async def remember(_: None) -> list[Any]:
    """Heartbeats once and hangs; its next attempt answers what the heartbeat left."""
    if activity.info().attempt == 1:
        activity.heartbeat("row", 17)
        await asyncio.Event().wait()
    return list(activity.info().heartbeat_details)


ACTIVITIES = [greet, succeed_at, refuse, ask_for_a_later_retry, hang, remember]


async def ask(client: Client, queue: str, question: Ask) -> Any:
    return await client.execute_workflow(Asking.run, question, id=unique("ask"), task_queue=queue)


async def ask_and_fail(client: Client, queue: str, question: Ask) -> ActivityError:
    with pytest.raises(WorkflowFailureError) as failure:
        await ask(client, queue, question)
    assert isinstance(failure.value.cause, ActivityError)
    return failure.value.cause


async def test_an_activity_answers_its_workflow(client: Client) -> None:
    async with working(client, [Asking], ACTIVITIES) as queue:
        handle = await client.start_workflow(Asking.run, Ask("greet", "Ann"), id=unique("ask"), task_queue=queue)

        assert await handle.result() == "Hello, Ann!"

    assert await kinds(handle) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "ActivityTaskScheduled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]
    await replay([Asking], handle)


async def test_a_failed_activity_is_retried_until_it_succeeds(client: Client) -> None:
    async with working(client, [Asking], ACTIVITIES) as queue:
        handle = await client.start_workflow(Asking.run, Ask("succeed_at", 3), id=unique("ask"), task_queue=queue)
        assert await handle.result() == 3

    started = await event_of(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
    assert started.attempt == 3
    assert started.last_failure.message == "not at attempt 2"


async def test_an_activity_names_the_delay_of_its_next_retry(client: Client) -> None:
    async with working(client, [Asking], ACTIVITIES) as queue:
        # Its policy alone would have it wait for a minute.
        assert await ask(client, queue, Ask("ask_for_a_later_retry", backoff=60)) == 2


async def test_retries_end_where_the_policy_says(client: Client) -> None:
    async with working(client, [Asking], ACTIVITIES) as queue:
        exhausted, refused, fatal = await asyncio.gather(
            ask_and_fail(client, queue, Ask("succeed_at", 9, attempts=2)),
            ask_and_fail(client, queue, Ask("refuse")),
            ask_and_fail(client, queue, Ask("succeed_at", 9, fatal_types=["TooEarly"])),
        )

    assert exhausted.retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED
    assert str(exhausted.cause) == "TooEarly: not at attempt 2"
    assert refused.retry_state is RetryState.NON_RETRYABLE_FAILURE
    assert isinstance(refused.cause, ApplicationError)
    assert refused.cause.type == "NoCustomer"
    assert list(refused.cause.details) == [{"id": 7}]
    assert fatal.retry_state is RetryState.NON_RETRYABLE_FAILURE
    assert str(fatal.cause) == "TooEarly: not at attempt 1"


async def test_each_timeout_of_an_activity_fails_it_by_its_name(client: Client) -> None:
    async with working(client, [Asking], ACTIVITIES) as queue:
        too_long, never_started, no_heartbeat, in_all = await asyncio.gather(
            ask_and_fail(client, queue, Ask("hang", start_to_close=1, attempts=1)),
            ask_and_fail(client, queue, Ask("hang", schedule_to_start=0.2, task_queue=unique("nobody"))),
            ask_and_fail(client, queue, Ask("hang", heartbeat=1, attempts=1)),
            ask_and_fail(client, queue, Ask("succeed_at", 9, schedule_to_close=0.5, backoff=0.3)),
        )

    for failure, kind in (
        (too_long, TimeoutType.START_TO_CLOSE),
        (never_started, TimeoutType.SCHEDULE_TO_START),
        (no_heartbeat, TimeoutType.HEARTBEAT),
    ):
        assert isinstance(failure.cause, TimeoutError)
        assert failure.cause.type is kind
    # No time is left for one more retry: the last failure is the answer.
    assert in_all.retry_state is RetryState.TIMEOUT
    assert isinstance(in_all.cause, ApplicationError)


async def test_what_a_lost_attempt_heartbeated_reaches_the_next(client: Client) -> None:
    async with working(client, [Asking], ACTIVITIES) as queue:
        assert await ask(client, queue, Ask("remember", heartbeat=0.5)) == ["row", 17]


# ---- cancellation
@workflow.defn
class CancelsAnActivity:
    """Cancels its activity when told to; returns when it saw the activity end, and how."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal
    def cancel(self) -> None:
        self._told = True

    @workflow.run
    async def run(self, kind: int, name: str) -> str:
        handle = workflow.start_activity(
            name,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=2),
            cancellation_type=ActivityCancellationType(kind),
            retry_policy=ONCE,
        )
        await workflow.wait_condition(lambda: self._told)
        handle.cancel()
        try:
            return str(await handle)
        except ActivityError as error:
            return type(error.cause).__name__


class Tidying:
    """An activity that heartbeats until it is cancelled, then tidies up and says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()

    @activity.defn(name="tidy")
    async def run(self, _: None = None) -> str:
        self.started.set()
        try:
            while not self.may_end.is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)
            return "undisturbed"
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.may_end.wait()
            raise
        finally:
            self.ended.set()


async def cancels(
    client: Client, queue: str, tidying: Tidying, kind: ActivityCancellationType
) -> WorkflowHandle[CancelsAnActivity, str]:
    """A workflow that has just been told to cancel its activity, which runs."""
    handle = await client.start_workflow(
        CancelsAnActivity.run, args=[kind, "tidy"], id=unique("cancel"), task_queue=queue
    )
    await tidying.started.wait()
    await handle.signal(CancelsAnActivity.cancel)
    return handle


async def test_a_cancelled_activity_is_waited_for_when_asked_to(client: Client) -> None:
    tidying = Tidying()
    async with working(client, [CancelsAnActivity], [tidying.run]) as queue:
        handle = await cancels(client, queue, tidying, ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)
        await tidying.cancelled.wait()
        tidying.may_end.set()

        assert await handle.result() == "CancelledError"
        assert tidying.ended.is_set()


async def test_a_cancelled_activity_is_not_waited_for_when_cancellation_is_only_tried(client: Client) -> None:
    tidying = Tidying()
    async with working(client, [CancelsAnActivity], [tidying.run]) as queue:
        handle = await cancels(client, queue, tidying, ActivityCancellationType.TRY_CANCEL)

        assert await handle.result() == "CancelledError"
        assert "ActivityTaskCancelRequested" in await kinds(handle)
        assert not tidying.ended.is_set()
        tidying.may_end.set()


async def test_an_abandoned_activity_is_never_asked_to_stop(client: Client) -> None:
    tidying = Tidying()
    async with working(client, [CancelsAnActivity], [tidying.run]) as queue:
        handle = await cancels(client, queue, tidying, ActivityCancellationType.ABANDON)

        assert await handle.result() == "CancelledError"
        assert "ActivityTaskCancelRequested" not in await kinds(handle)
        tidying.may_end.set()


async def test_cancelling_the_workflow_cancels_its_activity(client: Client) -> None:
    tidying = Tidying()
    async with working(client, [Asking], [tidying.run]) as queue:
        handle = await client.start_workflow(
            Asking.run, Ask("tidy", heartbeat=2, attempts=1), id=unique("cancel"), task_queue=queue
        )
        await tidying.started.wait()
        await handle.cancel()
        tidying.may_end.set()

        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
    assert isinstance(failure.value.cause, CancelledError)


async def test_an_activity_learns_from_its_heartbeat_that_its_workflow_is_gone(client: Client) -> None:
    tidying = Tidying()
    async with working(client, [Asking], [tidying.run]) as queue:
        handle = await client.start_workflow(
            Asking.run, Ask("tidy", heartbeat=1, attempts=1), id=unique("gone"), task_queue=queue
        )
        await tidying.started.wait()
        await handle.terminate()

        await tidying.cancelled.wait()
        tidying.may_end.set()


# ---- completion from elsewhere
class Elsewhere:
    """An activity that somebody else completes."""

    def __init__(self) -> None:
        self.infos: asyncio.Queue[activity.Info] = asyncio.Queue()

    @activity.defn(name="elsewhere")
    async def run(self, _: None = None) -> str:
        self.infos.put_nowait(activity.info())
        activity.raise_complete_async()


@pytest.mark.parametrize("by", ["token", "id"])
async def test_an_activity_is_completed_from_elsewhere(client: Client, by: str) -> None:
    elsewhere = Elsewhere()
    async with working(client, [Asking], [elsewhere.run]) as queue:

        async def story(question: Ask) -> tuple[asyncio.Task[Any], Any]:
            asked = asyncio.ensure_future(ask(client, queue, question))
            info = await elsewhere.infos.get()
            if by == "token":
                return asked, client.get_async_activity_handle(task_token=info.task_token)
            assert info.workflow_id is not None
            return asked, client.get_async_activity_handle(
                workflow_id=info.workflow_id, run_id=info.workflow_run_id, activity_id=info.activity_id
            )

        asked, handle = await story(Ask("elsewhere", heartbeat=5))
        await handle.heartbeat("half")
        await handle.complete("done")
        assert await asked == "done"
        with pytest.raises(RPCError) as gone:
            await handle.complete("again")
        assert gone.value.status is RPCStatusCode.NOT_FOUND

        asked, handle = await story(Ask("elsewhere", attempts=1))
        await handle.fail(ApplicationError("it broke", type="Broken"))
        with pytest.raises(WorkflowFailureError) as failure:
            await asked
        assert isinstance(failure.value.cause, ActivityError)
        assert str(failure.value.cause.cause) == "Broken: it broke"


async def heartbeat_for_ever(handle: AsyncActivityHandle) -> None:
    while True:
        await handle.heartbeat()


async def test_whoever_completes_from_elsewhere_is_told_of_the_cancellation(client: Client) -> None:
    elsewhere = Elsewhere()
    async with working(client, [CancelsAnActivity], [elsewhere.run]) as queue:
        running = await client.start_workflow(
            CancelsAnActivity.run,
            args=[ActivityCancellationType.WAIT_CANCELLATION_COMPLETED, "elsewhere"],
            id=unique("cancel"),
            task_queue=queue,
        )
        info = await elsewhere.infos.get()
        handle = client.get_async_activity_handle(task_token=info.task_token)
        await handle.heartbeat()
        await running.signal(CancelsAnActivity.cancel)

        # The request reaches the activity with the workflow's next task.
        with pytest.raises(AsyncActivityCancelledError):
            await heartbeat_for_ever(handle)
        await handle.report_cancellation("stopped")

        assert await running.result() == "CancelledError"


# ---- local activities
@workflow.defn
class AsksLocally:
    @workflow.run
    async def run(self, attempt: int) -> int:
        return await workflow.execute_local_activity(
            succeed_at, attempt, start_to_close_timeout=SECOND, retry_policy=AT_ONCE
        )


async def test_a_local_activity_is_retried_within_its_worker(client: Client) -> None:
    async with working(client, [AsksLocally], ACTIVITIES) as queue:
        handle = await client.start_workflow(AsksLocally.run, 3, id=unique("local"), task_queue=queue)

        assert await handle.result() == 3

    happened = await kinds(handle)
    assert "MarkerRecorded" in happened
    assert "ActivityTaskScheduled" not in happened
    await replay([AsksLocally], handle)


@activity.defn
async def take(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@workflow.defn
class TakesItsTimeLocally:
    @workflow.run
    async def run(self, seconds: float) -> float:
        return await workflow.execute_local_activity(take, seconds, start_to_close_timeout=SOON)


async def test_a_long_local_activity_keeps_its_workflow_task_alive(client: Client) -> None:
    async with working(client, [TakesItsTimeLocally], [take]) as queue:
        handle = await client.start_workflow(
            TakesItsTimeLocally.run, 1.5, id=unique("local"), task_queue=queue, task_timeout=SECOND
        )

        assert await handle.result() == 1.5

    happened = await kinds(handle)
    assert "WorkflowTaskTimedOut" not in happened
    assert happened.count("WorkflowTaskCompleted") >= 2


# ---- eager activities
@pytest.mark.parametrize("disabled", [False, True])
async def test_an_activity_runs_the_same_whether_it_started_eagerly_or_not(client: Client, disabled: bool) -> None:
    async with working(client, [Asking], ACTIVITIES, disable_eager_activity_execution=disabled) as queue:
        assert await ask(client, queue, Ask("greet", "Ann")) == "Hello, Ann!"


@activity.defn
async def beating_until_told(_: Any) -> str:
    """Beats until the server says stop, then tells why it was to stop."""
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        assert details is not None
        if details.paused:
            raise ApplicationError("paused") from None
        return f"reset={details.reset}"


async def test_an_activity_is_paused_unpaused_and_reset(client: Client) -> None:
    """Its worker hears of each by a heartbeat, as a cancellation that says why."""
    async with working(client, [Asking], [beating_until_told]) as task_queue:
        handle = await client.start_workflow(
            Asking.run, Ask("beating_until_told", heartbeat=5), id=unique("paused"), task_queue=task_queue
        )
        the = {"namespace": client.namespace, "execution": WorkflowExecution(workflow_id=handle.id)}

        async def shown(state: str) -> Any:
            while True:
                for pending in (await handle.describe()).raw_description.pending_activities:
                    if PendingActivityState.Name(pending.state).endswith("STATE_" + state):
                        return pending
                await asyncio.sleep(0.02)

        await shown("STARTED")
        await client.workflow_service.pause_activity(PauseActivityRequest(**the, type="beating_until_told"))
        assert (await shown("PAUSED")).last_failure.message == "paused"

        await client.workflow_service.unpause_activity(UnpauseActivityRequest(**the, unpause_all=True))
        await shown("STARTED")
        await client.workflow_service.reset_activity(ResetActivityRequest(**the, match_all=True))

        assert await handle.result() == "reset=True"
