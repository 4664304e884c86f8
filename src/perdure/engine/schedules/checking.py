"""Schedules as requests bring them: brought into their stored form, or refused (reference: api 8.2).

Every check raises InvalidArgument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.schedule.v1 import Schedule, SchedulePatch, ScheduleSpec
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo

from perdure.clock import Entropy
from perdure.engine.apply import stored_values
from perdure.engine.limits import Limits
from perdure.engine.schedules.action import start_request
from perdure.engine.schedules.canonical import canonical_spec
from perdure.engine.search_attributes import validate_search_attributes
from perdure.engine.validation import validate_start
from perdure.enums import WorkflowIdReusePolicy
from perdure.errors import InvalidArgument

PREFIX: Final = "temporal-sys-scheduler:"
"""What texts, and limits of length, put before a schedule's ID."""
_NOTES_BYTES: Final = 1000
_SUFFIX: Final = "-2006-01-02T15:04:05Z"
_ANY_TIME: Final = (
    WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED,
    WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
)


@dataclass(slots=True)
class Checked:
    """`action` is a serialised ScheduleAction, empty when there is none."""

    spec: bytes
    action: bytes
    schedule: Schedule


def check_schedule_id(schedule_id: str, limits: Limits) -> None:
    if not schedule_id:
        raise InvalidArgument("ScheduleId is not set on request.")
    if len((PREFIX + schedule_id).encode()) > limits.id_length:
        raise InvalidArgument("ScheduleId length exceeds limit.")


def check_request_id(request_id: str, limits: Limits) -> None:
    if not request_id:
        raise InvalidArgument("RequestId is not set on request.")
    if len(request_id.encode()) > limits.id_length:
        raise InvalidArgument("RequestId length exceeds limit.")


def check_schedule(
    schedule: Schedule, namespace: str, limits: Limits, types: Mapping[str, int], entropy: Entropy
) -> Checked:
    """Fills the action's defaults in place. `types` are the namespace's custom search attributes."""
    spec = check_spec(schedule.spec)
    action = b""
    if schedule.action.HasField("start_workflow"):
        _check_action(schedule.action.start_workflow, namespace, limits, types, entropy)
        action = schedule.action.SerializeToString()
    check_notes(schedule.state.notes)
    return Checked(spec.SerializeToString(deterministic=True), action, schedule)


def check_spec(spec: ScheduleSpec) -> ScheduleSpec:
    try:
        return canonical_spec(spec)
    except ValueError as error:
        raise InvalidArgument(f"Invalid schedule spec: {error}") from error


def check_notes(notes: str) -> None:
    if len(notes.encode()) > _NOTES_BYTES:
        raise InvalidArgument("Schedule notes exceeds limit.")


def check_patch(patch: SchedulePatch) -> None:
    check_notes(patch.pause)
    check_notes(patch.unpause)
    for backfill in patch.backfill_request:
        if not backfill.HasField("start_time") or not backfill.HasField("end_time"):
            raise InvalidArgument("Backfill request needs a start and an end time.")


def check_attributes(
    attributes: SearchAttributes, namespace: str, limits: Limits, types: Mapping[str, int]
) -> dict[str, bytes]:
    """A schedule's own, name to serialised payload, without those that have no value."""
    fields = attributes.indexed_fields
    validate_search_attributes(fields, types, limits, namespace=namespace)
    return stored_values(fields)


_COMPLETED: Final = (
    "task_queue",
    "search_attributes",
    "retry_policy",
    "workflow_execution_timeout",
    "workflow_run_timeout",
    "workflow_task_timeout",
)
"""What checking a start fills in or caps."""


def _check_action(
    action: NewWorkflowExecutionInfo, namespace: str, limits: Limits, types: Mapping[str, int], entropy: Entropy
) -> None:
    """As the start of a workflow is checked, since it will be one."""
    if action.cron_schedule:
        raise InvalidArgument("Scheduled workflow must not contain CronSchedule")
    if action.workflow_id_reuse_policy not in _ANY_TIME:
        raise InvalidArgument("Scheduled workflow must not contain WorkflowIDReusePolicy")
    request = start_request(action, namespace)
    request.workflow_id += _SUFFIX
    validate_start(request, limits, types, entropy)
    for name in _COMPLETED:
        if request.HasField(name):
            getattr(action, name).CopyFrom(getattr(request, name))
