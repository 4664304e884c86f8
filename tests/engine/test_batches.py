"""A batch job's own decisions: so many targets at a time, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perdure.clock import SeededEntropy
from perdure.engine.batches.jobs import COMPLETED, Job, refuse_targets, start_job, take_targets
from perdure.engine.effects import Send
from perdure.engine.execution import BATCH, Execution
from perdure.engine.kinds import KINDS
from perdure.engine.limits import Limits
from perdure.engine.messages import AGAIN, DONE, FAILED, BatchOperation, BatchResult
from perdure.engine.record import Record
from perdure.engine.times import SECOND
from perdure.engine.turn import Shared
from tests.engine.given import NOON

KIND = KINDS[BATCH]
SIGNAL = 3


@dataclass
class Scene:
    """One job and its clock. `targets` None: they are looked up."""

    targets: int | None
    per_second: float
    now: int = NOON
    effects: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entropy = SeededEntropy(1)
        self.execution = Execution("namespace-1", "default", BATCH, "job")
        job = Job(operation_type=SIGNAL, per_second=self.per_second)
        named = None if self.targets is None else [(f"order-{number}", "") for number in range(self.targets)]
        start_job(self.shared(), None, job, named)

    def shared(self) -> Shared:
        return Shared(self.execution, self.now, self.entropy, Limits(), self.effects, [], {})

    @property
    def record(self) -> Record:
        assert self.execution.current is not None
        record: Record = self.execution.runs[self.execution.current.run_id]
        return record

    @property
    def job(self) -> Job:
        job: Job = self.record.state
        return job

    def after(self, seconds: float) -> list[BatchOperation]:
        """What it sends by then."""
        self.now += round(seconds * SECOND)
        while KIND.wake(self.shared(), self.record):
            pass
        sent = [effect.message for effect in self.effects if isinstance(effect, Send)]
        self.effects.clear()
        return sent

    def answer(self, message: BatchOperation, outcome: int = DONE) -> None:
        KIND.deliver(self.shared(), self.record, BatchResult(number=message.number, outcome=outcome))


def test_no_more_than_a_hundred_targets_have_yet_to_answer() -> None:
    scene = Scene(targets=150, per_second=10_000)
    first = scene.after(0)
    assert len(first) == 100
    assert scene.after(1) == []

    for message in first[:30]:
        scene.answer(message)

    assert len(scene.after(1)) == 30


def test_a_target_that_is_busy_is_asked_again_and_given_up_in_the_end() -> None:
    scene = Scene(targets=1, per_second=10)
    [message] = scene.after(0)
    for _ in range(49):
        scene.answer(message, AGAIN)
        assert (scene.job.failed, scene.record.running) == (0, True)
        [message] = scene.after(1)
        assert message.to_workflow_id == "order-0"

    scene.answer(message, AGAIN)

    assert (scene.job.complete, scene.job.failed) == (0, 1)
    assert scene.record.status == COMPLETED


def test_pages_of_targets_follow_each_other() -> None:
    scene = Scene(targets=None, per_second=1000)
    assert scene.after(0) == []
    pages = [([("order-0", "run-0"), ("order-1", "run-1")], b"page 2"), ([("order-2", "run-2")], b"")]
    asked, sent = [], []
    for targets, token in pages:
        page = scene.job.token
        asked.append((scene.job.listing, page))
        take_targets(scene.shared(), scene.record, page, targets, token, 3)
        for message in scene.after(1):
            sent.append(message.to_workflow_id)
            scene.answer(message)
        scene.after(1)

    assert asked == [(True, b""), (True, b"page 2")]
    assert sent == ["order-0", "order-1", "order-2"]
    assert (scene.record.status, scene.job.total, scene.job.complete) == (COMPLETED, 3, 3)


def test_a_job_is_done_when_its_last_target_has_answered() -> None:
    scene = Scene(targets=2, per_second=10)
    one, other = scene.after(0) + scene.after(0.1)
    scene.answer(one)
    assert scene.record.running

    scene.answer(other, FAILED)

    assert scene.record.status == COMPLETED
    assert (scene.job.complete, scene.job.failed) == (1, 1)


def test_a_page_of_targets_that_comes_twice_is_taken_once() -> None:
    """A look-up that took its time was asked for again: its answer may come when the next page is awaited."""
    scene = Scene(targets=None, per_second=1000)
    scene.after(0)
    first = [("order-0", "run-0")]
    take_targets(scene.shared(), scene.record, b"", first, b"page 2", 2)
    [message] = scene.after(1)
    scene.answer(message)
    scene.after(1)
    assert scene.job.listing

    take_targets(scene.shared(), scene.record, b"", first, b"page 2", 2)
    refuse_targets(scene.shared(), scene.record, b"", "a filter that cannot be read")

    assert (scene.job.listing, scene.job.total, scene.job.next_number) == (True, 2, 1)
    assert scene.record.running
