"""The runtime: one node's parts, from start to stop, and what others ask of them.

Everything runs on one event loop. Inputs are decided in `decisions.py`, one at a time for each execution, written by
`committer.py`, and answered once durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perdure.call import PENDING, Pending, Reply, Waiter
from perdure.clock import SECOND, Entropy, Monotonic, SkippingTime, Time
from perdure.config import Config, ConfigError
from perdure.engine.execution import WORKFLOW, Execution
from perdure.engine.kinds import KINDS
from perdure.engine.limits import Limits
from perdure.engine.record import Record
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.errors import PerdureError
from perdure.log import Log
from perdure.matching import Matching
from perdure.matching.workers import WorkerRegistry
from perdure.runtime import namespace_rows
from perdure.runtime.alarms import Alarm, Alarms
from perdure.runtime.committer import Committer
from perdure.runtime.decisions import Decisions, missing_run
from perdure.runtime.dispatch import Dispatch
from perdure.runtime.executions import Executions, Key, Loaded
from perdure.runtime.followers import Callback, FirstRows
from perdure.runtime.histories import Histories
from perdure.runtime.inputs import Input, Insistent, Outcome
from perdure.runtime.lookups import Lookups
from perdure.runtime.mail import Mail
from perdure.runtime.namespaces import Namespace, Namespaces, decode_namespace
from perdure.runtime.queries import Queries
from perdure.runtime.queue_settings import QueueSettingsRegistry
from perdure.runtime.removal import Removal
from perdure.runtime.skipping import OFFSET, Skipper
from perdure.runtime.slices import Slices
from perdure.runtime.start_tasks import start_entry
from perdure.runtime.updates import Updates
from perdure.runtime.wakes import Wakes
from perdure.runtime.waking import Wake
from perdure.storage.store import Store, StoreFailed

RUNS_WOKEN_AT_A_TIME = 300
"""No more runs are woken while so many were decided on and are not being written yet."""
CACHE_BYTES = 64 * 1024 * 1024

Decide = Callable[[Turn], Reply | Outcome | Pending | None]
Starts = Callable[[Shared, Run | None], Reply | Outcome | Pending | None]
Look = Callable[[Execution, Run], Reply | Pending | Outcome]


class Runtime:
    """One node. `failed` is called when the store can no longer be written: the process must end.

    With a `SkippingTime` and `config.time_skipping`, `skipper` moves that time.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        time: Time,
        monotonic: Monotonic,
        entropy: Entropy,
        log: Log,
        *,
        limits: Limits | None = None,
        failed: Callable[[StoreFailed], None] | None = None,
        points: Callable[[str], None] | None = None,
    ) -> None:
        self.store = store
        self.config = config
        self.time = time
        self.monotonic = monotonic
        self.entropy = entropy
        self.log = log
        self.limits = limits or Limits()
        self.namespaces = Namespaces(entropy, self.limits)
        self.matching = Matching(paced=not config.time_skipping)
        self.queue_settings = QueueSettingsRegistry(self)
        self.workers = WorkerRegistry()
        self.alarms = Alarms(monotonic)
        self.executions = Executions(store, self._namespace_name, CACHE_BYTES)
        self.histories = Histories(self)
        self.queries = Queries(self)
        self.updates = Updates(self)
        self.lookups = Lookups(self)
        self.removal = Removal(self)
        self.skipper: Skipper | None = None
        """None, and without cost, unless time may skip."""
        hold = None
        if config.time_skipping and isinstance(time, SkippingTime):
            self.skipper = Skipper(
                self,
                time,
                locks=1 if config.time_locked else 0,
                stored=config.db_filename is not None,
            )
            hold = time.hold
        slices = None if self.skipper is not None else Slices(monotonic, self._room_for_wakes)
        # Time that skips does not jump while anything is being written.
        settled = None if self.skipper is not None else self.after_commit
        self.wakes = Wakes(store, time, self._wake, hold, slices, settled)
        self.cluster_id = ""
        self._failed = failed or (lambda failure: None)
        self._points = points
        self.decisions = Decisions(self)
        self.enter = self.decisions.enter  # bound once, without a call more: all that happens comes this way
        self.ready = self.decisions.ready
        self._housekeeping: Alarm | None = None
        # Made at start, when the store is open:
        self.committer: Committer
        self.dispatch: Dispatch
        self.mail: Mail

    # ---- life
    async def start(self) -> None:
        """Take up what the store holds; when this returns, the configured namespaces exist and timers fire."""
        _, _, task_no, message_no = self.store.high_water()
        meta = self.store.load_meta()
        self._take_up_time(meta.get(OFFSET))
        self.namespaces.load(self.store.load_namespaces())
        self.queue_settings.load(self.store.load_queues())
        self.committer = Committer(
            self.store,
            self.executions,
            self.limits,
            self.monotonic,
            self.log,
            search_types=self._search_types,
            on_sealed=self._sealed,
            on_unsealed=self.unsealed,
            on_failed=self._failed,
            on_room=self.decisions.room,
            on_landed=self._landed,
            on_lost=self._lost,
            on_dead=self._left_cache,
            on_idle=None if self.skipper is None else self.skipper.poke,
            gathers=self.skipper is None,  # time that skips waits for each commit in turn: there is no company to come
            points=self._points,
        )
        self.dispatch = Dispatch(self, task_no)
        self.mail = Mail(self, message_no)
        self.decisions.start(self.committer, self.dispatch, self.mail)
        first_rows = FirstRows()
        missing = namespace_rows.missing(self)
        for write in missing:
            self.committer.add_namespace(write)
        cluster_id = meta.get("cluster_id")
        if cluster_id is None:
            cluster_id = self.entropy.uuid().encode()
            self.committer.put_meta("cluster_id", cluster_id)
        self.cluster_id = cluster_id.decode()
        self.committer.follow(first_rows, self.committer.newest_no)
        await self.committer.drain()
        if not first_rows.landed:
            # Runs of a namespace that has no row would be lost with the process.
            raise StoreFailed(f"{self.store.persistence_name} cannot be written: {self.committer.trouble}")
        for write in missing:
            self.namespaces.landed(decode_namespace(write))
        self.mail.start()
        self.wakes.start()
        if self.skipper is not None:
            self.skipper.start()
        self._keep_house()
        self.removal.start()

    def _take_up_time(self, offset: bytes | None) -> None:
        if self.skipper is not None:
            self.skipper.resume(offset)
        elif offset is not None:
            days = int(offset) / (86_400 * SECOND)
            raise ConfigError(
                f"the time of {self.store.persistence_name} is {days:.1f} days ahead, because it was used with time "
                "skipping: without it, time would go back (start with --time-skipping, or with another file)"
            )

    async def drain(self) -> None:
        """Answer parked polls empty, and those who wait for updates with an error, so that clients turn elsewhere."""
        self.dispatch.drain()
        self.updates.close()

    async def stop(self) -> None:
        """Commit what was decided and end all loops."""
        if self.skipper is not None:
            self.skipper.close()
        self.wakes.stop()
        self.lookups.close()
        self.dispatch.drain()
        self.queries.close()
        self.updates.close()
        await self.committer.drain()
        self.alarms.close()

    def _keep_house(self) -> None:
        """Every so often: forget old pollers, delete rows of forgotten runs."""
        self.matching.expire(self.monotonic.now())

        def swept(rows: int | StoreFailed) -> None:
            if isinstance(rows, StoreFailed):
                self._failed(rows)
                return
            pause = 0.05 if rows else 5.0
            self._housekeeping = self.alarms.after(pause, self._keep_house)

        self.store.sweep(500, swept)

    def _namespace_name(self, namespace_id: str) -> str:
        namespace = self.namespaces.find_by_id(namespace_id)
        return "" if namespace is None else namespace.name

    def _search_types(self, namespace_id: str) -> Mapping[str, int]:
        namespace = self.namespaces.find_by_id(namespace_id)
        return {} if namespace is None else namespace.search_attributes

    # ---- inputs
    def decide(
        self, namespace: Namespace, workflow_id: str, run_id: str, decide: Decide, waiter: Waiter | None
    ) -> None:
        """Decide about a run (`run_id` empty: the current one) and answer `waiter` once that is durable.

        `decide(turn)` returns the reply, or an `Outcome`; it may be called again, so it must be pure but for the
        turn. What it raises (PerdureError) refuses the input. NotFound is answered for a run that does not exist.
        """
        self.enter(Input(self, (namespace.id, WORKFLOW, workflow_id), run_id, decide, waiter))

    def start_run(
        self, namespace: Namespace, workflow_id: str, decide: Starts, waiter: Waiter | None, *, run_id: str = ""
    ) -> None:
        """The same for inputs that may start a run: `decide(shared, current_run_or_none)`, which ends its own turns."""
        self.enter(Input(self, (namespace.id, WORKFLOW, workflow_id), run_id, decide, waiter, starts=True))

    def decide_record(
        self,
        namespace_id: str,
        kind: int,
        execution_id: str,
        run_id: str,
        decide: Callable[[Shared, Any], Reply | Outcome | Pending | None],
        waiter: Waiter | None,
    ) -> None:
        """The same for executions of another kind (`engine/kinds.py`): `decide(shared, record)` gets the named run's
        Record, or the current one's, or None, and says what it changed by `RecordTurn`."""
        self.enter(Input(self, (namespace_id, kind, execution_id), run_id, decide, waiter, starts=True))

    def inspect(self, namespace: Namespace, workflow_id: str, run_id: str, look: Look, waiter: Waiter) -> None:
        """Read a run; the reply leaves when all that it shows is durable. With PENDING, `look` answers the waiter
        itself."""
        self.inspect_key((namespace.id, WORKFLOW, workflow_id), run_id, look, waiter)

    def inspect_key(self, key: Key, run_id: str, look: Look, waiter: Waiter | None) -> None:
        def decide(shared: Shared, run: Run | None) -> Reply | Pending | Outcome:
            if run is None:
                raise missing_run(key[2], run_id)
            return look(shared.execution, run)

        self.enter(Input(self, key, run_id, decide, waiter, starts=True))

    # ---- what became of a batch
    def _landed(self, added: list[int], deleted: list[int]) -> None:
        self.matching.rows.committed(added, deleted)

    def _left_cache(self, loaded: Loaded) -> None:
        """Queries or updates waited at an execution whose batch was refused."""
        self.queries.ask_again(loaded)
        self.updates.ask_again(loaded)

    def _lost(self, added: list[int], deleted: list[int]) -> None:
        for task, poller in self.matching.refused(added, deleted, self.monotonic.now()):
            self.enter(start_entry(self, task, poller, stored=True))
        self.dispatch.heed_limits()

    # ---- timers
    def _room_for_wakes(self) -> bool:
        return self.committer.open_runs < RUNS_WOKEN_AT_A_TIME

    def _sealed(self, loaded: Loaded, run: Run, wake_at: int) -> None:
        self.wakes.arm(loaded.key, run.run_id, wake_at)
        if self.skipper is not None:
            self.skipper.sealed(loaded.key, run)

    def unsealed(self, loaded: Loaded, run: Run | Record) -> None:
        """What was made known of the run did not come to pass: see what is stored, and what was decided since."""
        run_id = run.run_id

        def look(shared: Shared, stored: Any) -> Pending:
            due = 0 if stored is None else KINDS[loaded.key[1]].next_deadline(stored)
            if due and self.skipper is None:  # what is due is tried again already, and need not be at once
                due = max(due, self.time.now() + SECOND)
            self.wakes.arm(loaded.key, run_id, due)
            if self.skipper is not None:
                if stored is None:
                    self.skipper.forget(run_id)
                else:
                    self.skipper.sealed(loaded.key, stored)
            return PENDING

        self.enter(Insistent(self, loaded.key, run_id, look, starts=True))

    def _wake(self, key: Key, run_id: str) -> None:
        self.enter(Wake(self, key, run_id))

    # ---- what becomes of it
    def watch_record(self, key: Key, run_id: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Call `wake` once after the next commit that writes the record. Returns a function that cancels it; None when
        the record is not in memory."""
        loaded = self.executions.peek(key)
        record = None if loaded is None else loaded.execution.runs.get(run_id)
        if loaded is None or record is None:
            return None
        return loaded.tail(record).watch(wake)

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Alarm:
        return self.alarms.at(deadline, callback)

    def after_commit(
        self, callback: Callable[[], object], refused: Callable[[PerdureError], object] | None = None
    ) -> None:
        """Call back when all that was decided so far is durable, or is given up: what is read then is true. `refused`:
        whom to call in that case."""
        self.committer.follow(Callback(callback, refused), self.committer.newest_no)

    def answer_after_commit(self, waiter: Waiter, reply: Reply) -> None:
        """Answer with what was seen of undecided things (namespaces) once all of it is durable."""
        self.committer.follow(
            Callback(lambda: waiter.finish(reply), lambda error: waiter.fail(error)), self.committer.newest_no
        )
