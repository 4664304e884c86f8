"""A whole run under random inputs: whatever happens in whatever order, the engine keeps its promises.

Two scenes get the same inputs. One keeps its run in memory, the other encodes and decodes it after every input, as a
cache that forgets at once. Their histories are the same bytes.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from temporalio.api.protocol.v1 import Message
from temporalio.api.workflowservice.v1 import (
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
)

from perdure.engine.activities import complete_activity, start_activity_task
from perdure.engine.apply import fold
from perdure.engine.closing import terminate
from perdure.engine.codec import decode, encode_core
from perdure.engine.completing import complete_workflow_task
from perdure.engine.failing import fail_workflow_task
from perdure.engine.signals import request_cancel, signal_workflow
from perdure.engine.state import Run
from perdure.engine.tokens import ACTIVITY_TASK, WORKFLOW_TASK, decode_token
from perdure.engine.waking import next_deadline
from perdure.engine.workflow_tasks import Poller
from perdure.errors import PerdureError
from tests.engine.given import (
    Scene,
    cancel_timer,
    complete_workflow,
    fail_workflow,
    given,
    marker,
    payloads,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.engine.updating import accept, ask, messages, place, reject, respond, told

IDS = ("a", "b", "c")
COMMANDS = st.one_of(
    st.builds(start_timer, st.sampled_from(IDS), st.sampled_from((0, 1, 3))),
    st.builds(cancel_timer, st.sampled_from(IDS)),
    st.builds(schedule_activity, st.sampled_from(IDS), start_to_close_timeout=st.sampled_from((1, 4))),
    st.builds(marker, st.sampled_from(IDS)),
)
CLOSES = st.one_of(st.none(), st.none(), st.none(), st.builds(complete_workflow), st.builds(fail_workflow))
HISTORY_MADE = (
    "workflow_type", "task_queue", "first_run_id", "original_run_id", "status", "original_started_at", "execution_at",
    "closed_at", "attempt", "execution_timeout", "run_timeout", "task_timeout", "run_expires_at", "next_event_id",
    "previous_started_event_id", "signal_count", "completed_tasks", "successor_run_id",
)  # fmt: skip


ANSWERS = st.sampled_from(("nothing", "accept", "accept and respond", "reject"))


def holds_what_is_not_stored(run: Run) -> bool:
    """Updates that no worker accepted, and the task made for them: such a run stays in the cache."""
    return bool(run.admitted) or (run.workflow_task is not None and run.workflow_task.speculative)


def forget(scene: Scene) -> None:
    """Put the run away and load it again; what a commit would have written is kept by the scene's history."""
    run = scene.run
    loaded = decode(encode_core(run, 1 << 30), [])
    loaded.changes = run.changes
    loaded.request_ids = run.request_ids
    scene.execution.runs[run.run_id] = loaded


class RunMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kept = given(seed=7)
        self.loaded = given(seed=7)
        self.tasks: list[bytes] = []
        self.activities: list[bytes] = []
        self.carried: dict[bytes, list[Message]] = {}
        """What came with a task, by its token."""
        self.asked: set[str] = set()
        """Updates that somebody waits for."""
        self.closed_at: int | None = None

    # ---- the same input to both
    def both(self, decide: Any) -> Any:
        outcomes = []
        for scene in (self.kept, self.loaded):
            before = encode_core(scene.run, 1 << 30)
            try:
                outcomes.append(("done", decide(scene)))
            except PerdureError as error:
                assert encode_core(scene.run, 1 << 30) == before, "a refused input changed the state"
                outcomes.append((type(error).__name__, error.message))
        assert outcomes[0] == outcomes[1]
        if not holds_what_is_not_stored(self.loaded.run):
            forget(self.loaded)
        return outcomes[0][1] if outcomes[0][0] == "done" else None

    @initialize(delay=st.sampled_from((0, 2)), run_timeout=st.sampled_from((0, 20)))
    def start(self, delay: int, run_timeout: int) -> None:
        fields: dict[str, Any] = {"request_id": "first"}
        if delay:
            fields["workflow_start_delay"] = seconds(delay)
        if run_timeout:
            fields["workflow_run_timeout"] = seconds(run_timeout)
        for scene in (self.kept, self.loaded):
            scene.start(**fields)

    @property
    def run_(self) -> Run:
        return self.kept.run

    # ---- inputs
    @rule(name=st.sampled_from(IDS), request_id=st.sampled_from(("", "", "r1")))
    def signal(self, name: str, request_id: str) -> None:
        self.both(
            lambda scene: scene.decide(
                lambda turn: signal_workflow(turn, signal_name=name, request_id=request_id, input=payloads("x"))
            )
        )

    @precondition(lambda self: not self.run_.cancel_requested or self.run_.next_event_id > 20)
    @rule()
    def cancel(self) -> None:
        self.both(lambda scene: scene.decide(lambda turn: request_cancel(turn)))

    @property
    def waiting(self) -> bool:
        """A workflow task waits for a poller."""
        task = self.run_.workflow_task
        return task is not None and not task.started_event_id

    @precondition(lambda self: self.waiting)
    @rule()
    def poll(self) -> None:
        def decide(scene: Scene) -> tuple[bytes, list[Message]]:
            started = scene.poll()
            return started.token, messages(started)

        token, self.carried[token] = self.both(decide)
        self.tasks.append(token)

    @precondition(lambda self: self.tasks or self.waiting)
    @rule(
        commands=st.lists(COMMANDS, max_size=3),
        close=CLOSES,
        force=st.booleans(),
        inline=st.booleans(),
        sticky=st.booleans(),
        answer=ANSWERS,
        finish=st.booleans(),
        discards=st.booleans(),
    )
    def complete(
        self,
        commands: list[Any],
        close: Any,
        force: bool,
        inline: bool,
        sticky: bool,
        answer: str = "accept",
        finish: bool = True,
        discards: bool = False,
    ) -> None:
        if not self.tasks:
            self.poll()
        token = self.tasks.pop()
        answers = self.answers(token, answer, finish)
        placed = [place(message) for message in answers if not message.id.endswith("reject")]
        request = RespondWorkflowTaskCompletedRequest(
            commands=[*placed, *commands, close] if close else [*placed, *commands],
            messages=answers,
            force_create_new_workflow_task=force,
            return_new_workflow_task=inline,
        )
        request.capabilities.discard_speculative_workflow_task_with_events = discards
        if sticky:
            request.sticky_attributes.worker_task_queue.name = "mine"
            request.sticky_attributes.schedule_to_start_timeout.seconds = 2

        def decide(scene: Scene) -> Any:
            done = scene.decide(lambda turn: complete_workflow_task(turn, decode_token(token, WORKFLOW_TASK), request))
            new = done.new_task
            failed = done.failed.message if done.failed else ""
            return new.token if new else b"", failed, messages(new) if new else [], done.reset_event_id

        done = self.both(decide)
        if done and done[0]:
            self.tasks.append(done[0])
            self.carried[done[0]] = done[2]

    def answers(self, token: bytes, answer: str, finish: bool) -> list[Message]:
        """What a worker says of the updates it was brought, and of those it works on."""
        open_ones = [u.update_id for u in self.run_.updates.values() if not u.completed_event_id]
        said = [respond(update_id) for update_id in open_ones] if finish else []
        for message in self.carried.get(token, []):
            if answer == "reject":
                said.append(reject(message))
            elif answer != "nothing":
                said.append(accept(message))
                if answer == "accept and respond":
                    said.append(respond(message.protocol_instance_id))
        return said

    @precondition(lambda self: self.run_.running)
    @rule(update_id=st.sampled_from(IDS))
    def update(self, update_id: str) -> None:
        if self.both(lambda scene: ask(scene, update_id)) is not None:
            self.asked.add(update_id)

    @precondition(lambda self: self.run_.running and not self.tasks)
    @rule(update_id=st.sampled_from(IDS), answer=ANSWERS, inline=st.booleans(), sticky=st.booleans())
    def update_and_answer(self, update_id: str, answer: str, inline: bool, sticky: bool) -> None:
        self.update(update_id)
        if self.waiting:
            self.complete([], None, False, inline, sticky, answer, True, True)

    @precondition(lambda self: holds_what_is_not_stored(self.run_))
    @rule()
    def crash(self) -> None:
        """The server is killed: what was not stored is gone, and who waited asks again."""
        for scene in (self.kept, self.loaded):
            forget(scene)
            scene.effects.clear()
        self.asked = set()

    @precondition(lambda self: self.run_.running)
    @rule(commands=st.lists(COMMANDS, min_size=1, max_size=2, unique_by=str), sticky=st.booleans())
    def hear_and_decide(self, commands: list[Any], sticky: bool) -> None:
        """The common case, so that runs get far enough to be interesting."""
        self.signal("a", "")
        if self.tasks or self.waiting:
            self.complete(commands, None, False, False, sticky)

    @precondition(lambda self: self.tasks)
    @rule()
    def fail(self) -> None:
        token = self.tasks.pop()
        request = RespondWorkflowTaskFailedRequest(cause=24)
        self.both(
            lambda scene: scene.decide(
                lambda turn: fail_workflow_task(turn, decode_token(token, WORKFLOW_TASK), request)
            )
        )

    @precondition(
        lambda self: self.run_.running and any(a.offered and not a.started_at for a in self.run_.activities.values())
    )
    @rule()
    def take_activity(self) -> None:
        activity = next(a for a in self.run_.activities.values() if a.offered and not a.started_at)

        def decide(scene: Scene) -> bytes:
            started = scene.decide(
                lambda turn: start_activity_task(
                    turn, activity.scheduled_event_id, activity.stamp, Poller(identity="w", request_id="p")
                )
            )
            return bytes(started.token)

        self.activities.append(self.both(decide))

    @precondition(lambda self: self.activities)
    @rule()
    def finish_activity(self) -> None:
        token = self.activities.pop()
        request = RespondActivityTaskCompletedRequest(identity="w")
        self.both(
            lambda scene: scene.decide(
                lambda turn: complete_activity(turn, decode_token(token, ACTIVITY_TASK), request)
            )
        )

    @rule(span=st.sampled_from((0.5, 0.5, 1, 2, 11)))
    def time_passes(self, span: float) -> None:
        for scene in (self.kept, self.loaded):
            scene.advance(span)
        self.both(lambda scene: scene.wake())

    @precondition(lambda self: self.run_.next_event_id > 25)
    @rule()
    def end(self) -> None:
        self.both(lambda scene: scene.decide(lambda turn: terminate(turn, "enough")))

    # ---- promises
    @invariant()
    def both_scenes_have_the_same_history(self) -> None:
        if self.kept.execution.current:
            assert b"".join(self.kept.run.changes.events) == b"".join(self.loaded.run.changes.events)
            assert encode_core(self.kept.run, 1 << 30) == encode_core(self.loaded.run, 1 << 30)
            assert next_deadline(self.kept.run) == next_deadline(self.loaded.run)

    @invariant()
    def event_ids_have_no_gaps_and_history_tells_the_state(self) -> None:
        if not self.kept.execution.current:
            return
        run = self.kept.run
        folded = fold(self.kept.history())
        for name in HISTORY_MADE:
            assert getattr(folded, name) == getattr(run, name), name
        if run.running and not run.buffered:
            assert folded.timers == run.timers
            assert list(folded.activities) == list(run.activities)
            assert folded.cancel_requested == run.cancel_requested

    @invariant()
    def a_closed_run_gets_no_more_events(self) -> None:
        if not self.kept.execution.current or self.run_.running:
            return
        if self.closed_at is None:
            self.closed_at = self.run_.next_event_id
        assert self.run_.next_event_id == self.closed_at
        assert next_deadline(self.run_) == 0
        assert self.run_.workflow_task is None

    @invariant()
    def updates_are_told_of_and_have_a_task_to_ride_on(self) -> None:
        if not self.kept.execution.current:
            return
        run = self.run_
        task = run.workflow_task
        heard = told(self.kept)
        assert fold(self.kept.history()).updates == run.updates
        for update_id in self.asked:
            assert update_id in run.admitted or update_id in run.updates or update_id in heard, "nobody will tell"
        if run.admitted:
            assert run.running
            assert task is not None
        if task is not None and task.speculative:
            assert run.admitted
            assert task.scheduled_event_id == run.next_event_id

    @invariant()
    def a_running_workflow_that_has_something_to_hear_has_a_task(self) -> None:
        if not self.kept.execution.current or not self.run_.running:
            return
        if self.run_.buffered:
            task = self.run_.workflow_task
            assert task is not None
            assert task.started_event_id
