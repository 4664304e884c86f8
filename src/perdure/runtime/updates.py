"""Callers that wait for workflow updates: until theirs is accepted or completed, or for twenty seconds.

What an update does is decided in the engine, and said by effects; here it finds those who wait. Nothing of an admitted
update is durable: when the execution that holds it leaves the cache because its batch was refused, its callers ask
again, and never hear of it. When the process ends, clients do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure.call import PENDING, Call, Reply
from perdure.engine.effects import UpdateAdmitted, UpdateProgress, UpdatesMoved
from perdure.engine.state import Run
from perdure.engine.turn import Shared
from perdure.engine.update_with_start import StartedWithUpdate
from perdure.engine.updates import ABORTED_BY_CLOSE
from perdure.errors import Aborted, MultiOperationFailed, NotFound, PerdureError, Unavailable
from perdure.runtime.alarms import Alarm
from perdure.runtime.executions import Key, Loaded
from perdure.runtime.inputs import ATTEMPTS, RETRY_SECONDS, Entry, Outcome

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

WAIT_SECONDS = 20.0
"""Then a caller is answered with the stage reached, and asks again."""
_IN_VAIN = "the update could not be decided on in time, please retry"


class HeldUpdate:
    """An update that an execution in the cache holds for somebody: `admitted`, so that it must not leave the cache, or
    waited for by `calls`."""

    __slots__ = ("admitted", "calls", "update_id", "workflow_id")

    def __init__(self, workflow_id: str, update_id: str) -> None:
        self.workflow_id = workflow_id
        self.update_id = update_id
        self.admitted = False
        self.calls: list[AwaitedUpdate] = []


class AwaitedUpdate(Entry):
    """A call that waits until an update reaches `stage`."""

    __slots__ = (
        "_alarm",
        "_answering",
        "_asked",
        "_loaded",
        "_over",
        "_until",
        "call",
        "progress",
        "reply_with",
        "stage",
        "update_id",
        "waits_in",
    )

    def __init__(
        self,
        runtime: Runtime,
        key: Key,
        run_id: str,
        update_id: str,
        stage: int,
        call: Call,
        ask: Callable[..., tuple[str, UpdateProgress]],
        reply: Callable[[str, UpdateProgress], Reply],
        *,
        starts: bool = False,
    ) -> None:
        """`ask(turn)` (with `starts`: `ask(shared, current_run)`) says the run's ID and where the update stands, or
        refuses; it may be called again. `reply` makes the answer of the same."""
        super().__init__(runtime, key, run_id, call, starts=starts)
        self.update_id = update_id
        self.stage = stage
        self.call = call
        self.reply_with = reply
        self.progress = UpdateProgress()
        self.waits_in = ""
        """Run ID."""
        self._asked = ask
        self._until = runtime.monotonic.now() + WAIT_SECONDS
        self._alarm: Alarm | None = None
        self._loaded: Loaded | None = None
        """Where it is parked."""
        self._answering: _Answer | None = None
        self._over = False
        call.on_gone(self._gone)

    # ---- deciding
    def decide(self, *arguments: object) -> Outcome:
        self.waits_in, self.progress = self._asked(*arguments)
        if self._satisfied:
            return Outcome(self.reply_with(self.waits_in, self.progress))
        return Outcome(PENDING)

    @property
    def _satisfied(self) -> bool:
        return self.progress.stage >= self.stage

    def decided(self) -> None:
        if self.error is not None or self._satisfied or self._over:
            return
        loaded = self.runtime.executions.get(self.key)
        self._loaded = loaded
        self.runtime.updates.held(loaded, self.waits_in, self.update_id).calls.append(self)
        if self._alarm is None:
            self._alarm = self.runtime.alarms.at(self._until, self._expire)

    def answer(self) -> None:
        if self._loaded is None and self._answering is None and not self._over:
            self._end()
            super().answer()

    def refused(self) -> None:
        if self._answering is not None or self._over:
            return
        if self._loaded is not None:
            self.batch_refused()
        else:
            super().refused()

    def give_up(self, error: PerdureError) -> None:
        if not self._over:
            self._end()
            self.call.fail(error)

    # ---- waiting
    def moved(self, progress: UpdateProgress, batch_no: int) -> bool:
        """The update got on. False: this is not what the call waits for."""
        self.progress = progress
        if progress.error is None and not self._satisfied:
            return False
        self._loaded = None
        self._answer_when_durable(batch_no)
        return True

    def batch_refused(self) -> None:
        """What the call learned, or wrote, did not come to pass: it asks again. A little later, when the store refuses
        it time and again."""
        runtime = self.runtime
        attempts = self.attempts
        if attempts < ATTEMPTS:
            self.ask_again()
            self.attempts += attempts
        else:
            self.prepare_again()
            runtime.alarms.after(RETRY_SECONDS, self.ask_again)

    def waits_at(self, loaded: Loaded) -> bool:
        return self._loaded is loaded

    def ask_again(self) -> None:
        """What the call waited at left the cache."""
        self.prepare_again()
        if self.runtime.monotonic.now() >= self._until:
            self.give_up(Unavailable(_IN_VAIN))
        elif not self._over:
            self.runtime.enter(self)

    def prepare_again(self) -> None:
        self._loaded = self._answering = None
        self.waits_in = ""
        self.attempts = 0
        self.reply = self.error = self.committed = None
        self.loaded_events = {}

    def _expire(self) -> None:
        """Answer with what there is. While it is being decided again there is nothing yet: the caller asks again."""
        loaded = self._loaded
        if self._over or self._answering is not None:
            return
        if loaded is None:
            if self.reply is None and self.error is None:  # else the answer waits for its batch
                self.give_up(Unavailable(_IN_VAIN))
            return
        self.runtime.updates.leave(loaded, self)
        self._loaded = None
        self._answer_when_durable(loaded.batch_no)

    def _answer_when_durable(self, batch_no: int) -> None:
        self._answering = _Answer(self)
        self.runtime.committer.follow(self._answering, batch_no)

    def send(self) -> None:
        """What was learned is durable."""
        if self._over:
            return
        self._end()
        progress = self.progress
        if progress.error is not None:
            self.call.fail(self.refusal(progress.error))
        else:
            self.call.finish(self.reply_with(self.waits_in, progress))

    def refusal(self, error: PerdureError) -> PerdureError:
        """How an update that came to nothing is told."""
        return error

    # ---- ends
    def _gone(self) -> None:
        """The caller left. The update stays: the workflow hears of it all the same."""
        loaded = self._loaded
        self._end()
        if loaded is not None:
            self._loaded = None
            self.runtime.updates.leave(loaded, self)

    def _end(self) -> None:
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class UpdateWithStart(AwaitedUpdate):
    """The call of an update-with-start. When the workflow that it found closes over the update, it tries once more: the
    workflow is not there any more, so it may be started."""

    __slots__ = ("_retried", "started")

    def __init__(
        self,
        runtime: Runtime,
        key: Key,
        update_id: str,
        stage: int,
        call: Call,
        ask: Callable[[Shared, Run | None], StartedWithUpdate],
        reply: Callable[[StartedWithUpdate, UpdateProgress], Reply],
    ) -> None:
        self.started: StartedWithUpdate | None = None
        self._retried = False

        def started(shared: Shared, current: Run | None) -> tuple[str, UpdateProgress]:
            self.started = ask(shared, current)
            return self.started.run.run_id, self.started.progress

        def answer(_: str, progress: UpdateProgress) -> Reply:
            assert self.started is not None
            return reply(self.started, progress)

        super().__init__(runtime, key, "", update_id, stage, call, started, answer, starts=True)

    def moved(self, progress: UpdateProgress, batch_no: int) -> bool:
        if self._closed_over(progress.error) and not self._retried:
            self._retried = True
            self.prepare_again()
            self.runtime.decisions.enter_next(self)
            return True
        return super().moved(progress, batch_no)

    def _closed_over(self, error: PerdureError | None) -> bool:
        found = self.started is not None and self.started.attached
        return found and isinstance(error, NotFound) and error.message == ABORTED_BY_CLOSE

    def refusal(self, error: PerdureError) -> PerdureError:
        if self._closed_over(error):
            error = Aborted(error.message)  # which clients try again
        return MultiOperationFailed([None, error])


class _Answer:
    """An answer that waits for its batch."""

    __slots__ = ("_call",)

    def __init__(self, call: AwaitedUpdate) -> None:
        self._call = call

    @property
    def key(self) -> Key | None:
        return self._call.key

    def answer(self) -> None:
        self._call.send()

    def undone(self) -> None:
        """Told below."""

    def refused(self) -> None:
        self._call.batch_refused()

    def give_up(self, error: PerdureError) -> None:
        self._call.give_up(error)


class Updates:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def held(self, loaded: Loaded, run_id: str, update_id: str) -> HeldUpdate:
        held = loaded.updates.get((run_id, update_id))
        if held is None:
            held = loaded.updates[run_id, update_id] = HeldUpdate(loaded.key[2], update_id)
        return held

    def leave(self, loaded: Loaded, call: AwaitedUpdate) -> None:
        key = (call.waits_in, call.update_id)
        held = loaded.updates.get(key)
        if held is not None and call in held.calls:
            held.calls.remove(call)
            if not held.calls and not held.admitted:
                del loaded.updates[key]

    # ---- effects
    def admitted(self, loaded: Loaded, effect: UpdateAdmitted) -> None:
        held = self.held(loaded, effect.run.run_id, effect.update_id)
        held.admitted = True
        if self._runtime.skipper is not None:
            self._runtime.skipper.hold(held, lambda: _waits(held))

    def moved(self, loaded: Loaded, effect: UpdatesMoved) -> None:
        for update_id, progress in effect.progress.items():
            key = (effect.run.run_id, update_id)
            held = loaded.updates.get(key)
            if held is None:
                continue
            self._release(held)
            held.calls = [call for call in held.calls if not call.moved(progress, loaded.batch_no)]
            if not held.calls:
                del loaded.updates[key]

    def _release(self, held: HeldUpdate) -> None:
        if held.admitted:
            held.admitted = False
            if self._runtime.skipper is not None:
                self._runtime.skipper.release(held)

    # ---- what went wrong
    def ask_again(self, loaded: Loaded) -> None:
        """The execution left the cache with all that was admitted: those who wait ask again, in their order."""
        lost, loaded.updates = loaded.updates, {}
        for held in lost.values():
            self._release(held)
        for held in lost.values():
            for call in held.calls:
                if call.waits_at(loaded):  # else it has heard of it, and asked already
                    call.ask_again()

    def close(self) -> None:
        """The server stops: clients ask the next one."""
        for loaded in self._runtime.executions.all():
            for held in list(loaded.updates.values()):
                for call in list(held.calls):
                    call.give_up(Unavailable("the server is shutting down"))


def _waits(held: HeldUpdate) -> str:
    return f"update {held.update_id!r} of workflow {held.workflow_id!r} waits for a worker to accept or reject it"
