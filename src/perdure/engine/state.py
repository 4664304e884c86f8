"""What a run is between two inputs: bytes and scalars, never a (sub-)message of a request, which would pin it in
memory.

A `Run` is a core plus items (pending activities, timers, children, external requests) plus the buffer. History-made
state is written by `apply.py` only; the rest (attempts, heartbeats, stickiness, the buffer) by the `note_*` functions
of the concept's own module, through `Turn`. Items are replaced, not mutated, while a workflow task completion is being
decided, so that `Run.snapshot` can be shallow and a refused completion leaves no trace.

Times are microseconds since 1970 UTC, durations microseconds; 0 is "none" for both.
"""

# ruff: noqa: RUF012 - msgspec gives each record its own copy of a default
from __future__ import annotations

import heapq
from copy import copy
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import astuple

from perdure.engine.items import Activity, AdmittedUpdate, Child, External, Fields, Parent, Timer, Update, WorkflowTask
from perdure.enums import WorkflowExecutionStatus

RUNNING: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
PAUSED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED)
"""Open like RUNNING, but no task is given out."""
OPEN: Final = (RUNNING, PAUSED)


class Changes(Struct, eq=False):
    """What turns did to a run since its last commit; the runtime takes it when it seals a batch."""

    changed: bool = False
    """Something durable moved: the run's row must be written."""
    events: list[bytes] = []
    """Framed as elements of `History.events`: joined they are a serialised History."""
    first_event_id: int = 0
    inherits: tuple[int, int] | None = None
    """Of a run that was just reset: number of the run whose history it begins with, and the last event of it that is
    not among `events`."""
    items: set[tuple[int, str]] = set()
    request_ids: list[tuple[str, int, int]] = []
    visibility: bool = False
    queue: bool = False
    """Its task queue moved (of a standalone activity: workflows keep theirs)."""
    status: bool = False
    """Paused or unpaused: lists show another status, though the run is open."""
    started: bool = False
    """The run was created in this commit."""


# Sorts of items and of deadlines.
ACTIVITY, TIMER, CHILD, SIGNAL, CANCEL, BUFFERED = 1, 2, 3, 4, 5, 6
WORKFLOW_TASK, RUN, BACKOFF = 7, 8, 9
UPDATE = 10


class RunCore(Fields, eq=False):
    """What is stored of a run in one piece, in stored order."""

    namespace_id: str = ""
    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    task_queue: str = ""
    first_run_id: str = ""
    original_run_id: str = ""
    create_request_id: str = ""
    root_workflow_id: str = ""
    root_run_id: str = ""
    status: int = RUNNING
    """enums.WorkflowExecutionStatus."""
    started_at: int = 0
    original_started_at: int = 0
    """Event 1's time; differs from `started_at` after a reset."""
    execution_at: int = 0
    """`started_at` plus the first back-off."""
    closed_at: int = 0
    attempt: int = 1
    execution_timeout: int = 0
    run_timeout: int = 0
    task_timeout: int = 0
    run_expires_at: int = 0
    execution_expires_at: int = 0
    backoff_until: int = 0
    """The first workflow task waits for this time (start delay, cron, retry); 0 once it was scheduled."""
    cron_schedule: str = ""
    has_retry_policy: bool = False
    next_event_id: int = 1
    history_size: int = 0
    previous_started_event_id: int = 0
    """Started event of the last *completed* workflow task."""
    state_transitions: int = 0
    cancel_requested: bool = False
    cancel_request_id: str = ""
    signal_count: int = 0
    sticky_queue: str = ""
    sticky_timeout: int = 0
    memo: bytes = b""
    """Serialised Memo."""
    search_attributes: dict[str, bytes] = {}
    """Name to serialised Payload."""
    user_metadata: bytes = b""
    priority: bytes = b""
    priority_key: int = 0
    fairness_key: str = ""
    worker_version: bytes = b""
    """Serialised WorkerVersionStamp of the last completed workflow task."""
    reset_points: bytes = b""
    successor_run_id: str = ""
    reset_run_id: str = ""
    close_attempted: bool = False
    awaits_parent: bool = False
    """A child's first workflow task waits until the parent recorded ChildWorkflowExecutionStarted."""
    completed_tasks: int = 0
    problems: list[str] = []
    stamp: int = 0
    """Source of task stamps: moves with every dispatch of a task of this run."""
    workflow_task_attempt: int = 1
    """The attempt that the next workflow task gets."""
    start_carries: bool = False
    """The start event has links or completion callbacks, which a continued run inherits."""
    fairness_weight: float = 0.0
    reset_request_id: str = ""
    """The request that made this run by a reset."""
    ancestors: list[str] = []
    """Runs that this one was reset from, oldest first: its children may have been started for one of them."""
    pause_info: bytes = b""
    """Serialised WorkflowExecutionPauseInfo; empty unless the run is paused."""
    pause_request_id: str = ""
    versioning_override: bytes = b""
    """Serialised VersioningOverride, or empty."""
    watchers: list[list[Any]] = []
    """Whom to tell of the end, see watching.py."""
    chain_request_id: str = ""
    """Of a run that goes on where another ended: the request that started the first of them."""


class Run(RunCore, eq=False):
    """One run's mutable state."""

    running: bool = True
    """Open, paused or not: follows from `status`."""
    parent: Parent | None = None
    workflow_task: WorkflowTask | None = None
    activities: dict[int, Activity] = {}
    activity_ids: dict[str, int] = {}
    timers: dict[str, Timer] = {}
    children: dict[int, Child] = {}
    signals: dict[int, External] = {}
    cancels: dict[int, External] = {}
    updates: dict[str, Update] = {}
    admitted: dict[str, AdmittedUpdate] = {}
    """Volatile, in order of arrival."""
    buffered: list[bytes] = []
    """Serialised events without IDs, in order of arrival, that wait for the started workflow task to end."""
    request_ids: dict[str, tuple[int, int]] = {}
    """Request ID to (event type, event ID); rows of their own in the store."""
    extra: list[Any] = []
    """Stored fields that this release does not know, kept as they are."""
    # Not stored in the core:
    run_no: int = 0
    version: int = 0
    spilled: bool = False
    """Items live in rows of their own since they outgrew the core."""
    deadlines: list[tuple[int, int, int, str]] = []
    armed: dict[tuple[int, str], int] = {}
    """The earliest entry in `deadlines` of each sort and key."""
    changes: Changes = field(default_factory=Changes)

    @property
    def paused(self) -> bool:
        return self.status == PAUSED

    @property
    def history_length(self) -> int:
        return self.next_event_id - 1

    # ---- deadlines: a heap with lazy deletion, rebuilt on load; `waking.py` says which entries still hold
    def arm(self, due: int, order: int, sort: int, key: str = "") -> None:
        """Remember that something may be due then. Entries are checked against the state when they come up, so a
        deadline that moved later or vanished needs no removal; one that moved earlier must be armed again. Something
        that is armed for an earlier moment already gets no second entry, as else a thousand retries would leave
        thousands of them."""
        if due and not 0 < self.armed.get((sort, key), 0) <= due:
            self.armed[sort, key] = due
            heapq.heappush(self.deadlines, (due, order, sort, key))

    def disarm(self) -> tuple[int, int, int, str]:
        """Take out the earliest entry: (due, order, sort, key)."""
        entry = heapq.heappop(self.deadlines)
        due, _, sort, key = entry
        if self.armed.get((sort, key)) == due:
            del self.armed[sort, key]
        return entry

    # ---- a refused completion leaves no trace
    def snapshot(self) -> Snapshot:
        """All state by field; dicts and lists are copied one level deep. Restored by `restore`."""
        changes = self.changes
        values = astuple(self)
        return (
            values,
            [held.copy() if held else None for held in values[_COPIED]],
            self.search_attributes.copy(),
            copy(self.workflow_task),
            (
                changes.changed,
                len(changes.events),
                changes.first_event_id,
                len(changes.request_ids),
                changes.visibility,
            ),
        )

    def restore(self, saved: Snapshot) -> None:
        values, copies, attributes, task, (changed, events, first_event_id, request_ids, visibility) = saved
        deadlines = self.deadlines  # superfluous entries are dropped when they come up
        for name, value in zip(_NAMES, values, strict=True):
            setattr(self, name, value)
        for name, held, kept in zip(_NAMES[_COPIED], values[_COPIED], copies, strict=True):
            setattr(self, name, type(held)() if kept is None else kept)  # what was empty was not copied
        self.search_attributes = attributes
        self.deadlines = deadlines
        self.workflow_task = task
        changes = self.changes
        changes.changed = changed
        changes.first_event_id = first_event_id
        changes.visibility = visibility
        del changes.events[events:]
        for request_id, _, _ in changes.request_ids[request_ids:]:
            self.request_ids.pop(request_id, None)
        del changes.request_ids[request_ids:]


Snapshot = tuple[tuple[Any, ...], list[Any], dict[str, bytes], WorkflowTask | None, tuple[bool, int, int, int, bool]]

CORE_FIELDS: Final = RunCore.__struct_fields__
_NAMES: Final = Run.__struct_fields__
_COPIED: Final = slice(_NAMES.index("activities"), _NAMES.index("buffered") + 1)
