"""What happens when a run or record may have something due; `wakes.py` says when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.call import PENDING, Pending
from perdure.engine.kinds import KINDS
from perdure.engine.turn import Shared
from perdure.errors import PerdureError
from perdure.runtime.inputs import Entry, enter_later

if TYPE_CHECKING:
    from perdure.runtime.executions import Key
    from perdure.runtime.runtime import Runtime


class Wake(Entry):
    """A run may have something due."""

    __slots__ = ("_follows", "found", "lost", "written")

    def __init__(self, runtime: Runtime, key: Key, run_id: str) -> None:
        super().__init__(runtime, key, run_id, starts=True)
        self.found = False
        self.written = False
        self._follows: Wake | None = None
        """Looks for more that is due, once this has found something."""
        self.lost = False
        """What it follows was refused: decided again, that has another one follow."""

    def decide(self, shared: Shared, run: Any) -> Pending:
        self.more(shared, run)
        if run is not None and not self.found:
            run.changes.changed = True  # the stored wake-up was only a lower bound: write the real one
            shared.touched.append(run)
        return PENDING

    def decided(self) -> None:
        if not self.found or self.error is not None:
            return
        # What is written is armed with what is due next: if that is now, it comes when others had their turn.
        if self.runtime.wakes.more() or not self.written:
            self._follows = _WakeOnce(self.runtime, self.key, self.run_id)
            self.runtime.decisions.enter_next(self._follows)

    def more(self, shared: Shared, run: Any) -> Pending:
        """Others may be due at the same time; each is a turn of its own. A run that was deleted meanwhile has nothing
        due."""
        self.found = run is not None and KINDS[self.key[1]].wake(shared, run)
        self.written = bool(shared.touched)
        return PENDING

    def answer(self) -> None:
        """Nobody waits for it."""
        self._follows = None

    def undone(self) -> None:
        if self._follows is not None:
            self._follows.lost = True
            self._follows = None

    def refused(self) -> None:
        if not self.lost:
            super().refused()

    def give_up(self, error: PerdureError) -> None:
        if not self.lost:
            enter_later(Wake(self.runtime, self.key, self.run_id), error)


class _WakeOnce(Wake):
    """After something that was due: whether more is. If not, what was written then holds the real wake-up already."""

    __slots__ = ()

    def decide(self, shared: Shared, run: Any) -> Pending:
        if self.lost:
            self.found = False
            return PENDING
        return self.more(shared, run)
