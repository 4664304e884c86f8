"""Inputs that came while the open batch was full: they wait for room, and what would be one too many is refused.

Answers of workers go first: each ends work that is under way, and a start makes more of it. Otherwise first come,
first served, and nobody who comes later overtakes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from perdure.errors import SystemOverloaded
from perdure.runtime.inputs import Entry

MOST_WAITING: Final = 20_000
MOST_ANSWERS: Final = 5_000
"""Of workers, beyond that."""

_ANSWERS: Final = ("Respond", "RecordActivityTaskHeartbeat")


class Line:
    def __init__(self) -> None:
        self._answers: deque[Entry] = deque()
        self._others: deque[Entry] = deque()
        self.waits = False
        """Whether anybody does: who comes now has to join."""

    def __len__(self) -> int:
        return len(self._answers) + len(self._others)

    def join(self, item: Entry) -> None:
        """The input has its turn later, or is told that there are too many."""
        answers = _is_answer(item)
        if len(self) >= MOST_WAITING + (MOST_ANSWERS if answers else 0):
            item.give_up(SystemOverloaded())
            return
        (self._answers if answers else self._others).append(item)
        self.waits = True

    def next(self) -> Entry:
        """Raises IndexError when nobody waits."""
        item = (self._answers or self._others).popleft()
        self.waits = bool(self._answers or self._others)
        return item


def _is_answer(item: Entry) -> bool:
    method: str = getattr(item.waiter, "method", "")
    return method.rpartition("/")[2].startswith(_ANSWERS)
