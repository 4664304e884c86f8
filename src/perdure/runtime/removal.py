"""What goes in the background: closed runs past their namespace's retention, and all of a deleted namespace.

A little at a time, and only as often as nobody notices: each round looks for a handful of runs, has them forgotten by
inputs like any others, and comes back when those have landed. Time that skips is not skipped for the sake of this.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.effects import Forget
from perdure.engine.execution import WORKFLOW
from perdure.engine.finishing import finish
from perdure.engine.record import Record
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.runtime import namespace_rows
from perdure.runtime.inputs import Input, Outcome
from perdure.runtime.namespaces import Namespace
from perdure.storage.store import StoredRunKey, StoreFailed
from perdure.visibility.attributes import ACTIVITY_DIVISION, BATCH_DIVISION, SCHEDULE_DIVISION

if TYPE_CHECKING:
    from perdure.runtime.alarms import Alarm
    from perdure.runtime.runtime import Runtime

RUNS: Final = 20
"""Forgotten in a round."""
LOOKS: Final = 40
"""Places looked at in a round."""
BUSY_SECONDS: Final = 0.02
"""With a commit, some 700 runs a second: as many as end in that time on a busy server, for a tenth of a core."""
REST: Final = 3.0
MOST_SECONDS: Final = 0.2
"""The pause is so many times what a round took until it landed, within bounds: while commits take long, others need
them."""
IDLE_SECONDS: Final = 5.0
SOON_SECONDS: Final = 0.2
_DIVISIONS: Final = ("", BATCH_DIVISION, SCHEDULE_DIVISION, ACTIVITY_DIVISION)


class Removal:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._places: deque[tuple[str, str]] = deque()
        """(namespace ID, division) yet to be looked at in this pass over all of them."""
        self._alarm: Alarm | None = None
        self._at_work = False

    def start(self) -> None:
        self._again(IDLE_SECONDS)

    def soon(self) -> None:
        """Time has moved, or a namespace was deleted: there may be something to do."""
        alarm = self._alarm
        if self._at_work or alarm is None:
            return
        due = self._runtime.monotonic.now() + SOON_SECONDS
        if alarm.due > due:
            alarm.cancel()
            self._places.clear()
            self._again(SOON_SECONDS)

    def _again(self, pause: float) -> None:
        self._at_work = False
        self._alarm = self._runtime.alarms.after(pause, self._round)

    def _round(self) -> None:
        self._at_work = True
        began = self._runtime.monotonic.now()

        def landed() -> None:
            took = self._runtime.monotonic.now() - began
            self._again(min(max(took * REST, BUSY_SECONDS), MOST_SECONDS))

        try:
            found = self._look()
        except StoreFailed as failure:
            self._runtime.log.warning("old runs not looked for", error=str(failure))
            found = 0
        if found:
            # What was found is found again until its deletion has landed.
            self._runtime.after_commit(landed)
        else:
            self._again(BUSY_SECONDS if self._places else IDLE_SECONDS)

    def _look(self) -> int:
        """Have a handful of runs forgotten; how many they are."""
        if not self._places:
            self._places.extend((namespace.id, division) for namespace in self._namespaces() for division in _DIVISIONS)
        for _ in range(min(LOOKS, len(self._places))):
            namespace_id, division = self._places[0]
            namespace = self._runtime.namespaces.find_by_id(namespace_id)
            found = 0 if namespace is None else self._look_at(namespace, division)
            if found:
                return found  # there may be more in that place
            self._places.popleft()
        return 0

    def _namespaces(self) -> list[Namespace]:
        return list(self._runtime.namespaces)

    def _look_at(self, namespace: Namespace, division: str) -> int:
        runtime = self._runtime
        now = runtime.time.now()
        if namespace.delete_after:
            if now < namespace.delete_after or division:
                return 0
            return self._empty(namespace)
        keys = runtime.store.closed_runs(namespace.id, division, now - namespace.retention, RUNS)
        for key in keys:
            self._forget(key, closed_before=now - namespace.retention)
        return len(keys)

    def _empty(self, namespace: Namespace) -> int:
        keys = self._runtime.store.runs_of(namespace.id, RUNS)
        for key in keys:
            self._forget(key, closed_before=0)
        if not keys:
            namespace_rows.remove(self._runtime, namespace)
        return len(keys)

    def _forget(self, key: StoredRunKey, closed_before: int) -> None:
        def decide(shared: Shared, run: Run | Record | None) -> Outcome:
            if run is not None:
                if closed_before:
                    if not run.running and run.closed_at <= closed_before:
                        shared.effects.append(Forget(run))
                else:
                    _end(shared, run)
                    shared.effects.append(Forget(run))
            return Outcome()

        execution = (key.namespace_id, key.kind, key.execution_id)
        self._runtime.enter(Input(self._runtime, execution, key.run_id, decide, starts=True))


def _end(shared: Shared, run: Run | Record) -> None:
    """Runs of a deleted namespace end as deleted runs do; records just go."""
    if shared.execution.kind == WORKFLOW and run.running:
        assert isinstance(run, Run)
        turn = Turn(shared, run)
        terminate(turn, "Delete workflow execution", None, HISTORY_SERVICE)
        finish(turn)
