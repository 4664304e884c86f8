"""Schedules: what they started runs or is under way, and what waits will have its turn."""

from __future__ import annotations

from perdure.doctor.mail import Mail
from perdure.doctor.subject import UNREADABLE, Others, Subject
from perdure.engine.schedules.acting import spec_of
from perdure.engine.schedules.state import BACKFILL_LIMIT, PAUSED_ATTRIBUTE, Action, Running, ScheduleState

_STUCK = "update or unpause the schedule to have it go on; report this with the file"


def check_schedule(subject: Subject, mail: Mail, others: Others) -> None:
    record = subject.record
    if not record.running:
        return
    state: ScheduleState = record.state
    try:
        spec_of(record)
    except UNREADABLE as error:
        subject.report("schedule-spec", f"its times cannot be read ({error})", "update it with another spec")
    for action in state.starting:
        number = action[Action.NUMBER]
        if not mail.on_way(record.run_id, number, "scheduled start", "scheduled started"):
            wrong = f"its start of {action[Action.WORKFLOW_ID]!r} is neither answered nor under way"
            subject.report("schedule-start", wrong, _STUCK)
    known = {action[Action.NUMBER] for action in state.starting}
    for number in sorted(mail.numbers(record.run_id, "scheduled start") - known):
        subject.report("schedule-start", f"its start number {number} is under way, and it does not know of it", _STUCK)
    for running in state.running:
        number = running[Running.NUMBER]
        if not _runs(subject, running, others) and not mail.on_way(record.run_id, number, "scheduled closed"):
            wrong = f"{running[Running.WORKFLOW_ID]!r}, which it waits for, is gone, and it was not told"
            subject.report("schedule-running", wrong, _STUCK)
    if state.buffer and not state.occupied:
        subject.report("schedule-buffer", f"{len(state.buffer)} starts wait for nothing", _STUCK)
    if state.backfills and not state.wake_at and len(state.buffer) < BACKFILL_LIMIT:
        subject.report("schedule-backfill", f"{len(state.backfills)} backfills wait for nothing", _STUCK)
    shown = b"true" in record.search_attributes.get(PAUSED_ATTRIBUTE, b"")
    subject.differs("schedule-paused", "whether lists show it as paused", shown, state.paused, _STUCK)


def _runs(subject: Subject, running: list[object], others: Others) -> bool:
    """Whether that workflow is open and will tell the schedule of its end."""
    record = subject.record
    run = others.current(record.namespace_id, str(running[Running.WORKFLOW_ID]))
    if run is None or not run.running or run.first_run_id != running[Running.RUN_ID]:
        return False
    return [record.execution_id, record.run_id, running[Running.NUMBER]] in [list(watcher) for watcher in run.watchers]
