"""What must hold after each step, and when all is over.

Some of it can only be asked when nothing is on its way from memory to the disk; there is such a moment every few steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.clock import SECOND
from perdure.engine.execution import ACTIVITY, SCHEDULE, WORKFLOW
from perdure.engine.kinds import KINDS
from perdure.engine.schedules.editing import forgotten
from perdure.runtime.runtime import Runtime
from tests.simulation import histories
from tests.simulation.ledger import Broken

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

LOOK_CLOSELY_EVERY = 20
"""Steps: reading the whole disk takes its time."""
PATIENCE_SECONDS = 5.0
"""What failed for want of a store is tried again every second or so."""


def check_now(simulation: Simulation, step: int) -> None:
    if simulation.broken:
        raise Broken(f"step {step}: {simulation.broken}")
    if simulation.log.errors:
        raise Broken(f"step {step}: " + "\n".join(simulation.log.errors))
    for call in simulation.network.forgotten:
        raise Broken(f"step {step}: {call.method} was never answered")
    for task in [*simulation.acting.values(), *simulation.workers]:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
    runtime = simulation.runtime
    if runtime is None:
        return
    for key, waiting in runtime.matching._queues.items():
        if waiting.line and (waiting.volatile or len(waiting.backlog)) and key not in runtime.dispatch.rows.unreadable:
            goes_on = runtime.matching.throttled.get(key, 0.0)
            if goes_on <= simulation.seconds() - 1:
                raise Broken(f"step {step}: tasks wait in {key} while pollers are parked; held until {goes_on}")
    if step % LOOK_CLOSELY_EVERY == 0 and at_rest(runtime):
        _check_cache(simulation, runtime)
        _check_tasks(simulation, runtime)
        _check_rows(simulation)
        _check_patiently(simulation, _late_wakes(simulation, runtime) | _wrong_owners(simulation, runtime))


def at_rest(runtime: Runtime) -> bool:
    """All that was decided is durable, and nothing waits for a read."""
    return runtime.committer.idle and not runtime.decisions.waiting_inputs and runtime.decisions.at_rest


# ---- memory and disk
def _check_cache(simulation: Simulation, runtime: Runtime) -> None:
    """What is in memory is what would be read."""
    items_in_core = runtime.limits.items_in_core
    for loaded in runtime.executions.all():
        _, kind, execution_id = loaded.key
        where = f"{KINDS[kind].name} {execution_id}"
        for run in loaded.execution.runs.values():
            [row] = simulation.disk.rows("select version, core from runs where run_id = ?", run.run_id) or [(0, b"")]
            if row[0] != run.version:
                raise Broken(f"{where} {run.run_id} is at version {run.version} in memory, at {row[0]} on the disk")
            if run.changes.changed or run.changes.events:
                raise Broken(f"{where} {run.run_id} was changed, and nobody writes it")
            kept = KINDS[kind].encode(run, items_in_core)
            if kept != row[1] and _without_sticky(kind, kept) != _without_sticky(kind, row[1]):
                raise Broken(f"{where} {run.run_id} is not what is on the disk")
        current = loaded.execution.current
        if current is not None:
            pointers = simulation.disk.rows(
                "select run_id, status from current where namespace_id = ? and kind = ? and execution_id = ?",
                *loaded.key,
            )
            if pointers != [(current.run_id, current.status)]:
                raise Broken(
                    f"{where}: current is {current.run_id} ({current.status}) in memory, {pointers} on the disk"
                )


def _without_sticky(kind: int, core: bytes) -> bytes:
    """Which worker has a run in its cache is forgotten without a commit when a speculative task goes elsewhere."""
    run = KINDS[kind].decode(core, [])
    if kind == WORKFLOW:
        run.sticky_queue, run.sticky_timeout = "", 0
    return KINDS[kind].encode(run, 1 << 30)


def _runs(simulation: Simulation) -> list[tuple[tuple[str, int, str], Any, int]]:
    """(key, run or record, wake_at) of all that is on the disk."""
    items: dict[int, list[tuple[int, str, bytes]]] = {}
    for run_no, sort, key, value in simulation.disk.rows(
        "select run_no, sort, key, value from items order by run_no, sort, key"
    ):
        items.setdefault(run_no, []).append((sort, key, value))
    return [
        ((namespace_id, kind, execution_id), KINDS[kind].decode(core, items.get(run_no, [])), wake_at or 0)
        for run_no, namespace_id, kind, execution_id, core, wake_at in simulation.disk.rows(
            "select run_no, namespace_id, kind, execution_id, core, wake_at from runs"
        )
    ]


def check_disk(simulation: Simulation) -> None:
    """Whatever moment a process died at, what it leaves is whole."""
    if faults := simulation.disk.examine():
        raise Broken(f"the disk has faults: {faults[:5]}")


_OF_RUNS = ("items", "request_ids", "history", "executions", "search_values")
_NAMED = (
    "current c join runs r using (run_no)",
    "executions c join runs r using (run_no)",
    "tasks c join runs r using (run_id)",
)


def _check_rows(simulation: Simulation) -> None:
    """No row is left of a run that was removed, and none is in another namespace than its run."""
    disk = simulation.disk
    for table in _OF_RUNS:
        left = disk.rows(
            f"select run_no from {table} "
            "where run_no not in (select run_no from runs union select run_no from forgotten)"
        )
        if left:
            raise Broken(f"{table} has rows of {left}, which are gone")
    for tables in _NAMED:
        if strange := disk.rows(f"select r.run_id from {tables} where c.namespace_id <> r.namespace_id"):
            raise Broken(f"{tables}: {strange} are in two namespaces")


# ---- time
def _check_patiently(simulation: Simulation, wrong: set[tuple[str, str]]) -> None:
    """What was refused, and cannot be read just now, is made known again in a moment."""
    seconds = simulation.seconds()
    simulation.wrong = {what: simulation.wrong.get(what, seconds) for what in wrong}
    for (run_id, what), since in simulation.wrong.items():
        if seconds - since > PATIENCE_SECONDS:
            raise Broken(f"run {run_id}: {what}, for {seconds - since} seconds")


def _late_wakes(simulation: Simulation, runtime: Runtime) -> set[tuple[str, str]]:
    """Each run is woken at its earliest deadline: the disk says so, and so does the timer loop for those near."""
    wakes = runtime.wakes
    now = runtime.time.now()
    late = set()
    for key, run, wake_at in _runs(simulation):
        deadline = KINDS[key[1]].next_deadline(run)
        where = f"{KINDS[key[1]].name} {key[2]} {run.run_id}"
        if deadline and not 0 < wake_at <= deadline:  # it may come too early, and is set right then
            raise Broken(f"{where} is due at {deadline} and is to be woken at {wake_at}")
        armed = wakes._armed.get(run.run_id)
        if not deadline:
            continue
        if deadline < max(now, wakes._read_to[0]) and (armed is None or armed > deadline):
            late.add((run.run_id, f"{where} is due at {deadline}, the timer loop knows of {armed}"))
    return late


def _wrong_owners(simulation: Simulation, runtime: Runtime) -> set[tuple[str, str]]:
    """Time is kept from skipping by what is on the disk, and by nothing that is over."""
    if runtime.skipper is None or runtime.skipper.owners._reading:
        return set()
    known = {run_id: (hard, soft) for run_id, (_, hard, soft) in runtime.skipper.owners._busy.items()}
    busy = {run.run_id: KINDS[key[1]].busy(run) for key, run, _ in _runs(simulation)}
    return {
        (run_id, f"time is held by {known.get(run_id, (0, 0))}, the disk says {busy.get(run_id, (0, 0))}")
        for run_id in known.keys() | busy.keys()
        if known.get(run_id, (0, 0)) != busy.get(run_id, (0, 0))
    }


# ---- tasks
def _check_tasks(simulation: Simulation, runtime: Runtime) -> None:
    """Each task that waits for a worker is in a queue or has a row."""
    rows = {
        (run_id, scheduled, kind)
        for run_id, scheduled, kind in simulation.disk.rows("select run_id, scheduled_event_id, kind from tasks")
    }
    open_runs: dict[tuple[str, int, str], str] = {}
    for key, run, _ in _runs(simulation):
        if not run.running:
            continue
        if key in open_runs:
            raise Broken(f"{key} has two open runs, {open_runs[key]} and {run.run_id}")
        open_runs[key] = run.run_id
        if key[1] == ACTIVITY:
            _check_activity(f"activity {key[2]}", run.run_id, run.state.attempt, 0, rows)
        if key[1] != WORKFLOW:
            continue
        task = run.workflow_task
        if task is not None and not task.started_event_id and (run.run_id, task.scheduled_event_id, 1) not in rows:
            raise Broken(f"{key[2]} {run.run_id} has a workflow task {task} that is in no queue")
        for scheduled, activity in run.activities.items():
            _check_activity(key[2], run.run_id, activity, scheduled, rows)


def _check_activity(where: str, run_id: str, activity: Any, scheduled: int, rows: set[Any]) -> None:
    if activity.offered and not activity.started_at and (run_id, scheduled, 2) not in rows:
        raise Broken(f"{where} {run_id} has an activity task {activity} that is in no queue")


# ---- the end
async def check_end(simulation: Simulation) -> None:
    """Nothing is left to do, nothing acknowledged is lost, and a restart changes nothing."""
    runtime = simulation.runtime
    assert runtime is not None
    check_now(simulation, 0)
    if not at_rest(runtime):
        raise Broken("it never comes to rest")
    if runtime.mail.on_way:
        raise Broken(f"messages never arrived: {runtime.mail.on_way}")
    if runtime.skipper is not None and (runtime.skipper.owners.hard or runtime.skipper.owners.soft):
        raise Broken(f"owners that own nothing: {runtime.skipper.explain()}")
    for loaded in runtime.executions.all():
        if loaded.updates or loaded.queries:
            raise Broken(f"{loaded.key[2]} holds for nobody: {list(loaded.updates)} {loaded.queries}")
    for key, waiting in runtime.matching._queues.items():
        if waiting.volatile or len(waiting.backlog):
            raise Broken(f"tasks wait in {key} for nobody")
    for _ in range(20):  # old runs are removed at any time, and their rows swept every few seconds
        if simulation.disk.rows("select 1 from forgotten"):
            await simulation.pass_time(1)
    for table in ("tasks", "outbox", "forgotten"):
        if left := simulation.disk.rows(f"select * from {table}"):
            raise Broken(f"{table} are left: {left}")
    for call in simulation.network.waiting:
        if not call.method.rpartition("/")[2].startswith("Poll"):
            raise Broken(f"{call.method} was never answered")
    _check_near_end(simulation)
    ledger = simulation.ledger
    if ledger.counted not in (None, ledger.changes):
        raise Broken(f"{ledger.changes} changes of a schedule were acknowledged, it knows of {ledger.counted}")
    check_disk(simulation)
    before = {realm: await simulation.histories(realm) for realm in simulation.realms}
    await simulation.restart()
    for realm in simulation.realms:
        after = await simulation.histories(realm)
        if after != {at: events for at, events in before[realm].items() if not realm.disk.removed(at[1])}:
            raise Broken("a restart changed histories")
        histories.check(realm, after)


def _check_near_end(simulation: Simulation) -> None:
    """All is closed, and no workflow is to be woken. What is too old was removed a minute ago."""
    old = {realm.disk.namespace_id: simulation.now() - (realm.retention + 60) * SECOND for realm in simulation.realms}
    for key, run, wake_at in _runs(simulation):
        if run.running and not (key[1] == SCHEDULE and forgotten(run, simulation.now())):
            raise Broken(f"{KINDS[key[1]].name} {key[2]} {run.run_id} is open to the end")
        if run.closed_at and old.get(key[0], 0) > run.closed_at:
            raise Broken(f"{KINDS[key[1]].name} {key[2]} {run.run_id} closed at {run.closed_at} and is still there")
        if key[1] == WORKFLOW and wake_at:
            raise Broken(f"{key[2]} {run.run_id} is closed and is to be woken at {wake_at // SECOND}")
