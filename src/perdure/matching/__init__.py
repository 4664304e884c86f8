"""Connects waiting tasks to waiting pollers, and remembers which workers are there. Pure: no I/O, no clock."""

from perdure.matching.queues import Load, Matching, Unloaded
from perdure.matching.tasks import Match, Poller, PollerInfo, QueueKey, QueueStats, Task
from perdure.matching.workers import StoppedWorkers, WorkerEntry, WorkerRegistry

__all__ = [
    "Load",
    "Match",
    "Matching",
    "Poller",
    "PollerInfo",
    "QueueKey",
    "QueueStats",
    "StoppedWorkers",
    "Task",
    "Unloaded",
    "WorkerEntry",
    "WorkerRegistry",
]
