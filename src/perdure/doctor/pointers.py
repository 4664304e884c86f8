"""Current pointers and chains of runs: which run an ID means, and what follows what."""

from __future__ import annotations

from perdure.doctor.subject import Others, Subject
from perdure.engine.execution import WORKFLOW
from perdure.engine.state import RUNNING
from perdure.storage.store import CurrentWrite


def check_keys(subject: Subject) -> None:
    """The row's columns and the state name the same run."""
    row, run = subject.row, subject.run
    execution_id = run.workflow_id
    found = (run.namespace_id, execution_id, run.run_id)
    subject.differs("key", "what its state names", found, (row.namespace_id, row.execution_id, row.run_id))
    if not run.spilled and subject.stored.items:
        subject.report("items", f"{len(subject.stored.items)} pending things are in rows, and others in its state")


def check_current(subject: Subject, current: CurrentWrite | None) -> None:
    run, row = subject.run, subject.row
    if current is None or current.run_id != row.run_id:
        if run.running:
            other = "no run" if current is None else f"run {current.run_id}"
            advice = "terminate it by its run ID"
            subject.report("current", f"it is open, but the current run of its ID is {other}", advice)
        return
    subject.differs("current", "number of the current run", current.run_no, row.run_no)
    status = RUNNING if run.running else run.status
    subject.differs("current", "status of the current run", current.status, status)
    subject.differs("current", "first run ID of the current run", current.first_run_id, run.first_run_id)
    subject.differs("current", "request of the current run", current.create_request_id, run.create_request_id)
    subject.differs("current", "start of the current run", current.start_time, run.started_at)
    if row.kind == WORKFLOW and not run.running:
        for what, run_id in (("continued as", run.successor_run_id), ("reset to", run.reset_run_id)):
            if run_id:
                subject.report("chain", f"it was {what} run {run_id}, which is not the current one")


def check_chain(subject: Subject, others: Others) -> None:
    """A successor that is there belongs to the same chain (it may have been deleted)."""
    run = subject.workflow
    if run.running and run.successor_run_id:
        subject.report("chain", f"it is open, though it continued as run {run.successor_run_id}")
    for run_id in (run.successor_run_id, run.reset_run_id):
        successor = others.run(run.namespace_id, run.workflow_id, run_id) if run_id else None
        if successor is not None:
            what = f"first run of its successor {run_id}"
            subject.differs("chain", what, successor.first_run_id, run.first_run_id)
