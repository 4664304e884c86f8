"""What the shell must be told about a kind of execution to store, wake, list and reach it.

A kind that is no workflow subclasses `RecordKind`, and is entered in the table of `kinds.py`. Its inputs come through
`Runtime.decide_record`; it is woken when `next_deadline` comes, reached by messages whose class names it
(`Message.TO`), and listed under its own `division`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

from perdure.engine.items import Fields
from perdure.engine.messages import Message
from perdure.engine.record import Record, decode_record, encode_record
from perdure.engine.turn import Shared
from perdure.engine.visibility import VisibilityRow, encode_search_attributes


class Kind(Protocol):
    """`run` is the kind's own sort of run: `Run` for workflows, `Record` for all others."""

    @property
    def name(self) -> str:
        """What people call it, in lower case."""

    # ---- stored form
    def encode(self, run: Any, items_in_core: int) -> bytes:
        """The core. Sets `run.spilled` once the items outgrow `items_in_core` bytes."""

    def all_items(self, run: Any) -> list[tuple[int, str]]: ...

    def item_value(self, run: Any, sort: int, key: str) -> bytes | None: ...

    def decode(self, core: bytes, items: list[tuple[int, str, bytes]]) -> Any:
        """The run as it was encoded. Raises ValueError for a format of a newer release."""

    # ---- what happens to it
    def next_deadline(self, run: Any) -> int:
        """When something of the run is due, in microseconds since 1970; 0: never."""

    def wake(self, shared: Shared, run: Any) -> bool:
        """Carry out what is due earliest, in turns that are ended here. False when nothing is due (yet). Called again
        until it is False."""

    def deliver(self, shared: Shared, run: Any, message: Message) -> None:
        """Decide one message. `run` is the named run, or the current one when none is named; None: there is none.
        Never refuses."""

    # ---- what is seen of it
    def row(self, run: Any) -> VisibilityRow: ...

    def busy(self, run: Any) -> tuple[int, int]:
        """How many (hard, soft) owners of virtual time it is: see runtime/owners.py. Waiting for time is none."""

    def reasons(self, run: Any, *, hard: bool) -> Iterator[str]:
        """A line for each of them."""


class RecordKind(ABC):
    """What kinds without a history have in common. Subclasses give at least `name`, `state`, `division`,
    `next_deadline` and `wake`."""

    name: str

    state: type[Fields]
    division: str
    """Value of TemporalNamespaceDivision."""
    type_name: str = ""
    """What lists show as workflow type."""

    def encode(self, run: Record, items_in_core: int) -> bytes:
        return encode_record(run, items_in_core)

    def all_items(self, run: Record) -> list[tuple[int, str]]:
        return list(run.items)

    def item_value(self, run: Record, sort: int, key: str) -> bytes | None:
        return run.items.get((sort, key))

    def decode(self, core: bytes, items: list[tuple[int, str, bytes]]) -> Record:
        return decode_record(core, items, self.state)

    @abstractmethod
    def next_deadline(self, run: Record) -> int:
        """As `Kind`."""

    @abstractmethod
    def wake(self, shared: Shared, run: Record) -> bool:
        """As `Kind`."""

    def deliver(self, shared: Shared, run: Record | None, message: Message) -> None:
        raise TypeError(f"no receiver for {type(message).__name__}")

    def row(self, run: Record) -> VisibilityRow:
        return VisibilityRow(
            workflow_id=run.execution_id,
            run_id=run.run_id,
            workflow_type=self.type_name,
            status=run.status,
            start_time=run.started_at,
            execution_time=run.started_at,
            close_time=None if run.running else run.closed_at,
            task_queue="",
            parent_workflow_id="",
            parent_run_id="",
            root_workflow_id=run.execution_id,
            root_run_id=run.run_id,
            history_length=0,
            history_size=0,
            state_transitions=0,
            memo=run.memo,
            search_attributes=encode_search_attributes(run.search_attributes),
            division=self.division,
        )

    def busy(self, run: Record) -> tuple[int, int]:
        return 0, 0

    def reasons(self, run: Record, *, hard: bool) -> Iterator[str]:
        return iter(())
