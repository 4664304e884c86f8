"""Given a run: a scene with a settable clock and seeded entropy, in which a test starts, polls, completes and reads
back.

No store: what a commit would write is kept, so that `history` reads all events and `Needs` can be answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest, StartWorkflowExecutionRequest

from perdure.clock import SeededEntropy
from perdure.engine.effects import OfferActivityTask, OfferWorkflowTask
from perdure.engine.execution import WORKFLOW, Execution
from perdure.engine.limits import Limits
from perdure.engine.needs import Needs, NeedsReading, NeedsRun, Reading
from perdure.engine.state import Run
from perdure.engine.times import SECOND, set_duration
from perdure.engine.tokens import WORKFLOW_TASK, decode_token
from perdure.engine.turn import Shared, Turn
from perdure.errors import PerdureError

NOON = 1_767_268_800 * SECOND
"""2026-01-01 12:00 UTC."""

T = TypeVar("T")


@dataclass
class Scene:
    """One execution and its clock. `effects` gathers all effects of all turns so far."""

    now: int = NOON
    limits: Limits = field(default_factory=Limits)
    seed: int = 1
    workflow_id: str = "order-1"
    namespace: str = "default"
    namespace_id: str = "32049b68-7872-4094-8e63-d0dd59896a83"
    search_attribute_types: dict[str, int] = field(default_factory=dict)
    batch_events: int = 3
    """So many events are in a stored batch of a history that is read as a whole."""

    def __post_init__(self) -> None:
        self.entropy = SeededEntropy(self.seed)
        self.execution = Execution(self.namespace_id, self.namespace, WORKFLOW, self.workflow_id)
        self.effects: list[Any] = []

    # ---- turns
    def shared(
        self,
        loaded: dict[tuple[str, int], HistoryEvent] | None = None,
        readings: dict[str, Reading | None] | None = None,
    ) -> Shared:
        return Shared(
            execution=self.execution,
            now=self.now,
            entropy=self.entropy,
            limits=self.limits,
            effects=self.effects,
            touched=[],
            loaded=loaded or {},
            search_attribute_types=self.search_attribute_types,
            readings=readings or {},
        )

    def turn(self, run: Run | None = None) -> Turn:
        """An open turn; the test must finish it."""
        return Turn(self.shared(), run or self.run)

    def decide(self, decide: Callable[[Turn], T], run: Run | None = None) -> T:
        """One whole turn, as the runtime makes it: decided again with stored events when it needs them, then
        finished."""
        from perdure.engine.finishing import finish

        loaded: dict[tuple[str, int], HistoryEvent] = {}
        while True:
            turn = Turn(self.shared(loaded), run or self.run)
            try:
                reply = decide(turn)
            except Needs as needs:
                loaded.update(self._load(needs))
                continue
            finish(turn)
            return reply

    def decide_shared(self, decide: Callable[[Shared], T]) -> T:
        """As `decide`, for what starts runs or receives messages (it finishes its turns itself)."""
        loaded: dict[tuple[str, int], HistoryEvent] = {}
        readings: dict[str, Reading | None] = {}
        while True:
            try:
                return decide(self.shared(loaded, readings))
            except Needs as needs:
                loaded.update(self._load(needs))
            except NeedsRun as needs:
                readings[needs.run_id] = None
            except NeedsReading as needs:
                readings[needs.key] = self._read(needs)

    def _load(self, needs: Needs) -> dict[tuple[str, int], HistoryEvent]:
        events = {event.event_id: event for event in self.history(needs.run)}
        return {(needs.run.run_id, event_id): events[event_id] for event_id in needs.event_ids}

    def _read(self, needs: NeedsReading) -> Reading:
        events = self.history(needs.run)
        for start in range(0, len(events), self.batch_events):
            batch = events[start : start + self.batch_events]
            blob = History(events=batch).SerializeToString(deterministic=True)
            needs.reading.take(batch[0].event_id, batch[-1].event_id, blob)
        return needs.reading

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def wake(self) -> int:
        """Handle all that is due now on every run; the number of wakes that found something."""
        from perdure.engine.waking import wake

        count = 0
        for run in list(self.execution.runs.values()):
            while self.decide(wake, run):
                count += 1
        return count

    # ---- runs
    @property
    def run(self) -> Run:
        """The current run."""
        current = self.execution.current
        assert current is not None
        return self.execution.runs[current.run_id]

    def start(self, workflow_type: str = "Order", queue: str = "orders", **fields: Any) -> Run:
        """Start by a validated request. `fields` are those of StartWorkflowExecutionRequest; durations may be
        seconds."""
        from perdure.engine.start import start_workflow

        request = StartWorkflowExecutionRequest(
            namespace=self.namespace,
            workflow_id=self.workflow_id,
            request_id=fields.pop("request_id", None) or self.entropy.uuid(),
            **_durations(fields),
        )
        request.workflow_type.name = workflow_type
        request.task_queue.name = queue
        if not request.HasField("workflow_task_timeout"):
            set_duration(request.workflow_task_timeout, 10 * SECOND)
        current = self.execution.current
        outcome = self.decide_shared(
            lambda shared: start_workflow(shared, self.execution.runs[current.run_id] if current else None, request)
        )
        run = outcome.run
        assert run is not None
        return run

    # ---- workflow tasks
    def poll(self, run: Run | None = None, **poller: Any) -> Any:
        """Start the pending workflow task as a poller of its queue; the StartedWorkflowTask."""
        from perdure.engine.workflow_tasks import Poller, start_workflow_task

        run = run or self.run
        task = run.workflow_task
        assert task is not None, "no workflow task is pending"
        poller.setdefault("identity", "worker-1")
        poller.setdefault("request_id", self.entropy.uuid())
        poller.setdefault("queue", task.queue)
        poller.setdefault("sticky", task.sticky)
        return self.decide(lambda t: start_workflow_task(t, task.scheduled_event_id, task.stamp, Poller(**poller)), run)

    def complete(self, *commands: Command, started: Any = None, run: Run | None = None, **fields: Any) -> Any:
        """Complete the started workflow task (polled first when `started` is None); the CompletedTask. Raises a bad
        command's error unless `refused=True`."""
        from perdure.engine.completing import complete_workflow_task

        refused = fields.pop("refused", False)
        run = run or (started.run if started else self.run)
        started = started or self.poll(run)
        request = RespondWorkflowTaskCompletedRequest(
            task_token=started.token, commands=commands, identity=fields.pop("identity", "worker-1"), **fields
        )
        token = decode_token(started.token, WORKFLOW_TASK)
        done = self.decide(lambda turn: complete_workflow_task(turn, token, request), run)
        if done.failed is not None and not refused:
            raise done.failed
        return done

    # ---- reading back
    def history(self, run: Run | None = None) -> list[HistoryEvent]:
        """All events, those included that a run which was reset has from another one."""
        run = run or self.run
        events = list(History.FromString(b"".join(run.changes.events)).events)
        if run.changes.inherits is not None and run.changes.inherits[1]:
            base = self.execution.runs[run.ancestors[-1]]
            events = [event for event in self.history(base) if event.event_id <= run.changes.inherits[1]] + events
        return events

    def kinds(self, run: Run | None = None) -> list[str]:
        """Names of the run's events, such as `WorkflowTaskScheduled`."""
        return [kind(event) for event in self.history(run)]

    def last(self, run: Run | None = None) -> HistoryEvent:
        return self.history(run)[-1]

    def offered_workflow_tasks(self) -> int:
        return sum(isinstance(effect, OfferWorkflowTask) for effect in self.effects)

    def offered_activities(self) -> list[int]:
        return [e.scheduled_event_id for e in self.effects if isinstance(e, OfferActivityTask)]

    def refused(self, decide: Callable[[Turn], Any], run: Run | None = None) -> PerdureError:
        """The error that `decide` raises; fails when it changed the run's stored state."""
        from perdure.engine.codec import encode_core

        run = run or self.run
        before = encode_core(run, 1 << 30)
        try:
            self.decide(decide, run)
        except PerdureError as error:
            assert encode_core(run, 1 << 30) == before, "a refused input changed the state"
            return error
        raise AssertionError("it was not refused")


def given(**fields: Any) -> Scene:
    return Scene(**fields)


def kind(event: HistoryEvent) -> str:
    name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    return "".join(word.capitalize() for word in name.split("_"))


def _durations(fields: dict[str, Any]) -> dict[str, Any]:
    timeouts = ("timeout", "delay")
    return {k: seconds(v) if k.endswith(timeouts) and not isinstance(v, Duration) else v for k, v in fields.items()}


def seconds(value: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(value * SECOND))
    return duration


def payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


def payloads(*texts: str) -> Payloads:
    return Payloads(payloads=[payload(text) for text in texts])


# ---- commands
def command(command_type: int, attributes: str = "", **fields: Any) -> Command:
    made = Command(command_type=command_type)  # type: ignore[arg-type]
    if attributes:
        getattr(made, f"{attributes}_command_attributes").SetInParent()
        for name, value in fields.items():
            target = getattr(made, f"{attributes}_command_attributes")
            if hasattr(value, "DESCRIPTOR"):
                getattr(target, name).CopyFrom(value)
            elif isinstance(value, list):
                getattr(target, name).extend(value)
            else:
                setattr(target, name, value)
    return made


def complete_workflow(*result: str) -> Command:
    made = command(CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, "complete_workflow_execution")
    if result:
        made.complete_workflow_execution_command_attributes.result.CopyFrom(payloads(*result))
    return made


def fail_workflow(message: str = "boom", failure_type: str = "Boom", non_retryable: bool = False) -> Command:
    made = command(CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION, "fail_workflow_execution")
    failure = made.fail_workflow_execution_command_attributes.failure
    failure.message = message
    failure.application_failure_info.type = failure_type
    failure.application_failure_info.non_retryable = non_retryable
    return made


def start_timer(timer_id: str, after: float) -> Command:
    return command(
        CommandType.COMMAND_TYPE_START_TIMER, "start_timer", timer_id=timer_id, start_to_fire_timeout=seconds(after)
    )


def cancel_timer(timer_id: str) -> Command:
    return command(CommandType.COMMAND_TYPE_CANCEL_TIMER, "cancel_timer", timer_id=timer_id)


def schedule_activity(activity_id: str, queue: str = "orders", activity_type: str = "Charge", **fields: Any) -> Command:
    """Timeouts in seconds, such as `start_to_close_timeout=10` (the default)."""
    if not any(name.endswith("_timeout") for name in fields):
        fields["start_to_close_timeout"] = 10
    made = command(
        CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
        "schedule_activity_task",
        activity_id=activity_id,
        **_durations(fields),
    )
    attributes = made.schedule_activity_task_command_attributes
    attributes.activity_type.name = activity_type
    attributes.task_queue.name = queue
    return made


def marker(name: str) -> Command:
    return command(CommandType.COMMAND_TYPE_RECORD_MARKER, "record_marker", marker_name=name)
