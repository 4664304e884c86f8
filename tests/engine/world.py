"""Several executions that send each other messages, delivered one by one as the runtime would, in one virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse

from perdure.engine.activities import StartedActivity, start_activity_task
from perdure.engine.delivery import deliver
from perdure.engine.effects import Send
from perdure.engine.messages import Message, decode, encode
from perdure.engine.state import Run
from perdure.engine.tokens import ACTIVITY_TASK, TaskToken, decode_token
from perdure.engine.workflow_tasks import Poller
from tests.engine.given import NOON, Scene


@dataclass
class World:
    scenes: dict[str, Scene] = field(default_factory=dict)
    now: int = NOON
    delivered: list[Message] = field(default_factory=list)

    def scene(self, workflow_id: str) -> Scene:
        if workflow_id not in self.scenes:
            self.scenes[workflow_id] = Scene(workflow_id=workflow_id, seed=len(self.scenes) + 1, now=self.now)
        return self.scenes[workflow_id]

    def messages(self) -> list[Message]:
        """Take what is on its way, in order of sending."""
        taken = []
        for scene in self.scenes.values():
            sent = [effect for effect in scene.effects if isinstance(effect, Send)]
            scene.effects[:] = [effect for effect in scene.effects if not isinstance(effect, Send)]
            taken += [decode(encode(effect.message)) for effect in sent]
        return taken

    def deliver(self, message: Message) -> None:
        self.delivered.append(message)
        scene = self.scene(message.to_workflow_id)
        current = scene.execution.current
        run_id = message.to_run_id or (current.run_id if current else "")
        run = scene.execution.runs.get(run_id)
        scene.decide_shared(lambda shared: deliver(shared, run, message))

    def settle(self) -> None:
        while messages := self.messages():
            for message in messages:
                self.deliver(message)

    def advance(self, seconds: float) -> None:
        for scene in self.scenes.values():
            scene.advance(seconds)
            scene.wake()
        self.settle()


def take_activity(scene: Scene, scheduled_event_id: int, run: Run | None = None, **poller: Any) -> StartedActivity:
    """Start the waiting attempt as a poller of its queue."""
    run = run or scene.run
    poller.setdefault("identity", "worker-1")
    poller.setdefault("request_id", scene.entropy.uuid())
    stamp = run.activities[scheduled_event_id].stamp
    return scene.decide(lambda turn: start_activity_task(turn, scheduled_event_id, stamp, Poller(**poller)), run)


def token(started: StartedActivity) -> TaskToken:
    return decode_token(started.token, ACTIVITY_TASK)


def answer(started: StartedActivity) -> PollActivityTaskQueueResponse:
    return PollActivityTaskQueueResponse.FromString(started.answer)
