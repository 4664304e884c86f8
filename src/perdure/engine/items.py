"""What pends in a run: its workflow task, activities, timers, children, external requests, updates.

Items are replaced, not mutated, while a workflow task completion is being decided. Times are microseconds since 1970
UTC, durations microseconds; 0 is "none" for both.
"""

# ruff: noqa: RUF012, RUF023 - records are their slots in stored order, with defaults that nobody writes to
from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar


class Fields:
    """A plain record whose slots are its stored fields, in order. New fields are appended with a default, never
    removed.

    Each subclass gets an `__init__` and a `replace` with its slots written out, as dataclasses do: these run for every
    task and event, and a loop over names costs five times as much.
    """

    __slots__: tuple[str, ...] = ()
    DEFAULTS: dict[str, Any] = {}
    _values: ClassVar[Callable[[Any], tuple[Any, ...]]]

    def __init_subclass__(cls) -> None:
        names = cls.__slots__
        if len(names) < 2:
            return
        parameters = ", ".join(f"{name}=default({name!r})" for name in names)
        made: dict[str, Any] = {"default": cls.default, "new": object.__new__, "cls": cls}
        source = f"def __init__(self, *, {parameters}):\n"
        source += "".join(f"    self.{name} = {name}\n" for name in names)
        source += "def replace(self, **changes):\n    copy = new(cls)\n"
        source += "".join(f"    copy.{name} = self.{name}\n" for name in names)
        source += "    for name in changes:\n        setattr(copy, name, changes[name])\n    return copy\n"
        exec(source, made)
        cls.__init__ = made["__init__"]  # type: ignore[method-assign] # the written-out form of the one below
        cls.replace = made["replace"]  # type: ignore[method-assign] # likewise
        cls._values = attrgetter(*names)

    def __init__(self, **values: Any) -> None:
        raise TypeError(f"{type(self).__name__} has no fields")

    @classmethod
    def default(cls, name: str) -> Any:
        return cls.DEFAULTS.get(name, 0)

    def replace(self, **changes: Any) -> Any:
        """A copy with these fields changed."""
        raise TypeError(f"{type(self).__name__} has no fields")

    def pack(self) -> tuple[Any, ...]:
        return type(self)._values(self)

    @classmethod
    def unpack(cls, values: list[Any]) -> Any:
        item = object.__new__(cls)
        count = len(values)
        for index, name in enumerate(cls.__slots__):
            setattr(item, name, values[index] if index < count else cls.default(name))
        return item

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.pack() == other.pack()

    __hash__ = None  # type: ignore[assignment] # mutable

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))
        return f"{type(self).__name__}({shown})"


class WorkflowTask(Fields):
    """The pending workflow task. `started_event_id` 0: not started.

    `transient` (attempt 2 and later): neither Scheduled nor Started is in the history yet; their IDs are the ones they
    would get now. `speculative` (made for an update): likewise, and the task itself is never stored. `queue` is the
    queue it was offered to; `sticky` whether that is the run's sticky queue.
    """

    scheduled_event_id: int
    started_event_id: int
    attempt: int
    scheduled_at: int
    original_scheduled_at: int
    """When the first of a row of heartbeat tasks was scheduled."""
    started_at: int
    start_to_close: int
    schedule_to_start: int
    """Sticky tasks only."""
    queue: str
    sticky: bool
    transient: bool
    speculative: bool
    request_id: str
    identity: str
    worker_version: bytes
    """Serialised WorkerVersionStamp of the poller, for the Started event written later."""
    stamp: int
    history_size: int
    suggest_continue_as_new: bool
    suggest_reasons: list[int]
    force_closing: bool
    """Started right after a refused close (UnhandledCommand): signals are refused meanwhile."""
    scheduled_on_sticky: str
    """Of a speculative task: the sticky queue that its Scheduled event would name, wherever it was offered since."""

    __slots__ = (
        "scheduled_event_id",
        "started_event_id",
        "attempt",
        "scheduled_at",
        "original_scheduled_at",
        "started_at",
        "start_to_close",
        "schedule_to_start",
        "queue",
        "sticky",
        "transient",
        "speculative",
        "request_id",
        "identity",
        "worker_version",
        "stamp",
        "history_size",
        "suggest_continue_as_new",
        "suggest_reasons",
        "force_closing",
        "scheduled_on_sticky",
    )
    DEFAULTS = {
        "queue": "",
        "request_id": "",
        "identity": "",
        "worker_version": b"",
        "sticky": False,
        "transient": False,
        "speculative": False,
        "suggest_continue_as_new": False,
        "suggest_reasons": (),
        "force_closing": False,
        "scheduled_on_sticky": "",
        "attempt": 1,
    }


class Activity(Fields):
    """A pending activity. `started_at` 0: not started (`attempt_scheduled_at` may lie ahead: back-off).

    `answer` is a serialised PollActivityTaskQueueResponse with all that does not change between attempts, or empty when
    it is large: then it is made from the Scheduled event. `retry_policy` and `last_failure` are serialised messages.
    """

    scheduled_event_id: int
    activity_id: str
    activity_type: str
    queue: str
    attempt: int
    stamp: int
    """Moves with each re-dispatch; a task or token with another stamp is dead."""
    scheduled_at: int
    attempt_scheduled_at: int
    started_at: int
    started_identity: str
    request_id: str
    schedule_to_close: int
    schedule_to_start: int
    start_to_close: int
    heartbeat_timeout: int
    retry_policy: bytes
    last_failure: bytes
    heartbeat_details: bytes
    heartbeat_at: int
    last_worker_identity: str
    last_attempt_completed_at: int
    cancel_requested: bool
    cancel_event_id: int
    answer: bytes
    priority: int
    fairness_key: str
    worker_version: bytes
    paused: bool
    offered: bool
    """The task of this attempt was given to matching (False while it backs off)."""
    pause_info: bytes
    """Serialised PendingActivityInfo.PauseInfo."""
    pause_request_id: str
    reset: bool
    """It was reset while an attempt ran: the next one is the first."""
    reset_heartbeat: bool
    """The next attempt starts without heartbeat details."""
    fairness_weight: float

    __slots__ = (
        "scheduled_event_id",
        "activity_id",
        "activity_type",
        "queue",
        "attempt",
        "stamp",
        "scheduled_at",
        "attempt_scheduled_at",
        "started_at",
        "started_identity",
        "request_id",
        "schedule_to_close",
        "schedule_to_start",
        "start_to_close",
        "heartbeat_timeout",
        "retry_policy",
        "last_failure",
        "heartbeat_details",
        "heartbeat_at",
        "last_worker_identity",
        "last_attempt_completed_at",
        "cancel_requested",
        "cancel_event_id",
        "answer",
        "priority",
        "fairness_key",
        "worker_version",
        "paused",
        "offered",
        "pause_info",
        "pause_request_id",
        "reset",
        "reset_heartbeat",
        "fairness_weight",
    )
    DEFAULTS = {
        "activity_id": "",
        "activity_type": "",
        "queue": "",
        "started_identity": "",
        "request_id": "",
        "retry_policy": b"",
        "last_failure": b"",
        "heartbeat_details": b"",
        "last_worker_identity": "",
        "cancel_requested": False,
        "answer": b"",
        "fairness_key": "",
        "worker_version": b"",
        "paused": False,
        "offered": False,
        "pause_info": b"",
        "pause_request_id": "",
        "reset": False,
        "reset_heartbeat": False,
        "attempt": 1,
    }


def is_under_way(activity: Activity) -> bool:
    """Whether a worker runs an attempt, or should take one now: waiting for time is neither."""
    return bool(activity.started_at) or (activity.offered and not activity.paused)


class Timer(Fields):
    timer_id: str
    started_event_id: int
    due: int

    __slots__ = ("timer_id", "started_event_id", "due")
    DEFAULTS = {"timer_id": ""}


class Child(Fields):
    """A child whose close this run waits to hear of. `run_id` and `started_event_id` are empty until it started."""

    initiated_event_id: int
    workflow_id: str
    workflow_type: str
    namespace: str
    namespace_id: str
    run_id: str
    started_event_id: int
    parent_close_policy: int

    __slots__ = (
        "initiated_event_id",
        "workflow_id",
        "workflow_type",
        "namespace",
        "namespace_id",
        "run_id",
        "started_event_id",
        "parent_close_policy",
    )
    DEFAULTS = {"workflow_id": "", "workflow_type": "", "namespace": "", "namespace_id": "", "run_id": ""}


class External(Fields):
    """A signal or cancel request on its way to another execution. `control` is echoed in the result event."""

    initiated_event_id: int
    namespace: str
    namespace_id: str
    workflow_id: str
    run_id: str
    control: str

    __slots__ = ("initiated_event_id", "namespace", "namespace_id", "workflow_id", "run_id", "control")
    DEFAULTS = {"namespace": "", "namespace_id": "", "workflow_id": "", "run_id": "", "control": ""}


class Update(Fields):
    """An update that history knows of: accepted, and perhaps completed; or only admitted, when a reset brought it from
    the run before. Event IDs are 0 for what has not happened. Kept when completed: the same ID gets the same
    outcome."""

    update_id: str
    admitted_event_id: int
    accepted_event_id: int
    completed_event_id: int

    __slots__ = ("update_id", "admitted_event_id", "accepted_event_id", "completed_event_id")
    DEFAULTS = {"update_id": ""}


class AdmittedUpdate:
    """An update that no worker has accepted or rejected yet. Never stored: it is lost with the process, and whoever
    waits for it asks again. Replaced, not mutated, like items."""

    __slots__ = ("request", "sent", "update_id")

    def __init__(self, update_id: str, request: bytes, sent: bool = False) -> None:
        self.update_id = update_id
        self.request = request
        """Serialised temporal.api.update.v1.Request."""
        self.sent = sent
        """A worker holds it, with the workflow task that is started."""


class Parent(Fields):
    """Whom this run tells of its close."""

    namespace: str
    namespace_id: str
    workflow_id: str
    run_id: str
    initiated_event_id: int

    __slots__ = ("namespace", "namespace_id", "workflow_id", "run_id", "initiated_event_id")
    DEFAULTS = {"namespace": "", "namespace_id": "", "workflow_id": "", "run_id": ""}
