"""What an examination says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

BACKUP = "restore a backup, and report this with the file"
"""What to do about damage that nobody can mend by asking the server for something."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `check` is its name, for programs; the rest is empty where the fault is not of one run."""

    check: str
    wrong: str
    advice: str
    namespace: str = ""
    kind: str = ""
    execution_id: str = ""
    run_id: str = ""

    def __str__(self) -> str:
        where = ""
        if self.execution_id:
            where = f"namespace {self.namespace!r}, {self.kind} {self.execution_id!r}, run {self.run_id}: "
        elif self.namespace:
            where = f"namespace {self.namespace!r}: "
        return f"{where}{self.wrong} [{self.check}]; {self.advice}"


@dataclass(slots=True)
class Findings:
    """All faults of a file, and how much was looked at."""

    path: str
    faults: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)
    """What is as the server means it to be, and yet something that somebody may have to see to."""
    executions: int = 0
    """Runs, of all kinds of execution."""
    events: int = 0
    tasks: int = 0
    stale_tasks: int = 0
    """Rows that no run wants any more: dropped when a poller comes for them, and no fault."""
    messages: int = 0

    @property
    def sound(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        looked_at = f"{self.executions} executions, {self.events} events, {self.tasks} tasks, {self.messages} messages"
        said = f"no fault found in {looked_at}" if self.sound else f"{len(self.faults)} faults found in {looked_at}"
        return "\n".join([*map(str, self.faults), said, *(f"remark: {remark}" for remark in self.remarks)])


Report = Callable[[str, str, str], None]
"""`report(check, wrong, advice)`: a fault of what is being looked at."""
