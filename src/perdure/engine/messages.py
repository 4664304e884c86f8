"""Messages between executions: child start and close, external signal and cancel, parent close policy.

Written to the outbox with the sender's turn; the receiver's turn deletes the row in its own transaction, so delivery is
exactly once and in order per sender and receiver. `encode`/`decode` give the stored form; unknown trailing fields are
kept out of the way, unknown kinds are an error (a newer release wrote them).
"""

# ruff: noqa: RUF012 - records are their slots in stored order, with defaults that nobody writes to
from __future__ import annotations

from typing import Any, ClassVar

import msgpack

from perdure.engine.execution import BATCH, SCHEDULE, WORKFLOW
from perdure.engine.items import Fields


class Message(Fields):
    """`to_*` name the receiver; an empty `to_run_id` means its current run."""

    KIND: ClassVar[int] = 0
    TO: ClassVar[int] = WORKFLOW
    """The kind of execution that receives it."""
    SLOW: ClassVar[bool] = False
    """Its receiver may have to read a lot before it decides: it gets a row in the outbox at once, as the sender's turn
    does not wait for it."""
    __slots__ = ()

    to_namespace_id: str
    to_workflow_id: str
    to_run_id: str


_TO = ("to_namespace_id", "to_workflow_id", "to_run_id")
_EMPTY: dict[str, Any] = {
    "to_namespace_id": "",
    "to_workflow_id": "",
    "to_run_id": "",
    "from_namespace": "",
    "from_namespace_id": "",
    "from_workflow_id": "",
    "from_run_id": "",
    "child_run_id": "",
    "child_workflow_id": "",
    "result": b"",
}


class StartChild(Message):
    """Parent to child: create the run. The initiated event holds the rest: `initiated` is the serialised HistoryEvent.

    `parent_priority` is the parent's serialised Priority; root_* name the top of the tree.
    """

    KIND = 1
    from_namespace: str
    from_namespace_id: str
    from_workflow_id: str
    from_run_id: str
    initiated: bytes
    root_workflow_id: str
    root_run_id: str
    parent_priority: bytes
    ancestors: list[str]
    """Runs that the parent was reset from, oldest first."""
    __slots__ = (
        *_TO,
        "from_namespace",
        "from_namespace_id",
        "from_workflow_id",
        "from_run_id",
        "initiated",
        "root_workflow_id",
        "root_run_id",
        "parent_priority",
        "ancestors",
    )
    DEFAULTS = {
        **_EMPTY,
        "initiated": b"",
        "root_workflow_id": "",
        "root_run_id": "",
        "parent_priority": b"",
        "ancestors": (),
    }


class ChildStarted(Message):
    """Child to parent: the run exists. The parent records it and sends ParentReady back. `header` is the serialised
    Header of the initiated event."""

    KIND = 2
    initiated_event_id: int
    child_workflow_id: str
    child_run_id: str
    header: bytes
    child_namespace_id: str
    __slots__ = (*_TO, "initiated_event_id", "child_workflow_id", "child_run_id", "header", "child_namespace_id")
    DEFAULTS = {**_EMPTY, "header": b"", "child_namespace_id": ""}


class ChildStartFailed(Message):
    """Child's execution to parent. `cause` is a number of enums.StartChildWorkflowExecutionFailedCause; `control` is
    echoed from the initiated event."""

    KIND = 3
    initiated_event_id: int
    cause: int
    control: str
    __slots__ = (*_TO, "initiated_event_id", "cause", "control")
    DEFAULTS = {**_EMPTY, "control": ""}


class ParentReady(Message):
    """Parent to child: the start is recorded, or never will be as the parent closed: schedule the first workflow
    task."""

    KIND = 4
    __slots__ = (*_TO,)
    DEFAULTS = _EMPTY


class ChildClosed(Message):
    """Child to parent. `close_event` is the serialised close HistoryEvent of the child's last run."""

    KIND = 5
    initiated_event_id: int
    child_workflow_id: str
    child_run_id: str
    close_event: bytes
    __slots__ = (*_TO, "initiated_event_id", "child_workflow_id", "child_run_id", "close_event")
    DEFAULTS = {**_EMPTY, "close_event": b""}


class SignalExternal(Message):
    """Sender to target. `initiated` is the serialised SignalExternal...Initiated HistoryEvent; `request_id` dedups
    retries."""

    KIND = 6
    from_namespace: str
    from_namespace_id: str
    from_workflow_id: str
    from_run_id: str
    initiated: bytes
    request_id: str
    __slots__ = (
        *_TO,
        "from_namespace",
        "from_namespace_id",
        "from_workflow_id",
        "from_run_id",
        "initiated",
        "request_id",
    )
    DEFAULTS = {**_EMPTY, "initiated": b"", "request_id": ""}


class CancelExternal(Message):
    """Sender to target. `initiated` is the serialised RequestCancelExternal...Initiated HistoryEvent."""

    KIND = 7
    from_namespace: str
    from_namespace_id: str
    from_workflow_id: str
    from_run_id: str
    initiated: bytes
    request_id: str
    __slots__ = SignalExternal.__slots__
    DEFAULTS = SignalExternal.DEFAULTS


class ExternalResult(Message):
    """Target's execution to sender. `failed_cause` 0: delivered. `cancel`: it answers a cancel request, not a
    signal."""

    KIND = 8
    initiated_event_id: int
    cancel: bool
    failed_cause: int
    __slots__ = (*_TO, "initiated_event_id", "cancel", "failed_cause")
    DEFAULTS = {**_EMPTY, "cancel": False}


class ParentClosed(Message):
    """Parent to child, when the parent's run closed: `policy` is a number of enums.ParentClosePolicy (TERMINATE or
    REQUEST_CANCEL). It concerns the child's current run if its chain began with `child_run_id` (empty: any run whose
    parent is the sender's run)."""

    KIND = 9
    from_namespace: str
    from_namespace_id: str
    from_workflow_id: str
    from_run_id: str
    child_run_id: str
    policy: int
    initiated_event_id: int
    __slots__ = (
        *_TO,
        "from_namespace",
        "from_namespace_id",
        "from_workflow_id",
        "from_run_id",
        "child_run_id",
        "policy",
        "initiated_event_id",
    )
    DEFAULTS = _EMPTY


class StartScheduled(Message):
    """Schedule to workflow: start it, and tell how it ends. `request` is a serialised StartWorkflowExecutionRequest;
    `number` is the schedule's for this action, `from_run_id` the schedule's run."""

    KIND = 20
    from_schedule_id: str
    from_run_id: str
    number: int
    request: bytes
    __slots__ = (*_TO, "from_schedule_id", "from_run_id", "number", "request")
    DEFAULTS = {**_EMPTY, "from_schedule_id": "", "request": b""}


class StopScheduled(Message):
    """Schedule to workflow, if its current run is of the chain that `first_run_id` began: make way for the next."""

    KIND = 21
    first_run_id: str
    terminate: bool
    identity: str
    __slots__ = (*_TO, "first_run_id", "terminate", "identity")
    DEFAULTS = {**_EMPTY, "first_run_id": "", "terminate": False, "identity": ""}


class ScheduledStarted(Message):
    """Workflow to schedule: the run exists."""

    KIND = 22
    TO = SCHEDULE
    number: int
    run_id: str
    __slots__ = (*_TO, "number", "run_id")
    DEFAULTS = {**_EMPTY, "run_id": ""}


class ScheduledRefused(Message):
    """Workflow to schedule: it was there already."""

    KIND = 23
    TO = SCHEDULE
    number: int
    __slots__ = (*_TO, "number")
    DEFAULTS = _EMPTY


class ScheduledClosed(Message):
    """Workflow to schedule: the last run of the chain closed. `status` is a WorkflowExecutionStatus; `result` and
    `failure` are serialised Payloads and Failure, or empty."""

    KIND = 24
    TO = SCHEDULE
    number: int
    workflow_id: str
    status: int
    failure: bytes
    result: bytes
    __slots__ = (*_TO, "number", "workflow_id", "status", "failure", "result")
    DEFAULTS = {**_EMPTY, "workflow_id": "", "failure": b""}


DONE, FAILED, AGAIN = 0, 1, 2
"""Outcomes of a batch job's operation: `AGAIN` means that the target is busy."""


class BatchOperation(Message):
    """Batch job to one of its targets. `operation` is the serialised StartBatchOperationRequest; `number` is the
    target's in the job."""

    KIND = 30
    SLOW = True
    from_namespace_id: str
    from_workflow_id: str
    from_run_id: str
    number: int
    operation: bytes
    __slots__ = (*_TO, "from_namespace_id", "from_workflow_id", "from_run_id", "number", "operation")
    DEFAULTS = {**_EMPTY, "operation": b""}


class BatchResult(Message):
    """Target to batch job."""

    KIND = 31
    TO = BATCH
    number: int
    outcome: int
    __slots__ = (*_TO, "number", "outcome")
    DEFAULTS = _EMPTY


_BY_KIND: dict[int, type[Message]] = {
    kind.KIND: kind
    for kind in (
        StartChild,
        ChildStarted,
        ChildStartFailed,
        ParentReady,
        ChildClosed,
        SignalExternal,
        CancelExternal,
        ExternalResult,
        ParentClosed,
        StartScheduled,
        StopScheduled,
        ScheduledStarted,
        ScheduledRefused,
        ScheduledClosed,
        BatchOperation,
        BatchResult,
    )
}


def encode(message: Message) -> bytes:
    packed: bytes = msgpack.packb([message.KIND, *message.pack()])
    return packed


def decode(blob: bytes) -> Message:
    kind, *values = msgpack.unpackb(blob)
    message: Message = _BY_KIND[kind].unpack(values)
    return message
