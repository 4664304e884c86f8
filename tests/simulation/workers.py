"""Simulated workers: they vanish, answer late or twice, forget what they knew."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message

from tests.api.client import queue, values
from tests.engine.updating import accept, place, reject, respond
from tests.simulation.plans import QUEUES, Told, decide
from tests.simulation.sender import NO, TRY_AGAIN

if TYPE_CHECKING:
    from tests.simulation.limits import Limiter
    from tests.simulation.realms import Realm
    from tests.simulation.simulation import Simulation


class Worker:
    def __init__(self, simulation: Simulation, realm: Realm, name: str) -> None:
        self.simulation = simulation
        self.realm = realm
        self.chance = random.Random(f"{simulation.seed} {name}")
        self.name = name
        self._polls = 0

    def _where(self) -> str:
        """The queue to poll; in the end each in turn."""
        self._polls += 1
        if not self.simulation.mischief:
            return QUEUES[self._polls % len(QUEUES)]
        return self.chance.choices(QUEUES, [3, 1])[0]

    def _how_long(self) -> float:
        return self.chance.choice([2.5, 10.0, 60.0]) if self.simulation.mischief else 10.0

    async def _call(self, request: Any) -> Any:
        """The reply; None when the task is not ours any more, or nobody knows."""
        try:
            return await self.simulation.network.call(request)
        except (*NO, *TRY_AGAIN):
            return None


class WorkflowWorker(Worker):
    """Polls, decides from history, answers. With a sticky queue it remembers histories."""

    def __init__(self, simulation: Simulation, realm: Realm, name: str, sticky: bool) -> None:
        super().__init__(simulation, realm, name)
        self.sticky = f"sticky-{name}" if sticky else ""
        self.histories: dict[str, list[HistoryEvent]] = {}
        self._deaths: dict[str, int] = {}
        """Of servers, when it asked for its task."""

    async def work(self) -> None:
        while True:
            try:
                await self._once()
            except TRY_AGAIN:
                await asyncio.sleep(0.05 + self.chance.random() * 0.2)

    async def _once(self) -> None:
        request = ws.PollWorkflowTaskQueueRequest(namespace=self.realm.name, identity=self.name)
        normal = self._where()
        own = bool(self.sticky) and self.chance.random() < 0.7
        if own:
            request.task_queue.CopyFrom(queue(self.sticky, kind=2, normal_name=normal))
        else:
            request.task_queue.CopyFrom(queue(normal))
        self._deaths = dict(self.simulation.deaths)
        task = await self.simulation.network.call(request, within=self._how_long())
        if task.task_token:
            await self._answer(task, "" if own else normal)

    async def _history(self, task: Any) -> list[HistoryEvent]:
        run_id = task.workflow_execution.run_id
        events = list(task.history.events)
        token = task.next_page_token
        if events and events[0].event_id > 1:
            known = self.histories.get(run_id, [])
            if len(known) >= events[0].event_id - 1:
                events = known[: events[0].event_id - 1] + events
            else:
                events, token = [], b""
        while token or not events:
            page = await self.simulation.network.call(
                ws.GetWorkflowExecutionHistoryRequest(
                    namespace=self.realm.name, execution=task.workflow_execution, next_page_token=token
                )
            )
            events += page.history.events
            token = page.next_page_token
            if not token:
                break
        # Read on its own, a history may show more than the task: what came later is not this task's business.
        return [event for event in events if event.event_id <= task.started_event_id]

    async def _answer(self, task: Any, polled: str = "") -> None:
        simulation = self.simulation
        if task.HasField("query"):
            await self._call(
                ws.RespondQueryTaskCompletedRequest(
                    namespace=self.realm.name, task_token=task.task_token, completed_type=1, query_result=values("fine")
                )
            )
            return
        try:
            events = await self._history(task)
        except NO:
            return
        if len(events) < task.started_event_id and self._deaths != self.simulation.deaths:
            return  # a speculative task, read after the death of the process that gave it: nobody else knows of it
        self.realm.witness.task(task, events, polled)
        self.histories[task.workflow_execution.run_id] = events
        fate = self.chance.random()
        if fate < 0.04 * simulation.mischief:
            self.histories.clear()
            return  # never heard of again
        if fate < 0.08 * simulation.mischief:
            await asyncio.sleep(self.chance.random() * 15)
        if fate > 1 - 0.03 * simulation.mischief:
            failed = ws.RespondWorkflowTaskFailedRequest(namespace=self.realm.name, task_token=task.task_token, cause=1)
            failed.failure.message = "mischief"
            await self._call(failed)
            return
        told = Told(events, task.workflow_execution.run_id)
        said = self._say_of_updates(task, told)
        commands = [place(message) for message in said if not message.id.endswith("reject")] + decide(told)
        completed = ws.RespondWorkflowTaskCompletedRequest(
            namespace=self.realm.name, task_token=task.task_token, identity=self.name, commands=commands, messages=said
        )
        completed.capabilities.discard_speculative_workflow_task_with_events = self.chance.random() < 0.7
        for query_id in task.queries:
            completed.query_results[query_id].result_type = 1  # type: ignore[assignment] # ANSWERED
            completed.query_results[query_id].answer.CopyFrom(values("fine"))
        if self.sticky and self.chance.random() < 0.8:
            completed.sticky_attributes.worker_task_queue.CopyFrom(queue(self.sticky, kind=2, normal_name=told.queue))
            completed.sticky_attributes.schedule_to_start_timeout.seconds = 5
        completed.return_new_workflow_task = self.chance.random() < 0.5
        completed.force_create_new_workflow_task = self.chance.random() < 0.03
        self._deaths = dict(simulation.deaths)
        reply = await self._call(completed)
        if self.chance.random() < 0.05 * simulation.mischief:
            again = await self._call(completed)
            assert again is None or reply is None, f"one workflow task was completed twice: {task.workflow_execution}"
        if reply is not None and reply.workflow_task.task_token:
            await self._answer(reply.workflow_task)

    def _say_of_updates(self, task: Any, told: Told) -> list[Message]:
        """Finish some of the updates under way; accept, reject or pass over those that come with the task."""
        chance = self.chance
        said = [
            respond(update_id, f"{update_id} done")
            for update_id in sorted(told.accepted - set(told.completed))
            if chance.random() < 0.7
        ]
        said += [
            accept(update_id, event_id=event_id)
            for update_id, event_id in told.admitted.items()
            if chance.random() < 0.8
        ]
        for message in task.messages:
            fate = chance.random()
            if fate < 0.25:
                said.append(reject(message))
            elif fate < 0.95:
                said.append(accept(message))
                if fate > 0.6:
                    said.append(respond(message.protocol_instance_id, f"{message.protocol_instance_id} done"))
        return said


class ActivityWorker(Worker):
    def __init__(self, simulation: Simulation, realm: Realm, name: str, limiter: Limiter | None) -> None:
        super().__init__(simulation, realm, name)
        self.limiter = limiter

    async def work(self) -> None:
        while True:
            try:
                name = self._where()
                poll = ws.PollActivityTaskQueueRequest(
                    namespace=self.realm.name, identity=self.name, task_queue=queue(name)
                )
                if self.limiter is not None and self.limiter.worker_rate:
                    poll.task_queue_metadata.max_tasks_per_second.value = self.limiter.worker_rate
                task = await self.simulation.network.call(poll, within=self._how_long())
                if task.task_token:
                    if self.limiter is not None:
                        self.limiter.came(task, name)
                    await self._run(task, name)
            except TRY_AGAIN:
                await asyncio.sleep(0.05 + self.chance.random() * 0.2)

    async def _run(self, task: Any, polled: str) -> None:
        simulation = self.simulation
        run_id = task.workflow_execution.run_id or task.activity_run_id
        activity_id = task.activity_id if task.workflow_execution.run_id else ""
        self.realm.witness.activity(task, self.name, polled)
        mischief = simulation.mischief
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(self.chance.random() * self.chance.choice([0.01, 0.01, 3]))
            beat = await self._call(
                ws.RecordActivityTaskHeartbeatRequest(
                    namespace=self.realm.name, task_token=task.task_token, details=values(self.chance.random())
                )
            )
            if beat is not None and beat.cancel_requested and self.chance.random() < 0.7:
                await self._call(
                    ws.RespondActivityTaskCanceledRequest(namespace=self.realm.name, task_token=task.task_token)
                )
                return
        fate = self.chance.random()
        if fate < 0.08 * mischief:
            return
        if fate < 0.12 * mischief:
            await asyncio.sleep(self.chance.random() * 40)
        if fate > 1 - 0.2 * mischief:
            failed = ws.RespondActivityTaskFailedRequest(namespace=self.realm.name, task_token=task.task_token)
            failed.failure.message = "mischief"
            failed.failure.application_failure_info.non_retryable = self.chance.random() < 0.2
            await self._call(failed)
            return
        result = f"{self.name} {task.attempt} {self.chance.random()}"
        completed = ws.RespondActivityTaskCompletedRequest(
            namespace=self.realm.name, task_token=task.task_token, result=values(result)
        )
        if not activity_id:  # whoever waits for it may hear of it before we do
            self.realm.ledger.offered.add((run_id, result))
        if await self._call(completed) is not None:
            self.realm.ledger.completed[run_id, activity_id] = result
        if self.chance.random() < 0.05 * mischief:
            await self._call(completed)
