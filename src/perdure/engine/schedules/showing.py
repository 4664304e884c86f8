"""What is seen of a schedule: described, and in lists."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.schedule.v1 import (
    Schedule,
    ScheduleActionResult,
    ScheduleInfo,
    ScheduleListInfo,
    ScheduleSpec,
)
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse, ListScheduleMatchingTimesResponse

from perdure.engine.record import Record
from perdure.engine.schedules.acting import seed_of, spec_of
from perdure.engine.schedules.spec import ENOUGH_WORK, TooManyExclusions
from perdure.engine.schedules.state import ACTION, PAUSED_ATTRIBUTE, Action, Running, ScheduleState
from perdure.engine.times import set_duration, set_timestamp

_MATCHING: Final = 1000
_DESCRIBED: Final = 10
_LISTED: Final = 5
_LISTED_SPECS: Final = 10


def describe(record: Record, now: int) -> DescribeScheduleResponse:
    reply = DescribeScheduleResponse()
    state: ScheduleState = record.state
    _fill_schedule(reply.schedule, record)
    _fill_info(reply.info, record, now)
    reply.memo.ParseFromString(record.memo)
    reply.search_attributes.SetInParent()
    for name, blob in record.search_attributes.items():
        if name != PAUSED_ATTRIBUTE:
            reply.search_attributes.indexed_fields[name].CopyFrom(Payload.FromString(blob))
    reply.conflict_token = state.conflict_token
    return reply


def _fill_schedule(schedule: Schedule, record: Record) -> None:
    state: ScheduleState = record.state
    schedule.spec.SetInParent()
    schedule.spec.ParseFromString(state.spec)
    action = record.items.get((ACTION, ""))
    if action is not None:
        schedule.action.ParseFromString(action)
    policies = schedule.policies
    policies.overlap_policy = state.overlap  # type: ignore[assignment] # an int of that enum
    set_duration(policies.catchup_window, state.catchup_window)
    policies.pause_on_failure = state.pause_on_failure
    policies.keep_original_workflow_id = state.keep_original_workflow_id
    shown = schedule.state
    shown.SetInParent()
    shown.notes = state.notes
    shown.paused = state.paused
    shown.limited_actions = state.limited
    shown.remaining_actions = state.remaining


def _fill_info(info: ScheduleInfo, record: Record, now: int) -> None:
    state: ScheduleState = record.state
    info.action_count = state.action_count
    info.missed_catchup_window = state.missed_catchup_window
    info.overlap_skipped = state.overlap_skipped
    info.buffer_dropped = state.buffer_dropped
    info.buffer_size = len(state.buffer)
    for running in state.running:
        execution = info.running_workflows.add()
        execution.workflow_id = running[Running.WORKFLOW_ID]
        execution.run_id = running[Running.RUN_ID]
    for action in state.recent:
        _fill_action(info.recent_actions.add(), action)
    for at in future_times(record, now, _DESCRIBED):
        set_timestamp(info.future_action_times.add(), at)
    set_timestamp(info.create_time, record.started_at)
    if state.updated_at:
        set_timestamp(info.update_time, state.updated_at)
    info.invalid_schedule_error = state.invalid_error


def _fill_action(shown: ScheduleActionResult, action: list[Any]) -> None:
    set_timestamp(shown.schedule_time, action[Action.ACTION_TIME])
    set_timestamp(shown.actual_time, action[Action.STARTED_AT])
    shown.start_workflow_result.workflow_id = action[Action.WORKFLOW_ID]
    shown.start_workflow_result.run_id = action[Action.RUN_ID]
    shown.start_workflow_status = action[Action.STATUS]


def future_times(record: Record, now: int, count: int) -> list[int]:
    """The next action times, also while paused; no more of them than actions remain."""
    state: ScheduleState = record.state
    if state.limited:
        count = min(count, max(0, state.remaining))
    spec, seed = spec_of(record), seed_of(record)
    found: list[int] = []
    try:
        enough = spec.work + ENOUGH_WORK
        due = spec.next_due(now, seed)
        while due is not None and len(found) < count:
            found.append(due.actual)
            if spec.work > enough:
                break
            due = spec.next_due(due.actual, seed)
    except TooManyExclusions:
        pass
    return found


def list_info(record: Record, now: int) -> ScheduleListInfo:
    """The same in short."""
    state: ScheduleState = record.state
    info = ScheduleListInfo()
    spec = ScheduleSpec.FromString(state.spec)
    for name in ("structured_calendar", "interval", "exclude_structured_calendar"):
        del getattr(spec, name)[_LISTED_SPECS:]
    spec.ClearField("timezone_data")
    info.spec.CopyFrom(spec)
    action = record.items.get((ACTION, ""))
    if action is not None:
        whole = Schedule()
        whole.action.ParseFromString(action)
        info.workflow_type.CopyFrom(whole.action.start_workflow.workflow_type)
    info.notes = state.notes
    info.paused = state.paused
    for taken in state.recent[-_LISTED:]:
        _fill_action(info.recent_actions.add(), taken)
    for at in future_times(record, now, _LISTED):
        set_timestamp(info.future_action_times.add(), at)
    return info


def matching_times(record: Record, after: int, until: int) -> ListScheduleMatchingTimesResponse:
    """Action times in (after, until], the first thousand of them."""
    reply = ListScheduleMatchingTimesResponse()
    times: list[Timestamp] = []
    try:
        for due in islice(spec_of(record).all_due(after, until, seed_of(record)), _MATCHING):
            at = Timestamp()
            set_timestamp(at, due.actual)
            times.append(at)
    except TooManyExclusions:
        pass
    reply.start_time.extend(times)
    return reply
