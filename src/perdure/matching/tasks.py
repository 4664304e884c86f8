"""What meets in a queue: a task that waits for a worker, and a worker's poll that waits for a task.

Both are plain mutable objects, made once for each call; the fields below the line belong to `Matching`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

QueueKey = tuple[str, str, int]
"""(namespace ID, queue name, kind: 1 workflow, 2 activity)."""

DEFAULT_PRIORITY: Final = 3
LOWEST_PRIORITY: Final = 5

# Where a poller is.
NEW: Final = 0
PARKED: Final = 1
RESERVED: Final = 2  # holds a task which the runtime is starting
ANSWERED: Final = 3
CANCELLED: Final = 4


TaskOrder = tuple[int, int, int]
"""(priority, fairness pass, task_no), the order of dispatch."""


class Task:
    """A workflow or activity task, or a direct query. `priority` is 1 (most urgent) to 5; `created` in microseconds.

    `fairness_pass` is its turn among those of its priority, given by `Matching.place`: see `fairness.py`.

    `task_no` 0 marks a task that is never stored (a query, a speculative workflow task): it waits in memory alone.
    `query` is a direct query's payload, opaque here.
    """

    __slots__ = (
        "attempt",
        "created",
        "execution_id",
        "fairness_key",
        "fairness_pass",
        "fairness_weight",
        "in_line",
        "order",
        "paced",
        "priority",
        "query",
        "queue",
        "run_id",
        "scheduled_event_id",
        "stamp",
        "task_no",
    )

    def __init__(
        self,
        queue: QueueKey,
        task_no: int,
        execution_id: str,
        run_id: str,
        scheduled_event_id: int,
        attempt: int = 1,
        stamp: int = 0,
        priority: int = DEFAULT_PRIORITY,
        fairness_key: str = "",
        created: int = 0,
        query: object | None = None,
        fairness_pass: int = 0,
        fairness_weight: float = 1.0,
    ) -> None:
        self.queue = queue
        self.task_no = task_no
        self.execution_id = execution_id
        self.run_id = run_id
        self.scheduled_event_id = scheduled_event_id
        self.attempt = attempt
        self.stamp = stamp
        self.priority = priority
        self.fairness_key = fairness_key
        self.fairness_pass = fairness_pass
        self.fairness_weight = fairness_weight
        self.order: TaskOrder = (priority, fairness_pass, task_no)
        self.created = created
        self.query = query
        # ----
        self.in_line = False  # waits in memory, before the boundary
        self.paced = False  # was counted by its queue's rate limit

    def __repr__(self) -> str:
        return f"Task({self.queue[1]!r}, no={self.task_no}, priority={self.priority}, run={self.run_id!r})"


class PollerHistory:
    """When an identity last polled a queue. Seconds of Monotonic."""

    __slots__ = ("last_access", "rate")

    def __init__(self, last_access: float, rate: float) -> None:
        self.last_access = last_access
        self.rate = rate


class Poller:
    """One poll call. `waiter` is the runtime's, opaque here; `since` is when it came, in seconds of Monotonic.

    `rate` is the limit for the whole queue, in tasks a second, that it brings; None when it says nothing of that.
    """

    __slots__ = (
        "history",
        "identity",
        "normal_name",
        "queue",
        "rate",
        "since",
        "state",
        "sticky",
        "task",
        "waiter",
        "worker_instance_key",
    )

    def __init__(
        self,
        queue: QueueKey,
        identity: str,
        waiter: Any,  # the runtime's own type: matching may not import it
        sticky: bool = False,
        normal_name: str = "",
        worker_instance_key: str = "",
        since: float = 0.0,
        rate: float | None = None,
    ) -> None:
        self.queue = queue
        self.identity = identity
        self.waiter = waiter
        self.sticky = sticky
        self.normal_name = normal_name
        self.worker_instance_key = worker_instance_key
        self.since = since
        self.rate = rate
        # ----
        self.state: int = NEW
        self.task: Task | None = None
        self.history: PollerHistory | None = None

    @property
    def cancelled(self) -> bool:
        """The caller went away; an answer to it would be lost."""
        return self.state == CANCELLED

    def __repr__(self) -> str:
        return f"Poller({self.queue[1]!r}, {self.identity!r}, state={self.state})"


Match = tuple[Task, Poller]
"""A task and the poller reserved for it."""


@dataclass(frozen=True, slots=True)
class PollerInfo:
    identity: str
    last_access: float
    """Seconds of Monotonic: when the identity's last poll came, or ended."""
    rate: float
    """Tasks a second it asked for; 100,000 when it named none."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    backlog_count: int
    """Tasks in memory. When `overflow`, the store holds more: ask it for the count."""
    overflow: bool
    oldest_created: int | None
    """Microseconds of Time, of the oldest waiting task known; None without backlog."""
    add_rate: float
    """Tasks a second over the last 30 s, matched at once or not; queries do not count."""
    dispatch_rate: float
