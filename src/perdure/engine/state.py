"""What a run is between two inputs: bytes and scalars, never a (sub-)message of a request, which would pin it in
memory.

A `Run` is a core plus items (pending activities, timers, children, external requests) plus the buffer. History-made
state is written by `apply.py` only; the rest (attempts, heartbeats, stickiness, the buffer) by the `note_*` functions
of the concept's own module, through `Turn`. Items are replaced, not mutated, while a workflow task completion is being
decided, so that `Run.snapshot` can be shallow and a refused completion leaves no trace.

Times are microseconds since 1970 UTC, durations microseconds; 0 is "none" for both.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from perdure.engine.items import Activity, AdmittedUpdate, Child, External, Parent, Timer, Update, WorkflowTask
from perdure.enums import WorkflowExecutionStatus

RUNNING: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
PAUSED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED)
"""Open like RUNNING, but no task is given out."""


class Changes:
    """What turns did to a run since its last commit; the runtime takes it when it seals a batch."""

    __slots__ = (
        "changed",
        "events",
        "first_event_id",
        "inherits",
        "items",
        "queue",
        "request_ids",
        "started",
        "status",
        "visibility",
    )

    def __init__(self) -> None:
        self.changed = False
        """Something durable moved: the run's row must be written."""
        self.events: list[bytes] = []
        """Framed as elements of `History.events`: joined they are a serialised History."""
        self.first_event_id = 0
        self.inherits: tuple[int, int] | None = None
        """Of a run that was just reset: number of the run whose history it begins with, and the last event of it that
        is not among `events`."""
        self.items: set[tuple[int, str]] = set()
        self.request_ids: list[tuple[str, int, int]] = []
        self.visibility = False
        self.queue = False
        """Its task queue moved (of a standalone activity: workflows keep theirs)."""
        self.status = False
        """Paused or unpaused: lists show another status, though the run is open."""
        self.started = False
        """The run was created in this commit."""


# Sorts of items and of deadlines.
ACTIVITY, TIMER, CHILD, SIGNAL, CANCEL, BUFFERED = 1, 2, 3, 4, 5, 6
WORKFLOW_TASK, RUN, BACKOFF = 7, 8, 9
UPDATE = 10

CORE_FIELDS: Final = (
    "namespace_id",
    "namespace",
    "workflow_id",
    "run_id",
    "workflow_type",
    "task_queue",
    "first_run_id",
    "original_run_id",
    "create_request_id",
    "root_workflow_id",
    "root_run_id",
    "status",
    "started_at",
    "original_started_at",
    "execution_at",
    "closed_at",
    "attempt",
    "execution_timeout",
    "run_timeout",
    "task_timeout",
    "run_expires_at",
    "execution_expires_at",
    "backoff_until",
    "cron_schedule",
    "has_retry_policy",
    "next_event_id",
    "history_size",
    "previous_started_event_id",
    "state_transitions",
    "cancel_requested",
    "cancel_request_id",
    "signal_count",
    "sticky_queue",
    "sticky_timeout",
    "memo",
    "search_attributes",
    "user_metadata",
    "priority",
    "priority_key",
    "fairness_key",
    "worker_version",
    "reset_points",
    "successor_run_id",
    "reset_run_id",
    "close_attempted",
    "awaits_parent",
    "completed_tasks",
    "problems",
    "stamp",
    "workflow_task_attempt",
    "start_carries",
    "fairness_weight",
    "reset_request_id",
    "ancestors",
    "pause_info",
    "pause_request_id",
    "versioning_override",
    "watchers",
)
_DEFAULTS: Final[dict[str, Any]] = {
    "namespace_id": "",
    "namespace": "",
    "workflow_id": "",
    "run_id": "",
    "workflow_type": "",
    "task_queue": "",
    "first_run_id": "",
    "original_run_id": "",
    "create_request_id": "",
    "root_workflow_id": "",
    "root_run_id": "",
    "status": RUNNING,
    "attempt": 1,
    "cron_schedule": "",
    "has_retry_policy": False,
    "next_event_id": 1,
    "cancel_requested": False,
    "cancel_request_id": "",
    "sticky_queue": "",
    "memo": b"",
    "search_attributes": {},
    "user_metadata": b"",
    "priority": b"",
    "fairness_key": "",
    "worker_version": b"",
    "reset_points": b"",
    "successor_run_id": "",
    "reset_run_id": "",
    "close_attempted": False,
    "awaits_parent": False,
    "problems": (),
    "workflow_task_attempt": 1,
    "start_carries": False,
    "reset_request_id": "",
    "ancestors": (),
    "pause_info": b"",
    "pause_request_id": "",
    "versioning_override": b"",
    "watchers": (),
}


def _defaults_written_out() -> Callable[[Run], None]:
    """Sets every core field to its default, name by name: a loop over names costs twice as much."""
    lines = [f"    run.{name} = {_DEFAULTS.get(name, 0)!r}" for name in CORE_FIELDS]
    made: dict[str, Any] = {}
    exec("def set_defaults(run):\n" + "\n".join(lines), made)
    set_defaults: Callable[[Run], None] = made["set_defaults"]
    return set_defaults


_set_defaults: Final = _defaults_written_out()


class Run:
    """One run's mutable state."""

    # identity and facts of the start
    namespace_id: str
    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    first_run_id: str
    original_run_id: str
    create_request_id: str
    root_workflow_id: str
    root_run_id: str
    status: int
    """enums.WorkflowExecutionStatus."""
    started_at: int
    original_started_at: int
    """Event 1's time; differs from `started_at` after a reset."""
    execution_at: int
    """`started_at` plus the first back-off."""
    closed_at: int
    attempt: int
    execution_timeout: int
    run_timeout: int
    task_timeout: int
    run_expires_at: int
    execution_expires_at: int
    backoff_until: int
    """The first workflow task waits for this time (start delay, cron, retry); 0 once it was scheduled."""
    cron_schedule: str
    has_retry_policy: bool
    # history
    next_event_id: int
    history_size: int
    previous_started_event_id: int
    """Started event of the last *completed* workflow task."""
    state_transitions: int
    cancel_requested: bool
    cancel_request_id: str
    signal_count: int
    sticky_queue: str
    sticky_timeout: int
    memo: bytes
    """Serialised Memo."""
    search_attributes: dict[str, bytes]
    """Name to serialised Payload."""
    user_metadata: bytes
    priority: bytes
    priority_key: int
    fairness_key: str
    fairness_weight: float
    worker_version: bytes
    """Serialised WorkerVersionStamp of the last completed workflow task."""
    reset_points: bytes
    successor_run_id: str
    reset_run_id: str
    close_attempted: bool
    awaits_parent: bool
    """A child's first workflow task waits until the parent recorded ChildWorkflowExecutionStarted."""
    completed_tasks: int
    problems: list[str]
    stamp: int
    """Source of task stamps: moves with every dispatch of a task of this run."""
    workflow_task_attempt: int
    """The attempt that the next workflow task gets."""
    start_carries: bool
    """The start event has links or completion callbacks, which a continued run inherits."""
    reset_request_id: str
    """The request that made this run by a reset."""
    watchers: list[list[Any]]
    """Whom to tell of the end, see watching.py."""
    ancestors: list[str]
    """Runs that this one was reset from, oldest first: its children may have been started for one of them."""
    pause_info: bytes
    """Serialised WorkflowExecutionPauseInfo; empty unless the run is paused."""
    pause_request_id: str
    versioning_override: bytes
    """Serialised VersioningOverride, or empty."""

    __slots__ = (
        *CORE_FIELDS,
        "activities",
        "activity_ids",
        "admitted",
        "armed",
        "buffered",
        "cancels",
        "changes",
        "children",
        "deadlines",
        "extra",
        "parent",
        "request_ids",
        "run_no",
        "signals",
        "spilled",
        "timers",
        "updates",
        "version",
        "workflow_task",
    )

    def __init__(self) -> None:
        _set_defaults(self)
        self.parent: Parent | None = None
        self.workflow_task: WorkflowTask | None = None
        self.activities: dict[int, Activity] = {}
        self.activity_ids: dict[str, int] = {}
        self.timers: dict[str, Timer] = {}
        self.children: dict[int, Child] = {}
        self.signals: dict[int, External] = {}
        self.cancels: dict[int, External] = {}
        self.updates: dict[str, Update] = {}
        self.admitted: dict[str, AdmittedUpdate] = {}
        """Volatile, in order of arrival."""
        self.buffered: list[bytes] = []
        """Serialised events without IDs, in order of arrival, that wait for the started workflow task to end."""
        self.request_ids: dict[str, tuple[int, int]] = {}
        """Request ID to (event type, event ID); rows of their own in the store."""
        self.extra: list[Any] = []
        """Stored fields that this release does not know, kept as they are."""
        # Not stored in the core:
        self.run_no = 0
        self.version = 0
        self.spilled = False
        """Items live in rows of their own since they outgrew the core."""
        self.deadlines: list[tuple[int, int, int, str]] = []
        self.armed: dict[tuple[int, str], int] = {}
        """The earliest entry in `deadlines` of each sort and key."""
        self.changes = Changes()

    @property
    def running(self) -> bool:
        """Open, paused or not."""
        return self.status == RUNNING or self.status == PAUSED

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
        return (
            _ALL(self),
            [field.copy() for field in _COPIES(self)],
            None if self.workflow_task is None else self.workflow_task.replace(),
            (
                changes.changed,
                len(changes.events),
                changes.first_event_id,
                len(changes.request_ids),
                changes.visibility,
            ),
        )

    def restore(self, saved: Snapshot) -> None:
        values, copies, task, (changed, events, first_event_id, request_ids, visibility) = saved
        deadlines = self.deadlines  # superfluous entries are dropped when they come up
        for name, value in zip(self.__slots__, values, strict=True):
            setattr(self, name, value)
        for name, value in zip(_COPIED, copies, strict=True):
            setattr(self, name, value)
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


Snapshot = tuple[tuple[Any, ...], list[Any], WorkflowTask | None, tuple[bool, int, int, int, bool]]

_COPIED: Final = (
    "activities",
    "activity_ids",
    "timers",
    "children",
    "signals",
    "cancels",
    "updates",
    "admitted",
    "buffered",
    "search_attributes",
)
_COPIES: Final = attrgetter(*_COPIED)
_ALL: Final = attrgetter(*Run.__slots__)
