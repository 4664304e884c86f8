"""Schedules for tests, and what is asked of them."""

from __future__ import annotations

from typing import Any

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import ScheduleOverlapPolicy
from temporalio.api.schedule.v1 import (
    BackfillRequest,
    Schedule,
    SchedulePatch,
    TriggerImmediatelyRequest,
)

from tests.api.client import NAMESPACE, QUEUE


def policy(name: str) -> Any:
    return getattr(ScheduleOverlapPolicy, f"SCHEDULE_OVERLAP_POLICY_{name}")


def moment(seconds: float) -> Timestamp:
    at = Timestamp()
    at.FromMicroseconds(int(seconds * 1_000_000))
    return at


def schedule(*crons: str, every: int = 0, workflow_id: str = "report", overlap: str = "", **state: Any) -> Schedule:
    """A schedule of a workflow of type Report; `state` are fields of ScheduleState."""
    made = Schedule()
    made.spec.cron_string.extend(crons)
    if every:
        made.spec.interval.add().interval.seconds = every
    action = made.action.start_workflow
    action.workflow_id = workflow_id
    action.workflow_type.name = "Report"
    action.task_queue.name = QUEUE
    if overlap:
        made.policies.overlap_policy = policy(overlap)
    for name, value in state.items():
        setattr(made.state, name, value)
    return made


def create(made: Schedule, schedule_id: str = "daily", **fields: Any) -> ws.CreateScheduleRequest:
    fields.setdefault("request_id", f"create-{schedule_id}")
    return ws.CreateScheduleRequest(namespace=NAMESPACE, schedule_id=schedule_id, schedule=made, **fields)


def describe(schedule_id: str = "daily") -> ws.DescribeScheduleRequest:
    return ws.DescribeScheduleRequest(namespace=NAMESPACE, schedule_id=schedule_id)


def update(made: Schedule, schedule_id: str = "daily", **fields: Any) -> ws.UpdateScheduleRequest:
    return ws.UpdateScheduleRequest(namespace=NAMESPACE, schedule_id=schedule_id, schedule=made, **fields)


def delete(schedule_id: str = "daily") -> ws.DeleteScheduleRequest:
    return ws.DeleteScheduleRequest(namespace=NAMESPACE, schedule_id=schedule_id)


def patch(schedule_id: str = "daily", request_id: str = "", **fields: Any) -> ws.PatchScheduleRequest:
    return ws.PatchScheduleRequest(
        namespace=NAMESPACE, schedule_id=schedule_id, request_id=request_id, patch=SchedulePatch(**fields)
    )


def trigger(schedule_id: str = "daily", overlap: str = "", **fields: Any) -> ws.PatchScheduleRequest:
    request = TriggerImmediatelyRequest()
    if overlap:
        request.overlap_policy = policy(overlap)
    return patch(schedule_id, trigger_immediately=request, **fields)


def backfill(first: float, last: float, overlap: str = "", schedule_id: str = "daily") -> ws.PatchScheduleRequest:
    request = BackfillRequest(start_time=moment(first), end_time=moment(last))
    if overlap:
        request.overlap_policy = policy(overlap)
    return patch(schedule_id, backfill_request=[request])


def listed(query: str = "", **fields: Any) -> ws.ListSchedulesRequest:
    return ws.ListSchedulesRequest(namespace=NAMESPACE, query=query, **fields)


def matching(first: float, last: float, schedule_id: str = "daily") -> ws.ListScheduleMatchingTimesRequest:
    return ws.ListScheduleMatchingTimesRequest(
        namespace=NAMESPACE, schedule_id=schedule_id, start_time=moment(first), end_time=moment(last)
    )
