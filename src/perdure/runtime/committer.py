"""From decision to disk: group commit, and the barrier.

Decisions join the *open batch*. The committer writes one batch at a time, strictly in order, each in one transaction,
while the next fills: no timer, a batch is what gathered while the last one was written. Every answer leaves only when
the newest batch that any state it looked at depends on is durable; answers that depend on nothing unwritten leave at
once.

When the open batch is sealed says `gathering.py`; what it writes of each run, `run_writes.py`.

A batch lands whole or not at all. When it is refused, its executions and all that was decided on them since leave the
cache, and their inputs are decided again on reloaded state, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from perdure.clock import Monotonic
from perdure.engine.execution import WORKFLOW
from perdure.engine.limits import Limits
from perdure.engine.record import Record
from perdure.engine.state import Run
from perdure.errors import Internal, Unavailable
from perdure.log import Log
from perdure.runtime.executions import Executions, Loaded
from perdure.runtime.gathering import GLANCE_SECONDS, Gathering
from perdure.runtime.open_batch import Follower, OpenBatch
from perdure.runtime.run_writes import RunWriter
from perdure.storage.store import (
    NamespaceWrite,
    OutboxWrite,
    QueueWrite,
    Refused,
    RunDelete,
    Store,
    StoreFailed,
    TaskWrite,
    Unknown,
)

WARN_SECONDS = 60.0
"""How long the same trouble is not worth another line in the log."""
MAX_RUNS = 1000
MAX_BYTES = 4 * 1024 * 1024


class Committer:
    """`on_sealed(loaded, run, wake_at)` hears of every run that is about to be written, `on_unsealed` of each for which
    that did not come to pass, `on_idle` that all that was decided is durable, `on_landed` and `on_lost` of the
    numbers of task rows that a batch added and deleted, `on_dead` of an execution that left the cache
    while queries or updates waited at it, `on_room` that inputs may come again; `on_failed` ends the process."""

    def __init__(
        self,
        store: Store,
        executions: Executions,
        limits: Limits,
        monotonic: Monotonic,
        log: Log,
        *,
        search_types: Callable[[str], Mapping[str, int]],
        on_sealed: Callable[[Loaded, Run, int], None],
        on_unsealed: Callable[[Loaded, Run], None],
        on_failed: Callable[[StoreFailed], None],
        on_room: Callable[[], None],
        on_landed: Callable[[list[int], list[int]], None],
        on_lost: Callable[[list[int], list[int]], None],
        on_dead: Callable[[Loaded], None],
        on_idle: Callable[[], None] | None = None,
        gathers: bool = True,
        points: Callable[[str], None] | None = None,
    ) -> None:
        self._store = store
        self._executions = executions
        self._log = log
        self._monotonic = monotonic
        self._on_unsealed = on_unsealed
        self._on_idle = on_idle
        self._on_failed = on_failed
        self._on_room = on_room
        self._on_landed = on_landed
        self._on_lost = on_lost
        self._on_dead = on_dead
        self._points = points
        batch_no, run_no, _, _ = store.high_water()
        writer = RunWriter(run_no, executions, limits, search_types, on_sealed)
        self._write = writer.write
        self._delete_what_began = writer.delete_what_began
        self.durable_no = batch_no
        self._open = OpenBatch(batch_no + 1)
        self._in_flight: OpenBatch | None = None
        self._gathering = Gathering(self._open, monotonic, self._seal, gathers)
        # Bound once: every run and every task comes this way.
        self._busy_now = self._gathering.busy_now
        self._schedule = self._gathering.schedule
        self.hasten = self._gathering.hasten
        self._drained: list[asyncio.Future[None]] = []
        self._failed = False
        self._abandoned = ""
        """Why the open batch is given up; empty: it is not."""
        self._owed_meta: dict[str, bytes] = {}
        """Facts of refused batches: they hold all the same, and go with the next batch."""
        self.trouble = ""
        """Why nothing landed since; empty when the last batch did."""
        self._warn_again = 0.0

    # ---- joining the open batch
    @property
    def full(self) -> bool:
        return len(self._open.runs) >= MAX_RUNS or self._open.bytes >= MAX_BYTES

    @property
    def failed(self) -> bool:
        """Nothing will be durable any more."""
        return self._failed

    @property
    def open_runs(self) -> int:
        """How many runs the open batch will write."""
        return len(self._open.runs)

    @property
    def idle(self) -> bool:
        """All that was decided is durable."""
        return self._open.empty and self._in_flight is None

    @property
    def newest_no(self) -> int:
        """The newest batch that holds anything and was not refused."""
        if not self._open.empty:
            return self._open.batch.number
        return self.durable_no if self._in_flight is None else self._in_flight.batch.number

    @property
    def open_no(self) -> int:
        return self._open.batch.number

    def add_run(self, loaded: Loaded, run: Run) -> None:
        """`run` was changed by a turn: its row joins the open batch."""
        batch = self._open
        batch.runs[id(run)] = (loaded, run)
        batch.loaded.add(loaded)
        loaded.batch_no = batch.batch.number
        self._busy_now.add(run.run_id)
        batch.bytes += sum(map(len, run.changes.events))
        gathering = self._gathering
        if not gathering.scheduled:
            gathering.schedule()
        elif gathering.pause is not None and len(batch.runs) >= gathering.enough:
            gathering.seal_early()

    def depend(self, loaded: Loaded) -> None:
        """`loaded` looked at something in the open batch (a message without a row of its own)."""
        self._open.loaded.add(loaded)
        loaded.batch_no = self._open.batch.number
        if not self._gathering.scheduled:
            self._schedule()

    def add_task(self, write: TaskWrite) -> None:
        self._open.batch.tasks.append(write)
        self._open.added_tasks.append(write.task_no)
        self._schedule()

    def task_done(self, task_no: int) -> None:
        self._open.deleted_tasks.append(task_no)
        batch = self._open.batch
        for index in range(len(batch.tasks) - 1, -1, -1):
            if batch.tasks[index].task_no == task_no:
                del batch.tasks[index]  # it came and went within one batch: no row
                return
        batch.done_tasks.append(task_no)
        self._schedule()

    def add_message(self, write: OutboxWrite) -> None:
        self._open.batch.outbox.append(write)
        self._schedule()

    def message_delivered(self, message_no: int) -> None:
        batch = self._open.batch
        for index in range(len(batch.outbox) - 1, -1, -1):
            if batch.outbox[index].message_no == message_no:
                del batch.outbox[index]  # written and delivered within one batch: no row
                return
        batch.delivered.append(message_no)
        self._schedule()

    def add_namespace(self, write: NamespaceWrite) -> None:
        self._open.batch.namespaces = [n for n in self._open.batch.namespaces if n.namespace_id != write.namespace_id]
        self._open.batch.namespaces.append(write)
        self._schedule()

    def add_queue(self, write: QueueWrite) -> None:
        self._open.batch.queues.append(write)
        self._schedule()

    def add_delete(self, write: RunDelete, run: Run | Record) -> None:
        self._open.batch.run_deletes.append(write)
        if not run.run_no:  # it began in this very batch, and gets its number with it
            self._open.late_deletes.append((write, run))
        self._schedule()

    def put_meta(self, name: str, value: bytes) -> None:
        self._open.batch.meta[name] = value
        self._schedule()

    # ---- the barrier
    def follow(self, follower: Follower, batch_no: int) -> None:
        """Tell `follower` when batch `batch_no` is durable: at once when it is."""
        if batch_no <= self.durable_no:
            follower.answer()
        elif self._in_flight is not None and batch_no <= self._in_flight.batch.number:
            self._in_flight.followers.append(follower)
        elif self._failed:
            follower.give_up(Unavailable(self.trouble))
        else:
            self._open.followers.append(follower)

    def abandon(self, loaded: Loaded, reason: str) -> None:
        """A decision about `loaded` failed half-way: give up the open batch as if it had been refused. What is in
        flight lands first, so that reloaded state is whole."""
        self._open.loaded.add(loaded)
        loaded.batch_no = self._open.batch.number  # nobody may see what it looks like now
        self._abandoned = reason
        if self._in_flight is None:
            asyncio.get_running_loop().call_soon(self._give_up_open)

    def _give_up_open(self) -> None:
        if self._abandoned and self._in_flight is None:
            reason, self._abandoned = self._abandoned, ""
            self._refuse(OpenBatch(0), reason)
            self._on_room()
            self._rest()

    async def drain(self) -> None:
        """Return when all that was decided is durable."""
        while (not self._open.empty or self._in_flight is not None) and not self._failed:
            waiter = asyncio.get_running_loop().create_future()
            self._drained.append(waiter)
            self._schedule()
            await waiter

    # ---- sealing and writing
    def _seal(self) -> None:
        gathering = self._gathering
        gathering.scheduled = self._in_flight is not None
        gathering.pause = None
        gathering.glance = GLANCE_SECONDS
        if self._in_flight is not None or self._failed or self._abandoned:
            return
        sealed = self._open
        if sealed.empty:
            self._release(sealed)
            if self._on_idle is not None and self.idle:
                self._on_idle()
            return
        if self._points is not None:
            self._points("decided")
        self._open = gathering.batch = OpenBatch(sealed.batch.number + 1)
        if self._owed_meta:
            sealed.batch.meta = {**self._owed_meta, **sealed.batch.meta}
            self._owed_meta = {}
        for loaded, run in sealed.runs.values():
            try:
                self._write(sealed, loaded, run)
            except Exception as error:
                self._log.error("a run cannot be written", exc_info=error, workflow_id=run.workflow_id)
                self._leave_out(sealed, loaded)
                return
        for delete, gone in sealed.late_deletes:
            self._delete_what_began(sealed.batch, delete, gone)
        self._in_flight = sealed
        gathering.scheduled = True
        if self._points is not None:
            self._points("sealed")
        self._store.submit(sealed.batch, self._done)
        self._on_room()

    def _leave_out(self, sealed: OpenBatch, loaded: Loaded) -> None:
        """A run of `loaded` has no stored form (a defect): what was decided there is given up for good, so that all
        else that is in the batch can be decided again and land."""
        error = Internal(f"execution {loaded.key[2]!r} cannot be written")
        mine = [follower for follower in sealed.followers if follower.key == loaded.key]
        sealed.followers = [follower for follower in sealed.followers if follower.key != loaded.key]
        self._refuse(sealed, error.message)
        for follower in mine:
            self._tell(lambda follower=follower: follower.give_up(error))  # type: ignore[misc] # bound at once
        self._on_room()
        self._rest()

    def _done(self, outcome: Refused | Unknown | StoreFailed | None) -> None:
        sealed = self._in_flight
        if sealed is None:
            raise RuntimeError("the store reported a batch that was not in flight")
        if isinstance(outcome, Unknown):  # the batch stays in flight: nothing else is written until this is known
            self._log.warning("commit with unknown outcome", reason=str(outcome), batch=sealed.batch.number)
            self._store.landed(sealed.batch.number, self._found_out)
            return
        self._in_flight = None
        self._gathering.scheduled = False
        if outcome is None:
            self.durable_no = sealed.batch.number
            if self.trouble:
                self._log.warning("commits land again", after=self.trouble)
                self.trouble = ""
            if self._points is not None:
                self._points("before_delivery")
            self._on_landed(sealed.added_tasks, sealed.deleted_tasks)
            self._release(sealed)
        elif isinstance(outcome, StoreFailed):
            self._fail(sealed, outcome)
            return
        else:
            self._refuse(sealed, outcome.reason)
        if self._abandoned:
            self._give_up_open()
        if not self._open.empty:
            self._schedule()
        elif self._open.followers:
            self._release(self._open)
        self._on_room()
        self._executions.trim(self.durable_no)
        if self._drained or self._on_idle is not None:
            self._rest()

    def _rest(self) -> None:
        """If all that was decided is durable, or given up, those hear of it who wait for that."""
        if self.idle:
            if self._drained:
                self._end_drains()
            if self._on_idle is not None:
                self._on_idle()

    def _fail(self, sealed: OpenBatch, failure: StoreFailed) -> None:
        """Nothing will be durable any more. What was, can still be read, as long as the process lives."""
        self._failed = True
        self.trouble = str(failure)
        self._on_failed(failure)
        error = Unavailable(self.trouble)
        for lost in (sealed, self._open):
            followers, lost.followers = lost.followers, []
            for follower in followers:
                self._tell(lambda follower=follower: follower.give_up(error))  # type: ignore[misc] # bound at once
        self._end_drains()

    def _found_out(self, landed: bool | StoreFailed) -> None:
        if isinstance(landed, StoreFailed):
            self._done(landed)
        else:
            self._done(None if landed else Refused("the connection was lost before the commit"))

    def _end_drains(self) -> None:
        drained, self._drained = self._drained, []
        for waiter in drained:
            if not waiter.done():
                waiter.set_result(None)

    def _tell(self, tell: Callable[[], None]) -> None:
        """One of many hears of a batch. What goes wrong there (a read that fails, a defect) is its own affair: the
        others must hear of it too."""
        try:
            tell()
        except Exception as error:
            self._log.error("an answer failed", exc_info=error)

    def _release(self, sealed: OpenBatch) -> None:
        """The batch is durable: wake those who watch its runs, then let its answers go."""
        for loaded, run, history in sealed.sealed_runs:
            if history is None and loaded.key[1] == WORKFLOW:
                continue  # who watches a workflow waits for events
            tail = loaded.tails.get(run.run_id)
            if tail is not None:
                if history is not None:
                    tail.durable_event_id = max(tail.durable_event_id, history.last_event_id)
                if tail.watchers:
                    watchers, tail.watchers = tail.watchers, []
                    for wake in watchers:
                        self._tell(wake)
        followers, sealed.followers = sealed.followers, []
        for follower in followers:
            try:  # as `_tell` does, without a call for each answer
                follower.answer()
            except Exception as error:
                self._log.error("an answer failed", exc_info=error)

    def _refuse(self, sealed: OpenBatch, reason: str) -> None:
        """Forget all that was decided and not written, here and in what gathered since, then have it decided again."""
        later = self._open
        now = self._monotonic.now()
        if reason != self.trouble or now >= self._warn_again:
            # A full disk refuses every batch for as long as it lasts, and the log may be on it.
            self._warn_again = now + WARN_SECONDS
            self._log.warning("commit refused", reason=reason, runs=len(sealed.runs) + len(later.runs))
        self.trouble = reason
        self._open = self._gathering.batch = OpenBatch(later.batch.number)
        self._owed_meta.update({**sealed.batch.meta, **later.batch.meta})
        for loaded in sealed.loaded | later.loaded:
            loaded.dead = True
            self._executions.forget(loaded)
        for lost in (sealed, later):
            self._on_lost(lost.added_tasks, lost.deleted_tasks)
        followers = sealed.followers + later.followers
        for follower in followers:
            self._tell(follower.undone)
        for follower in followers:
            self._tell(follower.refused)
        for loaded, run, _ in sealed.sealed_runs:
            self._on_unsealed(loaded, run)
        for loaded in sealed.loaded | later.loaded:
            # Who waited for something of theirs looks again, at what is there now.
            for tail in loaded.tails.values():
                watchers, tail.watchers = tail.watchers, []
                for wake in watchers:
                    self._tell(wake)
            if loaded.queries or loaded.updates:
                self._on_dead(loaded)
