"""The unit that inputs queue at: (namespace, kind, ID), its current pointer, and those of its runs that are loaded."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from perdure.engine.state import RUNNING

WORKFLOW: Final = 0
SCHEDULE: Final = 1
ACTIVITY: Final = 2
BATCH: Final = 3
"""Kinds of execution, as stored; `kinds.py` says what each is."""


class Current(Struct):
    """The latest run of an execution: all that Start needs to decide about an ID that is in use."""

    run_id: str
    run_no: int
    status: int
    first_run_id: str
    create_request_id: str
    started_at: int

    @property
    def running(self) -> bool:
        return self.status == RUNNING


class Execution:
    __slots__ = ("current", "execution_id", "kind", "namespace", "namespace_id", "runs")

    def __init__(self, namespace_id: str, namespace: str, kind: int, execution_id: str) -> None:
        self.namespace_id = namespace_id
        self.namespace = namespace
        self.kind = kind
        self.execution_id = execution_id
        self.current: Current | None = None
        self.runs: dict[str, Any] = {}
        """Run ID to `Run` for workflows, `Record` for all other kinds."""
