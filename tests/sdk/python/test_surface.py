"""Each public method of the SDK is seen at work against the server: none is left to be found broken by a user."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    ActivityFailureError,
    BuildIdOpAddNewDefault,
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleBackfill,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateStage,
)
from temporalio.common import RawValue, RetryPolicy, SearchAttributeKey, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.sdk.python.kit import SOON, unique
from tests.sdk.python.surface import observed, public
from tools import compatibility

AMOUNT = SearchAttributeKey.for_int("Amount")

NOT_EXERCISED: Mapping[str, str] = {
    **dict.fromkeys(
        [f"workflow.{name}" for name in ("defn", "run", "init", "signal", "query", "update", "dynamic_config")],
        "a decorator: works when the class is made",
    ),
    "activity.defn": "a decorator: works when the function is made",
    **dict.fromkeys(
        [
            "Client.create_nexus_client",
            "Client.get_nexus_operation_handle",
            "Client.list_nexus_operations",
            "Client.count_nexus_operations",
            "workflow.create_nexus_client",
        ],
        "Nexus is not served",
    ),
    **dict.fromkeys(
        [f"ActivityHandle.{name}" for name in ("pause", "unpause", "update_options", "restore_original_options")],
        "refused by default, as the reference server does",
    ),
}
"""What no story uses, and why."""


# ---- what runs
@activity.defn
async def hello(name: str) -> str:
    assert activity.in_activity()
    assert activity.payload_converter() is not None
    activity.metric_meter().create_counter("greetings").add(1)
    info = activity.info()
    assert info.attempt == 1
    await activity.client().count_workflows()
    return f"Hello, {name}"


class Shop:
    @activity.defn
    async def price(self, item: str) -> int:
        return len(item)


@activity.defn
class Weigh:
    async def __call__(self, item: str) -> int:
        return len(item) * 10


@activity.defn
async def until_cancelled() -> None:
    assert not activity.is_cancelled()
    activity.heartbeat("on")

    async def beating() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)

    beats = asyncio.create_task(beating())
    try:
        await activity.wait_for_cancelled()
    finally:
        beats.cancel()
        details = activity.cancellation_details()
        assert details is not None
        assert details.cancel_requested


@activity.defn
def in_a_thread() -> str:
    activity.heartbeat()
    with activity.shield_thread_cancel_exception():
        assert not activity.is_worker_shutdown()
    activity.wait_for_cancelled_sync(timedelta(milliseconds=1))
    activity.wait_for_worker_shutdown_sync(timedelta(milliseconds=1))
    return "from a thread"


@activity.defn
async def until_shutdown() -> str:
    await activity.wait_for_worker_shutdown()
    return "shut down"


@activity.defn
async def later() -> None:
    activity.raise_complete_async()


ACTIVITIES = (hello, Shop().price, Weigh(), until_cancelled, in_a_thread, until_shutdown, later)
SHORT: Mapping[str, Any] = {"start_to_close_timeout": SOON, "heartbeat_timeout": SOON}


@workflow.defn
class Everything:
    """Calls what a workflow can without others' help."""

    @workflow.run
    async def run(self) -> list[Any]:
        assert workflow.in_workflow()
        assert workflow.instance() is self
        assert workflow.is_failure_exception(ApplicationError("no"))
        assert workflow.info().workflow_type == "Everything"
        assert workflow.cancellation_reason() is None
        assert not workflow.has_last_completion_result()
        assert workflow.get_last_completion_result() is None
        assert workflow.get_last_failure() is None
        assert workflow.payload_converter() is not None
        assert workflow.extern_functions() is not None
        workflow.metric_meter().create_counter("runs").add(1)
        assert workflow.time_ns() // 10**9 == int(workflow.time()) == int(workflow.now().timestamp())
        assert workflow.random().random() != workflow.new_random("dice").random()
        assert workflow.uuid4() != workflow.uuid7()
        workflow.register_random_seed_callback(lambda seed: None)
        assert isinstance(workflow.random_seed(), int)
        workflow.set_current_details("under way")
        assert workflow.get_current_details() == "under way"
        assert workflow.patched("faster")
        workflow.deprecate_patch("older")
        group = workflow.create_event_group("one", label="One")
        with group.scope():
            await workflow.sleep(0.01)
        workflow.upsert_memo({"note": "gift"})
        assert workflow.memo()["note"] == workflow.memo_value("note") == "gift"
        workflow.upsert_search_attributes([AMOUNT.value_set(7)])
        answers: list[Any] = [
            await workflow.execute_activity(hello, "Ann", **SHORT),
            await workflow.execute_activity_method(Shop.price, "pear", **SHORT),
            await workflow.execute_activity_class(Weigh, "pear", **SHORT),
            await workflow.execute_activity(in_a_thread, **SHORT),
            await workflow.execute_local_activity(local, "Ann", start_to_close_timeout=SOON),
            await workflow.execute_local_activity_method(Shop.price, "pear", start_to_close_timeout=SOON),
            await workflow.execute_local_activity_class(Weigh, "pear", start_to_close_timeout=SOON),
        ]
        started = [
            workflow.start_activity(hello, "Bob", **SHORT),
            workflow.start_activity_method(Shop.price, "plum", **SHORT),
            workflow.start_activity_class(Weigh, "plum", **SHORT),
        ]
        await workflow.wait(started)
        locally: list[Any] = [
            workflow.start_local_activity(local, "Bob", start_to_close_timeout=SOON),
            workflow.start_local_activity_method(Shop.price, "plum", start_to_close_timeout=SOON),
            workflow.start_local_activity_class(Weigh, "plum", start_to_close_timeout=SOON),
        ]
        for done in workflow.as_completed(locally):
            await done
        return [*answers, *(each.result() for each in (*started, *locally))]


@activity.defn
async def local(name: str) -> str:
    return f"Hello here, {name}"


@workflow.defn
class Host:
    """Is talked to in all ways, has a child, and talks to a neighbour."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._done = False
        # Here, not when it runs: an update may come with the first task.
        workflow.set_signal_handler("hear", self._heard.append)
        workflow.set_dynamic_signal_handler(self._any_signal)
        workflow.set_query_handler("heard", lambda: self._heard)
        workflow.set_dynamic_query_handler(self._any_query)
        workflow.set_update_handler("say", self._say)
        workflow.set_dynamic_update_handler(self._any_update)
        assert workflow.get_signal_handler("hear")
        assert workflow.get_query_handler("heard")
        assert workflow.get_update_handler("say")
        assert workflow.get_dynamic_signal_handler()
        assert workflow.get_dynamic_query_handler()
        assert workflow.get_dynamic_update_handler()

    @workflow.run
    async def run(self, neighbour: str) -> list[str]:
        child = await workflow.start_child_workflow(Guest.run, id=workflow.info().workflow_id + "-child")
        await child.signal(Guest.leave)
        await child
        await workflow.execute_child_workflow(Again.run, 1)
        if neighbour:
            await workflow.get_external_workflow_handle(neighbour).signal("leave")
            await workflow.get_external_workflow_handle_for(Guest.run, neighbour).cancel()
        await workflow.wait_condition(lambda: self._done and workflow.all_handlers_finished())
        return self._heard

    def _any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self._done = self._done or name == "done"

    def _any_query(self, name: str, args: Sequence[RawValue]) -> str:
        return name

    async def _say(self, word: str) -> str:
        info = workflow.current_update_info()
        assert info is not None
        assert info.name == "say"
        self._heard.append(word)
        return word

    async def _any_update(self, name: str, args: Sequence[RawValue]) -> str:
        return name


@workflow.defn
class Guest:
    """Stays until it is told to leave."""

    def __init__(self) -> None:
        self._left = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self._left)
        return "left"

    @workflow.signal
    def leave(self) -> None:
        self._left = True

    @workflow.query
    def stays(self) -> bool:
        return not self._left

    @workflow.update
    async def greet(self, name: str) -> str:
        return f"Hello, {name}"


@workflow.defn
class Again:
    @workflow.run
    async def run(self, left: int) -> int:
        if left:
            workflow.continue_as_new(left - 1)
        return left


@workflow.defn
class Waiting:
    """Starts that activity and cancels it when cancelled itself."""

    @workflow.run
    async def run(self, name: str) -> str:
        options: Any = {
            "activity_id": "a",
            "start_to_close_timeout": SOON,
            "heartbeat_timeout": SOON,
            "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            "retry_policy": RetryPolicy(maximum_attempts=1),
        }
        try:
            return str(await workflow.execute_activity(name, **options))
        except asyncio.CancelledError:
            assert workflow.cancellation_reason() is not None
            raise


WORKFLOWS = (Everything, Host, Guest, Again, Waiting)


# ---- stories
Story = Callable[[Client, str], Awaitable[None]]
STORIES: dict[Story, tuple[str, ...]] = {}


def story(*needs: str) -> Callable[[Story], Story]:
    """Told when the RPCs named are served."""

    def add(told: Story) -> Story:
        STORIES[told] = needs
        return told

    return add


@story()
async def a_workflow_uses_everything(client: Client, queue: str) -> None:
    names = await client.execute_workflow(Everything.run, id=unique("everything"), task_queue=queue)

    assert names == [
        *("Hello, Ann", 4, 40, "from a thread", "Hello here, Ann", 4, 40),
        *("Hello, Bob", 4, 40, "Hello here, Bob", 4, 40),
    ]


@story()
async def a_workflow_is_talked_to(client: Client, queue: str) -> None:
    guest = await client.start_workflow(Guest.run, id=unique("guest"), task_queue=queue)
    host = await client.start_workflow(Host.run, guest.id, id=unique("host"), task_queue=queue)
    await client.get_workflow_handle(guest.id).result()
    await host.signal("hear", "one")
    assert await host.query("heard") == ["one"]
    assert await host.query("anything") == "anything"
    await host.signal("done")
    assert await host.result() == ["one"]

    typed = client.get_workflow_handle_for(Guest.run, guest.id)
    assert not await typed.query(Guest.stays)
    assert (await typed.describe()).close_time is not None


@story("UpdateWorkflowExecution", "PollWorkflowExecutionUpdate")
async def a_workflow_is_updated(client: Client, queue: str) -> None:
    host = await client.start_workflow(Host.run, "", id=unique("host"), task_queue=queue)
    assert await host.execute_update("say", "one") == "one"
    started = await host.start_update("say", "two", id="second", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    assert await started.result() == "two"
    assert await host.get_update_handle("second").result() == "two"
    assert await host.execute_update("anything") == "anything"
    await host.signal("done")
    assert await host.result() == ["one", "two"]

    guest = await client.start_workflow(Guest.run, id=unique("guest"), task_queue=queue)
    greeted = await guest.start_update(Guest.greet, "Ann", wait_for_stage=WorkflowUpdateStage.COMPLETED)
    assert await guest.get_update_handle_for(Guest.greet, greeted.id).result() == "Hello, Ann"
    await guest.signal(Guest.leave)


@story("ExecuteMultiOperation")
async def an_update_starts_its_workflow(client: Client, queue: str) -> None:
    def start() -> WithStartWorkflowOperation[Any, Any]:
        policy = WorkflowIDConflictPolicy.USE_EXISTING
        return WithStartWorkflowOperation(Guest.run, id=guest, task_queue=queue, id_conflict_policy=policy)

    guest = unique("guest")
    hello = await client.execute_update_with_start_workflow(Guest.greet, "Ann", start_workflow_operation=start())
    second = await client.start_update_with_start_workflow(
        Guest.greet, "Bob", wait_for_stage=WorkflowUpdateStage.ACCEPTED, start_workflow_operation=start()
    )
    assert (hello, await second.result()) == ("Hello, Ann", "Hello, Bob")
    await client.get_workflow_handle(guest).signal(Guest.leave)


@story()
async def workflows_are_ended(client: Client, queue: str) -> None:
    cancelled = await client.start_workflow(Guest.run, id=unique("guest"), task_queue=queue)
    await cancelled.cancel()
    terminated = await client.start_workflow(Guest.run, id=unique("guest"), task_queue=queue)
    await terminated.terminate(reason="enough")
    for handle in (cancelled, terminated):
        with pytest.raises(WorkflowFailureError):
            await handle.result()


@story()
async def workflows_are_listed(client: Client, queue: str) -> None:
    guest = await client.start_workflow(Guest.run, id=unique("guest"), task_queue=queue)
    await guest.signal(Guest.leave)
    await guest.result()
    query = f"WorkflowId = '{guest.id}'"
    assert [found.id async for found in client.list_workflows(query)] == [guest.id]
    histories = [history async for history in client.list_workflows(query).map_histories()]
    assert (await client.count_workflows(query)).count == len(histories) == 1
    events = [event.event_id async for event in guest.fetch_history_events()]
    assert len((await guest.fetch_history()).events) == len(events)


@story()
async def an_activity_is_cancelled(client: Client, queue: str) -> None:
    handle = await client.start_workflow(Waiting.run, "until_cancelled", id=unique("waiting"), task_queue=queue)
    await activity_started(client, handle.id)
    await handle.cancel(reason="enough")
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, CancelledError)


@story()
async def activities_are_completed_from_outside(client: Client, queue: str) -> None:
    async def waiting() -> tuple[Any, Any]:
        handle = await client.start_workflow(Waiting.run, "later", id=unique("waiting"), task_queue=queue)
        await activity_started(client, handle.id)
        return handle, client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="a")

    handle, outside = await waiting()
    await outside.with_context(None).heartbeat("half")
    await outside.complete("done")
    assert await handle.result() == "done"

    handle, outside = await waiting()
    await outside.fail(ApplicationError("no"))
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    handle, outside = await waiting()
    await handle.cancel(reason="enough")
    async with asyncio.timeout(SOON.total_seconds()):
        while not (await cancel_requested(client, handle.id)):
            pass
    await outside.report_cancellation("tidied")
    with pytest.raises(WorkflowFailureError):
        await handle.result()


@story()
async def older_kinds_of_versioning_are_refused(client: Client, queue: str) -> None:
    for asked in (
        client.update_worker_build_id_compatibility(queue, BuildIdOpAddNewDefault("1.0")),
        client.get_worker_build_id_compatibility(queue),
        client.get_worker_task_reachability(build_ids=["1.0"]),
    ):
        with pytest.raises(RPCError) as refused:
            await asked
        assert refused.value.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


@story("CreateSchedule", "DescribeSchedule", "UpdateSchedule", "PatchSchedule", "DeleteSchedule", "ListSchedules")
async def a_schedule_lives(client: Client, queue: str) -> None:
    name = unique("schedule")
    action = ScheduleActionStartWorkflow(Again.run, 0, id=name, task_queue=queue)
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))])
    made = await client.create_schedule(name, Schedule(action=action, spec=spec))
    handle = client.get_schedule_handle(made.id)
    await handle.trigger()
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    await handle.backfill(
        ScheduleBackfill(noon, noon + timedelta(hours=2), overlap=ScheduleOverlapPolicy.ALLOW_ALL),
    )
    async with asyncio.timeout(SOON.total_seconds()):
        while (await handle.describe()).info.num_actions < 3:
            pass
    await handle.pause(note="holiday")
    assert (await handle.describe()).schedule.state.paused

    def twice_as_seldom(input: ScheduleUpdateInput) -> ScheduleUpdate:
        input.description.schedule.spec.intervals[0].every *= 2
        return ScheduleUpdate(input.description.schedule)

    await handle.update(twice_as_seldom)
    await handle.unpause()
    described = await handle.describe()
    assert described.schedule.spec.intervals[0].every == timedelta(hours=2)
    assert not described.schedule.state.paused
    assert name in [listed.id async for listed in await client.list_schedules()]
    await handle.delete()
    with pytest.raises(RPCError):
        await handle.describe()


@story(
    "StartActivityExecution",
    "PollActivityExecution",
    "DescribeActivityExecution",
    "ListActivityExecutions",
    "CountActivityExecutions",
    "RequestCancelActivityExecution",
    "TerminateActivityExecution",
)
async def activities_run_alone(client: Client, queue: str) -> None:
    def options() -> Any:
        return {"id": unique("alone"), "task_queue": queue, "start_to_close_timeout": SOON, "heartbeat_timeout": SOON}

    assert [
        await client.execute_activity(local, "Ann", **options()),
        await client.execute_activity_method(Shop.price, "pear", **options()),
        await client.execute_activity_class(Weigh, "pear", **options()),
    ] == ["Hello here, Ann", 4, 40]
    handles = [
        await client.start_activity(local, "Bob", **options()),
        await client.start_activity_method(Shop.price, "plum", **options()),
        await client.start_activity_class(Weigh, "plum", **options()),
    ]
    assert [await handle.result() for handle in handles] == ["Hello here, Bob", 4, 40]
    again = client.get_activity_handle(handles[0].id)
    assert (await again.describe()).close_time is not None
    query = f"ActivityId = '{handles[0].id}'"
    assert [found.activity_id async for found in client.list_activities(query)] == [handles[0].id]
    assert (await client.count_activities(query)).count == 1
    terminated = await client.start_activity(until_shutdown, **options())
    await terminated.terminate(reason="enough")
    cancelled = await client.start_activity(until_cancelled, **options())
    await cancelled.cancel(reason="enough")
    for handle in (cancelled, terminated):
        with pytest.raises(ActivityFailureError):
            await handle.result()


# ---- steps
def used_by(stories: Sequence[Story]) -> set[str]:
    """Names of what the code of these stories calls: it cannot be seen at work, as an RPC it needs is not served."""
    words = {word for told in stories for word in told.__code__.co_names}
    words |= {"_say", "current_update_info", "set_current_details"} if stories else set()
    return {name for name in public() if name.partition(".")[2] in words}


async def activity_started(client: Client, workflow_id: str) -> None:
    async with asyncio.timeout(SOON.total_seconds()):
        while True:
            pending = (await client.get_workflow_handle(workflow_id).describe()).raw_description.pending_activities
            if pending and pending[0].state == 2:
                return


async def cancel_requested(client: Client, workflow_id: str) -> bool:
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.raw_description.pending_activities[0].state == 3


@contextlib.asynccontextmanager
async def world(server_address: str) -> AsyncIterator[tuple[Client, str]]:
    client = await Client.connect(server_address)
    queue = unique("surface")
    with ThreadPoolExecutor(2) as threads:
        async with Worker(
            client,
            task_queue=queue,
            workflows=WORKFLOWS,
            activities=[*ACTIVITIES, local],
            activity_executor=threads,
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_heartbeat_throttle_interval=timedelta(milliseconds=100),  # cancels are learnt of by heartbeat
        ):
            yield client, queue


@pytest.mark.timeout(60)
async def test_every_method_of_the_sdk_is_seen_at_work(server_address: str) -> None:
    served = {rpc for service in compatibility.SERVICES for rpc, there in compatibility.rpcs(service) if there}
    untold = [told for told, needs in STORIES.items() if not served.issuperset(needs)]
    with observed() as seen:
        async with world(server_address) as (client, queue):
            # Runs into the end of its worker.
            stopped = await client.start_workflow(Waiting.run, "until_shutdown", id=unique("waiting"), task_queue=queue)
            await activity_started(client, stopped.id)
            telling = [told for told in STORIES if told not in untold]
            ends = await asyncio.gather(*(told(client, queue) for told in telling), return_exceptions=True)
    failed = {told.__name__: end for told, end in zip(telling, ends, strict=True) if end is not None}
    assert failed == {}, [repr(getattr(end, "cause", end)) for end in failed.values()]

    missing = {name for name in public() if name not in seen and name not in NOT_EXERCISED}
    assert missing - used_by(untold) == set()
    assert not seen.intersection(NOT_EXERCISED)
