"""What keeps time from skipping: work that somebody has to do first, and that takes real time.

*Hard* owners always do: a workflow task scheduled or started, a message on its way, a decision not yet durable, an
input that waits, a query put to a worker. *Soft* owners are activity attempts scheduled or started; a test may skip
past those on purpose. An attempt in retry back-off is neither: that wait can be skipped.

Owners are read off the state of a run whenever it is written, and only runs that have some are remembered: a run that
closes, or is deleted, takes its owners with it, and nothing can leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from perdure.engine.kinds import KINDS
from perdure.storage.store import StoredExecution, StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.executions import Key
    from perdure.runtime.runtime import Runtime

PAGE = 500


class Owners:
    """`soft` is the number of soft owners; `hard` is counted when asked for."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._busy: dict[str, tuple[Key, int, int]] = {}
        """Run ID to where it is and its (hard, soft), for runs that have any."""
        self._hard = 0
        self.soft = 0
        self._held: dict[object, Callable[[], str]] = {}
        self._reading = 0
        self._written: set[str] = set()
        """Run IDs observed while reads of the store are under way, which know nothing of what was written since."""

    @property
    def hard(self) -> int:
        runtime = self._runtime
        return (
            self._hard
            + len(self._held)
            + len(runtime.mail.on_way)
            + runtime.decisions.waiting_inputs
            + (not runtime.committer.idle)
        )

    # ---- runs
    def observe(self, key: Key, run: Any) -> None:
        """`run` is about to be written in this state."""
        hard, soft = KINDS[key[1]].busy(run)
        self._set(key, run.run_id, hard, soft)
        if self._reading:
            self._written.add(run.run_id)

    def forget(self, run_id: str) -> None:
        """The run was deleted."""
        if self._reading:
            self._written.add(run_id)
        self._set(("", 0, ""), run_id, 0, 0)

    def _set(self, key: Key, run_id: str, hard: int, soft: int) -> None:
        if run_id in self._busy:
            _, old_hard, old_soft = self._busy.pop(run_id)
            self._hard -= old_hard
            self.soft -= old_soft
        if hard or soft:
            self._busy[run_id] = (key, hard, soft)
            self._hard += hard
            self.soft += soft

    def load(self) -> None:
        """Find the owners that a previous process left in the store."""
        store = self._runtime.store
        key: Key = ("", 0, "")
        while page := store.open_executions(key, PAGE):
            for key in page:
                self._read(key)

    def _read(self, key: Key) -> None:
        def came(stored: StoredExecution | StoreFailed) -> None:
            self._reading -= 1
            if isinstance(stored, StoreFailed):
                raise stored
            if stored.run is not None and stored.run.run_id not in self._written:
                hard, soft = KINDS[key[1]].busy(KINDS[key[1]].decode(stored.run.core, stored.run.items))
                self._set(key, stored.run.run_id, hard, soft)
            if not self._reading:
                self._written.clear()

        self._reading += 1
        self._runtime.store.load_execution(*key, "", came)

    # ---- what no run's state shows
    def hold(self, owner: object, why: Callable[[], str]) -> None:
        """`owner` (hashable) is busy until released; `why` says so in a few words."""
        self._held[owner] = why

    def release(self, owner: object) -> None:
        self._held.pop(owner, None)

    # ---- for somebody who wonders why nothing happens
    def reasons(self, *, soft_too: bool) -> Iterator[str]:
        """One line for each owner; soft ones, if they are wanted, after the hard ones."""
        runtime = self._runtime
        for key, hard, _ in list(self._busy.values()):
            if hard:
                yield from self._reasons_of_run(key, hard=True)
        for why in list(self._held.values()):
            yield why()
        if runtime.mail.on_way:
            yield f"{_count(len(runtime.mail.on_way), 'message')} between workflows not delivered yet"
        if runtime.decisions.waiting_inputs:
            yield f"{_count(runtime.decisions.waiting_inputs, 'request')} not decided yet"
        if not runtime.committer.idle:
            yield "decisions are being written"
        if soft_too:
            for key, _, soft in list(self._busy.values()):
                if soft:
                    yield from self._reasons_of_run(key, hard=False)

    def _reasons_of_run(self, key: Key, *, hard: bool) -> Iterator[str]:
        loaded = self._runtime.executions.peek(key)
        runs = [] if loaded is None else [run for run in loaded.execution.runs.values() if run.run_id in self._busy]
        if not runs:
            what = "a workflow task" if hard else "an activity"
            name = KINDS[key[1]].name
            yield f"{name} {key[2]!r} has {what} scheduled or running (it is not in memory, describe it to see more)"
        for run in runs:
            yield from KINDS[key[1]].reasons(run, hard=hard)


def _count(number: int, what: str) -> str:
    return f"{number} {what} is" if number == 1 else f"{number} {what}s are"
