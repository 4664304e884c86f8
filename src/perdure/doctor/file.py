"""The file as such: its pages, its counters, and rows that belong to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from temporalio.api.taskqueue.v1 import TaskQueueConfig

from perdure.doctor.findings import BACKUP, Finding
from perdure.doctor.subject import UNREADABLE
from perdure.engine.kinds import KINDS
from perdure.runtime.namespaces import Namespace, decode_namespace
from perdure.storage.sqlite.scan import Scan

Tell = Callable[[Finding], None]

_LEFTOVERS = "harmless but for the room they take; report this with the file"


def check_pages(scan: Scan, tell: Tell) -> None:
    for line in scan.faults_of_file():
        tell(Finding("sqlite", f"the file is damaged: {line}", "restore a backup"))


def check_schema(scan: Scan, tell: Tell) -> None:
    for line in scan.faults_of_schema():
        tell(Finding("schema", f"the schema was changed by hand: {line}", "change it back, or restore a backup"))


def read_namespaces(scan: Scan, tell: Tell) -> dict[str, Namespace]:
    """All that can be read, by ID."""
    found = {}
    for row in scan.namespaces():
        try:
            namespace = decode_namespace(row)
        except UNREADABLE as error:
            tell(Finding("namespace-unreadable", f"its row cannot be read ({error})", BACKUP, row.name))
            continue
        found[row.namespace_id] = namespace
        if (namespace.id, namespace.name) != (row.namespace_id, row.name):
            tell(Finding("namespace-key", f"its row holds another one, {namespace.name!r}", BACKUP, row.name))
    return found


def check_tables(scan: Scan, namespaces: Mapping[str, Namespace], tell: Tell) -> None:
    """What one statement can tell about many rows."""

    def name_of(namespace_id: str) -> str:
        namespace = namespaces.get(namespace_id)
        return namespace_id if namespace is None else namespace.name

    for table, run_no, rows in scan.numbers_without_run():
        tell(
            Finding("orphan", f"{rows} rows of table {table} belong to run number {run_no}, which is gone", _LEFTOVERS)
        )
    for table, namespace_id, rows in scan.without_namespace():
        wrong = f"{rows} rows of table {table} belong to namespace {namespace_id}, which is gone"
        tell(Finding("orphan-namespace", wrong, _LEFTOVERS))
    for namespace_id, kind, execution_id, run_id in scan.current_without_run():
        wrong = "the pointer to the current run leads to no run of that ID"
        advice = "nothing can be started or asked under that ID; " + BACKUP
        tell(Finding("current", wrong, advice, name_of(namespace_id), _kind(kind), execution_id, run_id))
    for run_no, namespace_id, kind, execution_id, run_id in scan.forgotten_runs():
        wrong = f"it was deleted, and is still there as number {run_no}: idle work will take its history away"
        tell(Finding("forgotten", wrong, BACKUP, name_of(namespace_id), _kind(kind), execution_id, run_id))
    for namespace_id, division, status, kept, rows in scan.miscounted():
        wrong = f"counts say {kept} executions of status {status} in division {division!r}, there are {rows}"
        advice = "counts without a filter are wrong by as much; report this with the file"
        tell(Finding("counts", wrong, advice, name_of(namespace_id)))
    marks = scan.high_water()[1:]
    for what, mark, highest in zip(("run", "task", "message"), marks, scan.highest_numbers(), strict=True):
        if highest > mark:
            wrong = f"{what} number {highest} is there, but numbers were given out only up to {mark}"
            tell(Finding("marks", wrong, f"a new {what} may take the number of an old one; {BACKUP}"))
    for queue in scan.queues():
        try:
            TaskQueueConfig.FromString(queue.config)
        except UNREADABLE as error:
            wrong = f"the settings of task queue {queue.queue!r} cannot be read ({error})"
            tell(Finding("queue-unreadable", wrong, "set them anew", name_of(queue.namespace_id)))


def _kind(number: int) -> str:
    kind = KINDS.get(number)
    return f"kind {number}" if kind is None else kind.name
