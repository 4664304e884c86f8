"""Turns of fairness keys: in what order tasks of one priority are dispatched when they belong to several keys.

Each task gets a *pass* when it joins the backlog, and goes in order of it. A key's tasks get passes a stride apart, the
stride being the inverse of the key's weight; a key that has no tasks waiting starts from the pass that is being
dispatched now (start-time fair queueing). So while two keys have tasks waiting, they are dispatched in proportion to
their weights, whatever the length of their backlogs and whoever came first; a key alone goes first come, first served.
A pass is given once and stored with the task, so the backlog is one order that can be read in pages from the store.
"""

from __future__ import annotations

from typing import Final

STRIDE: Final = 1_000_000
"""Between two tasks of a key of weight 1."""
LOWEST_WEIGHT: Final = 0.001
HIGHEST_WEIGHT: Final = 1_000.0
KEYS: Final = 10_000
"""Keys that are remembered with their next turn, for each queue and priority; others are looked up in the store."""

Passes = tuple[int, int] | None
"""What the store holds of a priority: its lowest pass and the highest of one key (-1: none of that key). None: nothing
at all."""


def weight_of(weight: float) -> float:
    """Unset, or nonsense, is 1."""
    if weight <= 0.0:
        return 1.0
    return min(HIGHEST_WEIGHT, max(LOWEST_WEIGHT, weight))


class Turns:
    """The passes of one priority of one queue. `whole`: a key that is not in `turn` has no task that waits."""

    __slots__ = ("at", "turn", "whole")

    def __init__(self, at: int = 0, whole: bool = False) -> None:
        self.at = at
        """The highest pass that was dispatched."""
        self.turn: dict[str, int] = {}
        """The lowest pass a key's next task may have."""
        self.whole = whole

    def take(self, fairness_key: str, weight: float) -> int:
        """The pass of the next task of a key."""
        turn = self.turn
        fairness_pass = turn.get(fairness_key, 0)
        if fairness_pass < self.at:
            fairness_pass = self.at
        turn[fairness_key] = fairness_pass + (STRIDE if weight == 1.0 else int(STRIDE / weight_of(weight)))
        if len(turn) > KEYS:
            self._forget_keys()
        return fairness_pass

    def follow(self, fairness_key: str, fairness_pass: int) -> None:
        """The key has a task of that pass waiting: its next one goes after it."""
        self.turn[fairness_key] = max(fairness_pass + 1, self.turn.get(fairness_key, 0))

    def _forget_keys(self) -> None:
        """Those whose turn has come are as good as new. If that does not help, half of those seen first."""
        self.turn = {key: turn for key, turn in self.turn.items() if turn > self.at}
        if len(self.turn) > KEYS // 2:
            self.turn = dict(list(self.turn.items())[KEYS // 2 :])
            self.whole = False
