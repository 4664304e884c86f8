"""The clocks of the simulated machine."""

from __future__ import annotations

import asyncio

from perdure.clock import SECOND


class SimulatedTime:
    """The wall clock of the simulated machine: runs with the loop, stands still, jumps ahead."""

    def __init__(self) -> None:
        self.ahead = 0
        self.stands_at: int | None = None

    def _flowing(self) -> int:
        return 1_700_000_000 * SECOND + int(asyncio.get_running_loop().time() * SECOND) + self.ahead

    def now(self) -> int:
        return self._flowing() if self.stands_at is None else self.stands_at

    def jump(self, seconds: float) -> None:
        self.ahead += int(seconds * SECOND)

    def stand(self) -> None:
        self.stands_at = self.now()

    def go_on(self) -> None:
        if self.stands_at is not None:
            self.ahead -= self._flowing() - self.stands_at
            self.stands_at = None


class SimulatedMonotonic:
    def now(self) -> float:
        return asyncio.get_running_loop().time()
