"""A workflow's history: whole, closed by what closes runs, and leading to the state that is stored."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.history.v1 import History

from perdure.doctor.replay import compare
from perdure.doctor.subject import UNREADABLE, Subject
from perdure.engine.rebuilding import fold_stored, tidy, unborn_run
from perdure.enums import EventType
from perdure.storage.store import HistoryBatch

_E = EventType
CLOSING = frozenset(
    (
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    )
)


def check_history(subject: Subject, batches: Iterable[HistoryBatch]) -> int:
    """Returns the number of events there are. What is wrong with the events themselves hides the rest."""
    run = subject.workflow
    row = subject.row
    replayed = unborn_run(row.namespace_id, run.namespace, row.execution_id, row.run_id)
    wanted = {event_id: kind for _, kind, event_id in subject.stored.request_ids if event_id}
    size = 0
    last_type = 0
    for batch in batches:
        next_event_id = replayed.next_event_id
        if batch.first_event_id != next_event_id:
            what = "is missing" if batch.first_event_id > next_event_id else "is there twice"
            subject.report("history-gap", f"event {min(next_event_id, batch.first_event_id)} of its history {what}")
            return next_event_id - 1
        try:
            events = History.FromString(batch.blob).events
        except UNREADABLE as error:
            subject.report("history-unreadable", f"events from {batch.first_event_id} on cannot be read ({error})")
            return next_event_id - 1
        ids = [event.event_id for event in events]
        if ids != list(range(batch.first_event_id, batch.last_event_id + 1)):
            subject.report(
                "history-batch", f"events {batch.first_event_id} to {batch.last_event_id} are stored as {_ends(ids)}"
            )
            return next_event_id - 1
        for event in events:
            if last_type in CLOSING:
                subject.report("history-after-close", f"event {event.event_id} comes after the one that closed the run")
                return next_event_id - 1
            last_type = event.event_type
            kind = wanted.get(event.event_id)
            if kind is not None and kind != last_type:
                name = _E.Name(event.event_type)
                subject.report("request-id", f"a request is noted with event {event.event_id}, which is {name}")
            try:
                fold_stored(replayed, event)
            except UNREADABLE as error:
                subject.report("history-order", f"event {event.event_id} cannot follow those before it ({error})")
                return event.event_id - 1
        size += len(batch.blob)
        tidy(replayed)
    _check_end(subject, replayed.next_event_id - 1, size, last_type)
    if replayed.next_event_id == run.next_event_id:
        compare(subject, replayed)
    return replayed.next_event_id - 1


def _ends(ids: list[int]) -> str:
    return f"{ids[0]} to {ids[-1]}, {len(ids)} of them" if ids else "none"


def _check_end(subject: Subject, last_event_id: int, size: int, last_type: int) -> None:
    run = subject.workflow
    subject.differs("history-end", "the last event of its history", last_event_id, run.next_event_id - 1)
    if last_event_id == run.next_event_id - 1:
        subject.differs("history-size", "the size of its history", run.history_size, size)
    if not last_event_id:
        return
    if run.running and last_type in CLOSING:
        subject.report("history-close", f"it is open, though its history ends with {_E.Name(last_type)}")  # type: ignore[arg-type] # the number of an enum value
    elif not run.running and last_type not in CLOSING:
        subject.report("history-close", f"it is closed, though its history ends with {_E.Name(last_type)}")  # type: ignore[arg-type] # likewise
    for request_id, _, event_id in subject.stored.request_ids:
        if event_id > last_event_id:
            subject.report("request-id", f"request {request_id!r} is noted with event {event_id}, which is not there")
