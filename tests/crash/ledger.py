"""What was acknowledged to clients, and so may never be lost, and what workers ran.

Clients outlive every kill, so their ledger is in memory. Workers do not: theirs are files, and an entry is on disk
before what it tells of begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from temporalio.client import WorkflowExecutionStatus


@dataclass(frozen=True, slots=True)
class Ending:
    """How a workflow has to end. `result` None: not compared."""

    status: WorkflowExecutionStatus
    result: Any = None


@dataclass(slots=True)
class Sent:
    """One signal of a sender: how often it was sent, always with the same request ID, and whether it was answered."""

    tries: int = 0
    answered: bool = False


class Update(NamedTuple):
    workflow_id: str
    run_id: str
    update_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule that is over: what its workflow IDs begin with, and how many runs were triggered besides."""

    schedule_id: str
    workflow_id: str
    triggered: int


@dataclass(frozen=True, slots=True)
class Ran:
    """One execution of an activity's function by a worker."""

    workflow_id: str
    """Empty for an activity that no workflow scheduled."""
    run_id: str
    activity_id: str
    attempt: int
    stamp: int
    """0 for a local activity, of which the server does not know."""
    proof: str
    """Drawn for this execution, and part of its result."""
    local: bool = False


@dataclass
class Ledger:
    """Entries are made after the reply arrived, never before; only `sent` and `proofs` are written ahead."""

    starts: dict[str, str] = field(default_factory=dict)
    """Workflow ID: the run ID that was answered."""
    sent: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    """(workflow ID, sender): the sender's signals, by their number."""
    completions: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(workflow ID, run ID, activity ID): the proof in the result that was accepted."""
    handed: list[Ran] = field(default_factory=list)
    """Attempts that clients were given, to complete by hand."""
    proofs: set[str] = field(default_factory=set)
    """Proofs that clients put into results of activities that they complete themselves."""
    cancels: set[str] = field(default_factory=set)
    terminations: set[str] = field(default_factory=set)
    endings: dict[str, Ending] = field(default_factory=dict)
    """Endings that clients were told of."""
    updates: dict[Update, str] = field(default_factory=dict)
    """The outcome that was told, as text."""
    rejections: set[tuple[str, str]] = field(default_factory=set)
    """(workflow ID, update ID) of what a validator turned away."""
    resets: dict[tuple[str, str], str] = field(default_factory=dict)
    """(workflow ID, the run that was reset): the run that goes on."""
    standalone: dict[tuple[str, str], str] = field(default_factory=dict)
    """(activity ID, run ID) without a workflow: the outcome that was told, as text; empty until then."""
    plans: list[Plan] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    """Workflow IDs with entries made since the last `turn_page`."""

    def turn_page(self) -> Ledger:
        """A copy of all that is acknowledged now; `touched` starts over."""
        page = deepcopy(self)
        self.touched.clear()
        return page


class RunLog:
    """One worker's ledger. `note` returns once the entry would survive a loss of power."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def note(self, ran: Ran) -> None:
        os.write(self._file, json.dumps(asdict(ran)).encode() + b"\n")
        os.fsync(self._file)


def all_ran(directory: Path) -> Iterator[Ran]:
    """The entries of all workers there were."""
    for path in sorted(directory.glob("*.ran")):
        # A worker that died while it wrote ran nothing for that line.
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield Ran(**json.loads(line))
