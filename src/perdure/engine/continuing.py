"""Continue-as-new: the workflow closes its run and says how the next one starts (reference: engine 3.7)."""

from __future__ import annotations

from typing import Final

from temporalio.api.command.v1 import Command, ContinueAsNewWorkflowExecutionCommandAttributes
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine import cron
from perdure.engine.apply import copy_values
from perdure.engine.bad_command import BadCommand
from perdure.engine.chains import Successor, minimal_backoff
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.search_attributes import validate_search_attributes
from perdure.engine.times import capped_duration, set_duration, set_timestamp
from perdure.engine.turn import Turn
from perdure.engine.validation import clamped_timeouts, fill_and_validate_retry_policy
from perdure.enums import ContinueAsNewInitiator, EventType, TaskQueueKind, WorkflowTaskFailedCause
from perdure.errors import InvalidArgument

_CONTINUED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
_C = WorkflowTaskFailedCause
_BAD: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_CONTINUE_AS_NEW_ATTRIBUTES)
_BAD_SEARCH_ATTRIBUTES: Final = int(_C.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES)
_WORKFLOW: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
_RETRY: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY
_NORMAL: Final = TaskQueueKind.TASK_QUEUE_KIND_NORMAL


def continue_as_new(completion: Completion, command: Command) -> tuple[HistoryEvent, Successor]:
    """The close event, not yet emitted, and the run it names."""
    if not command.HasField("continue_as_new_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD, "ContinueAsNewWorkflowExecution")
    wanted = command.continue_as_new_workflow_execution_command_attributes
    turn = completion.turn
    run = turn.run
    backoff, run_timeout, task_timeout = _validate(completion, wanted)
    run_id = turn.entropy.uuid()

    closing = completion.event(_CONTINUED, command)
    said = closing.workflow_execution_continued_as_new_event_attributes
    said.new_execution_run_id = run_id
    said.workflow_type.name = wanted.workflow_type.name or run.workflow_type
    said.task_queue.name = wanted.task_queue.name or run.task_queue
    said.task_queue.kind = _NORMAL
    set_duration(said.workflow_run_timeout, run_timeout)
    set_duration(said.workflow_task_timeout, task_timeout)
    said.workflow_task_completed_event_id = completion.event_id
    said.initiator = wanted.initiator
    for name in (
        "input",
        "backoff_start_interval",
        "failure",
        "last_completion_result",
        "header",
        "memo",
        "search_attributes",
    ):
        if wanted.HasField(name):
            getattr(said, name).CopyFrom(getattr(wanted, name))
    said.inherit_build_id = wanted.inherit_build_id
    said.initial_versioning_behavior = wanted.initial_versioning_behavior

    start = turn.stored_event(1) if run.start_carries else None
    backoff = minimal_backoff(turn, backoff)

    def fill(event: HistoryEvent) -> None:
        attributes = event.workflow_execution_started_event_attributes
        attributes.workflow_id = run.workflow_id
        attributes.workflow_type.CopyFrom(said.workflow_type)
        attributes.task_queue.CopyFrom(said.task_queue)
        if run.execution_timeout:
            set_duration(attributes.workflow_execution_timeout, run.execution_timeout)
        if run.execution_expires_at:
            set_timestamp(attributes.workflow_execution_expiration_time, run.execution_expires_at)
        set_duration(attributes.workflow_run_timeout, run_timeout)
        set_duration(attributes.workflow_task_timeout, task_timeout)
        set_duration(attributes.first_workflow_task_backoff, backoff)
        attributes.initiator = wanted.initiator or _WORKFLOW
        attributes.attempt = run.attempt + 1 if wanted.initiator == _RETRY else 1
        attributes.original_execution_run_id = run_id
        attributes.first_execution_run_id = run.first_run_id
        attributes.continued_execution_run_id = run.run_id
        for name in ("input", "last_completion_result", "header", "retry_policy"):
            if wanted.HasField(name):
                getattr(attributes, name).CopyFrom(getattr(wanted, name))
        if wanted.HasField("memo"):
            attributes.memo.SetInParent()
            copy_values(wanted.memo.fields, attributes.memo.fields)
        if wanted.HasField("search_attributes"):
            attributes.search_attributes.SetInParent()
            copy_values(wanted.search_attributes.indexed_fields, attributes.search_attributes.indexed_fields)
        if wanted.HasField("failure"):
            attributes.continued_failure.CopyFrom(wanted.failure)
        attributes.cron_schedule = wanted.cron_schedule
        _inherit(turn, event, start)

    return closing, Successor(turn.shared, 0, run_id, fill)


def _inherit(turn: Turn, event: HistoryEvent, start: HistoryEvent | None) -> None:
    """What a chain keeps whatever the command says."""
    run = turn.run
    attributes = event.workflow_execution_started_event_attributes
    if run.parent is not None:
        attributes.parent_workflow_namespace = run.parent.namespace
        attributes.parent_workflow_namespace_id = run.parent.namespace_id
        attributes.parent_workflow_execution.workflow_id = run.parent.workflow_id
        attributes.parent_workflow_execution.run_id = run.parent.run_id
        attributes.parent_initiated_event_id = run.parent.initiated_event_id
        attributes.root_workflow_execution.workflow_id = run.root_workflow_id
        attributes.root_workflow_execution.run_id = run.root_run_id
    if run.priority:
        attributes.priority.ParseFromString(run.priority)
    if run.reset_points:
        attributes.prev_auto_reset_points.ParseFromString(run.reset_points)
    if start is not None:
        attributes.completion_callbacks.extend(start.workflow_execution_started_event_attributes.completion_callbacks)
        event.links.extend(start.links)


def _validate(completion: Completion, wanted: ContinueAsNewWorkflowExecutionCommandAttributes) -> tuple[int, int, int]:
    """Backoff, run timeout and task timeout. Fills the retry policy's defaults."""
    turn = completion.turn
    run = turn.run
    limits = turn.limits
    workflow_type = wanted.workflow_type.name
    where = f"WorkflowType={workflow_type or run.workflow_type} TaskQueue={wanted.task_queue.name or run.task_queue}"
    on = "on ContinueAsNewWorkflowExecutionCommand"
    length = len(workflow_type.encode())
    if length > limits.id_length:
        raise BadCommand(
            _BAD,
            f"WorkflowType {on} exceeds length limit. "
            f"WorkflowType={workflow_type} Length={length} Limit={limits.id_length}",
        )
    queue = wanted.task_queue.name
    length = len(queue.encode())
    if length > limits.id_length:
        raise BadCommand(_BAD, f"invalid TaskQueue {on}: taskQueue length exceeds limit. {where}")
    lengths = []
    for name, value in (
        ("WorkflowRunTimeout", wanted.workflow_run_timeout),
        ("WorkflowTaskTimeout", wanted.workflow_task_timeout),
        ("BackoffStartInterval", wanted.backoff_start_interval),
    ):
        try:
            lengths.append(capped_duration(value))
        except InvalidArgument as error:
            raise BadCommand(_BAD, f"Invalid {name} {on}: {error.message}. {where}") from error
    run_timeout, task_timeout, backoff = lengths
    try:
        if wanted.HasField("retry_policy"):
            fill_and_validate_retry_policy(wanted.retry_policy)
    except InvalidArgument as error:
        raise BadCommand(_BAD, f"invalid WorkflowRetryPolicy {on}: {error.message}. {where}") from error
    try:
        cron.validate(wanted.cron_schedule)
    except InvalidArgument as error:
        raise BadCommand(_BAD, f"invalid CronSchedule {on}: {error.message}. {where}") from error
    fields = wanted.search_attributes.indexed_fields
    try:
        validate_search_attributes(fields, turn.shared.search_attribute_types, limits, namespace=run.namespace)
    except InvalidArgument as error:
        raise BadCommand(_BAD_SEARCH_ATTRIBUTES, error.message) from error
    kind = "ContinueAsNewWorkflowExecutionCommandAttributes."
    completion.check_size(wanted.input, limits.blob_size, _BAD, f"{kind} Input exceeds size limit.")
    completion.check_size(wanted.memo, limits.memo_size, _BAD, f"{kind} Memo exceeds size limit.")
    _, run_timeout, task_timeout = clamped_timeouts(
        limits, run.execution_timeout, run_timeout or run.run_timeout, task_timeout or run.task_timeout
    )
    return backoff, run_timeout, task_timeout
