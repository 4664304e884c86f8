"""What a batch writes of a run that was decided on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import astuple

from perdure.engine.execution import Execution
from perdure.engine.kinds import KINDS
from perdure.engine.limits import Limits
from perdure.engine.record import Record
from perdure.engine.state import RUNNING, Changes, Run
from perdure.engine.visibility import VisibilityRow
from perdure.runtime.executions import STARTED_EVENT, Executions, Loaded, Tail
from perdure.runtime.open_batch import OpenBatch
from perdure.runtime.search_values import search_values
from perdure.storage.store import (
    Batch,
    CurrentWrite,
    HistoryBatch,
    ItemWrite,
    RunDelete,
    RunWrite,
    VisibilityChange,
    VisibilityWrite,
)

assert VisibilityWrite.__struct_fields__[2:-2] == VisibilityRow.__struct_fields__, "one is made of the other"


class RunWriter:
    """`run_no` is the highest that any run has; new ones count on from there. `on_sealed(loaded, run, wake_at)` hears
    of each run that is about to be written."""

    def __init__(
        self,
        run_no: int,
        executions: Executions,
        limits: Limits,
        search_types: Callable[[str], Mapping[str, int]],
        on_sealed: Callable[[Loaded, Run, int], None],
    ) -> None:
        self._run_no = run_no
        self._executions = executions
        self._limits = limits
        self._search_types = search_types
        self._on_sealed = on_sealed

    def write(self, sealed: OpenBatch, loaded: Loaded, run: Run) -> None:
        """Add to a batch what the turns since its last commit made of a run: its row, its history, its place in
        lists."""
        batch = sealed.batch
        changes = run.changes
        execution = loaded.execution
        kind = KINDS[execution.kind]
        if not run.run_no:
            self._run_no += 1
            run.run_no = self._run_no
        was_spilled = run.spilled
        core = kind.encode(run, self._limits.items_in_core)
        items: list[ItemWrite] = []
        if run.spilled:
            keys = changes.items if was_spilled else set(kind.all_items(run))
            items = [ItemWrite(sort, key, kind.item_value(run, sort, key)) for sort, key in sorted(keys)]
        history: HistoryBatch | None = None
        tail = loaded.tail(run)
        if changes.events:
            history = HistoryBatch(changes.first_event_id, run.next_event_id - 1, b"".join(changes.events))
            self._executions.resize(loaded, tail.append(history))
        run.version += 1
        wake_at = kind.next_deadline(run)
        write = RunWrite(
            run.run_no,
            run.version,
            core,
            wake_at or None,
            execution.namespace_id,
            execution.kind,
            execution.execution_id,
            run.run_id,
            0,
            history,
            items,
            # The core holds the request that started the run.
            [seen for seen in changes.request_ids if seen != (run.create_request_id, STARTED_EVENT, 1)],
            changes.inherits if changes.inherits and changes.inherits[1] else None,
        )
        batch.runs.append(write)
        current = execution.current
        moved = changes.started or (changes.visibility and not run.running)
        if moved and current is not None and current.run_id == run.run_id:
            current.run_no = run.run_no
            current.status = RUNNING if run.running else run.status  # a paused one is as open as any
            batch.currents.append(
                CurrentWrite(
                    execution.namespace_id,
                    execution.kind,
                    execution.execution_id,
                    run.run_id,
                    run.run_no,
                    current.status,
                    run.first_run_id,
                    run.create_request_id,
                    run.started_at,
                )
            )
        if changes.visibility:
            batch.visibility.append(self._visibility(execution, run, tail))
        run.changes = Changes()
        sealed.sealed_runs.append((loaded, run, history))
        self._on_sealed(loaded, run, wake_at)

    def delete_what_began(self, batch: Batch, delete: RunDelete, run: Run | Record) -> None:
        """A run that is deleted by the batch that it began with was the current one for a moment: what was before it
        is not the current one any more, and what came after it is."""
        delete.run_no = run.run_no
        pointer = CurrentWrite(
            delete.namespace_id,
            delete.kind,
            delete.execution_id,
            delete.run_id,
            run.run_no,
            run.status,
            run.first_run_id,
            run.create_request_id,
            run.started_at,
        )
        batch.currents.insert(0, pointer)  # goes with the run, unless one that is written after it takes its place

    def _visibility(self, execution: Execution, run: Run, tail: Tail) -> VisibilityWrite:
        row = KINDS[execution.kind].row(run)
        if run.changes.started:
            change = VisibilityChange.STARTED
        elif run.changes.queue:
            change = VisibilityChange.QUEUE
        else:
            moved = run.changes.status or not run.running
            change = VisibilityChange.STATUS if moved else VisibilityChange.ATTRIBUTES
        values = None
        if row.search_attributes != tail.listed_attributes:
            tail.listed_attributes = row.search_attributes
            values = search_values(run.search_attributes, self._search_types(execution.namespace_id))
        return VisibilityWrite(run.run_no, execution.namespace_id, *astuple(row), change, values)  # type: ignore[call-arg] # of unknown length
