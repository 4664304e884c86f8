"""Requests as bytes, made once: a benchmark's client shares the machine with the server, so it must do little.

Protobuf lets serialised fields follow one another in any order, so a request is a constant part with the fields that
vary (IDs, task tokens) appended; the server cannot tell.
"""

from __future__ import annotations

import uuid
from itertools import count

from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import CommandType, TaskQueueKind
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"
START = SERVICE + "StartWorkflowExecution"
SIGNAL = SERVICE + "SignalWorkflowExecution"
POLL_WORKFLOW = SERVICE + "PollWorkflowTaskQueue"
RESPOND_WORKFLOW = SERVICE + "RespondWorkflowTaskCompleted"
POLL_ACTIVITY = SERVICE + "PollActivityTaskQueue"
RESPOND_ACTIVITY = SERVICE + "RespondActivityTaskCompleted"

NAMESPACE = "default"
IDENTITY = "benchmark"
ID_LENGTH = 24
"""Every workflow ID has this many characters, so that the floor server finds it without parsing."""


def appended(message: type[Message], field_name: str, value: bytes) -> bytes:
    """`value` as one more serialised field of a `message`: field numbers below 16 and values below 16 KiB only."""
    field, size = message.DESCRIPTOR.fields_by_name[field_name].number, len(value)
    head = bytes((field << 3 | 2, size)) if size < 128 else bytes((field << 3 | 2, size & 127 | 128, size >> 7))
    return head + value


def payload(size: int) -> Payload:
    return Payload(metadata={"encoding": b"binary/plain"}, data=b"x" * size)


class WorkflowIds:
    """Unique workflow IDs of `ID_LENGTH` characters."""

    def __init__(self) -> None:
        self._prefix = uuid.uuid4().hex[:12]
        self._numbers = count()

    def next(self) -> str:
        return f"{self._prefix}-{next(self._numbers):0{ID_LENGTH - 13}d}"


class Requests:
    """Requests of the one-activity workflow on one task queue, with payloads of `payload_bytes`."""

    def __init__(self, queue: str, payload_bytes: int = 64) -> None:
        self.queue = queue
        start = StartWorkflowExecutionRequest(namespace=NAMESPACE, identity=IDENTITY)
        start.workflow_type.name = "OneActivity"
        start.task_queue.name = queue
        start.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        start.workflow_task_timeout.seconds = 60
        start.input.payloads.append(payload(payload_bytes))
        self._start = start.SerializeToString()

        signal = SignalWorkflowExecutionRequest(namespace=NAMESPACE, identity=IDENTITY, signal_name="ping")
        signal.input.payloads.append(payload(payload_bytes))
        self._signal = signal.SerializeToString()

        workflow_poll = PollWorkflowTaskQueueRequest(namespace=NAMESPACE, identity=IDENTITY)
        workflow_poll.task_queue.name = queue
        self.poll_workflow = workflow_poll.SerializeToString()

        activity_poll = PollActivityTaskQueueRequest(namespace=NAMESPACE, identity=IDENTITY)
        activity_poll.task_queue.name = queue
        self.poll_activity = activity_poll.SerializeToString()

        activity_done = RespondActivityTaskCompletedRequest(namespace=NAMESPACE, identity=IDENTITY)
        activity_done.result.payloads.append(payload(payload_bytes))
        self._activity_done = activity_done.SerializeToString()

        complete = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
        complete.complete_workflow_execution_command_attributes.result.payloads.append(payload(64))
        self._schedule = completion([activity_command("1", queue)])
        self._complete = completion([complete])

    def start(self, workflow_id: str) -> bytes:
        request_id = appended(StartWorkflowExecutionRequest, "request_id", str(uuid.uuid4()).encode())
        return self._start + request_id + appended(StartWorkflowExecutionRequest, "workflow_id", workflow_id.encode())

    def signal(self, workflow_id: str) -> bytes:
        request_id = appended(SignalWorkflowExecutionRequest, "request_id", str(uuid.uuid4()).encode())
        execution = appended(WorkflowExecution, "workflow_id", workflow_id.encode())
        return self._signal + request_id + appended(SignalWorkflowExecutionRequest, "workflow_execution", execution)

    def schedule_activity(self, token: bytes) -> bytes:
        return self._schedule + workflow_token(token)

    def complete_workflow(self, token: bytes) -> bytes:
        return self._complete + workflow_token(token)

    def complete_activity(self, token: bytes) -> bytes:
        return self._activity_done + appended(RespondActivityTaskCompletedRequest, "task_token", token)


def workflow_token(token: bytes) -> bytes:
    """What turns the result of `completion` into a whole request."""
    return appended(RespondWorkflowTaskCompletedRequest, "task_token", token)


def activity_command(activity_id: str, queue: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = "Act"
    attributes.task_queue.name = queue
    attributes.start_to_close_timeout.seconds = 3600
    attributes.input.payloads.append(payload(64))
    return command


def timer_command(timer_id: str, seconds: int) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = timer_id
    command.start_timer_command_attributes.start_to_fire_timeout.seconds = seconds
    return command


def completion(commands: list[Command], *, another_task: bool = False) -> bytes:
    """A workflow task's completion without its token. `another_task` asks for the next workflow task at once."""
    done = RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, identity=IDENTITY, commands=commands)
    done.force_create_new_workflow_task = another_task
    return done.SerializeToString()
