"""One run under examination: its rows, its state, and where faults of it are told."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from msgspec import MsgspecError

from perdure.doctor.findings import BACKUP, Finding, Findings
from perdure.engine.execution import WORKFLOW
from perdure.engine.kinds import KINDS
from perdure.engine.record import Record
from perdure.engine.state import Run
from perdure.storage.sqlite.scan import Scan, ScannedRun
from perdure.storage.store import StoredRun

UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    MsgspecError,
    RecursionError,
    DecodeError,
)
"""What comes of decoding bytes that nobody wrote like that."""


class Subject:
    """`run` is a Run of a workflow, a Record of any other kind."""

    __slots__ = ("_findings", "name", "namespace", "row", "run", "stored")

    def __init__(self, row: ScannedRun, stored: StoredRun, run: Any, namespace: str, findings: Findings) -> None:
        self.row = row
        self.stored = stored
        self.run = run
        self.namespace = namespace
        self.name = KINDS[row.kind].name
        self._findings = findings

    @property
    def workflow(self) -> Run:
        assert isinstance(self.run, Run)
        return self.run

    @property
    def record(self) -> Record:
        assert isinstance(self.run, Record)
        return self.run

    def report(self, check: str, wrong: str, advice: str = BACKUP) -> None:
        self._findings.faults.append(self._finding(check, wrong, advice))

    def remark(self, check: str, said: str, advice: str) -> None:
        self._findings.remarks.append(self._finding(check, said, advice))

    def _finding(self, check: str, wrong: str, advice: str) -> Finding:
        row = self.row
        return Finding(check, wrong, advice, self.namespace, self.name, row.execution_id, row.run_id)

    def differs(self, check: str, what: str, found: Any, wanted: Any, advice: str = BACKUP) -> None:
        """Report unless both are the same."""
        if found != wanted:
            self.report(check, f"{what} is {shown(found)}, not {shown(wanted)}", advice)


def shown(value: Any) -> str:
    """`value`, short enough for a line."""
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


class Others:
    """Other runs than the one under examination, found by key. Reads one run at a time and keeps none."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan

    def current(self, namespace_id: str, workflow_id: str) -> Run | None:
        """The current run of a workflow ID."""
        key = (namespace_id, WORKFLOW, workflow_id)
        pointer = self._scan.current(key)
        return None if pointer is None else self.run(namespace_id, workflow_id, pointer.run_id)

    def run(self, namespace_id: str, workflow_id: str, run_id: str, item: tuple[int, str] | None = None) -> Run | None:
        """A workflow's run; None when it is not there or cannot be read (which is a fault of its own). Of a large run
        that has its pending things in rows, only `item`."""
        row = self._scan.run_by_id((namespace_id, WORKFLOW, workflow_id), run_id)
        return None if row is None else self._decoded(row, item)

    def _decoded(self, row: ScannedRun, item: tuple[int, str] | None) -> Run | None:
        items = []
        if item is not None:
            sort, key = item
            value = self._scan.item(row.run_no, sort, key)
            items = [] if value is None else [(sort, key, value)]
        try:
            run: Run = KINDS[WORKFLOW].decode(row.core, items)
        except UNREADABLE:
            return None
        return run
