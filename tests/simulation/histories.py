"""Every history at the end, held against what was acknowledged."""

from __future__ import annotations

import json
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from tests.simulation.ledger import Broken, Ledger
from tests.simulation.plans import Told
from tests.simulation.realms import Realm

CLOSES = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}

Histories = dict[tuple[str, str], list[HistoryEvent]]
"""By workflow ID and run ID."""


def check(realm: Realm, histories: Histories) -> None:
    ledger = realm.ledger
    for (workflow_id, run_id), events in histories.items():
        _check_history(ledger, workflow_id, run_id, events)
    _check_signals(ledger, histories)
    for workflow_id, run_id in ledger.starts:
        if not realm.disk.removed(run_id) and (workflow_id, run_id) not in histories:
            raise Broken(f"acknowledged start {workflow_id} {run_id} is lost")


def _check_history(ledger: Ledger, workflow_id: str, run_id: str, events: list[HistoryEvent]) -> None:
    where = f"{workflow_id} {run_id}"
    if [event.event_id for event in events] != list(range(1, len(events) + 1)):
        raise Broken(f"{where} has gaps")
    closes = [event.event_id for event in events if event.event_type in CLOSES]
    if closes != [len(events)]:
        raise Broken(f"{where} has {len(events)} events and closes at {closes}")
    times = [event.event_time.ToMicroseconds() for event in events]
    if times[0] != min(times) or times[-1] != max(times):  # in between, buffered events keep their times
        raise Broken(f"{where}: time goes back: {times}")
    told = Told(events)
    if strange := [note for note in told.signals if "/" in note and note not in ledger.attempted]:
        raise Broken(f"{where} was signaled {strange}, which nobody sent there")
    once = [note for note in told.signals if ledger.once(note)]
    if workflow_id in ledger.reset:  # a batch job may have told two runs, and one has what both were told
        once = [note for note in once if "/" in note]
    if len(set(once)) != len(once):
        raise Broken(f"{where} was signaled twice: {told.signals}")
    last = events[-1]
    if last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED and result_of(last) != told.signals:
        raise Broken(f"{where} completed with {result_of(last)} after {told.signals}")
    for update_id in ledger.updates.get((workflow_id, run_id), ()):
        if update_id not in told.accepted:
            raise Broken(f"{where}: acknowledged update {update_id} is lost")
    results = {
        activity: event.activity_task_completed_event_attributes.result.payloads[0].data.decode().strip('"')
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
        for activity, scheduled in told.begun.items()
        if scheduled == event.activity_task_completed_event_attributes.scheduled_event_id
    }
    for (acknowledged_run, activity), result in ledger.completed.items():
        if acknowledged_run != run_id or workflow_id in ledger.terminated:
            continue
        if results.get(activity, result) != result:
            raise Broken(f"{where}: {activity} acknowledged {result}, recorded {results[activity]}")


def _check_signals(ledger: Ledger, histories: Histories) -> None:
    found: dict[str, list[str]] = {}
    for (workflow_id, run_id), events in sorted(
        histories.items(),  # the clock may stand: of two that started at the same moment, one closed then
        key=lambda item: (item[1][0].event_time.ToMicroseconds(), item[1][-1].event_time.ToMicroseconds()),
    ):
        told = Told(events)
        _check_order(ledger, f"{workflow_id} {run_id}", told.signals)
        found.setdefault(workflow_id, []).extend(told.signals)
    for workflow_id, notes in ledger.signals.items():
        if ledger.gone(workflow_id) or workflow_id in ledger.terminated:
            continue
        there = found.get(workflow_id, [])
        several = workflow_id in ledger.reset
        for note in notes:
            if there.count(note) != 1 and not (there.count(note) and (several or note in ledger.repeated)):
                raise Broken(f"{workflow_id}: acknowledged signal {note} is there {there.count(note)} times")
        if not several and not ledger.repeated.intersection(notes):
            _check_order(ledger, workflow_id, there)


def _check_order(ledger: Ledger, where: str, notes: list[str]) -> None:
    """Each client waits for an answer before it sends the next; a workflow need not."""
    theirs: dict[str, list[int]] = {}
    for note in notes:
        sender, slash, number = note.partition("/")
        if not slash:
            sender, between, number = note.rpartition(" s")
            if not between:
                continue
        if note not in ledger.repeated:
            theirs.setdefault(sender, []).append(int(number))
    for sender, numbers in theirs.items():
        if numbers != sorted(numbers):
            raise Broken(f"{where}: signals of {sender} arrived as {numbers}")


def result_of(event: HistoryEvent) -> Any:
    return json.loads(event.workflow_execution_completed_event_attributes.result.payloads[0].data)
