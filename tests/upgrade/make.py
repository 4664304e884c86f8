"""Makes the database of the present format: a server with SDK workers, brought into a state with everything pending.

    python -m tests.upgrade.make

The database is copied while the server runs, as a crash would leave it; from a moment on nothing is delivered, so that
messages are under way in the copy.
"""

from __future__ import annotations

import asyncio
import json
import lzma
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import grpc.aio
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from temporalio import activity
from temporalio.api.batch.v1 import BatchOperationSignal
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ResetReapplyType
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    WorkflowUpdateStage,
)
from temporalio.common import Priority, RetryPolicy, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure import Server, __version__
from perdure.doctor import examine
from perdure.runtime.mail import Delivery
from perdure.server import Parts, Surroundings, compose_server
from perdure.storage.sqlite.migrate import migrations
from tests.api.client import NAMESPACE, Api, execution, queue
from tests.upgrade.stories import (
    ALONE,
    COLOUR,
    HELD,
    HOUR,
    LATER,
    NOTE,
    QUEUE,
    TAGS,
    WORKFLOWS,
    Act,
    ActMany,
    Chain,
    Change,
    Flaky,
    GiveUp,
    Hear,
    Index,
    Mother,
    Nap,
    Tick,
    Writer,
)

DATABASES = Path(__file__).parent / "databases"
ATTRIBUTES = {"Colour": "Keyword", "Weight": "Int", "Note": "Text", "Tags": "KeywordList"}
DYNAMIC = {"frontend.WorkflowPauseEnabled": True, "activity.operatorCommandsEnabled": True}
OTHER = "other"
TARGETS = 4
MANY = 30
OVER = asyncio.Event()
"""The copy was taken."""


@activity.defn(name="step")
async def step(text: str = "") -> str:
    return text


@activity.defn(name="local")
async def local() -> str:
    return "at hand"


@activity.defn(name="hang")
async def hang() -> None:
    """Does not heed that it is asked to cancel."""
    activity.heartbeat("half-way")
    while not OVER.is_set():
        with suppress(asyncio.CancelledError):
            await OVER.wait()


@activity.defn(name="fail")
async def fail() -> None:
    raise ApplicationError("not yet")


async def make(path: Path) -> dict[str, Any]:
    """Fill a new database at `path`; the manifest of what must come of it."""
    with tempfile.TemporaryDirectory() as directory:
        live = Path(directory) / "live.db"
        parts: list[Parts] = []

        def compose(surroundings: Surroundings) -> Parts:
            parts.append(compose_server(surroundings))
            return parts[0]

        server = Server(
            str(live), namespaces=[OTHER], search_attributes=ATTRIBUTES, dynamic_config=DYNAMIC, compose=compose
        )
        async with server, grpc.aio.insecure_channel(server.address) as channel:
            maker = _Maker(await Client.connect(server.address), Api(channel), parts[0].runtime)
            worker = Worker(
                maker.client,
                task_queue=QUEUE,
                workflows=WORKFLOWS,
                activities=[step, local, hang, fail],
                workflow_runner=UnsandboxedWorkflowRunner(),
                graceful_shutdown_timeout=timedelta(0),
            )
            running = asyncio.create_task(worker.run())
            try:
                await maker.make()
                _copy(live, path)
                made_at = parts[0].runtime.time.now()  # type: ignore[attr-defined]
            finally:
                running.cancel()
                OVER.set()
                await asyncio.wait([running], timeout=10)
    findings = examine(str(path))
    assert findings.sound, findings
    return {"format": migrations()[-1][0], "release": __version__, "made_at": made_at, **maker.manifest}


def _copy(live: Path, path: Path) -> None:
    source, copy = apsw.Connection(str(live)), apsw.Connection(str(path))
    with copy.backup("main", source, "main") as backup:
        backup.step()
    copy.execute("vacuum")
    copy.close()
    source.close()


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    """Wait until `holds` says so."""
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.02)


class _Maker:
    def __init__(self, client: Client, api: Api, runtime: Any) -> None:
        self.client = client
        self.api = api
        self.runtime = runtime
        self.results: dict[str, Any] = {}
        self.manifest: dict[str, Any] = {"results": self.results, "targets": [f"target-{n}" for n in range(TARGETS)]}

    async def make(self) -> None:
        await self.plain()
        await self.activities()
        await self.taken_by_hand()
        await self.chains()
        await self.updates()
        await self.operated()
        await self.standalone()
        await self.schedules()
        await self.batch_job()
        await self.letters()

    async def start(
        self,
        run: Callable[..., Any],
        workflow_id: str,
        *args: Any,
        result: Any,
        task_queue: str = QUEUE,
        **options: Any,
    ) -> Any:
        """Start a workflow that must end with `result` one day."""
        self.results[workflow_id] = result
        return await self.client.start_workflow(run, args=args, id=workflow_id, task_queue=task_queue, **options)

    async def describe(self, workflow_id: str) -> Any:
        return await self.api.describe(workflow_id)

    async def pending(self, workflow_id: str, events: int) -> None:
        """Wait until its history is that long and no workflow task is under way."""

        async def holds() -> bool:
            said = await self.describe(workflow_id)
            task = said.HasField("pending_workflow_task")
            return bool(said.workflow_execution_info.history_length >= events and not task)

        await until(holds)

    # ---- workflows
    async def plain(self) -> None:
        attributes = TypedSearchAttributes(
            [
                SearchAttributePair(COLOUR, "red"),
                SearchAttributePair(NOTE, "a large box"),
                SearchAttributePair(TAGS, ["a", "b"]),
            ]
        )
        await self.start(Nap.run, "nap", 3600, result="rested", search_attributes=attributes, memo={"note": "gift"})
        await self.start(Nap.run, "delayed", 60, result="rested", start_delay=HOUR)
        await self.start(Index.run, "index", result="at hand")
        await self.start(Mother.run, "mother", "child", 3600, result="child rested")
        done = await self.start(Nap.run, "done", 0, result="rested", search_attributes=attributes)
        await done.result()
        cancelled = await self.start(Nap.run, "cancelled", 3600, result="CANCELED", task_queue=LATER)
        await cancelled.cancel()
        other = await Client.connect(self.client.service_client.config.target_host, namespace=OTHER)
        await other.start_workflow(Nap.run, 60, id="elsewhere", task_queue=QUEUE)
        await self.pending("nap", 5)
        await self.pending("index", 5)
        await self.pending("child", 5)

    async def activities(self) -> None:
        await self.start(Act.run, "waiting", "step", LATER, 1, result="done")
        await self.start(Act.run, "running", "hang", QUEUE, 1, result="hung at half-way")
        await self.start(Act.run, "backing-off", "fail", QUEUE, 3600, result="attempt 2")
        await self.start(Act.run, "paused-activity", "fail", QUEUE, 3600, result="attempt 2")
        await self.start(ActMany.run, "many", MANY, result=MANY)
        giving_up = await self.start(GiveUp.run, "giving-up", result="given up")
        for workflow_id, attempt in (("backing-off", 2), ("paused-activity", 2), ("running", 1), ("giving-up", 1)):
            await until(lambda workflow_id=workflow_id, attempt=attempt: self._has_attempt(workflow_id, attempt))
        await self.api.PauseActivity(
            ws.PauseActivityRequest(namespace=NAMESPACE, execution=execution("paused-activity"), id="1", reason="lunch")
        )
        await giving_up.signal(GiveUp.stop)
        await until(self._asked_to_give_up)
        await self.pending("many", 4 + MANY)

    async def _has_attempt(self, workflow_id: str, attempt: int) -> bool:
        found = (await self.describe(workflow_id)).pending_activities
        return (
            bool(found) and found[0].attempt == attempt and (attempt > 1 or bool(found[0].heartbeat_details.payloads))
        )

    async def _asked_to_give_up(self) -> bool:
        return any(pending.state == 3 for pending in (await self.describe("giving-up")).pending_activities)

    async def taken_by_hand(self) -> None:
        """Workflow tasks that are started, failed, and waiting in a worker's own queue."""
        short = {"task_queue": HELD, "task_timeout": timedelta(seconds=30)}
        await self.start(Hear.run, "buffered", 2, result=["one", "two"], **short)
        await self.api.poll(task_queue=queue(HELD))
        for note in ("one", "two"):
            await self.client.get_workflow_handle("buffered").signal("note", note)

        await self.start(Hear.run, "failing", 1, result=["a poke"], **short)
        for _ in range(2):
            task = await self.api.poll(task_queue=queue(HELD))
            failed = ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
            failed.failure.message = "cannot go on"
            failed.failure.application_failure_info.SetInParent()
            await self.api.RespondWorkflowTaskFailed(failed)
        assert (await self.api.poll(task_queue=queue(HELD))).attempt == 3

        await self.start(Hear.run, "sticky", 1, result=["stuck"], **short)
        own = {"worker_task_queue": {"name": "own", "kind": 2, "normal_name": HELD}}
        task = await self.api.poll(task_queue=queue(HELD))
        await self.api.complete(task, sticky_attributes={**own, "schedule_to_start_timeout": Duration(seconds=60)})
        await self.api.poll(task_queue=queue("own", kind=2, normal_name=HELD), within=2.5)
        await self.client.get_workflow_handle("sticky").signal("note", "stuck")

        priority = Priority(priority_key=2, fairness_key="tenant", fairness_weight=2.0)
        await self.start(Nap.run, "not-taken", 60, result="rested", task_queue=LATER, priority=priority)

    async def chains(self) -> None:
        await self.start(Chain.run, "chain", 2, 0, result="after 2 others")
        hourly = RetryPolicy(initial_interval=HOUR)
        await self.start(Flaky.run, "flaky", result="attempt 2", retry_policy=hourly)
        await self.start(Tick.run, "ticking", result="tick", cron_schedule="0 * * * *")
        reset = await self.start(Hear.run, "reset", 2, result=["before", "after"])
        await self.pending("reset", 4)
        await reset.signal(Hear.note, "before")
        await self.pending("reset", 8)
        await self.api.ResetWorkflowExecution(
            ws.ResetWorkflowExecutionRequest(
                namespace=NAMESPACE,
                workflow_execution=execution("reset"),
                workflow_task_finish_event_id=4,
                request_id="reset",
                reason="to see",
                reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_SIGNAL,
            )
        )
        await self.pending("reset", 8)
        await until(self._chained)

    async def _chained(self) -> bool:
        said = await self.describe("chain")
        flaky = await self.describe("flaky")
        return bool(
            said.workflow_execution_info.history_length >= 5 and flaky.workflow_execution_info.history_length == 1
        )

    async def updates(self) -> None:
        changing = await self.start(Change.run, "changing", result=9)
        self.manifest["updates"] = {"at-once": 4, "accepted": 9}
        await changing.execute_update(Change.add, 4, id="at-once")
        await changing.start_update(Change.add_later, 5, id="accepted", wait_for_stage=WorkflowUpdateStage.ACCEPTED)

    async def operated(self) -> None:
        await self.start(Hear.run, "paused", 1, result=["a poke"])
        await self.pending("paused", 4)
        await self.api.PauseWorkflowExecution(
            ws.PauseWorkflowExecutionRequest(namespace=NAMESPACE, workflow_id="paused", reason="lunch", request_id="1")
        )
        await self.client.get_workflow_handle("paused").signal("note", "a poke")
        await self.start(Nap.run, "overridden", 3600, result="rested", task_queue=LATER)
        options = ws.UpdateWorkflowExecutionOptionsRequest(
            namespace=NAMESPACE, workflow_execution=execution("overridden"), identity="operator"
        )
        options.workflow_execution_options.versioning_override.auto_upgrade = True
        options.update_mask.paths.append("versioning_override")
        await self.api.UpdateWorkflowExecutionOptions(options)
        await self.api.UpdateTaskQueueConfig(
            ws.UpdateTaskQueueConfigRequest(
                namespace=NAMESPACE,
                task_queue=LATER,
                task_queue_type=2,
                update_queue_rate_limit={"rate_limit": {"requests_per_second": 1000}, "reason": "gently"},
            )
        )

    # ---- other kinds of execution
    async def standalone(self) -> None:
        names = ("alone-waiting", "alone-running", "alone-failed", "alone-paused", "alone-delayed")
        self.manifest["activities"] = dict.fromkeys(names, "done")
        poll = {"task_queue": queue(ALONE)}
        await self.start_activity("alone-running")
        await self.api.poll_activity(**poll)
        await self.start_activity("alone-failed")
        task = await self.api.poll_activity(**poll)
        failed = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
        failed.failure.application_failure_info.type = "NotYet"
        await self.api.RespondActivityTaskFailed(failed)
        await self.start_activity("alone-delayed", start_delay=Duration(seconds=3600))
        await self.start_activity("alone-waiting")
        await self.start_activity("alone-paused")
        await self.api.PauseActivityExecution(
            ws.PauseActivityExecutionRequest(namespace=NAMESPACE, activity_id="alone-paused", request_id="1")
        )

    async def start_activity(self, activity_id: str, **fields: Any) -> None:
        request = ws.StartActivityExecutionRequest(namespace=NAMESPACE, activity_id=activity_id, **fields)
        request.activity_type.name = "step"
        request.task_queue.name = ALONE
        request.start_to_close_timeout.seconds = 60
        request.retry_policy.initial_interval.seconds = 3600
        request.input.payloads.append(Payload(metadata={"encoding": b"json/plain"}, data=b'""'))
        await self.api.StartActivityExecution(request)

    async def schedules(self) -> None:
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=30))])
        action = ScheduleActionStartWorkflow(Hear.run, 1, id="report", task_queue=QUEUE)
        policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL)
        busy = await self.client.create_schedule("busy", Schedule(action=action, spec=ScheduleSpec(), policy=policy))
        await busy.trigger()
        await until(lambda: self._reports(1))
        await asyncio.sleep(1.1)  # a second start within the same second would have the first one's workflow ID
        await busy.trigger()
        await self.client.create_schedule(
            "resting", Schedule(action=action, spec=spec, state=ScheduleState(paused=True, note="for now"))
        )

    async def _reports(self, count: int) -> bool:
        said = await self.client.get_schedule_handle("busy").describe()
        return len(said.info.running_actions) == count

    async def batch_job(self) -> None:
        """Two of the targets have heard of it."""
        for target in self.manifest["targets"]:
            await self.start(Hear.run, target, 1, result=["news"])
        job = ws.StartBatchOperationRequest(
            namespace=NAMESPACE, job_id="job", reason="news", max_operations_per_second=1
        )
        job.executions.extend(execution(target) for target in self.manifest["targets"])
        text = Payload(metadata={"encoding": b"json/plain"}, data=b'"news"')
        job.signal_operation.CopyFrom(BatchOperationSignal(signal="note", identity="operator"))
        job.signal_operation.input.payloads.append(text)
        await self.api.StartBatchOperation(job)

        async def two_are_done() -> bool:
            request = ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id="job")
            return bool((await self.api.DescribeBatchOperation(request)).complete_operation_count >= 2)

        await until(two_are_done)

    async def letters(self) -> None:
        """What is sent from now on is written, and not delivered."""
        await self.start(Hear.run, "reader", 1, result=["a letter"])
        await self.start(Nap.run, "sleeper", 7200, result="CANCELED")
        await self.pending("reader", 4)
        await self.pending("sleeper", 5)
        enter = self.runtime.enter
        self.runtime.ready = lambda item: not isinstance(item, Delivery)
        self.runtime.enter = lambda item: None if isinstance(item, Delivery) else enter(item)
        await self.start(Writer.run, "writer", "letter", "reader", "sleeper", result="child rested")
        await self.pending("writer", 7)


def main() -> None:
    number = migrations()[-1][0]
    DATABASES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "made.db"
        manifest = asyncio.run(make(path))
        packed = lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    name = DATABASES / f"format-{number:03}"
    name.with_suffix(".sqlite.xz").write_bytes(packed)
    name.with_suffix(".json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{name}.sqlite.xz: {len(packed) / 1024:.0f} KiB, {len(manifest['results'])} workflows")


if __name__ == "__main__":
    main()
