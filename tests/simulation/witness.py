"""The barrier: whatever was answered or handed out is on the disk at that moment."""

from __future__ import annotations

import json
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.update.v1 import Outcome

from perdure.engine.execution import ACTIVITY
from perdure.engine.standalone.describing import outcome_of
from tests.simulation.ledger import Broken, Ledger
from tests.simulation.plans import Told
from tests.simulation.store import Shelf


class Witness:
    """Hears of every answer, and notes in the ledger what must be true from then on."""

    def __init__(self, disk: Shelf, ledger: Ledger) -> None:
        self.disk = disk
        self.ledger = ledger
        self._tokens: dict[bytes, str] = {}

    def started(self, workflow_id: str, run_id: str) -> None:
        self.ledger.starts[workflow_id, run_id] = ""
        if not self.disk.removed(run_id) and self.disk.stored(workflow_id, run_id)[0] is None:
            raise Broken(f"{workflow_id} {run_id} was acknowledged and is not on the disk")

    def signaled(self, workflow_id: str, note: str) -> None:
        self.ledger.signals.setdefault(workflow_id, []).append(note)
        if self.ledger.gone(workflow_id) or workflow_id in self.ledger.terminated:
            return
        if workflow_id in self.ledger.reset:
            if not any(note in Told(self.all_signals(workflow_id, at)).signals for at in self.disk.runs(workflow_id)):
                raise Broken(f"signal {note} to {workflow_id} was acknowledged and is in none of its runs")
            return
        run, events = self.disk.stored(workflow_id)
        while run is not None:
            if note in Told(self.all_signals(workflow_id, run.run_id)).signals:
                return
            before = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
            if not before:
                # A run that is no continuation may have taken the ID since the signal was acknowledged.
                return
            run, events = self.disk.stored(workflow_id, before)
        raise Broken(f"signal {note} to {workflow_id} was acknowledged and is not on the disk")

    def all_signals(self, workflow_id: str, run_id: str) -> list[HistoryEvent]:
        """Also those that wait for the end of a workflow task."""
        run, events = self.disk.stored(workflow_id, run_id)
        events += [HistoryEvent.FromString(blob) for blob in run.buffered]
        return [*events[:1], *(e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)]

    def reset(self, workflow_id: str, cut: int, run_id: str, carried: bool) -> None:
        """A run was reset at event `cut` to run `run_id`: what was before the point is kept, and what it was told after
        it is told again, if it is to be `carried` over."""
        self.ledger.starts[workflow_id, run_id] = ""
        if self.ledger.gone(workflow_id):
            return
        run, after = self.disk.stored(workflow_id, run_id)
        if run is None:
            raise Broken(f"{workflow_id}: reset to {run_id} was acknowledged and is not on the disk")
        bases = [event.workflow_task_failed_event_attributes.base_run_id for event in after[cut - 1 : cut + 1]]
        base, before = self.disk.stored(workflow_id, max(bases))
        where = f"{workflow_id}: reset of {max(bases)} at {cut} to {run_id}"
        if before[: cut - 1] != after[: cut - 1]:
            raise Broken(f"{where} does not have the history that it had")
        if base.running:
            raise Broken(f"{where} left the base running")
        lost, told, had = set(), Told(after), Told(before)
        if carried:
            lost = {*had.signals} - {*told.signals} | (had.accepted | {*had.admitted}) - told.accepted - {
                *told.admitted
            }
        if lost:
            raise Broken(f"{where} lost {lost}")

    def updated(self, workflow_id: str, run_id: str, update_id: str, outcome: Outcome | None) -> None:
        """An update was answered: without an outcome it is accepted; with the one that its worker gives, completed."""
        if self.ledger.gone(workflow_id):
            return
        told = Told(self.disk.stored(workflow_id, run_id)[1])
        if outcome is None and update_id not in told.accepted:
            raise Broken(f"update {update_id} of {workflow_id} was acknowledged and is not on the disk")
        if outcome is None or outcome.HasField("success"):
            self.ledger.updates.setdefault((workflow_id, run_id), set()).add(update_id)
        if outcome is not None and outcome.HasField("success"):
            result = json.loads(outcome.success.payloads[0].data)
            if told.completed.get(update_id) != result:
                raise Broken(f"update {update_id} of {workflow_id} was answered {result}, the disk says otherwise")

    def activity_started(self, activity_id: str, run_id: str) -> None:
        """An activity of its own was started."""
        if not self.ledger.gone(activity_id) and self.disk.load(ACTIVITY, activity_id, run_id) is None:
            raise Broken(f"activity {activity_id} {run_id} was acknowledged and is not on the disk")

    def activity_ended(self, activity_id: str, run_id: str, outcome: Any) -> None:
        if self.ledger.gone(activity_id):
            return
        stored = self.disk.load(ACTIVITY, activity_id, run_id)
        if stored is None or stored[0].running or outcome_of(stored[0]).outcome != outcome:
            raise Broken(
                f"activity {activity_id} {run_id} was said to have ended with {outcome}, the disk says otherwise"
            )
        if outcome.HasField("result"):
            result = json.loads(outcome.result.payloads[0].data)
            if (run_id, result) not in self.ledger.offered or self.ledger.completed.get((run_id, ""), result) != result:
                raise Broken(f"activity {activity_id} {run_id} ended with {result}, which is not what its worker said")

    def seen(self, at: WorkflowExecution, status: int) -> None:
        if self.ledger.gone(at.workflow_id):
            return
        run, _ = self.disk.stored(at.workflow_id, at.run_id)
        if run is None:
            raise Broken(f"{at.workflow_id} {at.run_id} was shown and is not on the disk")
        if status not in (1, 8) and run.status != status:  # neither running nor paused
            raise Broken(f"{at.workflow_id} was shown as closed ({status}) and is {run.status} on the disk")

    def task(self, task: Any, events: list[HistoryEvent], queue: str) -> None:
        """A workflow task that was handed out: its history is whole, and on the disk. `queue`: where it was polled
        from, unless it is a worker's own."""
        at = task.workflow_execution
        ids = [event.event_id for event in events]
        if ids != list(range(1, task.started_event_id + 1)):
            raise Broken(f"{at.workflow_id}: a task up to event {task.started_event_id} has events {ids}")
        if self.ledger.gone(at.workflow_id):
            return
        run, stored = self.disk.stored(at.workflow_id, at.run_id)
        if run is None:
            raise Broken(f"a task of {at.workflow_id} was handed out, and the run is not on the disk")
        if queue and run.task_queue != queue:
            raise Broken(f"a task of {at.workflow_id} in {run.task_queue} was handed out to a worker of {queue}")
        # The last two (scheduled, started) of a transient task are in no history yet.
        for event, kept in zip(events[:-2], stored, strict=False):
            if event.task_id == 0:  # of a transient task that has been completed since
                kept.task_id = 0
                if kept.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                    kept.workflow_task_started_event_attributes.identity = ""
            if event != kept:
                raise Broken(f"{at.workflow_id}: a worker was told {event}, the disk says {kept}")
        if len(stored) < len(events) - 2:
            raise Broken(f"{at.workflow_id}: a worker was told {len(events)} events, the disk has {len(stored)}")

    def activity(self, task: Any, worker: str, queue: str) -> None:
        """An activity task was handed out."""
        run_id = task.workflow_execution.run_id or task.activity_run_id
        key = (run_id, task.activity_id, task.attempt, task.started_time.ToMicroseconds())
        token = task.task_token
        if not self.disk.has(run_id):
            raise Broken(f"activity {key} was given to {worker}, its run is not on the disk")
        if json.loads(task.input.payloads[1].data) != queue:
            raise Broken(f"activity {key} was given to {worker}, a worker of {queue}")
        if token in self._tokens:
            raise Broken(f"activity {key} was given to {self._tokens[token]} and to {worker}")
        self._tokens[token] = worker
