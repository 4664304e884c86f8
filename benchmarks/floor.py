"""The floor: a grpc.aio server that answers the seven calls of the one-activity workflow with canned replies.

    python -m benchmarks.floor --port PORT

No engine, no store, no messages: what is left is the transport. Calls are parked and woken as in the real server: polls
until there is a task, and whatever must be durable first until a canned commit of 2 ms ends, which all that came
meanwhile share. So as many calls are under way as there, and the difference is what Perdure itself costs.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import deque
from collections.abc import Awaitable, Callable

import grpc
import uvloop
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    GetSystemInfoResponse,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RespondWorkflowTaskCompletedResponse,
    StartWorkflowExecutionResponse,
)

from benchmarks import messages
from benchmarks.messages import ID_LENGTH, appended, payload

RUN_ID = "00000000-0000-4000-8000-000000000000"
FIRST, SECOND = b"1", b"2"
"""A token is one of these and the workflow's ID: which of its two workflow tasks it stands for."""


COMMIT_SECONDS = 0.002
"""About what a commit takes with its fsync on the machines that the figures come from."""


class Commit:
    """The end of a commit that has nothing to write, awaited by all that came since the last."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def durable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            loop.call_later(COMMIT_SECONDS, self._end)
        await waiter

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Line:
    """Tasks that wait for pollers, or pollers that wait for tasks."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._tasks: deque[bytes] = deque()
        self._pollers: deque[asyncio.Future[bytes]] = deque()

    def offer(self, task: bytes) -> None:
        while self._pollers:
            poller = self._pollers.popleft()
            if not poller.done():
                poller.set_result(task)
                return
        self._tasks.append(task)

    async def poll(self) -> bytes:
        if self._tasks:
            task = self._tasks.popleft()
            await self._commit.durable()  # that it was started
            return task
        poller: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pollers.append(poller)
        return await poller


class Floor(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self) -> None:
        self._commit = Commit()
        self._workflow_tasks, self._activity_tasks = Line(self._commit), Line(self._commit)
        self._started = StartWorkflowExecutionResponse(run_id=RUN_ID, started=True).SerializeToString()
        self._responded = RespondWorkflowTaskCompletedResponse().SerializeToString()
        self._system_info = GetSystemInfoResponse(server_version="floor").SerializeToString()
        # Histories as long as the real ones: three events at the first task, nine at the second.
        self._first_task = workflow_task(events=3, previous_started_event_id=0)
        self._second_task = workflow_task(events=9, previous_started_event_id=3)
        self._activity_task = activity_task()
        methods: dict[str, Callable[[bytes, object], Awaitable[bytes]]] = {
            messages.START: self._start,
            messages.POLL_WORKFLOW: self._poll_workflow_task,
            messages.RESPOND_WORKFLOW: self._respond_workflow_task,
            messages.POLL_ACTIVITY: self._poll_activity_task,
            messages.RESPOND_ACTIVITY: self._respond_activity_task,
            messages.SERVICE + "GetSystemInfo": self._get_system_info,
        }
        self._handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(details.method)

    async def _start(self, request: bytes, _: object) -> bytes:
        await self._commit.durable()
        self._offer_workflow_task(self._first_task, FIRST, request[-ID_LENGTH:])
        return self._started

    async def _poll_workflow_task(self, _request: bytes, _: object) -> bytes:
        return await self._workflow_tasks.poll()

    async def _respond_workflow_task(self, request: bytes, _: object) -> bytes:
        await self._commit.durable()
        workflow_id = request[-ID_LENGTH:]
        if request[-ID_LENGTH - 1 : -ID_LENGTH] == FIRST:
            token = appended(PollActivityTaskQueueResponse, "task_token", workflow_id)
            self._activity_tasks.offer(self._activity_task + token)
        return self._responded

    async def _poll_activity_task(self, _request: bytes, _: object) -> bytes:
        return await self._activity_tasks.poll()

    async def _respond_activity_task(self, request: bytes, _: object) -> bytes:
        await self._commit.durable()
        self._offer_workflow_task(self._second_task, SECOND, request[-ID_LENGTH:])
        return b""

    async def _get_system_info(self, _request: bytes, _: object) -> bytes:
        return self._system_info

    def _offer_workflow_task(self, task: bytes, which: bytes, workflow_id: bytes) -> None:
        execution = appended(WorkflowExecution, "workflow_id", workflow_id)
        self._workflow_tasks.offer(
            task
            + appended(PollWorkflowTaskQueueResponse, "workflow_execution", execution)
            + appended(PollWorkflowTaskQueueResponse, "task_token", which + workflow_id)
        )


def workflow_task(events: int, previous_started_event_id: int) -> bytes:
    task = PollWorkflowTaskQueueResponse(attempt=1, previous_started_event_id=previous_started_event_id)
    task.workflow_execution.run_id = RUN_ID
    task.workflow_type.name = "OneActivity"
    for number in range(1, events + 1):
        event = HistoryEvent(event_id=number, event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        event.event_time.GetCurrentTime()
        event.activity_task_scheduled_event_attributes.activity_id = "1"
        event.activity_task_scheduled_event_attributes.input.payloads.append(payload(64))
        task.history.events.append(event)
    return task.SerializeToString()


def activity_task() -> bytes:
    task = PollActivityTaskQueueResponse(activity_id="1", attempt=1, workflow_namespace=messages.NAMESPACE)
    task.activity_type.name = "Act"
    task.workflow_execution.run_id = RUN_ID
    task.input.payloads.append(payload(64))
    return task.SerializeToString()


async def serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Floor(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopped.set)
    await server.start()
    await stopped.wait()
    await server.stop(grace=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
