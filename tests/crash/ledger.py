"""What the server acknowledged, and so may never lose."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import WorkflowExecutionStatus


@dataclass(frozen=True, slots=True)
class Ending:
    """How a workflow has to end. `result` None: not compared (notes interleave as they came)."""

    status: WorkflowExecutionStatus
    result: Any = None


@dataclass
class Ledger:
    """Entries are made after the reply arrived, never before."""

    starts: dict[str, str] = field(default_factory=dict)
    """Workflow ID: the run ID that was answered."""
    notes: dict[tuple[str, str], int] = field(default_factory=dict)
    """(workflow ID, sender): how many of the sender's numbered notes were acknowledged."""
    completions: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(workflow ID, run ID, activity ID): the proof in the result that was accepted."""
    cancels: set[str] = field(default_factory=set)
    terminations: set[str] = field(default_factory=set)
    endings: dict[str, Ending] = field(default_factory=dict)
    """Endings that clients were told of."""
    touched: set[str] = field(default_factory=set)
    """Workflow IDs with entries made since the last `turn_page`."""

    def turn_page(self) -> Ledger:
        """A copy of all that is acknowledged now; `touched` starts over."""
        page = deepcopy(self)
        self.touched.clear()
        return page
