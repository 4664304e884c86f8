"""The examination of a file: every family of checks, in one walk over its runs.

Nothing is kept of a run once it was looked at, so a file of any size can be examined; what is kept are the keys of the
messages under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from perdure.doctor.batches import check_job
from perdure.doctor.file import check_pages, check_schema, check_tables, read_namespaces
from perdure.doctor.findings import BACKUP, Finding, Findings
from perdure.doctor.history import check_history
from perdure.doctor.mail import Mail
from perdure.doctor.pointers import check_chain, check_current, check_keys
from perdure.doctor.relatives import check_children, check_externals, check_parent
from perdure.doctor.schedules import check_schedule
from perdure.doctor.standalone import check_activity
from perdure.doctor.subject import UNREADABLE, Others, Subject
from perdure.doctor.tasks import TasksByRun, check_stamps, check_tasks
from perdure.doctor.visibility import check_row, check_values
from perdure.doctor.waking import check_first_task, check_wake
from perdure.engine.execution import ACTIVITY, BATCH, SCHEDULE, WORKFLOW
from perdure.engine.kinds import KINDS
from perdure.runtime.namespaces import Namespace
from perdure.storage.sqlite.scan import Scan, ScannedRun
from perdure.storage.store import StoreFailed
from perdure.visibility.attributes import PREDEFINED

Progress = Callable[[int, int], None]
"""`progress(done, all)`, in runs. Called often."""


def examine(path: str, progress: Progress | None = None) -> Findings:
    """All that is wrong with the database file at `path`, which is only read: also beside a running server, as of one
    moment. Raises StoreFailed, one line, for what cannot be examined at all."""
    with Scan(path) as scan:
        return _Examination(path, scan, progress).run()


class _Examination:
    def __init__(self, path: str, scan: Scan, progress: Progress | None) -> None:
        self._scan = scan
        self._progress = progress
        self._findings = Findings(path)
        self._tell = self._findings.faults.append

    def run(self) -> Findings:
        findings, scan = self._findings, self._scan
        total = 0
        with suppress(StoreFailed):  # what cannot be counted is looked at all the same
            total = scan.counts()[0]
        if self._progress is not None:
            self._progress(0, total)
        with self._guarded():
            check_pages(scan, self._tell)
            check_schema(scan, self._tell)
            namespaces = read_namespaces(scan, self._tell)
            check_tables(scan, namespaces, self._tell)
            mail = Mail(scan.outbox(), self._tell)
            findings.messages = mail.count
            others = Others(scan)
            mail.check_senders(others)
            tasks = TasksByRun(scan.tasks())
            for row in scan.runs():
                self._run(row, namespaces, mail, others, tasks)
                findings.executions += 1
                if self._progress is not None:
                    self._progress(findings.executions, total)
            tasks.end()
            findings.tasks = tasks.count
            findings.stale_tasks += tasks.of_no_run
        return findings

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Pages that cannot be read end the examination, and are its finding."""
        try:
            yield
        except StoreFailed as failure:
            if not any(finding.check == "sqlite" for finding in self._findings.faults):
                self._tell(Finding("sqlite", str(failure).partition("; ")[0], "restore a backup"))

    def _run(
        self, row: ScannedRun, namespaces: dict[str, Namespace], mail: Mail, others: Others, tasks: TasksByRun
    ) -> None:
        namespace = namespaces.get(row.namespace_id)
        name = row.namespace_id if namespace is None else namespace.name
        task_rows = tasks.take(row.run_id)
        subject = self._subject(row, name)
        if subject is None:
            return
        try:
            check_keys(subject)
            check_current(subject, self._scan.current(row.key))
            check_wake(subject)
            check_stamps(subject)
            self._findings.stale_tasks += check_tasks(subject, task_rows)
            check_row(subject, self._scan.execution(row.run_no))
            types = PREDEFINED if namespace is None else namespace.search_attribute_types
            check_values(subject, self._scan.search_values(row.run_no), types)
            self._of_kind(subject, mail, others)
        except UNREADABLE as error:
            subject.report("unreadable", f"its state makes no sense ({type(error).__name__}: {error})")

    def _subject(self, row: ScannedRun, namespace: str) -> Subject | None:
        kind = KINDS.get(row.kind)
        stored = self._scan.stored(row)
        wrong = f"it is of kind {row.kind}, which is unknown"
        if kind is not None:
            try:
                run: Any = kind.decode(row.core, stored.items)
            except UNREADABLE as error:
                wrong = f"its state cannot be read ({type(error).__name__}: {error})"
            else:
                return Subject(row, stored, run, namespace, self._findings)
        name = f"kind {row.kind}" if kind is None else kind.name
        self._tell(Finding("unreadable", wrong, BACKUP, namespace, name, row.execution_id, row.run_id))
        return None

    def _of_kind(self, subject: Subject, mail: Mail, others: Others) -> None:
        kind = subject.row.kind
        if kind == WORKFLOW:
            self._findings.events += check_history(subject, self._scan.history(subject.row.run_no))
            check_first_task(subject)
            check_chain(subject, others)
            check_externals(subject, mail)
            check_children(subject, mail, others)
            check_parent(subject, mail, others)
            return
        if next(self._scan.history(subject.row.run_no), None) is not None:
            subject.report("history", f"a {subject.name} has no history, but there are events of it")
        if kind == SCHEDULE:
            check_schedule(subject, mail, others)
        elif kind == BATCH:
            check_job(subject, mail)
        elif kind == ACTIVITY:
            check_activity(subject)
