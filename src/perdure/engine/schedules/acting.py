"""A schedule acts: times that came become starts, starts become workflows, and what becomes of those is taken note of.

`advance` does all that can be done now, a bounded portion at a time; more of it is due at once then. The workflow is
started by a message with a request ID, and its close comes back as one (see `starting`): none is lost or doubled.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import ScheduleAction
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.engine.messages import ScheduledClosed, ScheduledRefused, ScheduledStarted, StartScheduled, StopScheduled
from perdure.engine.record import Record, RecordTurn
from perdure.engine.schedules.action import start_request
from perdure.engine.schedules.overlap import sort_out
from perdure.engine.schedules.spec import ENOUGH_WORK, Spec, TooManyExclusions, compile_spec
from perdure.engine.schedules.state import (
    ACTION,
    BACKFILL_LIMIT,
    BUFFER_LIMIT,
    FAILURE,
    PAUSED_ATTRIBUTE,
    RECENT_ACTIONS,
    RESULT,
    Action,
    Backfill,
    Running,
    ScheduleState,
    Start,
)
from perdure.engine.times import SECOND
from perdure.enums import WorkflowExecutionStatus, WorkflowIdConflictPolicy, WorkflowIdReusePolicy

_TIMES: Final = 1000
_STARTS: Final = 100
"""At most so many times are looked at, and starts made of them, in one turn: others want to be decided too."""
_BACKFILL_STEP: Final = 10
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RUNNING: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)
_COMPLETED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED)
_FAILED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED)
_TIMED_OUT: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
_KEEP: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL
_ONCE: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
_AGAIN: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE


def seed_of(record: Record) -> bytes:
    """Whose jitter it is."""
    return f"{record.namespace_id}-{record.execution_id}".encode()[-64:]


def spec_of(record: Record) -> Spec:
    return compile_spec(record.state.spec)


# ---- the portion of work that can be done now
def advance(turn: RecordTurn) -> None:
    """See to what came due, to backfills and to what waits; then say when to be woken."""
    state: ScheduleState = turn.record.state
    upcoming = take_due(turn)
    _take_backfills(turn)
    _act(turn)
    _plan(turn, state, upcoming)
    turn.touch()


def take_due(turn: RecordTurn) -> int | None:
    """Make starts of the times that came since last time. Returns the next action time; None: there is none."""
    record = turn.record
    state: ScheduleState = record.state
    spec, seed, now = spec_of(record), seed_of(record), turn.now
    times = starts = 0
    enough = spec.work + ENOUGH_WORK
    while True:
        try:
            due = spec.next_due(state.processed_until, seed)
        except TooManyExclusions as error:
            state.invalid_error = str(error)
            state.processed_until = now
            return None
        if due is None or due.actual > now:
            state.processed_until = now
            return None if due is None else due.actual
        if not may_act(record):
            state.processed_until = now  # what falls into a pause is not made up for
            continue
        if times >= _TIMES or starts >= _STARTS or (times and spec.work > enough):
            return due.actual
        times += 1
        state.processed_until = due.actual
        if now - due.actual > state.catchup_window:
            state.missed_catchup_window += 1
            continue
        if state.limited:
            state.remaining -= 1
            state.token += 1
        starts += 1
        add_start(state, due.nominal, due.actual, 0, manual=False)


def may_act(record: Record) -> bool:
    """Whether it starts anything by itself."""
    state: ScheduleState = record.state
    return not state.paused and not state.exhausted and (ACTION, "") in record.items


def add_start(state: ScheduleState, nominal: int, action_time: int, overlap: int, *, manual: bool) -> None:
    if len(state.buffer) >= BUFFER_LIMIT:
        state.buffer_dropped += 1
    else:
        state.buffer.append([nominal, action_time, overlap, manual])


def _take_backfills(turn: RecordTurn) -> None:
    """A few times of the backfill that was asked for first."""
    record = turn.record
    state: ScheduleState = record.state
    room = min(_BACKFILL_STEP, BACKFILL_LIMIT - len(state.buffer))
    spec = spec_of(record)
    enough = spec.work + ENOUGH_WORK
    while state.backfills and room > 0 and spec.work <= enough:
        backfill = state.backfills[0]
        try:
            nominal = spec.next_nominal(backfill[Backfill.NEXT], backfill[Backfill.END])
        except TooManyExclusions as error:
            state.invalid_error = str(error)
            nominal = None
        if nominal is None:
            state.backfills.pop(0)
            continue
        room -= 1
        backfill[Backfill.NEXT] = nominal + SECOND
        add_start(state, nominal, nominal, backfill[Backfill.OVERLAP], manual=True)


def _act(turn: RecordTurn) -> None:
    record = turn.record
    state: ScheduleState = record.state
    if not state.buffer:
        return
    if (ACTION, "") not in record.items:
        state.buffer = []
        return
    found = sort_out(state.buffer, state.occupied, state.overlap)
    state.buffer = found.waiting
    state.overlap_skipped += found.skipped
    if found.alone is not None or found.beside:
        template = _template(record)
        if found.alone is not None:
            _start(turn, template, found.alone, tracked=True)
        for start in found.beside:
            _start(turn, template, start, tracked=False)
    if found.terminate or found.cancel:
        _stop(turn, terminate=found.terminate)


def _plan(turn: RecordTurn, state: ScheduleState, upcoming: int | None) -> None:
    """When to be woken: 0 for never, until somebody does something."""
    acts = may_act(turn.record)
    wake = (upcoming or 0) if acts else 0
    if state.backfills and len(state.buffer) < BACKFILL_LIMIT:
        wake = turn.now
    state.wake_at = wake
    occupied = state.buffer or state.backfills or state.occupied
    if wake or occupied or state.paused:
        state.idle_since = 0
    elif not state.idle_since:
        state.idle_since = turn.now


# ---- starting and stopping workflows
def _template(record: Record) -> StartWorkflowExecutionRequest:
    """The start request of the schedule's action, but for what tells one run from another."""
    wanted = ScheduleAction.FromString(record.items[ACTION, ""]).start_workflow
    request = start_request(wanted, record.namespace)
    request.identity = f"temporal-scheduler-{record.namespace}-{record.execution_id}"
    request.workflow_id_conflict_policy = _KEEP
    by = request.search_attributes.indexed_fields["TemporalScheduledById"]
    by.metadata["encoding"] = b"json/plain"
    by.metadata["type"] = b"Keyword"
    by.data = json.dumps(record.execution_id, ensure_ascii=False).encode()
    return request


def rfc3339(at: int) -> str:
    """Whole seconds, in UTC."""
    return (_EPOCH + timedelta(seconds=at // SECOND)).isoformat().replace("+00:00", "Z")  # four digits for early years


def _start(turn: RecordTurn, request: StartWorkflowExecutionRequest, start: list[Any], *, tracked: bool) -> None:
    record = turn.record
    state: ScheduleState = record.state
    state.action_number += 1
    number = state.action_number
    when = rfc3339(start[Start.NOMINAL])
    wanted = StartWorkflowExecutionRequest()
    wanted.CopyFrom(request)
    wanted.workflow_id = f"{request.workflow_id}-{when}"
    wanted.request_id = f"{record.run_id}-{number}"
    wanted.workflow_id_reuse_policy = _AGAIN if start[Start.MANUAL] else _ONCE
    at = wanted.search_attributes.indexed_fields["TemporalScheduledStartTime"]
    at.metadata["encoding"] = b"json/plain"
    at.metadata["type"] = b"Datetime"
    at.data = f'"{when}"'.encode()
    if tracked:
        result = record.items.get((RESULT, ""))
        failure = record.items.get((FAILURE, ""))
        if result is not None:
            wanted.last_completion_result.CopyFrom(Payloads.FromString(result))
        if failure is not None:
            wanted.continued_failure.CopyFrom(Failure.FromString(failure))
    state.starting.append([number, start[Start.ACTION_TIME], turn.now, wanted.workflow_id, "", _RUNNING, tracked])
    turn.send(
        StartScheduled(
            to_namespace_id=record.namespace_id,
            to_workflow_id=wanted.workflow_id,
            from_schedule_id=record.execution_id,
            from_run_id=record.run_id,
            number=number,
            request=wanted.SerializeToString(),
        )
    )


def _stop(turn: RecordTurn, *, terminate: bool) -> None:
    """Ask what runs to make way; what was asked already is not asked again."""
    record = turn.record
    wanted = 2 if terminate else 1
    for running in record.state.running:
        if running[Running.STOPPING] >= wanted:
            continue
        running[Running.STOPPING] = wanted
        turn.send(
            StopScheduled(
                to_namespace_id=record.namespace_id,
                to_workflow_id=running[Running.WORKFLOW_ID],
                first_run_id=running[Running.RUN_ID],
                terminate=terminate,
                identity=f"temporal-scheduler-{record.namespace}-{record.execution_id}",
            )
        )


# ---- what becomes of them
def started(turn: RecordTurn, message: ScheduledStarted) -> None:
    state: ScheduleState = turn.record.state
    action = _take_starting(state, message.number)
    if action is None:
        return
    action[Action.RUN_ID] = message.run_id
    state.action_count += 1
    state.recent.append(action)
    del state.recent[:-RECENT_ACTIONS]
    if action[Action.TRACKED]:
        state.running.append([message.number, action[Action.WORKFLOW_ID], message.run_id, 0])
    _go_on(turn)


def refused(turn: RecordTurn, message: ScheduledRefused) -> None:
    """A workflow of that ID is there: the action counts as done, by somebody else."""
    if _take_starting(turn.record.state, message.number) is not None:
        _go_on(turn)


def _take_starting(state: ScheduleState, number: int) -> list[Any] | None:
    for index, action in enumerate(state.starting):
        if action[Action.NUMBER] == number:
            return state.starting.pop(index)
    return None


def closed(turn: RecordTurn, message: ScheduledClosed) -> None:
    """The workflow's last run closed. What it returned, or how it failed, is told to the next one."""
    state: ScheduleState = turn.record.state
    for action in state.recent:
        if action[Action.NUMBER] == message.number:
            action[Action.STATUS] = message.status
    tracked = [running for running in state.running if running[Running.NUMBER] == message.number]
    if tracked:
        state.running = [running for running in state.running if running[Running.NUMBER] != message.number]
        if message.status == _COMPLETED:
            if message.result:
                turn.put_item(RESULT, "", message.result)
            if (FAILURE, "") in turn.record.items:
                turn.put_item(FAILURE, "", None)
        elif message.failure:
            turn.put_item(FAILURE, "", message.failure)
    if state.pause_on_failure and not state.paused and message.status in (_FAILED, _TIMED_OUT):
        what = f"paused due to workflow timeout: {message.workflow_id}"
        if message.status == _FAILED:
            said = Failure.FromString(message.failure).message
            what = f"paused due to workflow failure: {message.workflow_id}: {said}"
        take_due(turn)  # what came before the failure was heard of is not lost to the pause
        set_paused(turn, True, what)
    _go_on(turn)


def _go_on(turn: RecordTurn) -> None:
    """Room was made, or a start is known of: those that wait may have their turn."""
    state: ScheduleState = turn.record.state
    _act(turn)
    _plan(turn, state, state.wake_at)
    turn.touch()


def set_paused(turn: RecordTurn, paused: bool, notes: str) -> None:
    state: ScheduleState = turn.record.state
    state.paused = paused
    state.notes = notes
    state.token += 1
    show_paused(turn)


def show_paused(turn: RecordTurn) -> None:
    """Lists can tell paused schedules by an attribute."""
    record = turn.record
    value = Payload()
    value.metadata["encoding"] = b"json/plain"
    value.metadata["type"] = b"Bool"
    value.data = b"true" if record.state.paused else b"false"
    blob = value.SerializeToString(deterministic=True)
    if record.search_attributes.get(PAUSED_ATTRIBUTE) != blob:
        record.search_attributes = {**record.search_attributes, PAUSED_ATTRIBUTE: blob}
        turn.show()
