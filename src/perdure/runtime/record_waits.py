"""Calls that wait for something to come true of an execution without a history (a close, a change)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from perdure.call import PENDING, Call, Reply
from perdure.engine.turn import Shared
from perdure.runtime.executions import Key
from perdure.runtime.inputs import Outcome

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

WAIT_SECONDS: Final = 60.0
MARGIN_SECONDS: Final = 1.0

Look = Callable[[Shared, Any], Reply | None]
"""(shared, the record or None) to the reply, or None to be asked again after the next change."""


class RecordWait:
    """Asks `look` now and after each commit that changes the record, until it answers. `empty` is the reply about a
    second before the caller's deadline, or after 60 seconds."""

    __slots__ = ("_alarm", "_call", "_cancel", "_empty", "_key", "_look", "_run_id", "_runtime", "_until")

    def __init__(self, runtime: Runtime, key: Key, run_id: str, look: Look, call: Call, empty: Reply) -> None:
        self._runtime = runtime
        self._key = key
        self._run_id = run_id
        self._look = look
        self._call = call
        self._empty = empty
        self._cancel: Callable[[], None] | None = None
        now = runtime.monotonic.now()
        self._until = now + WAIT_SECONDS
        if call.deadline is not None:
            self._until = min(self._until, call.deadline - MARGIN_SECONDS)
        self._alarm = runtime.alarms.at(self._until, self._expire)
        call.on_gone(self._over)

    def ask(self) -> None:
        namespace_id, kind, execution_id = self._key
        self._runtime.decide_record(namespace_id, kind, execution_id, self._run_id, self._decide, self)

    # ---- as the one who waits for the decision
    def finish(self, reply: Reply) -> bool:
        self._over()
        return self._call.finish(reply)

    def fail(self, error: Any) -> None:
        self._over()
        self._call.fail(error)

    # ----
    def _decide(self, shared: Shared, record: Any) -> Reply | Outcome:
        reply = self._look(shared, record)
        if reply is not None:
            return reply
        self._run_id = record.run_id  # a later run of the same ID is another matter
        return Outcome(PENDING, committed=self._park)

    def _park(self) -> None:
        """What was seen is durable, and did not do."""
        if self._call.gone:
            return
        if self._runtime.monotonic.now() >= self._until:
            self._expire()
            return
        self._cancel = self._runtime.watch_record(self._key, self._run_id, self._wake)
        if self._cancel is None:
            self.ask()

    def _wake(self) -> None:
        self._cancel = None
        if not self._call.gone:
            self.ask()

    def _expire(self) -> None:
        self.finish(self._empty)

    def _over(self) -> None:
        self._alarm.cancel()
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
