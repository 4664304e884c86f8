"""What pends in a run: its workflow task, activities, timers, children, external requests, updates.

Items are replaced, not mutated, while a workflow task completion is being decided. Times are microseconds since 1970
UTC, durations microseconds; 0 is "none" for both.
"""

from __future__ import annotations

from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace


class Fields(Struct, array_like=True, repr_omit_defaults=True):
    """A plain record that is stored as the list of its fields, in order. New fields are appended with a default, never
    removed. (Not dataclasses: these are made, copied and packed for every task and event, and msgspec does that in C.)
    """

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return replace(self, **changes)

    @classmethod
    def unpack(cls, values: list[Any]) -> Self:
        """Of a stored list: what it lacks has its default, what a newer release added is dropped."""
        return cls(*values[: len(cls.__struct_fields__)])


class WorkflowTask(Fields):
    """The pending workflow task. `started_event_id` 0: not started.

    `transient` (attempt 2 and later): neither Scheduled nor Started is in the history yet; their IDs are the ones they
    would get now. `speculative` (made for an update): likewise, and the task itself is never stored. `queue` is the
    queue it was offered to; `sticky` whether that is the run's sticky queue.
    """

    scheduled_event_id: int = 0
    started_event_id: int = 0
    attempt: int = 1
    scheduled_at: int = 0
    original_scheduled_at: int = 0
    """When the first of a row of heartbeat tasks was scheduled."""
    started_at: int = 0
    start_to_close: int = 0
    schedule_to_start: int = 0
    """Sticky tasks only."""
    queue: str = ""
    sticky: bool = False
    transient: bool = False
    speculative: bool = False
    request_id: str = ""
    identity: str = ""
    worker_version: bytes = b""
    """Serialised WorkerVersionStamp of the poller, for the Started event written later."""
    stamp: int = 0
    history_size: int = 0
    suggest_continue_as_new: bool = False
    suggest_reasons: list[int] = []
    force_closing: bool = False
    """Started right after a refused close (UnhandledCommand): signals are refused meanwhile."""
    scheduled_on_sticky: str = ""
    """Of a speculative task: the sticky queue that its Scheduled event would name, wherever it was offered since."""


class Activity(Fields):
    """A pending activity. `started_at` 0: not started (`attempt_scheduled_at` may lie ahead: back-off).

    `answer` is a serialised PollActivityTaskQueueResponse with all that does not change between attempts, or empty when
    it is large: then it is made from the Scheduled event. `retry_policy` and `last_failure` are serialised messages.
    """

    scheduled_event_id: int = 0
    activity_id: str = ""
    activity_type: str = ""
    queue: str = ""
    attempt: int = 1
    stamp: int = 0
    """Moves with each re-dispatch; a task or token with another stamp is dead."""
    scheduled_at: int = 0
    attempt_scheduled_at: int = 0
    started_at: int = 0
    started_identity: str = ""
    request_id: str = ""
    schedule_to_close: int = 0
    schedule_to_start: int = 0
    start_to_close: int = 0
    heartbeat_timeout: int = 0
    retry_policy: bytes = b""
    last_failure: bytes = b""
    heartbeat_details: bytes = b""
    heartbeat_at: int = 0
    last_worker_identity: str = ""
    last_attempt_completed_at: int = 0
    cancel_requested: bool = False
    cancel_event_id: int = 0
    answer: bytes = b""
    priority: int = 0
    fairness_key: str = ""
    worker_version: bytes = b""
    paused: bool = False
    offered: bool = False
    """The task of this attempt was given to matching (False while it backs off)."""
    pause_info: bytes = b""
    """Serialised PendingActivityInfo.PauseInfo."""
    pause_request_id: str = ""
    reset: bool = False
    """It was reset while an attempt ran: the next one is the first."""
    reset_heartbeat: bool = False
    """The next attempt starts without heartbeat details."""
    fairness_weight: float = 0.0


def is_under_way(activity: Activity) -> bool:
    """Whether a worker runs an attempt, or should take one now: waiting for time is neither."""
    return bool(activity.started_at) or (activity.offered and not activity.paused)


class Timer(Fields):
    timer_id: str = ""
    started_event_id: int = 0
    due: int = 0


class Child(Fields):
    """A child whose close this run waits to hear of. `run_id` and `started_event_id` are empty until it started."""

    initiated_event_id: int = 0
    workflow_id: str = ""
    workflow_type: str = ""
    namespace: str = ""
    namespace_id: str = ""
    run_id: str = ""
    started_event_id: int = 0
    parent_close_policy: int = 0


class External(Fields):
    """A signal or cancel request on its way to another execution. `control` is echoed in the result event."""

    initiated_event_id: int = 0
    namespace: str = ""
    namespace_id: str = ""
    workflow_id: str = ""
    run_id: str = ""
    control: str = ""


class Update(Fields):
    """An update that history knows of: accepted, and perhaps completed; or only admitted, when a reset brought it from
    the run before. Event IDs are 0 for what has not happened. Kept when completed: the same ID gets the same
    outcome."""

    update_id: str = ""
    admitted_event_id: int = 0
    accepted_event_id: int = 0
    completed_event_id: int = 0


class AdmittedUpdate(Struct):
    """An update that no worker has accepted or rejected yet. Never stored: it is lost with the process, and whoever
    waits for it asks again. Replaced, not mutated, like items."""

    update_id: str
    request: bytes
    """Serialised temporal.api.update.v1.Request."""
    sent: bool = False
    """A worker holds it, with the workflow task that is started."""


class Parent(Fields):
    """Whom this run tells of its close."""

    namespace: str = ""
    namespace_id: str = ""
    workflow_id: str = ""
    run_id: str = ""
    initiated_event_id: int = 0
