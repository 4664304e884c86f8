"""`assert_history`: what should have happened, as a list of events, against what did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import EllipsisType
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter, PayloadConverter

from perdure.testing.history import NAMES, History, attribute, event_name, events_of, history_text, shown

CONVERTER = DataConverter.default.payload_converter

MISSING, SURPLUS, DIFFERENT = 2, 2, 1
"""Costs of the ways in which expected and actual events differ; the cheapest explanation is the one shown."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An event of this type, with at least these attributes."""

    name: str
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return _line(self.name, self.attributes)


Expectation = Expected | str | EllipsisType


def event(name: str, /, nested: Mapping[str, Any] | None = None, **attributes: Any) -> Expected:
    """An event by its type, such as "TimerStarted", with the attributes that matter, such as `timer_id="1"`.

    Values are Python's: timedelta and datetime, decoded payloads (`result=42`; several as a list), names of types and
    task queues, messages of failures (the innermost), enum values without prefix ("TRY_CANCEL"). `nested` takes dotted
    names, such as {"workflow_execution.workflow_id": "a"}. Raises ValueError for a type that does not exist.
    """
    if name not in NAMES.values():
        raise ValueError(f"there is no event type {name!r}; one of {', '.join(sorted(NAMES.values()))}")
    return Expected(name, {**attributes, **(nested or {})})


async def assert_history(
    handle: WorkflowHandle[Any, Any],
    expected: Sequence[Expectation],
    *,
    workflow_tasks: bool = False,
    converter: PayloadConverter = CONVERTER,
) -> None:
    """`check_history` on the history that the run of `handle` has now."""
    history = await handle.fetch_history()
    check_history(history, expected, workflow_tasks=workflow_tasks, converter=converter)


def check_history(
    history: History,
    expected: Sequence[Expectation],
    *,
    workflow_tasks: bool = False,
    converter: PayloadConverter = CONVERTER,
) -> None:
    """Raise AssertionError, with a diff, unless `history` consists of the `expected` events, in this order.

    An expectation is the name of an event type, an `event(...)`, or `...` for any number of events. Workflow task
    events, which say how the SDK worked rather than what the workflow did, count only with `workflow_tasks`.
    """
    wanted = [event(item) if isinstance(item, str) else item for item in expected]
    happened = list(events_of(history))
    if not workflow_tasks:
        wanted_tasks = [it for it in wanted if isinstance(it, Expected) and it.name.startswith("WorkflowTask")]
        if wanted_tasks:
            raise ValueError(f"to expect {wanted_tasks[0].name}, pass workflow_tasks=True")
        happened = [event for event in happened if not event_name(event).startswith("WorkflowTask")]
    rows = _Alignment(wanted, happened, converter).rows()
    if any(not row.startswith(" ") for row in rows):
        raise AssertionError(
            "the history is not as expected (- expected, + happened):\n"
            + "\n".join(rows)
            + "\n\nall of it:\n"
            + history_text(history, converter=converter)
        )


class _Alignment:
    """The cheapest way to read `happened` as `wanted`, by dynamic programming over their suffixes."""

    def __init__(
        self, wanted: Sequence[Expected | EllipsisType], happened: Sequence[HistoryEvent], converter: PayloadConverter
    ) -> None:
        self._wanted = wanted
        self._happened = happened
        self._converter = converter
        self._differences = cache(self._find_differences)
        self._costs: list[list[int]] = []
        self._count()

    def rows(self) -> list[str]:
        """A diff: lines that begin with a blank agree."""
        return list(self._rows())

    def _count(self) -> None:
        wanted, happened = self._wanted, self._happened
        costs = [[0] * (len(happened) + 1) for _ in range(len(wanted) + 1)]
        for i in range(len(wanted), -1, -1):
            for j in range(len(happened), -1, -1):
                if i < len(wanted) or j < len(happened):
                    costs[i][j] = min(cost + costs[a][b] for cost, a, b in self._steps(i, j))
        self._costs = costs

    def _steps(self, i: int, j: int) -> Iterator[tuple[int, int, int]]:
        """(cost, i and j after it) of each way to go on; those that explain best come first."""
        want = self._wanted[i] if i < len(self._wanted) else None
        left = j < len(self._happened)
        if isinstance(want, EllipsisType):
            yield 0, i + 1, j
            if left:
                yield 0, i, j + 1
            return
        if want is not None and left and want.name == event_name(self._happened[j]):
            yield DIFFERENT if self._differences(i, j) else 0, i + 1, j + 1
        if want is not None:
            yield MISSING, i + 1, j
        if left:
            yield SURPLUS, i, j + 1

    def _rows(self) -> Iterator[str]:
        i = j = 0
        while i < len(self._wanted) or j < len(self._happened):
            total = self._costs[i][j]
            a, b = next((a, b) for cost, a, b in self._steps(i, j) if cost + self._costs[a][b] == total)
            want = self._wanted[i] if a > i else None
            if isinstance(want, EllipsisType):
                pass  # the lines it stands for have been written
            elif isinstance(want, Expected) and b > j:
                differences = self._differences(i, j)
                if differences:
                    yield f"-       {want}"
                    yield f"+ {self._actual(j, {**want.attributes, **differences})}"
                else:
                    yield f"  {self._actual(j, want.attributes)}"
            elif want is not None:
                yield f"-       {want}"
            elif isinstance(self._wanted[i] if i < len(self._wanted) else None, EllipsisType):
                yield f"  {self._actual(j, {})}"
            else:
                yield f"+ {self._actual(j, {})}"
            i, j = a, b

    def _actual(self, j: int, attributes: Mapping[str, Any]) -> str:
        event = self._happened[j]
        return f"{event.event_id:>4}  {_line(event_name(event), attributes)}"

    def _find_differences(self, i: int, j: int) -> dict[str, Any]:
        """Attributes of event j that are not as wanted at i, with what they are."""
        want = self._wanted[i]
        assert isinstance(want, Expected)
        actual = {name: attribute(self._happened[j], name, self._converter) for name in want.attributes}
        return {name: value for name, value in actual.items() if value != want.attributes[name]}


def _line(name: str, attributes: Mapping[str, Any]) -> str:
    return " ".join([name, *(f"{key}={shown(value, 200)}" for key, value in attributes.items())])
