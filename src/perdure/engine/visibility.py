"""What list and count see of a run."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct
from temporalio.api.common.v1 import Payload, SearchAttributes

from perdure.engine.state import Run


class VisibilityRow(Struct):
    """`memo` and `search_attributes` are serialised messages; times microseconds since 1970."""

    run_id: str
    workflow_id: str
    workflow_type: str
    status: int
    start_time: int
    execution_time: int
    close_time: int | None
    task_queue: str
    parent_workflow_id: str
    parent_run_id: str
    root_workflow_id: str
    root_run_id: str
    history_length: int
    history_size: int
    state_transitions: int
    memo: bytes
    search_attributes: bytes
    division: str = ""
    """Namespace division; empty for workflows."""


def visibility_row_fields(run: Run) -> VisibilityRow:
    parent = run.parent
    return VisibilityRow(
        run_id=run.run_id,
        workflow_id=run.workflow_id,
        workflow_type=run.workflow_type,
        status=run.status,
        start_time=run.started_at,
        execution_time=run.execution_at,
        close_time=None if run.running else run.closed_at,
        task_queue=run.task_queue,
        parent_workflow_id="" if parent is None else parent.workflow_id,
        parent_run_id="" if parent is None else parent.run_id,
        root_workflow_id=run.root_workflow_id,
        root_run_id=run.root_run_id,
        history_length=run.next_event_id - 1,
        history_size=run.history_size,
        state_transitions=run.state_transitions,
        memo=run.memo,
        search_attributes=encode_search_attributes(run.search_attributes),
    )


def encode_search_attributes(values: dict[str, bytes]) -> bytes:
    """Name to serialised Payload, as a serialised SearchAttributes."""
    return _search_attributes(tuple(values.items()))


@lru_cache(1024)
def _search_attributes(values: tuple[tuple[str, bytes], ...]) -> bytes:
    """Those that have a value: a JSON null is kept by the run and shown by describe, but is no value to list or
    find. Most runs have the same ones (the build that ran them, or none), so the message is remembered."""
    if not values:
        return b""
    attributes = SearchAttributes()
    for name, blob in values:
        value = Payload.FromString(blob)
        if value.data != b"null":
            attributes.indexed_fields[name].CopyFrom(value)
    return attributes.SerializeToString(deterministic=True)
