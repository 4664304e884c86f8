"""Batch jobs: every target is waiting, under way or counted."""

from __future__ import annotations

from perdure.doctor.mail import Mail
from perdure.doctor.subject import Subject
from perdure.engine.batches.jobs import Job

_STUCK = "stop the job and start it again for what it has not done"


def check_job(subject: Subject, mail: Mail) -> None:
    record = subject.record
    job: Job = record.state
    numbers = [int(key) for _, key in record.items]
    if not record.running:
        if numbers:
            subject.report("batch-targets", f"it is over, and {len(numbers)} targets are left", "harmless; report this")
        return
    sent = [number for number in numbers if number < job.next_sent]
    subject.differs("batch-count", "number of targets under way", job.under_way, len(sent), _STUCK)
    waiting = len(numbers) - len(sent)
    subject.differs("batch-count", "number of targets that wait", waiting, job.next_number - job.next_sent, _STUCK)
    for number in sent:
        if not mail.on_way(record.run_id, number, "operation", "result"):
            subject.report("batch-target", f"target {number} has neither answered nor is under way", _STUCK)
    for number in sorted(mail.numbers(record.run_id, "operation") - set(sent)):
        subject.report(
            "batch-target", f"target {number} is under way, though it has answered or was never sent", _STUCK
        )
    if not job.query:
        known = job.complete + job.failed + len(numbers)
        subject.differs("batch-count", "number of all targets", job.total, known, _STUCK)
    if not job.due and not job.under_way:
        subject.report("batch-stuck", "nothing is under way, and nothing will be", _STUCK)
