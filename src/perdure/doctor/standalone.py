"""Standalone activities: an outcome once closed, and not before; all that a worker needs while open."""

from __future__ import annotations

from perdure.doctor.subject import Subject
from perdure.engine.standalone.state import OUTCOME, START


def check_activity(subject: Subject) -> None:
    record = subject.record
    has_outcome = (OUTCOME, "") in record.items
    if has_outcome and record.running:
        subject.report("activity-outcome", "it has an outcome, though it is open")
    elif not has_outcome and not record.running:
        subject.report("activity-outcome", "it is closed, and has no outcome")
    if record.running and (START, "") not in record.items:
        subject.report("activity-start", "what its worker would be told is gone", "terminate it and start it again")
