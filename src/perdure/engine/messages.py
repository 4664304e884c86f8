"""Messages between executions: child start and close, external signal and cancel, parent close policy.

Written to the outbox with the sender's turn; the receiver's turn deletes the row in its own transaction, so delivery is
exactly once and in order per sender and receiver. `encode`/`decode` give the stored form; unknown trailing fields are
kept out of the way, unknown kinds are an error (a newer release wrote them).
"""

# ruff: noqa: RUF012 - msgspec gives each record its own copy of a default
from __future__ import annotations

from typing import ClassVar

from msgspec import msgpack
from msgspec.structs import astuple

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

    to_namespace_id: str = ""
    to_workflow_id: str = ""
    to_run_id: str = ""


class StartChild(Message):
    """Parent to child: create the run. The initiated event holds the rest: `initiated` is the serialised HistoryEvent.

    `parent_priority` is the parent's serialised Priority; root_* name the top of the tree.
    """

    KIND = 1

    from_namespace: str = ""
    from_namespace_id: str = ""
    from_workflow_id: str = ""
    from_run_id: str = ""
    initiated: bytes = b""
    root_workflow_id: str = ""
    root_run_id: str = ""
    parent_priority: bytes = b""
    ancestors: list[str] = []
    """Runs that the parent was reset from, oldest first."""


class ChildStarted(Message):
    """Child to parent: the run exists. The parent records it and sends ParentReady back. `header` is the serialised
    Header of the initiated event."""

    KIND = 2

    initiated_event_id: int = 0
    child_workflow_id: str = ""
    child_run_id: str = ""
    header: bytes = b""
    child_namespace_id: str = ""


class ChildStartFailed(Message):
    """Child's execution to parent. `cause` is a number of enums.StartChildWorkflowExecutionFailedCause; `control` is
    echoed from the initiated event."""

    KIND = 3

    initiated_event_id: int = 0
    cause: int = 0
    control: str = ""


class ParentReady(Message):
    """Parent to child: the start is recorded, or never will be as the parent closed: schedule the first workflow
    task."""

    KIND = 4


class ChildClosed(Message):
    """Child to parent. `close_event` is the serialised close HistoryEvent of the child's last run."""

    KIND = 5

    initiated_event_id: int = 0
    child_workflow_id: str = ""
    child_run_id: str = ""
    close_event: bytes = b""


class SignalExternal(Message):
    """Sender to target. `initiated` is the serialised SignalExternal...Initiated HistoryEvent; `request_id` dedups
    retries."""

    KIND = 6

    from_namespace: str = ""
    from_namespace_id: str = ""
    from_workflow_id: str = ""
    from_run_id: str = ""
    initiated: bytes = b""
    request_id: str = ""


class CancelExternal(Message):
    """Sender to target. `initiated` is the serialised RequestCancelExternal...Initiated HistoryEvent."""

    KIND = 7

    from_namespace: str = ""
    from_namespace_id: str = ""
    from_workflow_id: str = ""
    from_run_id: str = ""
    initiated: bytes = b""
    request_id: str = ""


class ExternalResult(Message):
    """Target's execution to sender. `failed_cause` 0: delivered. `cancel`: it answers a cancel request, not a
    signal."""

    KIND = 8

    initiated_event_id: int = 0
    cancel: bool = False
    failed_cause: int = 0


class ParentClosed(Message):
    """Parent to child, when the parent's run closed: `policy` is a number of enums.ParentClosePolicy (TERMINATE or
    REQUEST_CANCEL). It concerns the child's current run if its chain began with `child_run_id` (empty: any run whose
    parent is the sender's run)."""

    KIND = 9

    from_namespace: str = ""
    from_namespace_id: str = ""
    from_workflow_id: str = ""
    from_run_id: str = ""
    child_run_id: str = ""
    policy: int = 0
    initiated_event_id: int = 0


class StartScheduled(Message):
    """Schedule to workflow: start it, and tell how it ends. `request` is a serialised StartWorkflowExecutionRequest;
    `number` is the schedule's for this action, `from_run_id` the schedule's run."""

    KIND = 20

    from_schedule_id: str = ""
    from_run_id: str = ""
    number: int = 0
    request: bytes = b""


class StopScheduled(Message):
    """Schedule to workflow, if its current run is of the chain that `first_run_id` began: make way for the next."""

    KIND = 21

    first_run_id: str = ""
    terminate: bool = False
    identity: str = ""


class ScheduledStarted(Message):
    """Workflow to schedule: the run exists."""

    KIND = 22
    TO = SCHEDULE

    number: int = 0
    run_id: str = ""


class ScheduledRefused(Message):
    """Workflow to schedule: it was there already."""

    KIND = 23
    TO = SCHEDULE

    number: int = 0


class ScheduledClosed(Message):
    """Workflow to schedule: the last run of the chain closed. `status` is a WorkflowExecutionStatus; `result` and
    `failure` are serialised Payloads and Failure, or empty."""

    KIND = 24
    TO = SCHEDULE

    number: int = 0
    workflow_id: str = ""
    status: int = 0
    failure: bytes = b""
    result: bytes = b""


DONE, FAILED, AGAIN = 0, 1, 2
"""Outcomes of a batch job's operation: `AGAIN` means that the target is busy."""


class BatchOperation(Message):
    """Batch job to one of its targets. `operation` is the serialised StartBatchOperationRequest; `number` is the
    target's in the job."""

    KIND = 30
    SLOW = True

    from_namespace_id: str = ""
    from_workflow_id: str = ""
    from_run_id: str = ""
    number: int = 0
    operation: bytes = b""


class BatchResult(Message):
    """Target to batch job."""

    KIND = 31
    TO = BATCH

    number: int = 0
    outcome: int = 0


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
    return msgpack.encode((message.KIND, *astuple(message)))


def decode(blob: bytes) -> Message:
    kind, *values = msgpack.decode(blob)
    return _BY_KIND[kind].unpack(values)
