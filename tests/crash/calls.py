"""Calls that outlive the server's deaths, and are written down once they are answered.

Each call carries the same request ID until it is answered, as an SDK's retries do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import Payloads, WorkflowExecution, WorkflowType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.converter import DataConverter
from temporalio.exceptions import CancelledError, TerminatedError, TimeoutError
from temporalio.service import RPCError, RPCStatusCode

from tests.crash.ledger import Ending, Ledger, Sent
from tests.crash.stories.kit import QUEUE, TASK_TIMEOUT

NAMESPACE = "default"
CALL_TIMEOUT = timedelta(seconds=3)

COMPLETED = WorkflowExecutionStatus.COMPLETED
CANCELED = WorkflowExecutionStatus.CANCELED
TERMINATED = WorkflowExecutionStatus.TERMINATED
TIMED_OUT = WorkflowExecutionStatus.TIMED_OUT

T = TypeVar("T")


def payloads(*values: Any) -> Payloads:
    return Payloads(payloads=DataConverter.default.payload_converter.to_payloads(values))


def is_outage(error: RPCError) -> bool:
    """Whether nobody can tell if the call was carried out: no answer of the server's own."""
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED):
        return True
    transport = ("h2 protocol error", "transport error", "connection", "broken pipe", "stream error")
    return error.status in (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL) and any(
        word in error.message.lower() for word in transport
    )


class Calls:
    """What all clients share: the ledger, whether the server is up, and calls that wait until it is."""

    def __init__(self, client: Client, releases: Path) -> None:
        self.ledger = Ledger()
        self.serving = asyncio.Event()
        """Whether the server is up; cleared by whoever kills it."""
        self.ended = asyncio.Event()
        """Set whenever a workflow ended."""
        self.client = client
        self.rpc = client.workflow_service
        self.releases = releases
        """A directory both clients and workers see."""

    # ---- workflows
    def start_request(
        self, workflow_id: str, workflow: type, random: Random, *args: Any, **fields: Any
    ) -> ws.StartWorkflowExecutionRequest:
        request = ws.StartWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=workflow.__name__),
            task_queue=TaskQueue(name=QUEUE),
            request_id=request_id(random),
            identity="load",
            input=payloads(*args) if args else None,
            **fields,
        )
        request.workflow_task_timeout.FromTimedelta(TASK_TIMEOUT)
        return request

    async def start(self, workflow_id: str, workflow: type, random: Random, *args: Any, **fields: Any) -> str:
        request = self.start_request(workflow_id, workflow, random, *args, **fields)
        response = await self.until_answered(self.rpc.start_workflow_execution, request)
        self.started(workflow_id, response.run_id)
        return str(response.run_id)

    def started(self, workflow_id: str, run_id: str) -> None:
        known = self.ledger.starts.setdefault(workflow_id, run_id)
        assert known == run_id, f"{workflow_id} was started as {known} and as {run_id}"
        self.ledger.touched.add(workflow_id)

    async def signal(self, workflow_id: str, name: str, sender: str, random: Random) -> None:
        """The sender's next signal: its arguments are the sender and its number."""
        request = ws.SignalWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            input=payloads(sender, len(self.ledger.sent.get((workflow_id, sender), ()))),
            identity=sender,
            request_id=request_id(random),
        )
        await self.sending(workflow_id, sender, self.rpc.signal_workflow_execution, request)

    async def sending(self, workflow_id: str, sender: str, method: Callable[..., Awaitable[T]], request: Any) -> T:
        """A call that brings the sender's next signal."""
        sent = Sent()
        self.ledger.sent.setdefault((workflow_id, sender), []).append(sent)

        async def call() -> T:
            sent.tries += 1
            return await method(request, timeout=CALL_TIMEOUT)

        response = await self.while_down_wait(call)
        sent.answered = True
        self.ledger.touched.add(workflow_id)
        return response

    async def cancel(self, workflow_id: str, random: Random) -> None:
        request = ws.RequestCancelWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            request_id=request_id(random),
        )
        await self.until_answered(self.rpc.request_cancel_workflow_execution, request)
        self.ledger.cancels.add(workflow_id)
        self.ledger.touched.add(workflow_id)

    async def terminate(self, workflow_id: str) -> None:
        request = ws.TerminateWorkflowExecutionRequest(
            namespace=NAMESPACE, workflow_execution=WorkflowExecution(workflow_id=workflow_id), reason="load"
        )
        # Without a request ID a repeated call finds the workflow closed by the first, whose answer was lost.
        await self.until_answered(self.rpc.terminate_workflow_execution, request, but=RPCStatusCode.NOT_FOUND)
        self.ledger.terminations.add(workflow_id)
        self.ledger.touched.add(workflow_id)

    async def describe(self, workflow_id: str) -> ws.DescribeWorkflowExecutionResponse:
        request = ws.DescribeWorkflowExecutionRequest(
            namespace=NAMESPACE, execution=WorkflowExecution(workflow_id=workflow_id)
        )
        return await self.until_answered(self.rpc.describe_workflow_execution, request)

    async def ending(self, workflow_id: str, run_id: str | None = None) -> Ending:
        """Wait for the end as a client does, following runs from `run_id`, or from the one that was started."""
        handle = self.client.get_workflow_handle(workflow_id, run_id=run_id or self.ledger.starts.get(workflow_id))

        async def outcome() -> Ending:
            try:
                return Ending(COMPLETED, await handle.result())
            except WorkflowFailureError as failure:
                match failure.cause:
                    case CancelledError():
                        return Ending(CANCELED)
                    case TerminatedError():
                        return Ending(TERMINATED)
                    case TimeoutError():
                        return Ending(TIMED_OUT)
                raise

        ending = await self.while_down_wait(outcome)
        self.ledger.endings[workflow_id] = ending
        self.ended.set()
        self.ledger.touched.add(workflow_id)
        return ending

    async def ends(self, workflow_id: str, status: WorkflowExecutionStatus, result: Any = None) -> None:
        """Wait for the end, and have it be that one."""
        ending = await self.ending(workflow_id)
        assert ending == Ending(status, result), f"{workflow_id} ended with {ending}, not {status} {result}"

    # ---- any call
    async def until_answered(
        self,
        method: Callable[..., Awaitable[T]],
        request: Any,
        within: timedelta = CALL_TIMEOUT,
        *,
        but: RPCStatusCode | None = None,
    ) -> Any:
        """The answer; None if it was the status `but`, which any other error raises."""

        async def call() -> T | None:
            try:
                return await method(request, timeout=within)
            except RPCError as error:
                if error.status is but:
                    return None
                raise

        return await self.while_down_wait(call)

    async def while_down_wait(self, call: Callable[[], Awaitable[T]]) -> T:
        pause = 0.01
        while True:
            await self.serving.wait()
            try:
                return await call()
            except RPCError as error:
                # A workflow whose close was refused for a signal takes no more of them until the next task.
                if not (is_outage(error) or error.status is RPCStatusCode.RESOURCE_EXHAUSTED or _not_now(error)):
                    raise
            # Between the server's death and the kill that noticed it, every try fails at once.
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.2)

    async def until(self, holds: Callable[[], Awaitable[T | None]], *, every: float = 0.05) -> T:
        """What `holds` gives once it gives something true."""
        while not (found := await holds()):
            await asyncio.sleep(every)
        return found


def _not_now(error: RPCError) -> bool:
    """Where tasks took too long three times in a row, as beside programs that leave little of a processor, updates and
    queries are refused until one ends."""
    return error.status is RPCStatusCode.FAILED_PRECONDITION and error.message.endswith(
        "Workflow Task in failed state."
    )


def request_id(random: Random) -> str:
    return f"{random.getrandbits(64):016x}"


def values(of: Payloads) -> list[Any]:
    return DataConverter.default.payload_converter.from_payloads(of.payloads)


Story = Callable[[Calls, str, Random], Awaitable[None]]
"""One workflow (or schedule, or job) from its start to its end, under an ID of its own."""
Stories = Mapping[str, Story]
