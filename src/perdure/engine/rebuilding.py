"""A run folded from another one's stored history up to some event, and what came after that event.

The history is taken in stored batches, as a reader brings them, and is not kept: what stays is the state, the few
events that a reset carries over, and of the batch that the cut goes through its part before the cut. Batches that are
whole before it are inherited by number (`inherited_event_id`), for the store to copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from temporalio.api.history.v1 import History, HistoryEvent

from perdure.engine.apply import apply_event
from perdure.engine.execution import Execution
from perdure.engine.framing import frame
from perdure.engine.state import Changes, Run
from perdure.engine.times import timestamp_us
from perdure.engine.waking import arm_all
from perdure.engine.worker_marks import note_build_id, note_reset_point
from perdure.enums import EventType

_E = EventType
_TASK_COMPLETED: Final = int(_E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
_INITIATED: Final = frozenset(
    {
        int(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED),
        int(_E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED),
        int(_E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED),
    }
)
TOLD: Final = frozenset(
    {
        int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED),
        int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED),
        int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED),
        int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED),
    }
)
"""What a reset may write again, of any run of the chain (reference: engine 8.4)."""
_OF_CHILDREN: Final = frozenset(
    {
        int(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED),
        int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED),
        int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED),
        int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED),
        int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED),
        int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT),
        int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED),
    }
)
"""What it may write again of the base run besides: the start and end of children that were asked for before the cut."""


def unborn_run(namespace_id: str, namespace: str, workflow_id: str, run_id: str) -> Run:
    """A run before its first event."""
    run = Run()
    run.namespace_id = namespace_id
    run.namespace = namespace
    run.workflow_id = workflow_id
    run.run_id = run_id
    run.root_workflow_id = workflow_id
    run.root_run_id = run_id
    return run


def fold_stored(run: Run, event: HistoryEvent) -> None:
    """Move `run` past the next event of its stored history, with what its workers leave in its state."""
    apply_event(run, event)
    run.next_event_id = event.event_id + 1
    if event.event_type != _TASK_COMPLETED:
        return
    attributes = event.workflow_task_completed_event_attributes
    stamp = attributes.worker_version
    if attributes.HasField("worker_version"):
        run.worker_version = stamp.SerializeToString(deterministic=True)
    note_build_id(run, "" if stamp.use_versioning else stamp.build_id)
    build_id = stamp.build_id or attributes.deployment_version.build_id
    note_reset_point(run, attributes.binary_checksum, build_id, event.event_id, timestamp_us(event.event_time))


def tidy(run: Run) -> None:
    """Forget what folding leaves behind for a commit that will not be made of it."""
    run.changes = Changes()
    run.deadlines = []
    run.armed = {}


class Later:
    """What a reset may carry over from a whole history: serialised events, in order."""

    carried = TOLD

    def __init__(self) -> None:
        self.next_event_id = 1
        self.events: list[bytes] = []

    def take(self, first_event_id: int, last_event_id: int, blob: bytes) -> None:
        """One stored batch, a serialised History; they come in order and without gaps."""
        self._take(History.FromString(blob).events)
        self.next_event_id = last_event_id + 1

    def _take(self, events: Iterable[HistoryEvent]) -> None:
        self.events += [
            event.SerializeToString(deterministic=True) for event in events if int(event.event_type) in self.carried
        ]


class Rebuilding(Later):
    """`run` is the state right before event `cut`, as run `run_id` of `execution`; `cut` is at least 2."""

    carried = TOLD | _OF_CHILDREN

    def __init__(self, execution: Execution, run_id: str, cut: int) -> None:
        super().__init__()
        self.run = unborn_run(execution.namespace_id, execution.namespace, execution.execution_id, run_id)
        self.cut = cut
        self.inherited_event_id = 0
        """The last event of the batches that are inherited whole."""
        self.rest: list[bytes] = []
        """Framed, the events from there to the cut."""
        self.initiated: dict[int, bytes] = {}
        """Serialised, the events that initiated what is still pending of children, external signals and cancels."""
        self.before: int = 0
        """Type of the last event before the cut."""
        self.at: int = 0
        """Type of the event at the cut."""

    def take(self, first_event_id: int, last_event_id: int, blob: bytes) -> None:
        events = History.FromString(blob).events
        kept = [event for event in events if event.event_id < self.cut]
        for event in kept:
            self._fold(event)
        if kept:
            self._tidy()
            self.before = kept[-1].event_type
        if last_event_id < self.cut:
            self.inherited_event_id = last_event_id
            self.run.history_size += len(blob)
        elif kept:
            self.rest = [frame(event) for event in kept]
            self.run.history_size += sum(map(len, self.rest))
        if first_event_id <= self.cut <= last_event_id:
            self.at = events[self.cut - first_event_id].event_type
        self._take(events[len(kept) :])
        self.next_event_id = last_event_id + 1

    def _fold(self, event: HistoryEvent) -> None:
        fold_stored(self.run, event)
        if event.event_type in _INITIATED:
            self.initiated[event.event_id] = event.SerializeToString(deterministic=True)

    def _tidy(self) -> None:
        run = self.run
        tidy(run)
        pending = (run.children, run.signals, run.cancels)
        self.initiated = {
            event_id: event for event_id, event in self.initiated.items() if any(event_id in items for items in pending)
        }

    def finished(self) -> Run:
        """The state, ready to go on: its deadlines are armed, its history begins with what it inherits."""
        run = self.run
        run.changes.started = True
        run.changes.visibility = True
        run.changes.events = list(self.rest)
        run.changes.first_event_id = self.inherited_event_id + 1
        arm_all(run)
        return run
