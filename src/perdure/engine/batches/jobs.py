"""A batch job: an execution of its own kind that sends its targets a message each, and counts their answers.

Messages are delivered exactly once, so no target is signalled twice whatever crashes. Targets come from the request, or
page by page from a list filter (the runtime looks them up); they are items of the job until they have answered. How
many are sent when is a matter of deadlines: virtual time skips from one handful to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import msgpack
from temporalio.api.common.v1 import Memo
from temporalio.api.workflowservice.v1 import DescribeBatchOperationResponse

from perdure.engine.effects import ListTargets
from perdure.engine.items import Fields
from perdure.engine.kind import RecordKind
from perdure.engine.messages import AGAIN, DONE, BatchOperation, BatchResult, Message
from perdure.engine.record import Record, RecordTurn, create_record
from perdure.engine.times import MAX_DURATION, SECOND, set_timestamp
from perdure.engine.turn import Shared
from perdure.enums import BatchOperationState, BatchOperationType
from perdure.errors import NotFound, WorkflowAlreadyStarted

DIVISION: Final = "TemporalBatcher"
TYPE_NAME: Final = "temporal-sys-batch-workflow-protobuf"
OPERATION_MEMO: Final = "batch_operation_type"
REASON_MEMO: Final = "batch_operation_reason"

COMPLETED: Final = 2
FAILED: Final = 3
STOPPED: Final = 5
"""Numbers of enums.WorkflowExecutionStatus, as lists show them."""

STATES: Final = {
    1: BatchOperationState.BATCH_OPERATION_STATE_RUNNING,
    COMPLETED: BatchOperationState.BATCH_OPERATION_STATE_COMPLETED,
    FAILED: BatchOperationState.BATCH_OPERATION_STATE_FAILED,
    STOPPED: BatchOperationState.BATCH_OPERATION_STATE_FAILED,
}

DEFAULT_PER_SECOND: Final = 50.0
PAGE: Final = 200
"""Targets looked up at once."""
_TICK: Final = SECOND // 10
_UNDER_WAY: Final = 100
"""Targets that have not answered yet are at most so many."""
_ATTEMPTS: Final = 50
_PAUSE: Final = SECOND
"""A target that is busy is asked again so much later."""
_LISTING_PAUSE: Final = 10 * SECOND
"""Targets that could not be looked up are looked up again so much later."""
_TARGET: Final = 1
"""Sort of the job's items; their keys are numbers in order."""

Target = tuple[str, str]
"""Workflow ID and run ID (empty: the current run)."""


class Job(Fields):
    """`operation` is a serialised StartBatchOperationRequest without targets. Targets have numbers; those below
    `next_sent` were sent, those from `next_number` on are not known yet."""

    operation: bytes = b""
    operation_type: int = 0
    identity: str = ""
    reason: str = ""
    query: str = ""
    per_second: float = DEFAULT_PER_SECOND
    total: int = 0
    complete: int = 0
    failed: int = 0
    next_sent: int = 0
    next_number: int = 0
    under_way: int = 0
    listed: bool = False
    """There are no more targets to look up."""
    token: bytes = b""
    """Of the next page of targets."""
    counted: bool = False
    listing: bool = False
    """A page is being looked up."""
    due: int = 0
    stop_reason: str = ""


class BatchKind(RecordKind):
    name = "batch job"
    state = Job
    division = DIVISION
    type_name = TYPE_NAME

    def next_deadline(self, run: Record) -> int:
        return int(run.state.due) if run.running else 0

    def wake(self, shared: Shared, run: Record) -> bool:
        job: Job = run.state
        if not run.running or not job.due or job.due > shared.now:
            return False
        turn = RecordTurn(shared, run)
        if job.next_sent == job.next_number:
            _look_up(turn, job)
        else:
            _send_some(turn, job)
        return True

    def deliver(self, shared: Shared, run: Record | None, message: Message) -> None:
        if not isinstance(message, BatchResult):
            super().deliver(shared, run, message)
        elif run is not None and run.running:
            _count(RecordTurn(shared, run), run.state, message)

    def busy(self, run: Record) -> tuple[int, int]:
        return int(run.running and bool(run.state.listing)), 0

    def reasons(self, run: Record, *, hard: bool) -> Iterator[str]:
        if hard and run.running and run.state.listing:
            yield f"batch job {run.execution_id!r} looks up what it is about"


# ---- a job begins and is stopped
def start_job(shared: Shared, current: Record | None, job: Job, targets: Sequence[Target] | None) -> None:
    """`targets` None: they are what `job.query` finds. Raises WorkflowAlreadyStarted: the ID is in use, or was within
    the retention of closed jobs."""
    execution_id = shared.execution.execution_id
    if current is not None:
        where = f"WorkflowId: {execution_id}, RunId: {current.run_id}."
        text = (
            f"Workflow execution is already running. {where}"
            if current.running
            else f"Workflow execution already finished. {where} Workflow Id reuse policy: reject duplicate workflow Id."
        )
        raise WorkflowAlreadyStarted(text, current.create_request_id, current.run_id, "")
    turn = create_record(shared, job, shared.entropy.uuid(), shared.entropy.uuid())
    turn.record.memo = _memo(job)
    job.due = shared.now
    if targets is not None:
        _add_targets(turn, job, targets)
        job.total = len(targets)
        job.listed = job.counted = True
        _settle(turn, job)


def stop_job(shared: Shared, record: Record | None, reason: str) -> None:
    """What was sent is done; nothing more is. Raises NotFound: no such job, or it is over."""
    if record is None:
        raise NotFound(f"workflow not found for ID: {shared.execution.execution_id}")
    if not record.running:
        raise NotFound("workflow execution already completed")
    record.state.stop_reason = reason
    _end(RecordTurn(shared, record), record.state, STOPPED)


def _end(turn: RecordTurn, job: Job, status: int) -> None:
    job.due = 0
    job.listing = False
    for sort, key in list(turn.record.items):
        turn.put_item(sort, key, None)
    turn.close(status)


def _memo(job: Job) -> bytes:
    memo = Memo()
    for name, text in ((OPERATION_MEMO, operation_name(job.operation_type)), (REASON_MEMO, job.reason)):
        payload = memo.fields[name]
        payload.metadata["encoding"] = b"json/plain"
        payload.data = json.dumps(text).encode()
    return memo.SerializeToString(deterministic=True)


def operation_name(operation_type: int) -> str:
    name: str = BatchOperationType.Name(operation_type)  # type: ignore[arg-type] # the number of an enum value
    return name.removeprefix("BATCH_OPERATION_TYPE_").lower()


def listed_operation_type(memo: bytes) -> int:
    """Of a job's row in a list."""
    payload = Memo.FromString(memo).fields.get(OPERATION_MEMO)
    if payload is None:
        return 0
    return int(BatchOperationType.Value("BATCH_OPERATION_TYPE_" + json.loads(payload.data).upper()))


# ---- targets
def _add_targets(turn: RecordTurn, job: Job, targets: Iterable[Target], attempts: int = 0) -> None:
    for workflow_id, run_id in targets:
        turn.put_item(_TARGET, _key(job.next_number), msgpack.encode([workflow_id, run_id, attempts]))
        job.next_number += 1


def _key(number: int) -> str:
    return f"{number:010}"


def _look_up(turn: RecordTurn, job: Job) -> None:
    """Ask the runtime for a page of targets; if it does not answer (it may have ended), ask again later."""
    job.listing = True
    job.due = turn.now + _LISTING_PAUSE
    turn.effect(ListTargets(turn.record))
    turn.touch()


def take_targets(
    shared: Shared, record: Record | None, asked: bytes, targets: Iterable[Target], token: bytes, total: int
) -> None:
    """The page after `asked`, if that is still wanted: it may have been asked for twice. `token` is for the next one,
    empty: it was the last. `total` counts once."""
    if record is None or not _awaits(record, asked):
        return
    job: Job = record.state
    turn = RecordTurn(shared, record)
    job.listing = False
    if not job.counted:
        job.counted = True
        job.total = total
    _add_targets(turn, job, targets)
    job.token = token
    job.listed = not token
    job.due = turn.now
    turn.touch()
    _settle(turn, job)


def refuse_targets(shared: Shared, record: Record | None, asked: bytes, reason: str) -> None:
    """They cannot be looked up, and never will be."""
    if record is not None and _awaits(record, asked):
        record.state.stop_reason = reason
        _end(RecordTurn(shared, record), record.state, FAILED)


def _awaits(record: Record, asked: bytes) -> bool:
    job: Job = record.state
    return record.running and job.listing and job.token == asked


# ---- work
def _send_some(turn: RecordTurn, job: Job) -> None:
    per_tick = min(job.per_second * _TICK / SECOND, _UNDER_WAY)  # which may be infinite
    count = max(1, int(per_tick))
    count = min(count, _UNDER_WAY - job.under_way, job.next_number - job.next_sent)
    record = turn.record
    for _ in range(count):
        workflow_id, run_id, _ = msgpack.decode(record.items[_TARGET, _key(job.next_sent)])
        turn.send(
            BatchOperation(
                to_namespace_id=record.namespace_id,
                to_workflow_id=workflow_id,
                to_run_id=run_id,
                from_namespace_id=record.namespace_id,
                from_workflow_id=record.execution_id,
                from_run_id=record.run_id,
                number=job.next_sent,
                operation=job.operation,
            )
        )
        job.next_sent += 1
        job.under_way += 1
    pause = max(_TICK, int(min(SECOND / job.per_second, MAX_DURATION)))
    job.due = turn.now + pause if job.next_sent < job.next_number else 0
    turn.touch()
    if not job.due and not job.under_way:
        _settle(turn, job)


def _count(turn: RecordTurn, job: Job, result: BatchResult) -> None:
    """A target has answered."""
    key = _key(result.number)
    item = turn.record.items.get((_TARGET, key))
    if item is None:
        return
    workflow_id, run_id, attempts = msgpack.decode(item)
    turn.put_item(_TARGET, key, None)
    job.under_way -= 1
    if result.outcome == DONE:
        job.complete += 1
    elif result.outcome == AGAIN and attempts + 1 < _ATTEMPTS:
        _add_targets(turn, job, [(workflow_id, run_id)], attempts + 1)
        if not job.due:
            job.due = turn.now + _PAUSE
    else:
        job.failed += 1
    _settle(turn, job)


def _settle(turn: RecordTurn, job: Job) -> None:
    """All that is known has answered: look up more, or end."""
    if job.next_sent < job.next_number or job.under_way or job.listing:
        return
    if job.listed:
        _end(turn, job, COMPLETED)
    else:
        job.due = turn.now
        turn.touch()


# ---- what is seen of it
def describe_job(record: Record) -> DescribeBatchOperationResponse:
    job: Job = record.state
    reply = DescribeBatchOperationResponse()
    reply.operation_type = job.operation_type  # type: ignore[assignment] # the number of an enum value
    reply.job_id = record.execution_id
    reply.state = STATES[record.status]
    set_timestamp(reply.start_time, record.started_at)
    if not record.running:
        set_timestamp(reply.close_time, record.closed_at)
    reply.total_operation_count = job.total
    reply.complete_operation_count = job.complete
    reply.failure_operation_count = job.failed
    reply.identity = job.identity
    reply.reason = job.reason
    return reply
