"""Who uses a simulated server: workers that vanish, answer late or twice; clients that repeat what got lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message

from perdure.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MultiOperationFailed,
    NotFound,
    PerdureError,
    QueryFailed,
    ResourceExhausted,
    Unavailable,
)
from tests.api.client import NAMESPACE, QUEUE, execution, queue, values
from tests.api.updating import ACCEPTED, COMPLETED, poll_request, update_request
from tests.engine.updating import accept, place, reject, respond
from tests.simulation.network import Lost
from tests.simulation.plans import Told, decide, invent

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

TRY_AGAIN = (Lost, Unavailable, ResourceExhausted, TimeoutError)
NO = (NotFound, AlreadyExists, InvalidArgument, FailedPrecondition)


class WorkflowWorker:
    """Polls, decides from history, answers. With a sticky queue it remembers histories."""

    def __init__(self, simulation: Simulation, name: str, sticky: bool) -> None:
        self.simulation = simulation
        self.chance = random.Random(f"{simulation.seed} {name}")
        self.name = name
        self.sticky = f"sticky-{name}" if sticky else ""
        self.histories: dict[str, list[HistoryEvent]] = {}

    async def work(self) -> None:
        while True:
            try:
                await self._once()
            except TRY_AGAIN:
                await asyncio.sleep(0.05 + self.chance.random() * 0.2)

    async def _once(self) -> None:
        request = ws.PollWorkflowTaskQueueRequest(namespace=NAMESPACE, identity=self.name)
        if self.sticky and self.chance.random() < 0.7:
            request.task_queue.CopyFrom(queue(self.sticky, kind=2, normal_name=QUEUE))
        else:
            request.task_queue.CopyFrom(queue())
        task = await self.simulation.network.call(request, within=self.chance.choice([2.5, 10.0, 60.0]))
        if task.task_token:
            await self._answer(task)

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
                    namespace=NAMESPACE, execution=task.workflow_execution, next_page_token=token
                )
            )
            events += page.history.events
            token = page.next_page_token
            if not token:
                break
        # Read on its own, a history may show more than the task: what came later is not this task's business.
        return [event for event in events if event.event_id <= task.started_event_id]

    async def _answer(self, task: Any) -> None:
        simulation = self.simulation
        if task.HasField("query"):
            await self._call(
                ws.RespondQueryTaskCompletedRequest(
                    namespace=NAMESPACE, task_token=task.task_token, completed_type=1, query_result=values("fine")
                )
            )
            return
        try:
            events = await self._history(task)
        except NO:
            return
        simulation.check_task(task, events)
        self.histories[task.workflow_execution.run_id] = events
        fate = self.chance.random()
        if fate < 0.04 * simulation.mischief:
            self.histories.clear()
            return  # never heard of again
        if fate < 0.08 * simulation.mischief:
            await asyncio.sleep(self.chance.random() * 15)
        if fate > 1 - 0.03 * simulation.mischief:
            failed = ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, cause=1)
            failed.failure.message = "mischief"
            await self._call(failed)
            return
        said = self._say_of_updates(task, Told(events))
        commands = [place(message) for message in said if not message.id.endswith("reject")] + decide(events)
        completed = ws.RespondWorkflowTaskCompletedRequest(
            namespace=NAMESPACE, task_token=task.task_token, identity=self.name, commands=commands, messages=said
        )
        completed.capabilities.discard_speculative_workflow_task_with_events = self.chance.random() < 0.7
        for query_id in task.queries:
            completed.query_results[query_id].result_type = 1  # type: ignore[assignment] # ANSWERED
            completed.query_results[query_id].answer.CopyFrom(values("fine"))
        if self.sticky and self.chance.random() < 0.8:
            completed.sticky_attributes.worker_task_queue.CopyFrom(queue(self.sticky, kind=2, normal_name=QUEUE))
            completed.sticky_attributes.schedule_to_start_timeout.seconds = 5
        completed.return_new_workflow_task = self.chance.random() < 0.5
        completed.force_create_new_workflow_task = self.chance.random() < 0.03
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
        for message in task.messages:
            fate = chance.random()
            if fate < 0.25:
                said.append(reject(message))
            elif fate < 0.95:
                said.append(accept(message))
                if fate > 0.6:
                    said.append(respond(message.protocol_instance_id, f"{message.protocol_instance_id} done"))
        return said

    async def _call(self, request: Any) -> Any:
        """The reply; None when the task is not ours any more, or nobody knows."""
        try:
            return await self.simulation.network.call(request)
        except (*NO, *TRY_AGAIN):
            return None


class ActivityWorker:
    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation = simulation
        self.chance = random.Random(f"{simulation.seed} {name}")
        self.name = name

    async def work(self) -> None:
        while True:
            try:
                task = await self.simulation.network.call(
                    ws.PollActivityTaskQueueRequest(namespace=NAMESPACE, identity=self.name, task_queue=queue()),
                    within=self.chance.choice([2.5, 10.0, 60.0]),
                )
                if task.task_token:
                    await self._run(task)
            except TRY_AGAIN:
                await asyncio.sleep(0.05 + self.chance.random() * 0.2)

    async def _run(self, task: Any) -> None:
        simulation = self.simulation
        run_id = task.workflow_execution.run_id
        key = (run_id, task.activity_id, task.attempt, task.started_time.ToMicroseconds())
        simulation.check_activity(key, task.task_token, self.name)
        mischief = simulation.mischief
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(self.chance.random() * self.chance.choice([0.01, 0.01, 3]))
            beat = await self._call(
                ws.RecordActivityTaskHeartbeatRequest(
                    namespace=NAMESPACE, task_token=task.task_token, details=values(self.chance.random())
                )
            )
            if beat is not None and beat.cancel_requested and self.chance.random() < 0.7:
                await self._call(ws.RespondActivityTaskCanceledRequest(namespace=NAMESPACE, task_token=task.task_token))
                return
        fate = self.chance.random()
        if fate < 0.08 * mischief:
            return
        if fate < 0.12 * mischief:
            await asyncio.sleep(self.chance.random() * 40)
        if fate > 1 - 0.2 * mischief:
            failed = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token)
            failed.failure.message = "mischief"
            failed.failure.application_failure_info.non_retryable = self.chance.random() < 0.2
            await self._call(failed)
            return
        result = f"{self.name} {task.attempt} {self.chance.random()}"
        completed = ws.RespondActivityTaskCompletedRequest(
            namespace=NAMESPACE, task_token=task.task_token, result=values(result)
        )
        if await self._call(completed) is not None:
            simulation.ledger.completed[run_id, task.activity_id] = result
        if self.chance.random() < 0.05 * mischief:
            await self._call(completed)

    _call = WorkflowWorker._call


class Client:
    """One sender: it goes on to its next message only when the one before was answered for good."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation = simulation
        self.chance = random.Random(f"{simulation.seed} {name}")
        self.name = name
        self.sent = 0

    async def insist(self, request: Any, within: float = 10.0, note: str = "") -> Any:
        """Repeat a call with its request ID until it is answered for good."""
        while True:
            try:
                return await self.simulation.network.call(request, within=within)
            except TRY_AGAIN:
                if note:
                    self.simulation.ledger.repeated.add(note)
                await asyncio.sleep(0.02 + self.chance.random() * 0.3)

    def some_id(self) -> str:
        return f"w{self.chance.randrange(8)}"

    def _uuid(self) -> str:
        return f"{self.name}-{self.chance.getrandbits(64):x}"

    async def act(self) -> None:
        """One thing at random."""
        acts: Sequence[Any] = (
            self.start,
            self.signal,
            self.signal_with_start,
            self.cancel,
            self.terminate,
            self.describe,
            self.query,
            self.follow,
            self.list,
            self.delete,
            self.update,
            self.update_with_start,
        )
        act = self.chance.choices(acts, [12, 24, 6, 2, 2, 4, 4, 3, 3, 1, 12, 4])[0]
        with suppress(NO):
            await act()

    async def start(self) -> None:
        request = ws.StartWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_id=self.some_id(),
            request_id=self._uuid(),
            identity=self.name,
            workflow_id_reuse_policy=self.chance.choice([1, 1, 1, 2, 3]),
            workflow_id_conflict_policy=self.chance.choice([1, 1, 2, 3]),
        )
        self._fill(request)
        if request.workflow_id_conflict_policy == 3:
            self.simulation.ledger.terminated.add(request.workflow_id)
            request.workflow_id_reuse_policy = 1  # type: ignore[assignment] # ALLOW_DUPLICATE
        if self.chance.random() < 0.1:
            request.workflow_start_delay.seconds = self.chance.choice([1, 60])
        elif self.chance.random() < 0.1:
            request.retry_policy.maximum_attempts = 2
            request.retry_policy.initial_interval.seconds = 1
        if self.chance.random() < 0.15:
            request.workflow_run_timeout.seconds = self.chance.choice([5, 3600])
            self.simulation.ledger.terminated.add(request.workflow_id)
        reply = await self.insist(request)
        self.simulation.check_started(request.workflow_id, reply.run_id)

    def _fill(self, request: Any) -> None:
        request.workflow_type.name = "Plan"
        request.task_queue.CopyFrom(queue())
        request.input.CopyFrom(values(invent(self.chance)))
        request.workflow_task_timeout.seconds = 10

    def _note(self) -> str:
        self.sent += 1
        note = f"{self.name}/{self.sent}"
        self.simulation.ledger.attempted.add(note)
        return note

    async def signal(self, workflow_id: str = "") -> None:
        workflow_id = workflow_id or self.some_id()
        note = self._note()
        request = ws.SignalWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=execution(workflow_id),
            signal_name="note",
            input=values(note),
            request_id=self._uuid(),
        )
        await self.insist(request, note=note)
        self.simulation.check_signaled(workflow_id, note)

    async def signal_with_start(self) -> None:
        workflow_id = self.some_id()
        note = self._note()
        request = ws.SignalWithStartWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_id=workflow_id,
            request_id=self._uuid(),
            signal_name="note",
            signal_input=values(note),
        )
        self._fill(request)
        await self.insist(request, note=note)
        self.simulation.check_signaled(workflow_id, note)

    async def cancel(self) -> None:
        await self.insist(
            ws.RequestCancelWorkflowExecutionRequest(
                namespace=NAMESPACE, workflow_execution=execution(self.some_id()), request_id=self._uuid()
            )
        )

    async def terminate(self) -> None:
        workflow_id = self.some_id()
        self.simulation.ledger.terminated.add(workflow_id)
        await self.insist(
            ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(workflow_id))
        )

    async def delete(self) -> None:
        workflow_id = self.some_id()
        self.simulation.ledger.deleted.add(workflow_id)
        await self.insist(
            ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(workflow_id))
        )

    def _update(self, workflow_id: str) -> ws.UpdateWorkflowExecutionRequest:
        return update_request(self._uuid(), workflow_id=workflow_id, stage=self.chance.choice([ACCEPTED, COMPLETED]))

    async def update(self) -> None:
        request = self._update(self.some_id())
        await self._follow_update(request.workflow_execution.workflow_id, await self._until_accepted(request))

    async def update_with_start(self) -> None:
        workflow_id = self.some_id()
        policy = self.chance.choice([1, 2, 2, 3])
        request = ws.ExecuteMultiOperationRequest(namespace=NAMESPACE)
        start = request.operations.add().start_workflow
        start.namespace = NAMESPACE
        start.workflow_id = workflow_id
        start.request_id = self._uuid()
        start.workflow_id_conflict_policy = policy
        self._fill(start)
        request.operations.add().update_workflow.CopyFrom(self._update(workflow_id))
        if policy == 3:
            self.simulation.ledger.terminated.add(workflow_id)
        try:
            started, updated = (await self._until_accepted(request)).responses
        except MultiOperationFailed:
            return
        self.simulation.check_started(workflow_id, started.start_workflow.run_id)
        await self._follow_update(workflow_id, updated.update_workflow)

    async def _until_accepted(self, request: Any) -> Any:
        """As SDKs do: again until the update is accepted at least."""
        for _ in range(20):
            try:
                reply = await self.insist(request, within=self.chance.choice([5.0, 30.0]))
            except DeadlineExceeded:
                continue
            progress = reply.responses[1].update_workflow if hasattr(reply, "responses") else reply
            if progress.stage >= ACCEPTED:
                return reply
        raise NotFound("nobody takes it")

    async def _follow_update(self, workflow_id: str, progress: Any) -> None:
        ref = progress.update_ref
        run_id = ref.workflow_execution.run_id
        poll = poll_request(ref.update_id, workflow_id=workflow_id, run_id=run_id, stage=COMPLETED)
        for _ in range(self.chance.randint(1, 4)):
            done = progress.stage == COMPLETED
            self.simulation.check_updated(workflow_id, run_id, ref.update_id, progress.outcome if done else None)
            if done:
                return
            progress = await self.insist(poll, within=30.0)

    async def describe(self) -> None:
        reply = await self.insist(
            ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution(self.some_id()))
        )
        self.simulation.check_seen(reply.workflow_execution_info.execution, reply.workflow_execution_info.status)

    async def query(self) -> None:
        request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution(self.some_id()))
        request.query.query_type = "how are you"
        try:
            await self.simulation.network.call(request, within=self.chance.choice([1.0, 30.0]))
        except (*TRY_AGAIN, QueryFailed, PerdureError):
            return  # a query may find no worker in time

    async def follow(self) -> None:
        """Wait for a close, as SDKs wait for results."""
        request = ws.GetWorkflowExecutionHistoryRequest(
            namespace=NAMESPACE,
            execution=execution(self.some_id()),
            wait_new_event=True,
            history_event_filter_type=2,  # type: ignore[arg-type] # CLOSE_EVENT
        )
        for _ in range(3):
            reply = await self.insist(request, within=self.chance.choice([1.0, 30.0]))
            if reply.history.events or not reply.next_page_token:
                return
            request.next_page_token = reply.next_page_token

    async def list(self) -> None:
        query = self.chance.choice(["", "ExecutionStatus = 'Running'", "CustomKeyword = 'v1'"])
        reply = await self.insist(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query=query, page_size=3))
        for found in reply.executions:
            self.simulation.check_seen(found.execution, found.status)


async def full_history(call: Any, at: WorkflowExecution) -> list[HistoryEvent]:
    events: list[HistoryEvent] = []
    request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=at)
    while True:
        page = await call(request)
        events += page.history.events
        if not page.next_page_token:
            return events
        request.next_page_token = page.next_page_token


def notes_of(events: list[HistoryEvent]) -> list[str]:
    return Told(events).signals


def result_of(event: HistoryEvent) -> Any:
    return json.loads(event.workflow_execution_completed_event_attributes.result.payloads[0].data)
