"""One seed drives server, clients, workers, network and store, without threads or real time.

Every step something happens at random: a client acts, time passes or jumps, faults come and go, the server dies, at
any moment or at a named point of a commit, and comes back on the same disk. After each step, and at each answer, the
invariants are checked. At the end everything heals, all workflows must end, and every history is read and held against
what was acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent

from perdure.api.handlers import all_handlers
from perdure.api.registry import build_methods
from perdure.clock import SeededEntropy, SkippingTime
from perdure.config import Config, DynamicConfig
from perdure.engine.execution import SCHEDULE
from perdure.engine.kinds import KINDS
from perdure.engine.limits import Limits
from perdure.errors import NotFound
from perdure.runtime.runtime import Runtime
from perdure.storage.store import Batch, RunDelete, StoreFailed
from tests.api.client import execution
from tests.simulation import invariants
from tests.simulation.batches import Batcher
from tests.simulation.clocks import SimulatedMonotonic, SimulatedTime
from tests.simulation.ledger import Broken, Ledger
from tests.simulation.limits import Limiter
from tests.simulation.network import Network
from tests.simulation.operators import Operator
from tests.simulation.plans import Told
from tests.simulation.realms import BESIDE, FOR_GOOD, SHORT, Realm
from tests.simulation.resets import Resetter
from tests.simulation.schedules import Scheduler
from tests.simulation.sender import TRY_AGAIN
from tests.simulation.standalone import ActivityClient
from tests.simulation.store import UNREADABLE, Connection, Disk
from tests.simulation.workers import ActivityWorker, WorkflowWorker
from tests.simulation.workflow_client import Client

ALLOWED = {"frontend.WorkflowPauseEnabled": True, "activity.operatorCommandsEnabled": True}
OPEN = "ExecutionStatus IN ('Running', 'Paused')"
POINTS = ("decided", "sealed", "before_commit", "after_commit", "before_delivery")
OTHERS: dict[str, Callable[[Simulation, str], Any]] = {
    "resetter": Resetter,
    "scheduler": Scheduler,
    "other-scheduler": Scheduler,
    "activity-client": ActivityClient,
    "other-activity-client": ActivityClient,
    "operator": Operator,
    "batcher": Batcher,
    "limiter": Limiter,
}
BESIDES: dict[str, Callable[[Simulation, str, Realm], Any]] = {
    "resetter": Resetter,
    "activity-client": ActivityClient,
    "operator": Operator,
    "batcher": Batcher,
    "limiter": Limiter,
}


class Dead(BaseException):
    """The process ended in the middle of something."""


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
        if fields.get("reason") == UNREADABLE:
            self.warning(event, **fields)
            return
        trace = "".join(traceback.format_exception(fields["exc_info"])) if "exc_info" in fields else ""
        self.errors.append(f"{event} {fields!r}\n{trace}")


class Simulation:
    def __init__(self, seed: int, steps: int, *, skipping: bool = False, disk: Disk | None = None) -> None:
        self.seed = seed
        self.steps = steps
        self.skipping = skipping
        self.chance = random.Random(seed)
        self.disk = disk or Disk()
        self.time = SimulatedTime()
        self.network = Network(random.Random(f"{seed} network"))
        self.log = StrictLog()
        self.realm = Realm(self.disk)
        self.realms = [self.realm]
        self.disk.removing = self._removing
        self.mischief = 1.0
        """How often workers misbehave, 0 to 1."""
        self.deaths: dict[str, int] = {}
        """How often processes died, and where."""
        self.runtime: Runtime | None = None
        self.connection: Connection | None = None
        self.broken: list[Any] = []
        self.wrong: dict[tuple[str, str], float] = {}
        """(run ID, what is wrong), and since when: it may be set right in a moment."""
        self.clients: list[Any] = [Client(self, f"c{n}") for n in range(5)]
        """Not every seed has all sorts: what is rare beside everything else is common beside little."""
        self.clients += [make(self, name) for name, make in OTHERS.items() if self.chance.random() < 0.6]
        if self.chance.random() < 0.6:
            self._people_beside()
        self.limiters = [client for client in self.clients if isinstance(client, Limiter)]
        self.acting: dict[Any, asyncio.Task[None]] = {}
        self.workers: list[asyncio.Task[None]] = []
        self._processes = 0
        self._dies_at = ""
        self._passes = 0
        """The process is to die when it comes to that point for so many more times."""

    def _people_beside(self) -> None:
        """Another namespace, of which old runs are removed in most seeds."""
        realm = Realm(self.disk, BESIDE, self.chance.choice([SHORT, SHORT, FOR_GOOD]))
        self.realms.append(realm)
        self.clients += [Client(self, f"{BESIDE}-c{n}", realm) for n in range(3)]
        self.clients += [
            make(self, f"{BESIDE}-{name}", realm) for name, make in BESIDES.items() if self.chance.random() < 0.6
        ]

    def _limiter_of(self, realm: Realm) -> Limiter | None:
        return next((limiter for limiter in self.limiters if limiter.realm is realm), None)

    def _disturb(self) -> None:
        for limiter in self.limiters:
            limiter.disturbed()

    @property
    def ledger(self) -> Ledger:
        """Of the namespace that all seeds have."""
        return self.realm.ledger

    # ---- the machine
    async def boot(self) -> None:
        self._processes += 1
        faults = 0.0 if self.connection is None else self.connection.faults
        self.connection = Connection(self.disk, random.Random(f"{self.seed} store {self._processes}"), self._point)
        config = Config(
            namespaces=tuple(realm.name for realm in self.realms),
            db_filename="simulated",  # the disk stays, and with it the offset of virtual time
            search_attributes={"CustomKeyword": 2},
            time_skipping=self.skipping,
            time_locked=False,
            dynamic=DynamicConfig(ALLOWED),
        )
        self._dies_at = ""
        self.runtime = runtime = Runtime(
            self.connection,  # type: ignore[arg-type] # a Store by delegation
            config,
            SkippingTime(self.time) if self.skipping else self.time,
            SimulatedMonotonic(),
            SeededEntropy(self.chance.getrandbits(64)),
            self.log,  # type: ignore[arg-type] # a Log by shape
            limits=Limits(batch_jobs=3),
            failed=self._failed,
            points=self._point_within,
        )
        await runtime.start()
        self.connection.faults = faults
        self.network.connect({method.rpc: method for method in build_methods(all_handlers(runtime)).values()})

    def _removing(self, delete: RunDelete, batch: Batch) -> None:
        """Only what was deleted is removed, and what is closed and old."""
        [realm] = [realm for realm in self.realms if realm.disk.namespace_id == delete.namespace_id]
        found = realm.disk.load(delete.kind, delete.execution_id, delete.run_id)
        where = f"{KINDS[delete.kind].name} {delete.execution_id} {delete.run_id}"
        begins = [written for written in batch.runs if written.version == 1 and written.run_no == delete.run_no]
        if delete.run_no not in ([found[1]] if found else [written.run_no for written in begins]):
            raise Broken(f"{where} is removed as run {delete.run_no}, and is {found or 'not there'}")
        if delete.kind == SCHEDULE or delete.execution_id in realm.ledger.deleted:
            return
        run = found[0] if found else None
        if run is None or run.running:
            raise Broken(f"{where} is open and is removed")
        realm.ledger.expired.add(delete.execution_id)
        if not realm.is_old(run.closed_at, self.now()):
            raise Broken(f"{where} closed at {run.closed_at} and is removed at {self.now()}")

    def _failed(self, failure: StoreFailed) -> None:
        raise Broken(f"the store failed: {failure}")

    def die(self, where: str) -> None:
        runtime, connection = self.runtime, self.connection
        assert runtime is not None
        assert connection is not None
        self.deaths[where] = self.deaths.get(where, 0) + 1
        connection.cut()
        self.network.cut_all()
        # Nothing of a dead process runs on: its timers are those of this loop.
        runtime.wakes.stop()
        runtime.alarms.close()
        if runtime.skipper is not None:
            runtime.skipper.close()
        self.runtime = None
        self._disturb()

    def _point(self, name: str) -> None:
        """The process comes to a named point of a commit."""
        if name == self._dies_at:
            self._passes -= 1
            if not self._passes:
                self._dies_at = ""
                self.die(name)

    def _point_within(self, name: str) -> None:
        runtime = self.runtime
        self._point(name)
        if self.runtime is not runtime:
            raise Dead

    def _uncaught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), Dead):
            self.broken.append(context)

    # ---- life
    async def run(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._uncaught)
        await self.disk.store.open()
        await self.boot()
        for realm in self.realms:
            await self.call(ws.UpdateNamespaceRequest(namespace=realm.name, config=realm.config))
            for n in range(3 if realm is self.realm else 2):
                workers = (
                    WorkflowWorker(self, realm, f"{realm.name}-worker-{n}", sticky=n > 0),
                    ActivityWorker(self, realm, f"{realm.name}-activities-{n}", self._limiter_of(realm)),
                )
                self.workers += [asyncio.ensure_future(worker.work()) for worker in workers]
        try:
            for step in range(self.steps):
                await self._step()
                invariants.check_now(self, step)
            await self._heal()
            await invariants.check_end(self)
        finally:
            for task in [*self.workers, *self.acting.values()]:
                task.cancel()

    async def _step(self) -> None:
        chance = self.chance
        fate = chance.random()
        if self.runtime is None:
            await self._come_back()
        elif fate < 0.5:
            client = chance.choice(self.clients)
            acting = self.acting.get(client)
            if acting is None or acting.done():
                self.acting[client] = asyncio.ensure_future(client.act())
        elif fate < 0.9:
            await asyncio.sleep(chance.choice([0, 0.001, 0.005, 0.02, 0.1]))
        elif fate < 0.93:
            await asyncio.sleep(chance.choice([1, 1, 10, 100]))
        elif fate < 0.94:
            self.time.jump(chance.choice([0.5, 60, 100_000]))
            self._disturb()
        elif fate < 0.95:
            if self.time.stands_at is None:
                self.time.stand()
            else:
                self.time.go_on()
            self._disturb()
        elif fate < 0.97:
            assert self.connection is not None
            self.connection.faults = chance.choice([0, 0, 0.02, 0.2])
            self.connection.read_faults = chance.choice([0, 0, 0, 0.1])
            self.network.faults = chance.choice([0, 0, 0.05, 0.3])
        elif fate < 0.973:
            await self.restart()
        elif fate < 0.977:
            self._dies_at, self._passes = chance.choice(POINTS), chance.randint(1, 20)
        elif fate < 0.982:
            self.runtime.executions._max_bytes = chance.choice([1, 64 * 1024, 64 * 1024 * 1024])
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)

    async def restart(self) -> None:
        if self.runtime is not None:
            self.die("anywhere")
        await self._come_back()

    async def _come_back(self) -> None:
        if self.chance.random() < 0.3:
            invariants.check_disk(self)
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.random() * 20)
        await self.boot()

    async def _heal(self) -> None:
        """No more faults: what is under way ends, and every workflow."""
        self._dies_at = ""
        if self.runtime is None:
            await self._come_back()
        assert self.connection is not None
        self.connection.faults = self.connection.read_faults = self.network.faults = self.mischief = 0.0
        self.time.go_on()
        began = self.seconds()
        helpers = {realm: Client(self, f"{realm.name}-helper", realm) for realm in self.realms}
        for limiter in self.limiters:
            await limiter.lift()
        finished = False
        while (open_now := [(realm, at) for realm in self.realms for at in await self.list(realm, OPEN)]) or (
            not finished
        ):
            for realm, found in open_now:
                with suppress(NotFound):
                    await helpers[realm].signal(found.workflow_id)
            await self.pass_time(60)
            self.time.jump(1000)
            self._disturb()
            if not finished and all(acting.done() for acting in self.acting.values()):
                finished = True
                invariants.check_now(self, 1)
                for client in self.clients:
                    await client.finish()
            elif self.seconds() > began + 3600:
                self._check_still_open(open_now, self.seconds() > began + 7200)
                realm, found = open_now[0]
                with suppress(NotFound):
                    await helpers[realm].terminate(found.workflow_id)
        await asyncio.sleep(120)

    def _check_still_open(self, open_now: list[tuple[Realm, WorkflowExecution]], for_long: bool) -> None:
        """A run that was reset may wait for a child whose end was told to a run that had ended without it."""
        if acting := [client.name for client, acting in self.acting.items() if not acting.done()]:
            raise Broken(f"{acting} wait for ever for {self.network.waiting}")
        realm, at = open_now[0]
        run, events = realm.disk.stored(at.workflow_id, at.run_id)
        told = Told(events)
        waits = [step for step in told.children if step not in told.ended]
        orphaned = waits and not any(self._is_open(realm, f"{at.workflow_id}-{step}") for step in waits)
        if for_long or not (at.workflow_id in realm.ledger.reset and orphaned):
            raise Broken(
                f"{at.workflow_id} {at.run_id} never ends: {vars(told)} "
                f"{run.workflow_task} {list(run.activities.values())} {events[-3:]}"
            )

    def _is_open(self, realm: Realm, workflow_id: str) -> bool:
        run, _ = realm.disk.stored(workflow_id)
        return run is not None and run.running

    # ---- for whoever looks at it
    def seconds(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> int:
        """The server's time, in microseconds since 1970."""
        return (self.time if self.runtime is None else self.runtime.time).now()

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def call(self, request: Any) -> Any:
        while True:
            if self.broken:
                raise Broken(str(self.broken))
            try:
                return await self.network.call(request)
            except TRY_AGAIN:
                await asyncio.sleep(0.1)

    async def list(self, realm: Realm, query: str) -> list[WorkflowExecution]:
        request = ws.ListWorkflowExecutionsRequest(namespace=realm.name, query=query, page_size=100)
        found: list[WorkflowExecution] = []
        while True:
            page = await self.call(request)
            found += [item.execution for item in page.executions]
            if not page.next_page_token:
                return found
            request.next_page_token = page.next_page_token

    async def histories(self, realm: Realm) -> dict[tuple[str, str], list[HistoryEvent]]:
        """All workflows' as clients read them, by workflow ID and run ID."""
        read = {}
        for at in await self.list(realm, ""):
            try:
                read[at.workflow_id, at.run_id] = await self._history(realm, at)
            except NotFound:
                if not realm.disk.removed(at.run_id):
                    raise
        return read

    async def _history(self, realm: Realm, at: WorkflowExecution) -> list[HistoryEvent]:
        events: list[HistoryEvent] = []
        request = ws.GetWorkflowExecutionHistoryRequest(
            namespace=realm.name, execution=execution(at.workflow_id, at.run_id)
        )
        while True:
            page = await self.call(request)
            events += page.history.events
            if not page.next_page_token:
                return events
            request.next_page_token = page.next_page_token
