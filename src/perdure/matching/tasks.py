"""What meets in a queue: a task that waits for a worker, and a worker's poll that waits for a task.

Both are plain mutable objects, made once for each call; the fields below the line belong to `Matching`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

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


class Task(Struct, eq=False):
    """A workflow or activity task, or a direct query. `priority` is 1 (most urgent) to 5; `created` in microseconds.

    `fairness_pass` is its turn among those of its priority, given by `Matching.place`: see `fairness.py`.

    `task_no` 0 marks a task that is never stored (a query, a speculative workflow task): it waits in memory alone.
    `query` is a direct query's payload, opaque here.
    """

    queue: QueueKey
    task_no: int
    execution_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int = 1
    stamp: int = 0
    priority: int = DEFAULT_PRIORITY
    fairness_key: str = ""
    created: int = 0
    query: object | None = None
    fairness_pass: int = 0
    fairness_weight: float = 1.0
    # ----
    order: TaskOrder = (0, 0, 0)
    in_line: bool = False
    """Waits in memory, before the boundary."""
    paced: bool = False
    """Was counted by its queue's rate limit."""

    def __post_init__(self) -> None:
        self.order = (self.priority, self.fairness_pass, self.task_no)

    def __repr__(self) -> str:
        return f"Task({self.queue[1]!r}, no={self.task_no}, priority={self.priority}, run={self.run_id!r})"


class PollerHistory(Struct, eq=False):
    """When an identity last polled a queue. Seconds of Monotonic."""

    last_access: float
    rate: float


class Poller(Struct, eq=False):
    """One poll call. `waiter` is the runtime's, opaque here; `since` is when it came, in seconds of Monotonic.

    `rate` is the limit for the whole queue, in tasks a second, that it brings; None when it says nothing of that.
    """

    queue: QueueKey
    identity: str
    waiter: Any  # the runtime's own type: matching may not import it
    sticky: bool = False
    normal_name: str = ""
    worker_instance_key: str = ""
    since: float = 0.0
    rate: float | None = None
    # ----
    state: int = NEW
    task: Task | None = None
    history: PollerHistory | None = None

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
