"""What the filter of one kind of execution may name, and how a name is understood.

All kinds live in one table of rows, kept apart by their *division*. Each kind's own API has words of its own for the
same columns (a workflow's `WorkflowType` is an activity's `ActivityType`), so a list is parsed with the
vocabulary of its kind; the store only ever sees the row's own attributes.

Source: the reference server's list filters of workflows, schedules and activities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from perdure.visibility.attributes import (
    ACTIVITY_DIVISION,
    BATCH_DIVISION,
    BOOL,
    DATETIME,
    INT,
    KEYWORD,
    PREDEFINED,
    SCHEDULE_DIVISION,
    SYSTEM,
)
from perdure.visibility.query import Compare, Condition

RUNNING: Final = 1
"""The status number of a running execution, whatever its kind."""

WORKFLOW_STATUSES: Final[Mapping[str, int]] = {
    "Running": RUNNING,
    "Completed": 2,
    "Failed": 3,
    "Canceled": 4,
    "Terminated": 5,
    "ContinuedAsNew": 6,
    "TimedOut": 7,
    "Paused": 8,
}
"""Numbers of WorkflowExecutionStatus by the names that filters and groups use."""

ACTIVITY_STATUSES: Final[Mapping[str, int]] = {
    "Running": RUNNING,
    "Completed": 2,
    "Failed": 3,
    "Canceled": 4,
    "Terminated": 5,
    "TimedOut": 6,
    "Paused": 7,
}
"""Numbers of ActivityExecutionStatus."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`names`: what a filter calls it, to the row's attribute and its IndexedValueType number.

    Custom attributes of the namespace come on top, and win. Rows of the kind are written with `division` and with the
    numbers of `statuses`; their `workflow_id` is the ID that the kind's own API uses.
    """

    division: str
    names: Mapping[str, tuple[str, int]]
    statuses: Mapping[str, int]
    status_enum: str = "WORKFLOW_EXECUTION_STATUS_"
    """Statuses may be written as the enum spells them, too."""
    groups: frozenset[str] = frozenset(("ExecutionStatus",))
    """What GROUP BY may name."""
    only: Condition | None = None
    """What every list of the kind is restricted to."""
    refusal: str = ""
    """How to refuse names that exist, though not for this kind; `{name}` stands in it. Empty: like an unknown one."""
    status_names: Mapping[int, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "status_names", {number: name for name, number in self.statuses.items()})

    def resolve(self, name: str, custom: Mapping[str, int]) -> tuple[str, int] | None:
        """The attribute that `name` means and its type; None when there is no such attribute.

        A custom attribute wins, then the exact name, then the name with `Temporal` before it, then without.
        """
        if name in custom:
            return name, custom[name]
        for candidate in (name, f"Temporal{name}", name.removeprefix("Temporal")):
            if (found := self.names.get(candidate)) is not None:
                return found
        return None

    def status(self, text: str) -> int | None:
        return self.statuses.get(text) or self._spelled_as_enum().get(text)

    def _spelled_as_enum(self) -> dict[str, int]:
        return {
            self.status_enum + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper(): number
            for name, number in self.statuses.items()
        }

    def nearest(self, name: str, custom: Mapping[str, int]) -> str | None:
        """The name that somebody who wrote `name` may have meant."""
        folded = {known.casefold(): known for known in (*self.names, *custom)}
        close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.8)
        return folded[close[0]] if close else None


def _as_they_are(*tables: Mapping[str, int]) -> dict[str, tuple[str, int]]:
    return {name: (name, value_type) for table in tables for name, value_type in table.items()}


WORKFLOWS: Final = Vocabulary(
    division="",
    names={**_as_they_are(SYSTEM, PREDEFINED), "ScheduleId": ("TemporalScheduleId", KEYWORD)},
    statuses=WORKFLOW_STATUSES,
    groups=frozenset(("ExecutionStatus", "TemporalNamespaceDivision")),
)
"""Users' workflows; of other divisions too, when the filter mentions TemporalNamespaceDivision."""

SCHEDULES: Final = Vocabulary(
    division=SCHEDULE_DIVISION,
    names={
        "ScheduleId": ("WorkflowId", KEYWORD),
        "TemporalSchedulePaused": ("TemporalSchedulePaused", BOOL),
    },
    statuses=WORKFLOW_STATUSES,
    groups=frozenset(),
    only=Compare("ExecutionStatus", "=", RUNNING),
    refusal='invalid query filter for schedules: cannot filter on "{name}"',
)

BATCH_JOBS: Final = Vocabulary(
    division=BATCH_DIVISION,
    names={**_as_they_are(SYSTEM, PREDEFINED), "JobId": ("WorkflowId", KEYWORD)},
    statuses=WORKFLOW_STATUSES,
)

ACTIVITIES: Final = Vocabulary(
    division=ACTIVITY_DIVISION,
    names={
        "ActivityId": ("WorkflowId", KEYWORD),
        "RunId": ("RunId", KEYWORD),
        "ActivityType": ("WorkflowType", KEYWORD),
        "ExecutionStatus": ("ExecutionStatus", KEYWORD),
        "TaskQueue": ("TaskQueue", KEYWORD),
        "StartTime": ("StartTime", DATETIME),
        "ExecutionTime": ("ExecutionTime", DATETIME),
        "CloseTime": ("CloseTime", DATETIME),
        "ExecutionDuration": ("ExecutionDuration", INT),
        "StateTransitionCount": ("StateTransitionCount", INT),
    },
    statuses=ACTIVITY_STATUSES,
    status_enum="ACTIVITY_EXECUTION_STATUS_",
)
"""Standalone activities."""
