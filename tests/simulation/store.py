"""The one disk of a simulated cluster, and what a process that writes to it meets.

`Disk` is the real SQLite store in memory; it outlives the processes. `Connection` is one process's way to it: it
delays, refuses, commits and says that it does not know, the process may die before or after a commit, and after `cut`
nothing passes any more, in either direction.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import apsw
from temporalio.api.history.v1 import History, HistoryEvent

from perdure.doctor.examination import examine
from perdure.engine.execution import WORKFLOW
from perdure.engine.kinds import KINDS
from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import Batch, Done, Refused, RunDelete, StoredExecution, StoreFailed, Unknown
from tests.api.client import NAMESPACE

UNREADABLE = "the disk cannot be read just now"


class Disk:
    def __init__(self) -> None:
        self.store = SqliteStore(None)
        self.commits = 0
        self.removing: Callable[[RunDelete, Batch], None] | None = None
        """Is told of each run that is about to be removed, while it is still there."""
        self.removed: set[str] = set()
        """The IDs of runs and records that were."""

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is on it, whatever any process thinks."""
        return list(self.store._main.execute(sql, values))

    def examine(self) -> list[str]:
        """What `perdure doctor` finds wrong with it as it is now."""
        with TemporaryDirectory() as directory:
            path = f"{directory}/perdure.db"
            copy = apsw.Connection(path)
            with copy.backup("main", self.store._main, "main") as pages:
                pages.step()
            copy.close()
            return [str(fault) for fault in examine(path).faults]

    def write(self, batch: Batch) -> Any:
        """What the store says of it."""
        if self.removing is not None:
            for delete in batch.run_deletes:
                self.removing(delete, batch)
        outcomes: list[Any] = []
        self.store.submit(batch, outcomes.append)
        self.commits += 1
        if outcomes[0] is None:
            self.removed.update(delete.run_id for delete in batch.run_deletes)
        return outcomes[0]


class Shelf:
    """What is on the disk of one namespace."""

    def __init__(self, disk: Disk, name: str = NAMESPACE) -> None:
        self._disk = disk
        self._name = name
        self._id = ""

    @property
    def namespace_id(self) -> str:
        if not self._id:
            self._id = next(n.namespace_id for n in self._disk.store.load_namespaces() if n.name == self._name)
        return self._id

    def removed(self, run_id: str) -> bool:
        return run_id in self._disk.removed

    def has(self, run_id: str) -> bool:
        """Whether that run or record is there, or was."""
        return self.removed(run_id) or bool(
            self._disk.rows("select 1 from runs where run_id = ? and namespace_id = ?", run_id, self.namespace_id)
        )

    def stored(self, workflow_id: str, run_id: str = "") -> tuple[Any, list[HistoryEvent]]:
        """A workflow's run and its history. (None, []) when there is none."""
        stored = self.load(WORKFLOW, workflow_id, run_id)
        if stored is None:
            return None, []
        run, run_no = stored
        blobs: list[Any] = []
        self._disk.store.read_history(run_no, 1, 1 << 40, 1 << 40, blobs.append)
        events = History.FromString(b"".join(batch.blob for batch in blobs[0])).events
        return run, list(events)

    def workflows(self) -> list[str]:
        """The IDs of all that have a run."""
        found = self._disk.rows(
            "select distinct execution_id from runs where namespace_id = ? and kind = ? order by execution_id",
            self.namespace_id,
            WORKFLOW,
        )
        return [workflow_id for (workflow_id,) in found]

    def runs(self, workflow_id: str) -> list[str]:
        """The IDs of all a workflow's runs."""
        return [
            run_id
            for (run_id,) in self._disk.rows(
                "select run_id from runs where namespace_id = ? and kind = ? and execution_id = ? order by run_no",
                self.namespace_id,
                WORKFLOW,
                workflow_id,
            )
        ]

    def load(self, kind: int, execution_id: str, run_id: str = "") -> tuple[Any, int] | None:
        """An execution's run, or record, and its number."""
        found: list[Any] = []
        self._disk.store.load_execution(self.namespace_id, kind, execution_id, run_id, found.append)
        assert isinstance(found[0], StoredExecution)
        stored = found[0].run
        return None if stored is None else (KINDS[kind].decode(stored.core, stored.items), stored.run_no)


class Connection:
    """A Store by delegation. `faults` 0 to 1: how often a write goes wrong, `read_faults`: a read. `point` is called
    with "before_commit" and "after_commit"; the process may be dead when it returns."""

    def __init__(self, disk: Disk, chance: random.Random, point: Callable[[str], None]) -> None:
        self._disk = disk
        self._point = point
        self._chance = chance
        self.faults = self.read_faults = 0.0
        self.is_cut = False
        self._unresolved: tuple[Batch, bool] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk.store, name)

    async def open(self) -> None:
        """The disk is open."""

    async def close(self) -> None:
        self.cut()

    def cut(self) -> None:
        """The process is dead."""
        self.is_cut = True

    def _later(self, call: Callable[[], None], up_to: float) -> None:
        loop = asyncio.get_running_loop()

        def unless_dead() -> None:
            if not self.is_cut:
                call()

        if self._chance.random() < 0.5:
            loop.call_soon(unless_dead)
        else:
            loop.call_later(self._chance.random() * up_to, unless_dead)

    def submit(self, batch: Batch, done: Done) -> None:
        assert self._unresolved is None, "a batch was submitted before the fate of the one before was known"

        def write() -> None:
            self._point("before_commit")
            if self.is_cut:
                return
            fate = self._chance.random()
            if fate < self.faults / 2:
                self._later(lambda: done(Refused("disk full")), 0.002)
            elif fate < self.faults:
                lands = self._chance.random() < 0.5
                if lands:
                    self._disk.write(batch)
                self._unresolved = (batch, lands)
                self._later(lambda: done(Unknown("connection lost")), 0.01)
            else:
                outcome = self._disk.write(batch)
                self._point("after_commit")
                self._later(lambda: done(outcome), 0.004)

        self._later(write, 0.004)

    def landed(self, batch_no: int, done: Callable[[Any], None]) -> None:
        assert self._unresolved is not None
        assert self._unresolved[0].number == batch_no

        def look() -> None:
            self._unresolved = None
            self._disk.store.landed(batch_no, done)

        self._later(look, 0.02)

    def load_tasks(self, *arguments: Any) -> Any:
        return self._read_now(self._disk.store.load_tasks, *arguments)

    def load_tasks_of_key(self, *arguments: Any) -> Any:
        return self._read_now(self._disk.store.load_tasks_of_key, *arguments)

    def task_passes(self, *arguments: Any) -> Any:
        return self._read_now(self._disk.store.task_passes, *arguments)

    def _read_now(self, read: Any, *arguments: Any) -> Any:
        if self._chance.random() < self.read_faults:
            raise StoreFailed(UNREADABLE)
        return read(*arguments)

    def load_execution(self, *arguments: Any) -> None:
        self._read(self._disk.store.load_execution, *arguments)

    def read_history(self, *arguments: Any) -> None:
        self._read(self._disk.store.read_history, *arguments)

    def _read(self, read: Any, *arguments: Any) -> None:
        *what, done = arguments
        fate = self._chance.random()
        if fate < self.read_faults:
            done(StoreFailed(UNREADABLE))  # at once, as SQLite says it
        elif fate < 0.5:
            read(*what, done)
        else:
            self._later(lambda: read(*what, done), 0.005)

    def sweep(self, budget_rows: int, done: Any) -> None:
        self._later(lambda: self._disk.store.sweep(budget_rows, done), 0.005)
