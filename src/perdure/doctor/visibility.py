"""What lists and filters see of a run, against its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.common.v1 import Payload

from perdure.doctor.subject import UNREADABLE, Subject
from perdure.engine.execution import WORKFLOW
from perdure.engine.kinds import KINDS
from perdure.runtime.search_values import search_values
from perdure.storage.sqlite.batch import TEXT
from perdure.storage.store import VisibilityWrite
from perdure.visibility.attributes import TYPE_NAMES
from perdure.visibility.text import tokens

_SAME = (
    "workflow_id",
    "run_id",
    "workflow_type",
    "status",
    "start_time",
    "execution_time",
    "close_time",
    "task_queue",
    "parent_workflow_id",
    "parent_run_id",
    "root_workflow_id",
    "root_run_id",
    "memo",
    "search_attributes",
    "division",
)
_ADVICE = "lists show it wrongly; a change of its memo or search attributes, or its close, writes the row anew"


def check_row(subject: Subject, row: VisibilityWrite | None) -> None:
    if row is None:
        advice = "no list shows it, and no retention removes it; report this with the file"
        subject.report("visibility", "there is no row for lists", advice)
        return
    wanted = KINDS[subject.row.kind].row(subject.run)
    for name in _SAME:
        what = f"{name.replace('_', ' ')} in lists"
        subject.differs("visibility", what, getattr(row, name), getattr(wanted, name), _ADVICE)
    subject.differs("visibility", "namespace in lists", row.namespace_id, subject.row.namespace_id, _ADVICE)
    if subject.row.kind == WORKFLOW and not subject.run.running:
        # Of open runs these are as of the row's last change.
        subject.differs("visibility", "history length in lists", row.history_length, wanted.history_length, _ADVICE)
        subject.differs("visibility", "history size in lists", row.history_size, wanted.history_size, _ADVICE)


def check_values(subject: Subject, stored: set[tuple[str, Any]], types: Mapping[str, int]) -> None:
    """Rows of attributes that the namespace lost since they were written, or has with another type now, are left
    alone."""
    try:
        values = search_values(subject.run.search_attributes, types)
    except UNREADABLE as error:
        subject.report("search-attributes", f"its search attributes cannot be read ({error})")
        return
    wanted: set[tuple[str, Any]] = set()
    for name, kind, value in values:
        if kind == TEXT:
            wanted.update((name, word) for word in tokens(str(value)) or ("",))
        else:
            wanted.add((name, value))
    if stored == wanted:
        return
    same = {name for name in types if not _retyped(subject.run.search_attributes.get(name), types[name])}
    known = {(name, value) for name, value in stored if name in same}
    wanted = {(name, value) for name, value in wanted if name in same}
    for name, value in sorted(wanted - known, key=repr):
        subject.report("search-values", f"no filter finds it by {name} = {value!r}", _ADVICE)
    for name, value in sorted(known - wanted, key=repr):
        subject.report("search-values", f"filters find it by {name} = {value!r}, which it has not", _ADVICE)


def _retyped(blob: bytes | None, kind: int) -> bool:
    written = Payload.FromString(blob or b"").metadata.get("type", b"").decode()
    return bool(written) and written != TYPE_NAMES.get(kind)
