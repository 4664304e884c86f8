"""Every run that waits for time is woken by then, and every open workflow has something to wait for at its start."""

from __future__ import annotations

from perdure.doctor.subject import Subject
from perdure.engine.kinds import KINDS


def check_wake(subject: Subject) -> None:
    """A run may be woken too early (for a speculative task, which is not stored): that finds nothing to do."""
    row, run = subject.row, subject.run
    due = KINDS[row.kind].next_deadline(run)
    if due and (row.wake_at is None or row.wake_at > due):
        wake = "never" if row.wake_at is None else f"at {row.wake_at}"
        advice = "signal it or restart it under another ID, and report this with the file"
        subject.report("wake", f"something is due at {due}, but it is woken {wake}", advice)
    if row.wake_at is not None and not run.running:
        subject.report("wake", f"it is closed, and would be woken at {row.wake_at}", "harmless; report this")


def check_first_task(subject: Subject) -> None:
    """Until a workflow task has completed there is one, or something says when there will be one."""
    run = subject.workflow
    if (
        run.running
        and not run.paused
        and not run.completed_tasks
        and run.workflow_task is None
        and not run.backoff_until
        and not run.awaits_parent
    ):
        subject.report(
            "first-task", "no worker was ever told of it, and none will be", "terminate it and start it again"
        )
