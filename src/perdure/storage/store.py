"""What the server remembers, as rows of bytes and scalars: an SQLite file, SQLite in memory; PostgreSQL fits.

Writes go in batches, strictly in order: `submit` takes one, `done` is called on the event loop with its outcome. A
batch lands whole or not at all. Reads on the hot path are callbacks (SQLite answers inline, a networked store later),
so that loading needs no task; rare reads are coroutines. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct, field

from perdure.visibility.query import Query


class ItemWrite(Struct):
    """A pending thing of a large run. `value` None deletes it."""

    sort: int
    key: str
    value: bytes | None


class HistoryBatch(Struct):
    """Events of one commit of a run: a serialised `History` (repeated field 1), first and last event ID inclusive."""

    first_event_id: int
    last_event_id: int
    blob: bytes


class RunWrite(Struct):
    """One run's state. Refused (with the whole batch) unless the stored version is `version - 1` (0: no row yet)."""

    run_no: int
    version: int
    core: bytes
    wake_at: int | None
    namespace_id: str
    kind: int
    execution_id: str
    run_id: str
    slot: int = 0
    history: HistoryBatch | None = None
    items: Sequence[ItemWrite] = ()
    request_ids: Sequence[tuple[str, int, int]] = ()
    """(request ID, event type number, event ID or 0 while buffered), appended; a known request ID is replaced."""
    inherits: tuple[int, int] | None = None
    """(run number, last event ID): its history begins with a copy of the batches of that run up to that event, which
    must be the end of one."""


class CurrentWrite(Struct):
    """The pointer to an execution's latest run: all that Start needs to decide about an existing ID."""

    namespace_id: str
    kind: int
    execution_id: str
    run_id: str
    run_no: int
    status: int
    first_run_id: str
    create_request_id: str
    start_time: int


class VisibilityChange(Enum):
    """How much of a `VisibilityWrite` is news; most of a row's cost is its place in the order of lists."""

    STARTED = 1
    """All of it: there is no row yet (one that is there refuses the batch)."""
    STATUS = 2
    """Status and close time, and all that ATTRIBUTES may change."""
    ATTRIBUTES = 3
    """Execution time, history figures, memo and search attributes."""
    QUEUE = 4
    """The task queue, and all that STATUS may change."""


class VisibilityWrite(Struct):
    """What list and count see of a run; written at start, at close and on attribute or memo change.

    `memo` and `search_attributes` are serialised messages. `values` are the typed custom and predefined attributes:
    (name, type number of IndexedValueType, value), one entry for each element of a KeywordList; datetimes in
    microseconds. None when they are as they were written last.
    """

    run_no: int
    namespace_id: str
    run_id: str
    workflow_id: str
    workflow_type: str
    status: int
    start_time: int
    execution_time: int
    close_time: int | None
    task_queue: str
    parent_workflow_id: str
    parent_run_id: str
    root_workflow_id: str
    root_run_id: str
    history_length: int
    history_size: int
    state_transitions: int
    memo: bytes
    search_attributes: bytes
    division: str = ""
    """Namespace division: empty for users' workflows."""
    change: VisibilityChange = VisibilityChange.STARTED
    values: Sequence[tuple[str, int, str | int | float]] | None = ()


class TaskWrite(Struct):
    """A task that waits for a poller: an index entry, never truth (the run's state is). Keyed by `task_no`."""

    task_no: int
    namespace_id: str
    queue: str
    kind: int
    """1 workflow, 2 activity (enums.TaskQueueType)."""
    priority: int
    fairness_key: str
    execution_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int
    stamp: int
    created: int
    fairness_pass: int = 0
    """Its turn among the tasks of its priority: what matching made of fairness key and weight."""
    fairness_weight: float = 1.0


class OutboxWrite(Struct):
    """A message to another execution, written with the sender's turn, deleted in the receiver's transaction."""

    message_no: int
    namespace_id: str
    kind: int
    execution_id: str
    blob: bytes


class NamespaceWrite(Struct):
    """A namespace's row; `blob` is the runtime's own encoding. `deleted` removes it."""

    namespace_id: str
    name: str
    blob: bytes
    deleted: bool = False


class QueueWrite(Struct):
    """A task queue's settings, replaced whole; they go with the namespace. `config` is a serialised TaskQueueConfig."""

    namespace_id: str
    queue: str
    kind: int
    config: bytes


class RunDelete(Struct):
    """Forget a run: its `current` (if it points at it), `runs` and visibility rows go at once, the rest by `sweep`."""

    namespace_id: str
    kind: int
    execution_id: str
    run_id: str
    run_no: int


class Batch(Struct, eq=False):
    """One transaction. At most one `RunWrite` and one `VisibilityWrite` a run, one `CurrentWrite` an execution (the
    latest)."""

    number: int
    runs: list[RunWrite] = field(default_factory=list)
    currents: list[CurrentWrite] = field(default_factory=list)
    visibility: list[VisibilityWrite] = field(default_factory=list)
    tasks: list[TaskWrite] = field(default_factory=list)
    done_tasks: list[int] = field(default_factory=list)
    outbox: list[OutboxWrite] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    namespaces: list[NamespaceWrite] = field(default_factory=list)
    queues: list[QueueWrite] = field(default_factory=list)
    run_deletes: list[RunDelete] = field(default_factory=list)
    meta: dict[str, bytes] = field(default_factory=dict)


class Refused(Exception):
    """The batch did not land: a version or lease check missed, or the disk is full. Nothing of it was written."""

    def __init__(self, reason: str, run_nos: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.run_nos = run_nos


class Unknown(Exception):
    """Whether the batch landed is not known: the connection was lost in COMMIT. `Store.landed` finds out."""


class StoreFailed(Exception):
    """The store cannot go on (I/O error, corruption). The process ends with this one line."""


Done = Callable[[Refused | Unknown | StoreFailed | None], None]
"""Called once on the event loop; None means committed."""


class StoredRun(Struct):
    run_no: int
    version: int
    run_id: str
    core: bytes
    items: list[tuple[int, str, bytes]]
    request_ids: list[tuple[str, int, int]]


class StoredExecution(Struct):
    """One snapshot: the pointer, and the run asked for (the current one when no run ID was given)."""

    current: CurrentWrite | None
    run: StoredRun | None


class DueRun(Struct):
    wake_at: int
    run_no: int
    namespace_id: str
    kind: int
    execution_id: str
    run_id: str


class StoredRunKey(Struct):
    namespace_id: str
    kind: int
    execution_id: str
    run_id: str


class ClosedStore(Protocol):
    """A store before `open`."""


class Store(Protocol):
    """Durable memory of one server. All methods are called on the event loop's thread."""

    persistence_name: str
    """`in-memory`, or the file's path: for the banner."""

    async def open(self) -> None:
        """Open or create, migrate, take the lock. Raises StoreFailed with one clear line: locked by another server,
        corrupt, unwritable, newer format."""

    async def close(self) -> None:
        """Finish what was submitted, checkpoint, release the lock."""

    # ---- writes
    def submit(self, batch: Batch, done: Done) -> None:
        """Write `batch` after all earlier ones. Memory: `done` is called before `submit` returns."""

    def landed(self, batch_no: int, done: Callable[[bool | StoreFailed], None]) -> None:
        """Whether that batch, the newest one submitted, is durable. Asked after `Unknown`, before anything else is
        submitted; the answer holds for good (a commit that is still under way is waited for, or prevented)."""

    # ---- hot reads: `done` may be called before the method returns
    def load_execution(
        self,
        namespace_id: str,
        kind: int,
        execution_id: str,
        run_id: str,
        done: Callable[[StoredExecution | StoreFailed], None],
    ) -> None:
        """Load the pointer and one run (`run_id` empty: the current one)."""

    def read_history(
        self,
        run_no: int,
        first_event_id: int,
        last_event_id: int,
        max_bytes: int,
        done: Callable[[list[HistoryBatch] | StoreFailed], None],
    ) -> None:
        """Whole batches, in order, that hold events first..last (inclusive), up to `max_bytes`; at least one batch."""

    def read_history_reverse(
        self, run_no: int, last_event_id: int, max_events: int, done: Callable[[list[HistoryBatch] | StoreFailed], None]
    ) -> None:
        """Whole batches, newest first, from the one that holds `last_event_id`, until they hold `max_events` events."""

    def load_tasks(
        self, namespace_id: str, queue: str, kind: int, after: tuple[int, int, int], limit: int
    ) -> list[TaskWrite]:
        """Waiting tasks ordered by (priority, fairness pass, task_no), strictly after those three."""

    def load_tasks_of_key(
        self,
        namespace_id: str,
        queue: str,
        kind: int,
        priority: int,
        fairness_key: str,
        after: tuple[int, int],
        limit: int,
    ) -> list[TaskWrite]:
        """Those of one priority and one (not empty) key, strictly after that pair of fairness pass and task_no."""

    def task_passes(
        self, namespace_id: str, queue: str, kind: int, priority: int, fairness_key: str
    ) -> tuple[int, int] | None:
        """The lowest fairness pass of the priority, and the highest of the key in it (-1: it has no task; for the
        empty key, the highest of all). None when no task of that priority waits."""

    async def task_counts(self, namespace_id: str, queue: str, kind: int) -> list[tuple[int, int, int]]:
        """(priority, tasks waiting, when the oldest of those first in line was created), by priority."""

    def load_queues(self) -> list[QueueWrite]: ...

    def due_runs(self, after: tuple[int, int], until: int, limit: int) -> list[DueRun]:
        """Runs in order of (wake_at, run_no), strictly after those two, with `wake_at <= until`."""

    def closed_runs(self, namespace_id: str, division: str, until: int, limit: int) -> list[StoredRunKey]:
        """Runs that closed at `until` or before, the oldest first."""

    def runs_of(self, namespace_id: str, limit: int) -> list[StoredRunKey]:
        """Some runs of a namespace, of any kind, open or closed."""

    def open_executions(self, after: tuple[str, int, str], limit: int) -> list[tuple[str, int, str]]:
        """(namespace ID, kind, ID) of those whose current run is running, in that order, strictly after `after`."""

    def load_outbox(self, after: int, limit: int) -> list[OutboxWrite]:
        """Messages in order of their numbers, strictly after `after`."""

    def load_namespaces(self) -> list[NamespaceWrite]: ...

    def load_meta(self) -> dict[str, bytes]: ...

    def high_water(self) -> tuple[int, int, int, int]:
        """Highest (batch number, run_no, task_no, message_no) ever stored; 0 when none."""

    # ---- visibility
    async def list_executions(
        self, namespace_id: str, query: Query, page_size: int, after: bytes
    ) -> tuple[list[VisibilityWrite], bytes]:
        """A page, newest first (open runs by start time, then closed by close time), and the next page's token (empty:
        last).

        `values` of the rows are not read back (`search_attributes` holds them all). Raises InvalidArgument for a token
        that this store did not give out."""

    async def count_executions(self, namespace_id: str, query: Query, group_by: str = "") -> list[tuple[Any, int]]:
        """[(None, count)], or (value, count) for each group."""

    # ---- idle work
    def sweep(self, budget_rows: int, done: Callable[[int | StoreFailed], None]) -> None:
        """Delete up to `budget_rows` rows of forgotten runs, after the batches submitted so far; `done` learns how many
        rows went, on the event loop (memory: before this returns). 0 means nothing is left to delete."""
