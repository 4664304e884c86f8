"""What clients and workers were told, and what must therefore be true."""

from __future__ import annotations

from dataclasses import dataclass, field


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Ledger:
    starts: dict[tuple[str, str], str] = field(default_factory=dict)
    """(workflow ID, run ID) of acknowledged starts to the request ID."""
    signals: dict[str, list[str]] = field(default_factory=dict)
    """Workflow ID to payloads of acknowledged signals, in each sender's order: `sender/number`."""
    updates: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(workflow ID, run ID) to the IDs of updates that were acknowledged as accepted, or completed."""
    attempted: set[str] = field(default_factory=set)
    """Payloads of all signals that were ever sent."""
    repeated: set[str] = field(default_factory=set)
    """Those that were sent more than once: a later run of the chain knows nothing of what an earlier one received."""
    ran: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    """(run ID, activity ID, attempt, start) that were handed to a worker, to the worker."""
    completed: dict[tuple[str, str], str] = field(default_factory=dict)
    """(run ID, activity ID) of acknowledged completions to the result."""
    offered: set[tuple[str, str]] = field(default_factory=set)
    """(run ID of an activity of its own, result) that workers tried to complete it with."""
    closed: dict[str, str] = field(default_factory=dict)
    """Run ID to how it closed, as its worker was told."""
    terminated: set[str] = field(default_factory=set)
    """Workflow IDs that were terminated or deleted at some time: what was buffered then may be gone."""
    deleted: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    """Workflow IDs of which a run was removed when its retention was over."""
    changes: int = 0
    """Acknowledged changes of a schedule that several people change, and how many it counted itself."""
    counted: int | None = None
    reset: set[str] = field(default_factory=set)
    """Workflow IDs that were reset at some time: one signal is in several runs, and what a run asked of others near the
    point of the reset is asked twice."""

    def gone(self, execution_id: str) -> bool:
        """Whether some of its runs may not be there any more."""
        return execution_id in self.deleted or execution_id in self.expired

    def once(self, note: str) -> bool:
        """Whether a signal must not come twice."""
        return note not in self.repeated and note.split(" ")[0] not in self.reset
