"""One seed drives server, clients, workers, network and store, without threads or real time.

Every step something happens at random: a client acts, time passes or jumps, faults come and go, the server dies and
comes back on the same disk. After each step, and at each answer, the invariants are checked. At the end everything
heals, all workflows must end, and every history is read and held against what was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import random
import traceback
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.update.v1 import Outcome

from perdure.api.handlers import all_handlers
from perdure.api.registry import build_methods
from perdure.clock import SECOND, SeededEntropy, SkippingTime
from perdure.config import Config
from perdure.engine.codec import decode
from perdure.errors import NotFound
from perdure.runtime.runtime import Runtime
from perdure.storage.store import StoredExecution, StoreFailed
from tests.api.client import NAMESPACE, execution
from tests.simulation.actors import TRY_AGAIN, ActivityWorker, Client, WorkflowWorker, full_history, notes_of, result_of
from tests.simulation.ledger import Ledger
from tests.simulation.network import Network
from tests.simulation.plans import Told
from tests.simulation.store import Connection, Disk

CLOSES = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}


class Broken(AssertionError):
    """An invariant does not hold."""


class SimulatedTime:
    """The wall clock of the simulated machine: runs with the loop, stands still, jumps ahead."""

    def __init__(self) -> None:
        self.ahead = 0
        self.stands_at: int | None = None

    def _flowing(self) -> int:
        return 1_700_000_000 * SECOND + int(asyncio.get_running_loop().time() * SECOND) + self.ahead

    def now(self) -> int:
        return self._flowing() if self.stands_at is None else self.stands_at

    def jump(self, seconds: float) -> None:
        self.ahead += int(seconds * SECOND)

    def stand(self) -> None:
        self.stands_at = self.now()

    def go_on(self) -> None:
        if self.stands_at is not None:
            self.ahead -= self._flowing() - self.stands_at
            self.stands_at = None


class SimulatedMonotonic:
    def now(self) -> float:
        return asyncio.get_running_loop().time()


class StrictLog:
    """A log in which no error may ever be written. Warnings are kept for whoever replays a seed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []

    def debug(self, event: str, **fields: Any) -> None:
        pass

    info = debug

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(f"{event} {fields}")

    def error(self, event: str, **fields: Any) -> None:
        trace = "".join(traceback.format_exception(fields["exc_info"])) if "exc_info" in fields else ""
        self.errors.append(f"{event} {fields!r}\n{trace}")


class Simulation:
    def __init__(self, seed: int, steps: int, *, skipping: bool = False) -> None:
        self.seed = seed
        self.steps = steps
        self.skipping = skipping
        self.chance = random.Random(seed)
        self.disk = Disk()
        self.time = SimulatedTime()
        self.network = Network(random.Random(f"{seed} network"))
        self.log = StrictLog()
        self.ledger = Ledger()
        self.mischief = 1.0
        """How often workers misbehave, 0 to 1."""
        self.deaths = 0
        self.runtime: Runtime | None = None
        self.connection: Connection | None = None
        self.broken: list[Any] = []
        self.tokens: dict[bytes, str] = {}
        self.clients = [Client(self, f"c{n}") for n in range(5)]
        self._acting: dict[Client, asyncio.Task[None]] = {}
        self._workers: list[asyncio.Task[None]] = []

    # ---- the machine
    async def boot(self) -> None:
        self.deaths += 1
        self.connection = Connection(self.disk, random.Random(f"{self.seed} store {self.deaths}"))
        config = Config(
            db_filename="simulated",  # the disk stays, and with it the offset of virtual time
            search_attributes={"CustomKeyword": 2},
            time_skipping=self.skipping,
            time_locked=False,
        )
        self.runtime = Runtime(
            self.connection,  # type: ignore[arg-type] # a Store by delegation
            config,
            SkippingTime(self.time) if self.skipping else self.time,
            SimulatedMonotonic(),
            SeededEntropy(self.chance.getrandbits(64)),
            self.log,  # type: ignore[arg-type] # a Log by shape
            failed=self._failed,
        )
        await self.runtime.start()
        self.network.methods = {method.rpc: method for method in build_methods(all_handlers(self.runtime)).values()}

    def _failed(self, failure: StoreFailed) -> None:
        raise Broken(f"the store failed: {failure}")

    def die(self) -> None:
        runtime, connection = self.runtime, self.connection
        assert runtime is not None
        assert connection is not None
        connection.cut()
        self.network.cut_all()
        # Nothing of a dead process runs on: its timers are those of this loop.
        runtime.wakes.stop()
        runtime.alarms.close()
        if runtime.skipper is not None:
            runtime.skipper.close()
        self.runtime = None

    # ---- life
    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.broken.append(context))
        await self.disk.store.open()
        await self.boot()
        await self._keep_for_good()
        workers = [WorkflowWorker(self, f"worker-{n}", sticky=n > 0).work() for n in range(3)]
        workers += [ActivityWorker(self, f"activities-{n}").work() for n in range(3)]
        self._workers = [asyncio.ensure_future(work) for work in workers]
        try:
            for step in range(self.steps):
                await self._step()
                self._check_now(step)
            await self._heal()
            await self._check_end()
        finally:
            for task in [*self._workers, *self._acting.values()]:
                task.cancel()

    async def _keep_for_good(self) -> None:
        """Time jumps by more than a day's retention, and what was acknowledged is looked for in the end."""
        request = ws.UpdateNamespaceRequest(namespace=NAMESPACE)
        request.config.workflow_execution_retention_ttl.seconds = 10_000 * 86_400
        await self._call(request)

    async def _step(self) -> None:
        chance = self.chance
        fate = chance.random()
        if fate < 0.5:
            client = chance.choice(self.clients)
            acting = self._acting.get(client)
            if acting is None or acting.done():
                self._acting[client] = asyncio.ensure_future(client.act())
        elif fate < 0.9:
            await asyncio.sleep(chance.choice([0, 0.001, 0.005, 0.02, 0.1]))
        elif fate < 0.93:
            await asyncio.sleep(chance.choice([1, 1, 10, 100]))
        elif fate < 0.94:
            self.time.jump(chance.choice([0.5, 60, 100_000]))
        elif fate < 0.95:
            if self.time.stands_at is None:
                self.time.stand()
            else:
                self.time.go_on()
        elif fate < 0.97:
            assert self.connection is not None
            self.connection.faults = chance.choice([0, 0, 0.02, 0.2])
            self.network.faults = chance.choice([0, 0, 0.05, 0.3])
        elif fate < 0.975:
            await self._restart()
        elif fate < 0.98 and self.runtime is not None:
            self.runtime.executions._max_bytes = chance.choice([1, 64 * 1024, 64 * 1024 * 1024])
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)

    async def _restart(self) -> None:
        faults = 0.0 if self.connection is None else self.connection.faults
        self.die()
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.random() * 20)
        await self.boot()
        assert self.connection is not None
        self.connection.faults = faults

    async def _heal(self) -> None:
        """No more faults: what is under way ends, and every workflow."""
        assert self.connection is not None
        self.connection.faults = self.network.faults = self.mischief = 0.0
        self.time.go_on()
        loop = asyncio.get_running_loop()
        limit = loop.time() + 7200
        helper = Client(self, "helper")
        while open_now := await self._open():
            if loop.time() > limit:
                at = open_now[0]
                run, events = self._stored(at.workflow_id, at.run_id)
                raise Broken(f"{len(open_now)} never ended, of them {at.workflow_id}: {run.workflow_task} {events}")
            for found in open_now:
                try:
                    await helper.signal(found.workflow_id)
                except NotFound:
                    continue
            await asyncio.sleep(60)
        for acting in self._acting.values():
            await acting
        await asyncio.sleep(120)

    async def _call(self, request: Any) -> Any:
        while True:
            try:
                return await self.network.call(request)
            except TRY_AGAIN:
                await asyncio.sleep(0.1)

    async def _open(self) -> list[WorkflowExecution]:
        return await self._list("ExecutionStatus = 'Running'")

    async def _list(self, query: str) -> list[WorkflowExecution]:
        request = ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query=query, page_size=100)
        found: list[WorkflowExecution] = []
        while True:
            page = await self._call(request)
            found += [item.execution for item in page.executions]
            if not page.next_page_token:
                return found
            request.next_page_token = page.next_page_token

    # ---- what is on the disk
    def _stored(self, workflow_id: str, run_id: str = "") -> tuple[Any, list[HistoryEvent]]:
        """The durable run and its history, whatever any process thinks. (None, []) when there is none."""
        stored: list[Any] = []
        store = self.disk.store
        namespace_id = next(n.namespace_id for n in store.load_namespaces() if n.name == NAMESPACE)
        store.load_execution(namespace_id, 0, workflow_id, run_id, stored.append)
        assert isinstance(stored[0], StoredExecution)
        if stored[0].run is None:
            return None, []
        run = decode(stored[0].run.core, stored[0].run.items)
        blobs: list[Any] = []
        store.read_history(stored[0].run.run_no, 1, 1 << 40, 1 << 40, blobs.append)
        events = History.FromString(b"".join(batch.blob for batch in blobs[0])).events
        return run, list(events)

    # ---- invariants at answers: the barrier
    def check_started(self, workflow_id: str, run_id: str) -> None:
        self.ledger.starts[workflow_id, run_id] = ""
        if workflow_id not in self.ledger.deleted and self._stored(workflow_id, run_id)[0] is None:
            raise Broken(f"{workflow_id} {run_id} was acknowledged and is not on the disk")

    def check_signaled(self, workflow_id: str, note: str) -> None:
        self.ledger.signals.setdefault(workflow_id, []).append(note)
        if workflow_id in self.ledger.deleted or workflow_id in self.ledger.terminated:
            return
        run, events = self._stored(workflow_id)
        while run is not None:
            buffered = [HistoryEvent.FromString(blob) for blob in run.buffered]
            if note in notes_of([*events[:1], *(e for e in [*events, *buffered] if e.event_type == 26)]):
                return
            before = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
            if not before:
                # A run that is no continuation may have taken the ID since the signal was acknowledged.
                return
            run, events = self._stored(workflow_id, before)
        raise Broken(f"signal {note} to {workflow_id} was acknowledged and is not on the disk")

    def check_updated(self, workflow_id: str, run_id: str, update_id: str, outcome: Outcome | None) -> None:
        """An update was answered: without an outcome it is accepted; with the one that its worker gives, completed."""
        if workflow_id in self.ledger.deleted:
            return
        told = Told(self._stored(workflow_id, run_id)[1])
        if outcome is None and update_id not in told.accepted:
            raise Broken(f"update {update_id} of {workflow_id} was acknowledged and is not on the disk")
        if outcome is None or outcome.HasField("success"):
            self.ledger.updates.setdefault((workflow_id, run_id), set()).add(update_id)
        if outcome is not None and outcome.HasField("success"):
            result = json.loads(outcome.success.payloads[0].data)
            if told.completed.get(update_id) != result:
                raise Broken(f"update {update_id} of {workflow_id} was answered {result}, the disk says otherwise")

    def check_seen(self, at: WorkflowExecution, status: int) -> None:
        if at.workflow_id in self.ledger.deleted:
            return
        run, _ = self._stored(at.workflow_id, at.run_id)
        if run is None:
            raise Broken(f"{at.workflow_id} {at.run_id} was shown and is not on the disk")
        if status != 1 and run.status != status:
            raise Broken(f"{at.workflow_id} was shown as closed ({status}) and is {run.status} on the disk")

    def check_task(self, task: Any, events: list[HistoryEvent]) -> None:
        """A workflow task that was handed out: its history is whole, and on the disk."""
        at = task.workflow_execution
        ids = [event.event_id for event in events]
        if ids != list(range(1, task.started_event_id + 1)):
            raise Broken(f"{at.workflow_id}: a task up to event {task.started_event_id} has events {ids}")
        if at.workflow_id in self.ledger.deleted:
            return
        run, stored = self._stored(at.workflow_id, at.run_id)
        if run is None:
            raise Broken(f"a task of {at.workflow_id} was handed out, and the run is not on the disk")
        # The last two (scheduled, started) of a transient task are in no history yet.
        for event, kept in zip(events[:-2], stored, strict=False):
            if event.task_id == 0:  # of a transient task that has been completed since
                kept.task_id = 0
                if kept.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                    kept.workflow_task_started_event_attributes.identity = ""
            if event != kept:
                raise Broken(f"{at.workflow_id}: a worker was told {event}, the disk says {kept}")
        if len(stored) < len(events) - 2:
            raise Broken(f"{at.workflow_id}: a worker was told {len(events)} events, the disk has {len(stored)}")

    def check_activity(self, key: tuple[str, str, int, int], token: bytes, worker: str) -> None:
        if token in self.tokens:
            raise Broken(f"activity {key} was given to {self.tokens[token]} and to {worker}")
        self.tokens[token] = worker

    # ---- invariants at any time
    def _check_now(self, step: int) -> None:
        if self.broken:
            raise Broken(f"step {step}: {self.broken}")
        if self.log.errors:
            raise Broken(f"step {step}: " + "\n".join(self.log.errors))
        runtime = self.runtime
        if runtime is None:
            return
        for acting in self._acting.values():
            if acting.done() and not acting.cancelled() and (error := acting.exception()) is not None:
                raise error
        for work in self._workers:
            if work.done() and not work.cancelled() and (error := work.exception()) is not None:
                raise error
        for key, waiting in runtime.matching._queues.items():
            if waiting.line and (waiting.volatile or len(waiting.backlog)):
                raise Broken(f"step {step}: tasks wait in {key} while pollers are parked")

    # ---- invariants at the end
    async def _check_end(self) -> None:
        runtime = self.runtime
        assert runtime is not None
        self._check_now(self.steps)
        if runtime.mail.on_way:
            raise Broken(f"messages never arrived: {runtime.mail.on_way}")
        if runtime.skipper is not None and (runtime.skipper.owners.hard or runtime.skipper.owners.soft):
            raise Broken(f"owners that own nothing: {runtime.skipper.explain()}")
        for loaded in runtime.executions.all():
            if loaded.updates:
                raise Broken(f"updates of {loaded.key[2]} are held for nobody: {list(loaded.updates)}")
        before = await self._read_all()
        await self._restart()
        after = await self._read_all()
        if before != after:
            raise Broken("a restart changed histories")
        for (workflow_id, run_id), events in after.items():
            self._check_history(workflow_id, run_id, events)
        self._check_signals(after)
        for workflow_id, run_id in self.ledger.starts:
            if workflow_id not in self.ledger.deleted and (workflow_id, run_id) not in after:
                raise Broken(f"acknowledged start {workflow_id} {run_id} is lost")

    async def _read_all(self) -> dict[tuple[str, str], list[HistoryEvent]]:
        return {
            (at.workflow_id, at.run_id): await full_history(self._call, execution(at.workflow_id, at.run_id))
            for at in await self._list("")
        }

    def _check_history(self, workflow_id: str, run_id: str, events: list[HistoryEvent]) -> None:
        where = f"{workflow_id} {run_id}"
        if [event.event_id for event in events] != list(range(1, len(events) + 1)):
            raise Broken(f"{where} has gaps")
        closes = [event.event_id for event in events if event.event_type in CLOSES]
        if closes != [len(events)]:
            raise Broken(f"{where} has {len(events)} events and closes at {closes}")
        times = [event.event_time.ToMicroseconds() for event in events]
        if times[0] != min(times) or times[-1] != max(times):  # in between, buffered events keep their times
            raise Broken(f"{where}: time goes back: {times}")
        told = Told(events)
        if len(set(told.signals)) != len(told.signals):
            raise Broken(f"{where} was signaled twice: {told.signals}")
        last = events[-1]
        if last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED and result_of(last) != told.signals:
            raise Broken(f"{where} completed with {result_of(last)} after {told.signals}")
        for update_id in self.ledger.updates.get((workflow_id, run_id), ()):
            if update_id not in told.accepted:
                raise Broken(f"{where}: acknowledged update {update_id} is lost")
        results = {
            activity: event.activity_task_completed_event_attributes.result.payloads[0].data.decode().strip('"')
            for event in events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            for activity, scheduled in told.begun.items()
            if scheduled == event.activity_task_completed_event_attributes.scheduled_event_id
        }
        for (acknowledged_run, activity), result in self.ledger.completed.items():
            if acknowledged_run != run_id or workflow_id in self.ledger.terminated:
                continue
            if results.get(activity, result) != result:
                raise Broken(f"{where}: {activity} acknowledged {result}, recorded {results[activity]}")

    def _check_signals(self, histories: dict[tuple[str, str], list[HistoryEvent]]) -> None:
        found: dict[str, list[str]] = {}
        for (workflow_id, _), events in sorted(
            histories.items(),  # the clock may stand: of two that started at the same moment, one closed then
            key=lambda item: (item[1][0].event_time.ToMicroseconds(), item[1][-1].event_time.ToMicroseconds()),
        ):
            found.setdefault(workflow_id, []).extend(Told(events).signals)
        for workflow_id, notes in self.ledger.signals.items():
            if workflow_id in self.ledger.deleted or workflow_id in self.ledger.terminated:
                continue
            there = found.get(workflow_id, [])
            for note in notes:
                if there.count(note) != 1 and not (note in self.ledger.repeated and there.count(note)):
                    raise Broken(f"{workflow_id}: acknowledged signal {note} is there {there.count(note)} times")
            if self.ledger.repeated.intersection(notes):
                continue
            for sender in {note.split("/")[0] for note in notes}:
                theirs = [int(note.split("/")[1]) for note in there if note.startswith(f"{sender}/")]
                if theirs != sorted(theirs):
                    raise Broken(f"{workflow_id}: signals of {sender} arrived as {theirs}")
