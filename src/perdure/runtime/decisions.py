"""Inputs are decided, one at a time for each execution, and what a decision wants done is carried out.

An input is decided at once when its execution is loaded and nothing waits before it; loading is the only thing it can
wait for. Effects are carried out in the same round: offered tasks meet parked polls and are started, messages reach
their receivers, all in the same batch where possible. What was decided joins the open batch of `committer.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from perdure.call import PENDING, Pending, Reply
from perdure.engine.effects import (
    Closed,
    Forget,
    ListTargets,
    OfferActivityTask,
    OfferWorkflowTask,
    Rearm,
    Send,
    UpdateAdmitted,
    UpdatesMoved,
)
from perdure.engine.finishing import finish
from perdure.engine.kinds import KINDS
from perdure.engine.needs import Needs, NeedsReading, NeedsRun
from perdure.engine.stale import Stale
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.enums import ResourceExhaustedCause
from perdure.errors import Internal, NotFound, PerdureError, ResourceExhausted, Unavailable
from perdure.runtime import deletion, readings
from perdure.runtime.executions import Loaded
from perdure.runtime.inputs import Entry, Input, Outcome
from perdure.runtime.line import Line
from perdure.storage.store import StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.committer import Committer
    from perdure.runtime.dispatch import Dispatch
    from perdure.runtime.executions import Key
    from perdure.runtime.mail import Mail
    from perdure.runtime.runtime import Runtime

INPUTS_PER_EXECUTION: Final = 1000
_NO_TYPES: Final[Mapping[str, int]] = {}
_BUSY_WORKFLOW: Final = int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)


class Decisions:
    """Where inputs come in: `enter`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._executions = runtime.executions
        self._namespaces = runtime.namespaces
        self._wakes = runtime.wakes
        self._time = runtime.time
        self._entropy = runtime.entropy
        self._limits = runtime.limits
        self._log = runtime.log
        self.line = Line()
        self._effects: deque[tuple[Any, Any]] = deque()
        """(the Loaded, its effect), or (None, an Entry of our own)."""
        self._carrying_out = False
        self._loading = 0
        """Executions whose inputs wait for a read."""
        self._poisoned = False
        # Given at start:
        self._committer: Committer
        self._dispatch: Dispatch
        self._mail: Mail

    def start(self, committer: Committer, dispatch: Dispatch, mail: Mail) -> None:
        """The store is open: from now on inputs are decided."""
        self._committer = committer
        self._dispatch = dispatch
        self._mail = mail

    @property
    def at_rest(self) -> bool:
        """No effect of a decision is yet to be carried out."""
        return not self._effects

    def enter(self, item: Entry) -> None:
        """Take an input: decide it now, or when what it needs is in memory and those before it are done."""
        if item.readings or item.loaded_events:
            # Of an earlier attempt. What it had brought to memory may be gone from there, and a run that was read and
            # is not there would pass for deleted.
            item.readings, item.loaded_events = {}, {}
        if item.waiter is not None and (self.line.waits or self._committer.full or self._poisoned):
            self.line.join(item)
        else:
            self._admit(item)

    def _admit(self, item: Entry) -> None:
        loaded = self._executions.get(item.key)
        if loaded.inputs or loaded.blocked:
            if len(loaded.inputs) >= INPUTS_PER_EXECUTION and item.waiter is not None:
                item.give_up(ResourceExhausted("Workflow is busy.", _BUSY_WORKFLOW))
                return
            loaded.inputs.append(item)
            item.postponed()
            return
        if self._executions.has(loaded, item.run_id):
            self._process(loaded, item)
        else:
            loaded.inputs.append(item)
            item.postponed()
            self.pump(loaded)

    def ready(self, item: Entry) -> bool:
        """Whether `enter` would decide this input at once; loads its execution if the store answers inline."""
        loaded = self._executions.get(item.key)
        if loaded.inputs or loaded.blocked:
            return False
        if self._executions.has(loaded, item.run_id):
            return True
        self._load(loaded, item.run_id)
        return self._idle(loaded) and self._executions.has(loaded, item.run_id)

    def _idle(self, loaded: Loaded) -> bool:
        return not loaded.blocked and not loaded.inputs

    @property
    def waiting_inputs(self) -> int:
        """How many executions have inputs that wait for a read, and how many inputs wait for room."""
        return self._loading + len(self.line)

    def block(self, loaded: Loaded) -> None:
        loaded.blocked = True
        self._loading += 1

    def unblock(self, loaded: Loaded) -> None:
        loaded.blocked = False
        self._loading -= 1
        if self._runtime.skipper is not None:
            self._runtime.skipper.poke()

    def _load(self, loaded: Loaded, run_id: str) -> None:
        self.block(loaded)

        def came(failure: StoreFailed | None) -> None:
            self.unblock(loaded)
            if failure is not None:
                self._log.error("an execution cannot be read", execution_id=loaded.key[2], reason=str(failure))
                waiting, loaded.inputs = loaded.inputs, deque()
                for item in waiting:
                    item.give_up(Unavailable(str(failure)))
                return
            self.pump(loaded)

        self._executions.load(loaded, run_id, came)

    def pump(self, loaded: Loaded) -> None:
        """Decide what waits at an execution, in order, until something must be loaded."""
        while loaded.inputs and not loaded.blocked:
            item = loaded.inputs[0]
            if loaded.dead:
                loaded.inputs.popleft()
                self.enter(item)
            elif self._executions.has(loaded, item.run_id):
                loaded.inputs.popleft()
                self._process(loaded, item)
            else:
                self._load(loaded, item.run_id)

    # ---- one decision
    def _process(self, loaded: Loaded, item: Entry) -> None:
        """Decide one input."""
        execution = loaded.execution
        namespace = self._namespaces.find_by_id(execution.namespace_id)
        shared = Shared(
            execution,
            self._time.now(),
            self._entropy,
            self._limits,
            [],
            [],
            item.loaded_events,
            _NO_TYPES if namespace is None else namespace.search_attributes,
            self._namespaces.names,
            item.readings,
        )
        item.attempts += 1
        result: Reply | Outcome | Pending | None = None
        try:
            run_id = item.run_id
            if not run_id and execution.current is not None:
                run_id = execution.current.run_id
            run: Any = execution.runs.get(run_id)
            if item.starts:
                result = item.decide(shared, run)
            elif run is None:
                raise missing_run(execution.execution_id, item.run_id)
            else:
                turn = Turn(shared, run)
                result = item.decide(turn)
                too_large = finish(turn)
                if too_large is not None:
                    result = Outcome(error=too_large)
        except (Needs, NeedsRun, NeedsReading) as needs:
            item.attempts -= 1
            readings.fetch(self._runtime, loaded, item, needs)
            return
        except Stale:
            pass
        except PerdureError as error:
            item.error = error.with_traceback(None)  # whose frames hold the item
            if shared.touched:
                self._poison(loaded, item, error)
                return
        except Exception as error:
            self._log.error("decision failed", exc_info=error, workflow_id=execution.execution_id)
            item.error = Internal(repr(error))
            self._poison(loaded, item, error)
            return
        if isinstance(result, Outcome):
            item.reply = result.reply
            item.error = result.error
            item.committed = result.committed
        elif result is not None:
            item.reply = result
        for run in shared.touched:
            self._committer.add_run(loaded, run)
        item.decided()
        if shared.effects:
            self._effects.extend((loaded, effect) for effect in shared.effects)
        self._committer.follow(item, loaded.batch_no)
        if self._effects and not self._carrying_out:
            self._carry_out()

    # ---- what it wants done
    def enter_next(self, item: Entry) -> None:
        """Take an input in the round of the decision under way, when that is over: a thousand in a row do not nest."""
        self._effects.append((None, item))

    def _carry_out(self) -> None:
        """Effects in order; carrying one out may decide more inputs, whose effects join the line."""
        self._carrying_out = True
        try:
            while self._effects:
                loaded, effect = self._effects.popleft()
                try:
                    if isinstance(effect, Entry):
                        self.enter(effect)
                    elif isinstance(effect, OfferWorkflowTask):
                        self._dispatch.offer_workflow_task(loaded, effect.run, effect.stamp)
                    elif isinstance(effect, OfferActivityTask):
                        if effect.scheduled_event_id:
                            self._dispatch.offer_activity_task(loaded, effect.run, effect.scheduled_event_id)
                        else:
                            self._dispatch.offer_standalone_activity(loaded, effect.run)
                    elif isinstance(effect, Send):
                        self._mail.send(effect.message)
                    elif isinstance(effect, Closed):
                        self._closed(loaded, effect.run)
                    elif isinstance(effect, UpdatesMoved):
                        self._runtime.updates.moved(loaded, effect)
                    elif isinstance(effect, UpdateAdmitted):
                        self._runtime.updates.admitted(loaded, effect)
                    elif isinstance(effect, Rearm):
                        self._wakes.arm(loaded.key, effect.run.run_id, KINDS[loaded.key[1]].next_deadline(effect.run))
                    elif isinstance(effect, Forget):
                        deletion.forget_now(self._runtime, loaded, effect.run)
                    elif isinstance(effect, ListTargets):
                        self._runtime.lookups.start(effect.record)
                except StoreFailed as failure:
                    self.cannot_carry_out((loaded or effect).key, failure)
        finally:
            self._carrying_out = False

    def _closed(self, loaded: Loaded, run: Run) -> None:
        if loaded.queries:
            item = Input(self._runtime, loaded.key, run.run_id, lambda turn: PENDING)
            item.committed = lambda: self._runtime.queries.unblock(loaded, run)
            self._committer.follow(item, loaded.batch_no)

    # ---- what went wrong
    def _poison(self, loaded: Loaded, item: Entry, error: BaseException) -> None:
        """A decision failed half-way (a defect): its changes must not be written. All else that is in the open batch is
        decided again."""
        self._give_up_open(loaded, "a decision failed")
        item.give_up(item.error or Internal(repr(error)))

    def cannot_carry_out(self, key: Key, failure: StoreFailed) -> None:
        """What a decision about that execution wants done needs something that cannot be read: it is decided again."""
        self._log.error("a decision cannot be carried out", execution_id=key[2], reason=str(failure))
        self._give_up_open(self._executions.get(key), str(failure))

    def _give_up_open(self, loaded: Loaded, reason: str) -> None:
        """Nothing of the open batch may be written."""
        self._effects = deque(effect for effect in self._effects if isinstance(effect[1], Entry))
        self._poisoned = True
        self._committer.abandon(loaded, reason)

    def room(self) -> None:
        """A batch was sealed or written: there is room for inputs that waited."""
        self._poisoned = False
        line = self.line
        while line.waits and not self._committer.full and not self._poisoned:
            item = line.next()
            if not getattr(item.waiter, "gone", False):  # else nobody waits for it any more: it has not happened
                self._admit(item)


def missing_run(workflow_id: str, run_id: str) -> NotFound:
    """The reference's texts for a run that is not there."""
    if not run_id:
        return NotFound(f"workflow not found for ID: {workflow_id}")
    return NotFound(f'workflow execution not found for workflow ID "{workflow_id}" and run ID "{run_id}"')
