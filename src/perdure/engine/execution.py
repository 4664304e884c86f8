"""The unit that inputs queue at: (namespace, kind, ID), its current pointer, and those of its runs that are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perdure.engine.state import RUNNING, Run

WORKFLOW: Final = 0
"""Kinds of execution: workflows are one; schedules, batch jobs and others come with their own numbers."""


@dataclass(slots=True)
class Current:
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
        self.runs: dict[str, Run] = {}
