"""The executions in memory, and how others get there.

An execution is loaded with its pointer and the runs that inputs named. Idle ones are dropped, least recently used
first, once the cache holds more than its bytes; what has uncommitted decisions, waiting callers or inputs under way
stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from perdure.engine.execution import Current, Execution
from perdure.engine.kinds import KINDS
from perdure.engine.state import Run
from perdure.enums import EventType
from perdure.runtime.inputs import Entry
from perdure.storage.store import HistoryBatch, Store, StoredExecution, StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.updates import HeldUpdate

Key = tuple[str, int, str]
"""(namespace ID, kind, execution ID)"""

STARTED_EVENT = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)

TRIMMED = 256
"""Executions looked at when the cache is too large: so many leave in about a millisecond."""
TAIL_BYTES = 64 * 1024
"""History kept beside a loaded run, newest batches first in line."""


class Tail:
    """The newest stored batches of a run, so that polls and reads rarely need the store.

    `batches` hold events from `first_event_id` without gaps. Events up to `durable_event_id` are committed.
    """

    __slots__ = ("batches", "durable_event_id", "first_event_id", "listed_attributes", "size", "watchers")

    def __init__(self, next_event_id: int) -> None:
        self.batches: deque[HistoryBatch] = deque()
        self.first_event_id = next_event_id
        self.durable_event_id = next_event_id - 1
        self.size = 0
        self.listed_attributes: bytes | None = None
        """Search attributes as lists know them already; None: not known here."""
        self.watchers: list[Callable[[], None]] = []

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` once after the next commit that watchers hear of. Returns a function that cancels it."""
        self.watchers.append(wake)

        def cancel() -> None:
            if wake in self.watchers:
                self.watchers.remove(wake)

        return cancel

    def append(self, batch: HistoryBatch) -> int:
        """Returns by how many bytes it grew."""
        before = self.size
        self.batches.append(batch)
        self.size += len(batch.blob)
        while self.size > TAIL_BYTES and self.batches[0].last_event_id <= self.durable_event_id:
            dropped = self.batches.popleft()
            self.size -= len(dropped.blob)
            self.first_event_id = dropped.last_event_id + 1
            if not self.batches:
                break
        return self.size - before


class Loaded:
    """An execution in memory, with what the engine does not need to know of it."""

    __slots__ = (
        "batch_no",
        "blocked",
        "dead",
        "execution",
        "inputs",
        "key",
        "missing",
        "queries",
        "size",
        "tails",
        "updates",
    )

    def __init__(self, key: Key, execution: Execution) -> None:
        self.key = key
        self.execution = execution
        self.batch_no = 0
        """The newest batch that this execution's state depends on."""
        self.inputs: deque[Entry] = deque()
        """Waiting while something is being loaded."""
        self.blocked = False
        self.dead = False
        """Left the cache because its batch was refused: nothing may be decided on it any more."""
        self.tails: dict[str, Tail] = {}
        self.missing: set[str] = set()
        """Run IDs known not to exist ("" for: no current run)."""
        self.queries: list[object] = []
        """Queries that ride on the next workflow task."""
        self.updates: dict[tuple[str, str], HeldUpdate] = {}
        """By run ID and update ID: those that no worker has accepted or rejected, and those that somebody waits for."""
        self.size = 2048

    def tail(self, run: Run) -> Tail:
        tail = self.tails.get(run.run_id)
        if tail is None:
            first = run.changes.first_event_id if run.changes.events else run.next_event_id
            tail = self.tails[run.run_id] = Tail(first)
            if run.changes.inherits is not None:
                tail.durable_event_id = 0  # not even what it begins with is there yet
        return tail

    @property
    def idle(self) -> bool:
        if self.updates:  # what is admitted, and the speculative task for it, would be lost
            return False
        return not (self.blocked or self.inputs or self.queries or any(tail.watchers for tail in self.tails.values()))


class Executions:
    def __init__(self, store: Store, namespace_name: Callable[[str], str], max_bytes: int) -> None:
        self._store = store
        self._namespace_name = namespace_name
        self._max_bytes = max_bytes
        self._loaded: dict[Key, Loaded] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._loaded)

    @property
    def bytes(self) -> int:
        """About what all of them take."""
        return self._bytes

    def get(self, key: Key) -> Loaded:
        """The execution's place in the cache; nothing of it may be loaded yet."""
        loaded = self._loaded.pop(key, None)
        if loaded is None:
            namespace_id, kind, execution_id = key
            loaded = Loaded(key, Execution(namespace_id, self._namespace_name(namespace_id), kind, execution_id))
            self._bytes += loaded.size
        self._loaded[key] = loaded  # the dict's order is the order of use
        return loaded

    def all(self) -> Iterable[Loaded]:
        return list(self._loaded.values())

    def peek(self, key: Key) -> Loaded | None:
        return self._loaded.get(key)

    def has(self, loaded: Loaded, run_id: str) -> bool:
        """Whether all that an input naming `run_id` looks at is in memory (or known not to exist)."""
        execution = loaded.execution
        if run_id:
            if run_id in execution.runs:
                return execution.current is not None or "" in loaded.missing
            return run_id in loaded.missing
        current = execution.current
        if current is None:
            return "" in loaded.missing
        return current.run_id in execution.runs

    def load(self, loaded: Loaded, run_id: str, done: Callable[[StoreFailed | None], None]) -> None:
        namespace_id, kind, execution_id = loaded.key

        def came(stored: StoredExecution | StoreFailed) -> None:
            if isinstance(stored, StoreFailed):
                done(stored)
                return
            self._take(loaded, run_id, stored)
            done(None)

        self._store.load_execution(namespace_id, kind, execution_id, run_id, came)

    def _take(self, loaded: Loaded, run_id: str, stored: StoredExecution) -> None:
        """What is missing here and still stored was deleted: the batch that says so is on its way."""
        execution = loaded.execution
        missing = loaded.missing
        if execution.current is None and "" not in missing:
            row = stored.current
            if row is None or row.run_id in missing:
                missing.add("")
            else:
                execution.current = Current(
                    row.run_id, row.run_no, row.status, row.first_run_id, row.create_request_id, row.start_time
                )
        if stored.run is None:
            if run_id:
                missing.add(run_id)
            return
        if stored.run.run_id in execution.runs or stored.run.run_id in missing:
            return
        run = KINDS[execution.kind].decode(stored.run.core, stored.run.items)
        run.run_no = stored.run.run_no
        run.version = stored.run.version
        run.request_ids = {run.create_request_id: (STARTED_EVENT, 1)}  # not stored twice, see the committer
        run.request_ids.update((request_id, (kind, event)) for request_id, kind, event in stored.run.request_ids)
        execution.runs[run.run_id] = run
        loaded.tails[run.run_id] = Tail(run.next_event_id)
        self.resize(loaded, len(stored.run.core) * 4 + sum(len(value) * 3 for _, _, value in stored.run.items))

    def resize(self, loaded: Loaded, by: int) -> None:
        loaded.size += by
        self._bytes += by

    def forget(self, loaded: Loaded) -> None:
        """Drop an execution whatever it is doing."""
        if self._loaded.get(loaded.key) is loaded:
            del self._loaded[loaded.key]
            self._bytes -= loaded.size

    def drop(self, loaded: Loaded, durable_no: int) -> bool:
        """Forget an execution if it is idle, and nothing of it is unwritten."""
        if loaded.batch_no > durable_no or not loaded.idle:
            return False
        self.forget(loaded)
        loaded.dead = True
        return True

    def trim(self, durable_no: int) -> None:
        """Drop idle executions, least recently used first, until the cache fits. A few at a time: many that end at once
        are a pause, and those that are made one by one then look to the garbage collector like growth. What is not idle
        is looked at again when all others were."""
        if self._bytes <= self._max_bytes:
            return
        for key in list(islice(self._loaded, TRIMMED)):
            loaded = self._loaded[key]
            if not self.drop(loaded, durable_no):
                del self._loaded[key]
                self._loaded[key] = loaded
            elif self._bytes <= self._max_bytes:
                return
