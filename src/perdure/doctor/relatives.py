"""Parents and children, and whom a workflow signals or cancels: each waits for what is there or on its way."""

from __future__ import annotations

from perdure.doctor.mail import Mail
from perdure.doctor.subject import Others, Subject
from perdure.engine.items import Child
from perdure.engine.state import CHILD, Run

_CHAIN = 1000
"""Runs of a chain that are looked at."""
_NEVER = "it waits for ever: terminate it, and report this with the file"


def check_externals(subject: Subject, mail: Mail) -> None:
    run = subject.workflow
    if not run.running:
        return
    for word, pending in (("signal", run.signals), ("cancel", run.cancels)):
        for event_id, external in pending.items():
            if not mail.on_way(run.run_id, event_id, word, f"{word} result"):
                wrong = f"its {word} of event {event_id} to {external.workflow_id!r} is neither answered nor under way"
                subject.report("external", wrong, _NEVER)


def check_children(subject: Subject, mail: Mail, others: Others) -> None:
    run = subject.workflow
    if not run.running:
        return
    for event_id, child in run.children.items():
        if not child.run_id:
            if not mail.on_way(run.run_id, event_id, "start", "started", "start failed"):
                wrong = f"the start of child {child.workflow_id!r} (event {event_id}) is neither answered nor under way"
                subject.report("child-start", wrong, _NEVER)
        elif not _lives(run, child, others) and not any(
            mail.on_way(run_id, event_id, "closed") for run_id in (run.run_id, *run.ancestors)
        ):
            wrong = f"child {child.workflow_id!r}, first run {child.run_id}, is gone, and it was not told"
            if run.ancestors:
                # Its end was told to a run that this one was reset from, and is after the point of the reset.
                subject.remark("child-closed", wrong, "reset it to a point after that child's end, or terminate it")
            else:
                subject.report("child-closed", wrong, _NEVER)


def _lives(parent: Run, child: Child, others: Others) -> bool:
    """Whether the chain that began with that child is open, and knows whose it is."""
    current = others.current(child.namespace_id, child.workflow_id)
    if current is None or not current.running or current.first_run_id != child.run_id:
        return False
    theirs = current.parent
    return theirs is not None and theirs.run_id in (parent.run_id, *parent.ancestors)


def check_parent(subject: Subject, mail: Mail, others: Others) -> None:
    """An open child's parent, if it is open, has the child pending; and a child that may not begin will be told to."""
    run = subject.workflow
    if not run.running:
        return
    parent = run.parent
    if parent is None:
        if run.awaits_parent:
            subject.report("child-waits", "it waits for its parent, and has none", _NEVER)
        return
    event_id = parent.initiated_event_id
    if run.awaits_parent and not (
        mail.on_way(run.run_id, 0, "ready") or mail.on_way(parent.run_id, event_id, "started")
    ):
        subject.report("child-waits", "it waits for its parent, who will not tell it to begin", _NEVER)
    theirs = others.run(parent.namespace_id, parent.workflow_id, parent.run_id, (CHILD, str(event_id)))
    if theirs is None or not theirs.running:
        return
    pending = theirs.children.get(event_id)
    if pending is None or pending.run_id not in ("", run.first_run_id):
        wrong = f"its parent {parent.workflow_id!r}, run {parent.run_id}, does not know it as child of event {event_id}"
        if _follows_its_first(run, others):
            subject.report("child-unknown", wrong)
        else:
            subject.remark("child-unknown", wrong, "its parent heard of an end before a reset; nothing need be done")


def _follows_its_first(run: Run, others: Others) -> bool:
    """Whether the run goes on, without a reset on the way, where the first of its chain ended."""
    run_id = run.first_run_id
    for _ in range(_CHAIN):
        if run_id == run.run_id:
            return True
        before = others.run(run.namespace_id, run.workflow_id, run_id)
        if before is None:
            return False
        run_id = before.successor_run_id
    return False
