"""Taking runs and records out of the store, at once and with all that is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.call import PENDING, Reply, Waiter
from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.execution import WORKFLOW
from perdure.engine.record import Record
from perdure.engine.state import Run
from perdure.engine.turn import Turn
from perdure.errors import PerdureError
from perdure.runtime.followers import Callback
from perdure.runtime.inputs import ATTEMPTS, Input, Outcome
from perdure.runtime.namespaces import Namespace
from perdure.storage.store import RunDelete

if TYPE_CHECKING:
    from perdure.runtime.executions import Key, Loaded
    from perdure.runtime.runtime import Runtime


def delete_run(
    runtime: Runtime,
    namespace: Namespace,
    workflow_id: str,
    run_id: str,
    waiter: Waiter,
    reply: Reply,
    *,
    attempts: int = ATTEMPTS,
) -> None:
    """Terminate the run if it is open, and forget it."""
    key = (namespace.id, WORKFLOW, workflow_id)

    def decide(turn: Turn) -> Outcome:
        run = turn.run
        if run.running:
            terminate(turn, "Delete workflow execution", None, HISTORY_SERVICE)

        def committed() -> None:
            _forget(runtime, key, run, Callback(lambda: waiter.finish(reply), refused))

        def refused(error: PerdureError) -> None:
            if attempts > 1:
                delete_run(runtime, namespace, workflow_id, run.run_id, waiter, reply, attempts=attempts - 1)
            else:
                waiter.fail(error)

        return Outcome(PENDING, committed=committed)

    runtime.enter(Input(runtime, key, run_id, decide, waiter))


def forget(runtime: Runtime, key: Key, record: Record, waiter: Waiter, reply: Reply) -> None:
    """Remove a record of another kind, to be called when the decision to do so is durable; answers `waiter` when
    that is."""
    _forget(runtime, key, record, Callback(lambda: waiter.finish(reply), waiter.fail))


def forget_now(runtime: Runtime, loaded: Loaded, run: Run | Record) -> None:
    """`forget` in the batch of the decision. If that is refused, the run is there again."""

    def gone() -> None:
        # Thousands of old runs that go must not take the place of what is in use.
        if not loaded.execution.runs:
            runtime.executions.drop(loaded, runtime.committer.durable_no)

    _forget(runtime, loaded.key, run, Callback(gone, lambda error: runtime.unsealed(loaded, run)))


def _forget(runtime: Runtime, key: Key, run: Run | Record, forgotten: Callback) -> None:
    runtime.committer.add_delete(RunDelete(key[0], key[1], key[2], run.run_id, run.run_no), run)
    runtime.wakes.arm(key, run.run_id, 0)
    if runtime.skipper is not None:
        runtime.skipper.forget(run.run_id)
    loaded = runtime.executions.get(key)  # also when nothing of it is in memory: who loads it now still finds the row
    execution = loaded.execution
    execution.runs.pop(run.run_id, None)
    loaded.tails.pop(run.run_id, None)
    loaded.missing.add(run.run_id)
    if execution.current is not None and execution.current.run_id == run.run_id:
        execution.current = None
        loaded.missing.add("")
    runtime.committer.depend(loaded)
    runtime.committer.follow(forgotten, runtime.committer.newest_no)
