"""A turn decides one input for one run: events, new state, effects. It is the engine's unit of atomicity.

Two classes of events (reference: direct and buffered). *Direct* ones (life cycle, workflow task, made by commands) get
the next event ID at once: `emit`. All others arrive from outside at any moment: `buffer`. Those are *flushed* (given
IDs and appended; completions of activities and children after all others) right before a workflow task is scheduled,
and at the end of the turn if no workflow task is started. While one is started they wait in `run.buffered`, invisible,
so that a worker never sees a history that changes under its feet.

A function that decides takes the turn first, checks everything that can be refused, then writes. Where a refusal can
come after writing (the 51st command of a completion), the caller keeps a `mark` and goes `back` to it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from msgspec import Struct, field
from temporalio.api.history.v1 import History, HistoryEvent

from perdure.clock import Entropy
from perdure.engine.apply import APPLY
from perdure.engine.effects import Effect, Send, UpdateProgress, UpdatesMoved
from perdure.engine.execution import Current, Execution
from perdure.engine.framing import frame, varint
from perdure.engine.limits import Limits
from perdure.engine.messages import Message
from perdure.engine.needs import Needs, Reading
from perdure.engine.state import Run, Snapshot
from perdure.engine.times import set_timestamp
from perdure.enums import EventType

_COMPLETIONS = frozenset(
    {
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
    }
)
_ACTIVITY_STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
_CHILD_STARTED = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
_OPTIONS_UPDATED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
_EVENT_TYPE = varint(HistoryEvent.DESCRIPTOR.fields_by_name["event_type"].number << 3)
_ACTIVITY_CLOSES = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}
_CHILD_CLOSES = {
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: "child_workflow_execution_completed_event_attributes",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: "child_workflow_execution_failed_event_attributes",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: "child_workflow_execution_timed_out_event_attributes",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: "child_workflow_execution_canceled_event_attributes",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: "child_workflow_execution_terminated_event_attributes",
}


class Shared(Struct, eq=False):
    """What the turns of one input have in common (a start that terminates another run writes two runs in one go)."""

    execution: Execution
    now: int
    entropy: Entropy
    limits: Limits
    effects: list[Effect]
    touched: list[Any]
    """Runs (of workflows; records of other kinds) written, in order."""
    loaded: Mapping[tuple[str, int], HistoryEvent]
    """Stored events brought after a `Needs`, by (run ID, event ID)."""
    search_attribute_types: Mapping[str, int] = field(default_factory=dict)
    """Custom search attributes of the namespace, name to number of enums.IndexedValueType."""
    namespaces: Container[str] = ()
    """Names of all namespaces, for commands that aim at another one."""
    readings: Mapping[str, Reading | None] = field(default_factory=dict)
    """Histories read after a `NeedsReading`, by run ID; None of a run that was looked for after a `NeedsRun`."""
    stamped: bytes = b""
    """A serialised event that holds nothing but the present time: parsing it costs less than setting that."""


class Turn:
    """One input's decision about one run. Not used after `end`."""

    __slots__ = (
        "before",
        "changed",
        "effects",
        "entropy",
        "execution",
        "limits",
        "moved",
        "now",
        "run",
        "shared",
        "size_before",
        "task_held",
        "task_wanted",
        "unflushed",
    )

    def __init__(self, shared: Shared, run: Run) -> None:
        self.shared = shared
        self.execution = shared.execution
        self.run = run
        self.now = shared.now
        self.entropy = shared.entropy
        self.limits = shared.limits
        self.effects = shared.effects
        self.size_before = run.history_size
        """Bytes of history before this turn."""
        self.unflushed: list[HistoryEvent] = []
        self.moved: dict[str, UpdateProgress] | None = None
        """Of the effect UpdatesMoved, once there is one."""
        self.changed = False
        self.task_held = False
        """Several things come to pass at the same time: one workflow task hears of all."""
        self.task_wanted = False
        limits = shared.limits
        near = run.history_size * 4 > limits.history_size * 3 or run.next_event_id * 4 > limits.history_count * 3
        self.before: Mark | None = self.mark() if near else None
        """The state before this turn, when it may turn out to be the one too many."""

    def beside(self, run: Run) -> Turn:
        """A turn on another run of the same execution, in the same transaction. The caller must `end` it."""
        return Turn(self.shared, run)

    # ---- events
    def event(self, event_type: int, fields: bytes = b"") -> HistoryEvent:
        """A new event stamped now, for the caller to fill and then `emit` or `buffer`. `fields`: a serialised event
        that holds what is known of it."""
        shared = self.shared
        stamped = shared.stamped
        if not stamped:
            blank = HistoryEvent()
            set_timestamp(blank.event_time, self.now)
            stamped = shared.stamped = blank.SerializeToString()
        return HistoryEvent.FromString(stamped + _TYPES[event_type] + fields)

    def emit(self, event: HistoryEvent) -> int:
        """Append a direct event: it gets the next ID and moves the state. Returns the ID."""
        run = self.run
        task = run.workflow_task
        if task is not None and task.speculative:
            self.write_speculative()
        event_id = run.next_event_id
        event.event_id = event_id
        event.task_id = _TASK_ID_BASE + event_id
        changes = run.changes
        if not changes.events:
            changes.first_event_id = event_id
        apply = APPLY.get(event.event_type)  # apply_event, without the call
        if apply is not None:
            apply(run, event)
        run.next_event_id = event_id + 1
        framed = frame(event)
        changes.events.append(framed)
        run.history_size += len(framed)
        if not self.changed:
            self.touch()
        return event_id

    def buffer(self, event: HistoryEvent) -> None:
        """Take an event of the buffered class: flushed in this turn unless a workflow task is started."""
        task = self.run.workflow_task
        if task is not None and task.speculative:
            self.write_speculative()
        self.unflushed.append(event)
        if not self.changed:
            self.touch()

    def write_speculative(self) -> None:
        """The events of a speculative task have the next IDs: whatever is written comes after them."""
        from perdure.engine.speculative import make_normal  # which imports this module

        make_normal(self)

    def flush(self) -> None:
        """Give IDs to all buffered events and append them, completions last."""
        run = self.run
        if not run.buffered and not self.unflushed:
            return
        events = [HistoryEvent.FromString(blob) for blob in run.buffered]
        if run.buffered:
            run.buffered = []
            run.changes.items.add((_BUFFERED_SORT, ""))
        events += self.unflushed
        self.unflushed = []
        if len(events) > 1:
            events = [e for e in events if e.event_type not in _COMPLETIONS] + [
                e for e in events if e.event_type in _COMPLETIONS
            ]
        started: dict[tuple[int, int], int] = {}
        for event in events:
            kind = event.event_type
            if kind in _ACTIVITY_CLOSES:
                attributes = getattr(event, _ACTIVITY_CLOSES[kind])
                event_id = started.get((_ACTIVITY_STARTED, attributes.scheduled_event_id))
                if event_id is not None:
                    attributes.started_event_id = event_id
            elif kind in _CHILD_CLOSES:
                attributes = getattr(event, _CHILD_CLOSES[kind])
                event_id = started.get((_CHILD_STARTED, attributes.initiated_event_id))
                if event_id is not None:
                    attributes.started_event_id = event_id
            event_id = self.emit(event)
            if kind == _OPTIONS_UPDATED:
                request_id = event.workflow_execution_options_updated_event_attributes.attached_request_id
                if request_id:
                    self.remember_request(request_id, kind, event_id)
            elif kind == _ACTIVITY_STARTED:
                started[kind, event.activity_task_started_event_attributes.scheduled_event_id] = event_id
            elif kind == _CHILD_STARTED:
                started[kind, event.child_workflow_execution_started_event_attributes.initiated_event_id] = event_id

    def drop_buffer(self) -> None:
        """The run closes in this turn: what is still buffered never appears."""
        self.unflushed = []
        if self.run.buffered:
            self.run.buffered = []
            self.run.changes.items.add((_BUFFERED_SORT, ""))

    # ---- facts and effects
    def touch(self) -> None:
        """Something durable of the run moved, though perhaps no event says so."""
        self.changed = True
        self.run.changes.changed = True
        touched = self.shared.touched
        if not touched or (touched[-1] is not self.run and self.run not in touched):
            touched.append(self.run)

    def dirty(self, sort: int, key: object) -> None:
        """An item moved (changed, came or went): its row must be written if items have rows."""
        self.run.changes.items.add((sort, str(key)))
        self.touch()

    def effect(self, effect: Effect) -> None:
        self.effects.append(effect)

    def send(self, message: Message) -> None:
        self.effects.append(Send(message))

    def update_moved(self, update_id: str, progress: UpdateProgress) -> None:
        """Whoever waits for the update hears where it stands after this turn."""
        if self.moved is None:
            self.moved = {}
            self.effects.append(UpdatesMoved(self.run, self.moved))
        self.moved[update_id] = progress

    def remember_request(self, request_id: str, event_type: int, event_id: int = 0) -> None:
        """Note a request ID, so that a retry of it changes nothing. `event_id` 0 while its event is buffered."""
        self.run.request_ids[request_id] = (event_type, event_id)
        self.run.changes.request_ids.append((request_id, event_type, event_id))
        self.touch()

    def next_stamp(self) -> int:
        """A number no task of this run had before."""
        self.run.stamp += 1
        return self.run.stamp

    def volatile_stamp(self) -> int:
        """The same for a task that is not stored: what it moved would be forgotten with it, and its number given
        again."""
        return _VOLATILE_STAMP + int(self.entropy.jitter() * _VOLATILE_STAMP)

    # ---- stored events
    def stored_event(self, event_id: int, run: Run | None = None) -> HistoryEvent:
        """An event of the run's history. Raises Needs, so call it before writing anything."""
        run = run or self.run
        changes = run.changes
        if changes.events and changes.first_event_id <= event_id < run.next_event_id:  # not committed yet
            return History.FromString(changes.events[event_id - changes.first_event_id]).events[0]
        event = self.shared.loaded.get((run.run_id, event_id))
        if event is None:
            raise Needs(run, (event_id,))
        return event

    # ---- back to a mark
    def mark(self) -> Mark:
        return Mark(
            self.run.snapshot(),
            len(self.effects),
            list(self.shared.touched),
            list(self.unflushed),
            dict(self.execution.runs),
            self.execution.current,
            self.changed,
        )

    def back(self, mark: Mark) -> None:
        """Undo all that this turn did to its run, and all effects, since `mark`. Runs that were added are forgotten."""
        self.run.restore(mark.state)
        del self.effects[mark.effects :]
        self.moved = None
        self.shared.touched[:] = mark.touched
        self.unflushed = mark.unflushed
        self.execution.runs = mark.runs
        self.execution.current = mark.current
        self.changed = mark.changed

    def settle(self) -> None:
        """Flush unless a workflow task is started, else keep the new buffered events for its end."""
        run = self.run
        if self.unflushed or run.buffered:
            task = run.workflow_task
            if task is None or not task.started_event_id:
                self.flush()
            elif self.unflushed:
                run.buffered.extend(e.SerializeToString(deterministic=True) for e in self.unflushed)
                run.changes.items.add((_BUFFERED_SORT, ""))
                self.unflushed = []

    def end(self) -> None:
        """Close the turn. Users of the engine call `finishing.finish`, which does."""
        run = self.run
        if self.unflushed or run.buffered:
            self.settle()
        if self.changed:
            run.state_transitions += 1


class Mark(Struct, eq=False):
    state: Snapshot
    effects: int
    touched: list[Run]
    unflushed: list[HistoryEvent]
    runs: dict[str, Run]
    current: Current | None
    changed: bool


_TYPES = tuple(_EVENT_TYPE + varint(number) for number in range(256))
"""The field `event_type` of a serialised event, by its value."""
_VOLATILE_STAMP = 1 << 40
_BUFFERED_SORT = 6
_TASK_ID_BASE = 1 << 20
