"""What clients do to schedules: create, update, patch, delete. Requests were checked before (`checking`)."""

from __future__ import annotations

from typing import Final

from temporalio.api.schedule.v1 import SchedulePatch

from perdure.engine.record import Record, RecordTurn, create_record
from perdure.engine.schedules.acting import add_start, advance, set_paused, show_paused, take_due
from perdure.engine.schedules.checking import PREFIX, Checked
from perdure.engine.schedules.state import (
    ACTION,
    CATCHUP_DEFAULT,
    CATCHUP_LEAST,
    IDLE_LIFE,
    PAUSED_ATTRIBUTE,
    SKIP,
    ScheduleState,
    new_state,
)
from perdure.engine.times import SECOND, duration_us, timestamp_us
from perdure.engine.turn import Shared
from perdure.enums import WorkflowExecutionStatus
from perdure.errors import FailedPrecondition, NotFound, WorkflowAlreadyStarted

_COMPLETED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED)
_TERMINATED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED)


def forgotten(record: Record, now: int) -> bool:
    """It had nothing left to do for so long that it counts as closed."""
    idle: int = record.state.idle_since
    return bool(idle) and now - idle >= IDLE_LIFE


def close_forgotten(shared: Shared, record: Record | None) -> None:
    if record is not None and record.running and forgotten(record, shared.now):
        RecordTurn(shared, record).close(_COMPLETED)


def open_turn(shared: Shared, record: Record | None) -> RecordTurn:
    """A turn on a schedule that is there. Raises NotFound."""
    if record is None:
        raise NotFound(f"workflow not found for ID: {PREFIX}{shared.execution.execution_id}")
    if not record.running or forgotten(record, shared.now):
        raise NotFound("workflow execution already completed")
    return RecordTurn(shared, record)


def create(
    shared: Shared,
    current: Record | None,
    wanted: Checked,
    request_id: str,
    memo: bytes,
    attributes: dict[str, bytes],
    patch: SchedulePatch,
) -> Record:
    """Raises WorkflowAlreadyStarted for an ID in use; the same request again is no error."""
    if current is not None:
        if current.create_request_id == request_id:
            return current
        if current.running and not forgotten(current, shared.now):
            # The reference names neither run nor request here (recorded: schedule_lifecycle).
            raise WorkflowAlreadyStarted(f'schedule "{current.execution_id}" is already registered', "", "", "")
        close_forgotten(shared, current)
    turn = create_record(shared, new_state(), shared.entropy.uuid(), request_id)
    record = turn.record
    record.memo = memo
    record.search_attributes = attributes
    record.state.processed_until = shared.now
    _take(turn, wanted)
    show_paused(turn)
    _patch(turn, patch)
    advance(turn)
    return record


def update(
    shared: Shared,
    current: Record | None,
    wanted: Checked,
    token: bytes,
    request_id: str,
    memo: bytes | None,
    attributes: dict[str, bytes] | None,
) -> None:
    """Replaces specification, action, policies and state as a whole; memo and search attributes unless None.

    Raises NotFound, FailedPrecondition for a token of before the last change.
    """
    turn = open_turn(shared, current)
    record = turn.record
    state: ScheduleState = record.state
    if request_id and request_id in record.request_ids:
        return
    if token and token != state.conflict_token:
        raise FailedPrecondition("mismatched conflict token")
    if request_id:
        turn.remember_request(request_id)
    advance(turn)  # what came so far is the business of the schedule as it was
    state.processed_until = state.updated_at = turn.now
    state.invalid_error = ""
    state.token += 1
    _take(turn, wanted)
    if memo is not None and memo != record.memo:
        record.memo = memo
        turn.show()
    if attributes is not None:
        kept = record.search_attributes.get(PAUSED_ATTRIBUTE)
        record.search_attributes = attributes if kept is None else {**attributes, PAUSED_ATTRIBUTE: kept}
        turn.show()
    show_paused(turn)
    advance(turn)


def patch(shared: Shared, current: Record | None, wanted: SchedulePatch, request_id: str) -> None:
    """Raises NotFound."""
    turn = open_turn(shared, current)
    if request_id and request_id in turn.record.request_ids:
        return
    if request_id:
        turn.remember_request(request_id)
    advance(turn)
    _patch(turn, wanted)
    advance(turn)


def delete(shared: Shared, current: Record | None) -> None:
    """The schedule is no more; the workflows it started go on. Raises NotFound."""
    open_turn(shared, current).close(_TERMINATED)


def _take(turn: RecordTurn, wanted: Checked) -> None:
    state: ScheduleState = turn.record.state
    schedule = wanted.schedule
    state.spec = wanted.spec
    turn.put_item(ACTION, "", wanted.action or None)
    policies = schedule.policies
    state.overlap = policies.overlap_policy or SKIP
    window = duration_us(policies.catchup_window) if policies.HasField("catchup_window") else CATCHUP_DEFAULT
    state.catchup_window = max(window, CATCHUP_LEAST)
    state.pause_on_failure = policies.pause_on_failure
    state.keep_original_workflow_id = policies.keep_original_workflow_id
    state.notes = schedule.state.notes
    state.paused = schedule.state.paused
    state.limited = schedule.state.limited_actions
    state.remaining = schedule.state.remaining_actions


def _patch(turn: RecordTurn, wanted: SchedulePatch) -> None:
    state: ScheduleState = turn.record.state
    if wanted.HasField("trigger_immediately"):
        trigger = wanted.trigger_immediately
        at = turn.now
        if trigger.HasField("scheduled_time"):
            at = timestamp_us(trigger.scheduled_time)
        add_start(state, at, at, trigger.overlap_policy, manual=True)
    for backfill in wanted.backfill_request:
        first = timestamp_us(backfill.start_time)
        state.backfills.append(
            [-(-first // SECOND) * SECOND, timestamp_us(backfill.end_time), int(backfill.overlap_policy)]
        )
    if wanted.pause:
        set_paused(turn, True, wanted.pause)
    if wanted.unpause:
        take_due(turn)
        set_paused(turn, False, wanted.unpause)
