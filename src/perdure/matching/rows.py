"""Task rows that lag behind memory: not in the store yet, or still there although their task was taken.

Rows are written and deleted with the batch that is open, and a read may be of any moment in between. So a task is known
by its number until the batch with its row is committed, and another until the batch that deletes it is. How a queue's
backlog makes one order of both is told in `backlog.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from perdure.matching.queue import Queue
from perdure.matching.tasks import QueueKey, Task


class Rows:
    """Of all queues: task numbers are unique in a store."""

    __slots__ = ("_noted", "_queues", "departed", "reads", "unstored")

    def __init__(self, queues: Mapping[QueueKey, Queue]) -> None:
        self._queues = queues
        self.unstored: dict[int, Task] = {}
        """Tasks whose row is not durable."""
        self.departed: dict[int, Task | None] = {}
        """Taken and withdrawn ones whose row's deletion is not durable. None: withdrawn unseen."""
        self.reads = 0
        """How many are under way."""
        self._noted: list[tuple[Collection[int], Collection[int]]] = []

    def read_begins(self) -> None:
        """Until it ended, commits are noted and change nothing."""
        self.reads += 1

    def read_ended(self) -> None:
        self.reads -= 1
        if not self.reads:
            noted, self._noted = self._noted, []
            for added, deleted in noted:
                self.committed(added, deleted)

    def committed(self, added: Collection[int], deleted: Collection[int]) -> None:
        """A batch with these task rows (by number) is durable."""
        if self.reads:
            self._noted.append((added, deleted))  # the read may be of a moment before this commit
            return
        for task_no in added:
            task = self.unstored.pop(task_no, None)
            queue = self._queues.get(task.queue) if task is not None else None
            if queue is not None:
                queue.backlog.beyond.pop(task_no, None)
        for task_no in deleted:
            self.departed.pop(task_no, None)

    def refused(self, added: Collection[int], deleted: Collection[int]) -> list[Task]:
        """A batch did not land: tasks it would have added are gone. Returns those that it would have deleted, which
        nobody holds now."""
        for task_no in added:
            task = self.unstored.pop(task_no, None) or self.departed.get(task_no)
            queue = self._queues.get(task.queue) if task is not None else None
            if queue is not None:
                queue.backlog.drop(task_no)
            self.departed.pop(task_no, None)
        return [task for task_no in deleted if (task := self.departed.pop(task_no, None)) is not None]
