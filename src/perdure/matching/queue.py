"""What one queue holds: its line of parked pollers, its backlog of tasks, and what is known of either."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from perdure.matching.backlog import Backlog
from perdure.matching.key_limits import KeyLimits
from perdure.matching.pace import UNSET, Pace
from perdure.matching.rates import Flow
from perdure.matching.scaling import Advice
from perdure.matching.tasks import Poller, PollerHistory, QueueKey, Task

HISTORY_SECONDS: Final = 300.0
"""How long a poller is known after it was last seen."""


class Queue:
    """One queue's line of parked pollers and backlog of tasks."""

    __slots__ = (
        "advice",
        "backlog",
        "flows",
        "history",
        "key",
        "key_limits",
        "last_used",
        "line",
        "pace",
        "settings",
        "volatile",
        "worker_rate",
    )

    def __init__(self, key: QueueKey, backlog: Backlog, now: float) -> None:
        self.key = key
        self.backlog = backlog
        self.line: OrderedDict[Poller, None] = OrderedDict()
        self.volatile: OrderedDict[Task, None] = OrderedDict()
        self.history: dict[str, PollerHistory] = {}
        self.flows: dict[int, Flow] = {}
        self.last_used = now
        self.settings = UNSET
        self.worker_rate: float | None = None  # of the latest poll that brought one
        self.pace: Pace | None = None
        self.advice: Advice | None = None
        self.key_limits: KeyLimits | None = None

    def flow(self, priority: int, now: float) -> Flow:
        flow = self.flows.get(priority)
        if flow is None:
            flow = self.flows[priority] = Flow(now)
        return flow
