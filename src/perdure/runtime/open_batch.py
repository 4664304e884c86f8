"""What joins a batch until it is sealed, and who waits to hear of it."""

from __future__ import annotations

from typing import Protocol

from perdure.engine.record import Record
from perdure.engine.state import Run
from perdure.errors import PerdureError
from perdure.runtime.executions import Key, Loaded
from perdure.storage.store import Batch, HistoryBatch, RunDelete


class Follower(Protocol):
    """Something that waits for a batch: an answered input, a started task, a message sent."""

    @property
    def key(self) -> Key | None:
        """The execution that it concerns, if any."""

    def answer(self) -> None:
        """The batch landed."""

    def undone(self) -> None:
        """It did not; all hear of it before any hears `refused`. Nothing may be decided yet."""

    def refused(self) -> None:
        """It did not; nothing that was decided holds any more."""

    def give_up(self, error: PerdureError) -> None:
        """It did not, and must not be tried again."""


class OpenBatch:
    __slots__ = (
        "added_tasks",
        "batch",
        "bytes",
        "deleted_tasks",
        "followers",
        "late_deletes",
        "loaded",
        "runs",
        "sealed_runs",
    )

    def __init__(self, number: int) -> None:
        self.batch = Batch(number)
        self.runs: dict[int, tuple[Loaded, Run]] = {}
        self.loaded: set[Loaded] = set()
        self.followers: list[Follower] = []
        self.late_deletes: list[tuple[RunDelete, Run | Record]] = []
        """Of runs that have no number yet."""
        self.sealed_runs: list[tuple[Loaded, Run, HistoryBatch | None]] = []
        self.bytes = 0
        self.added_tasks: list[int] = []
        self.deleted_tasks: list[int] = []

    @property
    def empty(self) -> bool:
        batch = self.batch
        return not (
            self.runs
            or batch.tasks
            or batch.done_tasks
            or batch.outbox
            or batch.delivered
            or batch.namespaces
            or batch.queues
            or batch.run_deletes
            or batch.meta
        )
