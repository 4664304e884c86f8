"""Raw calls: `await api.StartWorkflowExecution(request)`; and the few steps that most stories share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.message_factory import GetMessageClass
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import CommandType
from temporalio.api.operatorservice.v1 import service_pb2 as operator_service
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import service_pb2 as workflow_service

NAMESPACE = "default"
QUEUE = "orders"
SECONDS = 10.0

_SERVICES = (
    workflow_service.DESCRIPTOR.services_by_name["WorkflowService"],
    operator_service.DESCRIPTOR.services_by_name["OperatorService"],
)


class Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Api:
    """Every RPC of both services as a method. `metadata` goes with each call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._callers: dict[str, Any] = {}
        self.metadata: tuple[tuple[str, str], ...] = ()

    def __getattr__(self, rpc: str) -> Callable[..., Awaitable[Any]]:
        for service in _SERVICES:
            method = service.methods_by_name.get(rpc)
            if method is not None:
                caller = self._channel.unary_unary(
                    f"/{service.full_name}/{rpc}",
                    request_serializer=lambda request: request.SerializeToString(),
                    response_deserializer=GetMessageClass(method.output_type).FromString,
                )
                return self._calling(caller)
        raise AttributeError(rpc)

    def _calling(self, caller: Any) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, *, within: float | None = SECONDS) -> Any:
            try:
                return await caller(request, timeout=within, metadata=self.metadata)
            except grpc.aio.AioRpcError as error:
                raise Refused(error.code().name, error.details() or "") from error

        return call

    # ---- steps
    async def start(self, workflow_id: str = "order-1", **fields: Any) -> str:
        """Start a workflow; its run ID."""
        return (await self.StartWorkflowExecution(start_request(workflow_id, **fields))).run_id

    async def poll(self, *, within: float | None = SECONDS, **fields: Any) -> Any:
        fields = {"task_queue": queue(), "namespace": NAMESPACE, "identity": "worker", **fields}
        return await self.PollWorkflowTaskQueue(ws.PollWorkflowTaskQueueRequest(**fields), within=within)

    async def poll_activity(self, *, within: float | None = SECONDS, **fields: Any) -> Any:
        fields = {"task_queue": queue(), "namespace": NAMESPACE, "identity": "worker", **fields}
        return await self.PollActivityTaskQueue(ws.PollActivityTaskQueueRequest(**fields), within=within)

    async def complete(self, task: Any, *commands: Command, **fields: Any) -> Any:
        return await self.RespondWorkflowTaskCompleted(
            ws.RespondWorkflowTaskCompletedRequest(
                namespace=NAMESPACE, task_token=task.task_token, commands=commands, identity="worker", **fields
            )
        )

    async def step(self, *commands: Command) -> Any:
        """Take the next workflow task and answer it with `commands`."""
        task = await self.poll()
        assert task.task_token, "no workflow task came"
        await self.complete(task, *commands)
        return task

    async def signal(self, name: str = "ship", workflow_id: str = "order-1", **fields: Any) -> Any:
        return await self.SignalWorkflowExecution(signal_request(workflow_id, name, **fields))

    async def describe(self, workflow_id: str = "order-1", run_id: str = "") -> Any:
        return await self.DescribeWorkflowExecution(
            ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution(workflow_id, run_id))
        )

    async def history(
        self, workflow_id: str = "order-1", run_id: str = "", *, within: float | None = SECONDS, **fields: Any
    ) -> Any:
        return await self.GetWorkflowExecutionHistory(
            ws.GetWorkflowExecutionHistoryRequest(
                namespace=NAMESPACE, execution=execution(workflow_id, run_id), **fields
            ),
            within=within,
        )

    async def parked(self, task_queue: TaskQueue, kind: int = 1) -> None:
        """Wait until a poll of that queue arrived."""
        request = ws.DescribeTaskQueueRequest(namespace=NAMESPACE, task_queue=task_queue, task_queue_type=kind)
        while not (await self.DescribeTaskQueue(request)).pollers:
            pass


async def refused(call: Awaitable[Any]) -> Refused | None:
    """What the call was refused with; None when it was not."""
    try:
        await call
    except Refused as refusal:
        return refusal
    return None


def queue(name: str = QUEUE, **fields: Any) -> TaskQueue:
    return TaskQueue(name=name, **fields)


def execution(workflow_id: str = "order-1", run_id: str = "") -> WorkflowExecution:
    return WorkflowExecution(workflow_id=workflow_id, run_id=run_id)


def start_request(workflow_id: str = "order-1", **fields: Any) -> ws.StartWorkflowExecutionRequest:
    request = ws.StartWorkflowExecutionRequest(namespace=NAMESPACE, workflow_id=workflow_id)
    request.workflow_type.name = "Order"
    request.task_queue.name = QUEUE
    request.identity = "client"
    for name, value in fields.items():
        if hasattr(value, "CopyFrom"):
            getattr(request, name).CopyFrom(value)
        elif isinstance(value, dict):
            getattr(request, name).update(value)
        else:
            setattr(request, name, value)
    return request


def signal_request(
    workflow_id: str = "order-1", name: str = "ship", **fields: Any
) -> ws.SignalWorkflowExecutionRequest:
    return ws.SignalWorkflowExecutionRequest(
        namespace=NAMESPACE, workflow_execution=execution(workflow_id), signal_name=name, **fields
    )


def start_activity_request(activity_id: str = "charge", **fields: Any) -> ws.StartActivityExecutionRequest:
    """Of a standalone activity."""
    request = ws.StartActivityExecutionRequest(namespace=NAMESPACE, activity_id=activity_id, **fields)
    request.activity_type.name = "Charge"
    request.task_queue.name = QUEUE
    if not request.HasField("start_to_close_timeout"):
        request.start_to_close_timeout.seconds = 60
    return request


def values(*decoded: Any) -> Payloads:
    payloads = Payloads()
    for value in decoded:
        payloads.payloads.add(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())
    return payloads


def complete_workflow(*result: Any) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    command.complete_workflow_execution_command_attributes.result.CopyFrom(values(*result))
    return command


def start_timer(timer_id: str = "t", seconds: int = 3600) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = timer_id
    command.start_timer_command_attributes.start_to_fire_timeout.seconds = seconds
    return command


def schedule_activity(activity_id: str = "charge", **fields: Any) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = "Charge"
    attributes.task_queue.name = QUEUE
    attributes.start_to_close_timeout.seconds = 60
    attributes.retry_policy.maximum_attempts = 1
    for name, value in fields.items():
        setattr(attributes, name, value)
    return command


def cancel_activity(scheduled_event_id: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
    command.request_cancel_activity_task_command_attributes.scheduled_event_id = scheduled_event_id
    return command


def signal_external(workflow_id: str, name: str = "s") -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.signal_external_workflow_execution_command_attributes
    attributes.execution.workflow_id = workflow_id
    attributes.signal_name = name
    return command


def kinds(history: Any) -> list[str]:
    """Event types of a history, short: `WORKFLOW_EXECUTION_STARTED`."""
    from temporalio.api.enums.v1 import EventType

    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events]
