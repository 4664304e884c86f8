"""Clients that keep the server busy, outlive its deaths, and write down what it acknowledged.

Each call carries the same request ID until it is answered, as an SDK's retries do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RequestCancelWorkflowExecutionRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.converter import DataConverter
from temporalio.exceptions import CancelledError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from tests.crash.ledger import Ending, Ledger
from tests.crash.workflows import (
    BY_HAND_QUEUE,
    NOTES,
    QUEUE,
    SENDERS,
    TASK_TIMEOUT,
    Collect,
    Family,
    Patient,
    Proof,
    Steps,
)

NAMESPACE = "default"
CALL_TIMEOUT = timedelta(seconds=3)
POLL_TIMEOUT = timedelta(seconds=20)

T = TypeVar("T")


def _payloads(*values: Any) -> Payloads:
    return Payloads(payloads=DataConverter.default.payload_converter.to_payloads(values))


def is_outage(error: RPCError) -> bool:
    """Whether nobody can tell if the call was carried out: no answer of the server's own."""
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED):
        return True
    transport = ("h2 protocol error", "transport error", "connection", "broken pipe", "stream error")
    return error.status in (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL) and any(
        word in error.message.lower() for word in transport
    )


class Load:
    """Actors run one workflow after the other, from start to result, until `stop`."""

    def __init__(self, client: Client, seed: int) -> None:
        self.ledger = Ledger()
        self.serving = asyncio.Event()
        """Whether the server is up; cleared by whoever kills it."""
        self.ended = asyncio.Event()
        """Set whenever a workflow ended."""
        self._client = client
        self._calls = client.workflow_service
        self._seed = seed
        self._stopping = asyncio.Event()
        self._ids = 0

    def stop(self) -> None:
        """Finish what is begun, begin nothing."""
        self._stopping.set()

    async def act(self, actor: int) -> None:
        random = Random(f"{self._seed}:{actor}")
        stories = (self._steps, self._collect, self._family, self._cancelled, self._terminated)
        while not self._stopping.is_set():
            self._ids += 1
            story = random.choice(stories)
            await story(f"{story.__name__.strip('_')}-{self._ids}", random)

    # ---- stories
    async def _steps(self, workflow_id: str, random: Random) -> None:
        count = random.randint(1, 4)
        await self._start(workflow_id, Steps, random, count)
        await self._ends(workflow_id, Ending(WorkflowExecutionStatus.COMPLETED, Steps.expected(count)))

    async def _collect(self, workflow_id: str, random: Random) -> None:
        await self._start(workflow_id, Collect, random, [])
        async with asyncio.TaskGroup() as senders:
            for sender in SENDERS:
                senders.create_task(self._send_notes(workflow_id, sender, Random(random.random())))
        await self._ends(workflow_id, Ending(WorkflowExecutionStatus.COMPLETED))

    async def _send_notes(self, workflow_id: str, sender: str, random: Random) -> None:
        for number in range(NOTES):
            request = SignalWorkflowExecutionRequest(
                namespace=NAMESPACE,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                signal_name="note",
                input=_payloads(sender, number),
                identity=sender,
                request_id=self._request_id(random),
            )
            await self._until_answered(self._calls.signal_workflow_execution, request)
            self.ledger.notes[workflow_id, sender] = number + 1
            self.ledger.touched.add(workflow_id)
            await asyncio.sleep(random.uniform(0, 0.05))

    async def _family(self, workflow_id: str, random: Random) -> None:
        count = random.randint(1, 3)
        await self._start(workflow_id, Family, random, count)
        await self._ends(workflow_id, Ending(WorkflowExecutionStatus.COMPLETED, Family.expected(count)))

    async def _cancelled(self, workflow_id: str, random: Random) -> None:
        await self._start(workflow_id, Patient, random)
        await asyncio.sleep(random.uniform(0, 0.2))
        request = RequestCancelWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            request_id=self._request_id(random),
        )
        await self._until_answered(self._calls.request_cancel_workflow_execution, request)
        self.ledger.cancels.add(workflow_id)
        self.ledger.touched.add(workflow_id)
        await self._ends(workflow_id, Ending(WorkflowExecutionStatus.CANCELED))

    async def _terminated(self, workflow_id: str, random: Random) -> None:
        await self._start(workflow_id, Patient, random)
        await asyncio.sleep(random.uniform(0, 0.1))
        request = TerminateWorkflowExecutionRequest(
            namespace=NAMESPACE, workflow_execution=WorkflowExecution(workflow_id=workflow_id), reason="load"
        )
        try:
            await self._until_answered(self._calls.terminate_workflow_execution, request)
        except RPCError as error:
            # Without a request ID a repeated call finds the workflow closed by the first, whose answer was lost.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        self.ledger.terminations.add(workflow_id)
        self.ledger.touched.add(workflow_id)
        await self._ends(workflow_id, Ending(WorkflowExecutionStatus.TERMINATED))

    # ---- activities completed by hand
    async def complete_by_hand(self, worker: int) -> None:
        """Poll and complete activities, by token and by ID in turn, until cancelled."""
        random = Random(f"{self._seed}:by-hand:{worker}")
        poll = PollActivityTaskQueueRequest(
            namespace=NAMESPACE,
            task_queue=TaskQueue(name=BY_HAND_QUEUE, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            identity=f"by-hand-{worker}",
        )
        while True:
            task = await self._until_answered(self._calls.poll_activity_task_queue, poll, POLL_TIMEOUT)
            if task.task_token:
                await self._complete(task, random)

    async def _complete(self, task: PollActivityTaskQueueResponse, random: Random) -> None:
        execution = task.workflow_execution
        [number] = DataConverter.default.payload_converter.from_payloads(task.input.payloads)
        proof = self._request_id(random)
        result = _payloads(Proof(2 * number, proof))
        try:
            if random.random() < 0.5:
                await self._until_answered(
                    self._calls.respond_activity_task_completed,
                    RespondActivityTaskCompletedRequest(
                        namespace=NAMESPACE, task_token=task.task_token, result=result, identity="by-hand"
                    ),
                )
            else:
                await self._until_answered(
                    self._calls.respond_activity_task_completed_by_id,
                    RespondActivityTaskCompletedByIdRequest(
                        namespace=NAMESPACE,
                        workflow_id=execution.workflow_id,
                        run_id=execution.run_id,
                        activity_id=task.activity_id,
                        result=result,
                        identity="by-hand",
                    ),
                )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return  # Timed out meanwhile, closed, or completed by a call whose answer was lost: not acknowledged.
            raise
        self.ledger.completions[execution.workflow_id, execution.run_id, task.activity_id] = proof
        self.ledger.touched.add(execution.workflow_id)

    # ---- calls
    async def _start(self, workflow_id: str, workflow: type, random: Random, *args: Any) -> None:
        request = StartWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=workflow.__name__),
            task_queue=TaskQueue(name=QUEUE),
            request_id=self._request_id(random),
            identity="load",
        )
        if args:
            request.input.CopyFrom(_payloads(*args))
        request.workflow_task_timeout.FromTimedelta(TASK_TIMEOUT)
        response = await self._until_answered(self._calls.start_workflow_execution, request)
        self.ledger.starts[workflow_id] = response.run_id
        self.ledger.touched.add(workflow_id)

    async def _ends(self, workflow_id: str, expected: Ending) -> None:
        """Wait for the end as a client does, and have it be the expected one."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=self.ledger.starts[workflow_id])

        async def outcome() -> Ending:
            try:
                return Ending(WorkflowExecutionStatus.COMPLETED, await handle.result())
            except WorkflowFailureError as failure:
                match failure.cause:
                    case CancelledError():
                        return Ending(WorkflowExecutionStatus.CANCELED)
                    case TerminatedError():
                        return Ending(WorkflowExecutionStatus.TERMINATED)
                raise

        ending = await self._while_down_wait(outcome)
        if workflow_id.startswith("collect"):
            for sender in SENDERS:
                heard = [number for name, number in ending.result if name == sender]
                assert heard == list(range(NOTES)), f"{workflow_id} heard {sender} say {heard}"
        else:
            assert ending == expected, f"{workflow_id} ended with {ending}, not {expected}"
        self.ledger.endings[workflow_id] = ending
        self.ended.set()
        self.ledger.touched.add(workflow_id)

    async def _until_answered(
        self, method: Callable[..., Awaitable[T]], request: Any, within: timedelta = CALL_TIMEOUT
    ) -> T:
        async def call() -> T:
            return await method(request, timeout=within)

        return await self._while_down_wait(call)

    async def _while_down_wait(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            await self.serving.wait()
            try:
                return await call()
            except RPCError as error:
                # A workflow whose close was refused for a signal takes no more of them until the next task.
                if not is_outage(error) and error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
                    raise
            # Between the server's death and the kill that noticed it, every try fails at once.
            await asyncio.sleep(0.01)

    def _request_id(self, random: Random) -> str:
        return f"{random.getrandbits(64):016x}"
