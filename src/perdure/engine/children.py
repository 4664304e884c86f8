"""Child workflows: the parent starts one, hears of its start and its end (reference: engine 3.8, 7).

Parent and child are executions of their own, perhaps on other nodes, that tell each other by messages: StartChild ->
creates the run -> ChildStarted -> recorded by the parent -> ParentReady -> the child's first workflow task. The child's
side is in `childhood.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from temporalio.api.command.v1 import Command, StartChildWorkflowExecutionCommandAttributes
from temporalio.api.history.v1 import History, HistoryEvent

from perdure.engine import cron
from perdure.engine.apply import remove_child
from perdure.engine.bad_command import BadCommand
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.items import Child
from perdure.engine.messages import ChildClosed, ChildStarted, ChildStartFailed, ParentClosed, ParentReady, StartChild
from perdure.engine.search_attributes import validate_search_attributes
from perdure.engine.state import CHILD
from perdure.engine.times import capped_duration, set_duration
from perdure.engine.turn import Turn
from perdure.engine.validation import (
    clamped_timeouts,
    fill_and_validate_retry_policy,
    validate_priority,
    validate_task_queue,
)
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import EventType, ParentClosePolicy, TaskQueueKind, WorkflowIdReusePolicy
from perdure.enums import WorkflowTaskFailedCause as Cause
from perdure.errors import InvalidArgument

_E = EventType
_INITIATED: Final = int(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
_START_FAILED: Final = int(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
_STARTED: Final = int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
_BAD: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES)
_BAD_SEARCH_ATTRIBUTES: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES)
_TOO_MANY: Final = int(Cause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED)
_TERMINATE: Final = ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE
_ABANDON: Final = ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
_ALLOW_DUPLICATE: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
_NORMAL: Final = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
_COMMAND: Final = "StartChildWorkflowExecutionCommand"


# ---- the command
def start_child(completion: Completion, command: Command) -> None:
    if not command.HasField("start_child_workflow_execution_command_attributes"):
        raise attributes_missing(_BAD, "StartChildWorkflowExecution")
    wanted = command.start_child_workflow_execution_command_attributes
    turn = completion.turn
    run = turn.run
    limits = turn.limits
    namespace, namespace_id = completion.target_namespace(wanted.namespace, _BAD)
    run_timeout, task_timeout = _validate(turn, wanted, namespace)
    kind = "StartChildWorkflowExecutionCommandAttributes."
    completion.check_size(wanted.input, limits.blob_size, _BAD, f"{kind} Input exceeds size limit.")
    completion.check_size(wanted.memo, limits.memo_size, _BAD, f"{kind}Memo exceeds size limit.")
    if len(run.children) >= limits.pending_children:
        raise BadCommand(
            _TOO_MANY,
            f"the number of pending child workflow executions, {len(run.children)}, "
            f"has reached the per-workflow limit of {limits.pending_children}",
        )
    event = completion.event(_INITIATED, command)
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    attributes.namespace = namespace
    attributes.namespace_id = namespace_id
    attributes.workflow_id = wanted.workflow_id
    attributes.workflow_type.CopyFrom(wanted.workflow_type)
    attributes.task_queue.name = wanted.task_queue.name or run.task_queue
    attributes.task_queue.kind = _NORMAL
    if wanted.HasField("workflow_execution_timeout"):
        attributes.workflow_execution_timeout.CopyFrom(wanted.workflow_execution_timeout)
    set_duration(attributes.workflow_run_timeout, run_timeout)
    set_duration(attributes.workflow_task_timeout, task_timeout)
    attributes.parent_close_policy = wanted.parent_close_policy or _TERMINATE
    attributes.workflow_id_reuse_policy = wanted.workflow_id_reuse_policy or _ALLOW_DUPLICATE
    attributes.control = wanted.control
    attributes.cron_schedule = wanted.cron_schedule
    attributes.inherit_build_id = wanted.inherit_build_id
    attributes.workflow_task_completed_event_id = completion.event_id
    for name in ("input", "retry_policy", "header", "memo", "search_attributes", "priority", "versioning_override"):
        if wanted.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(wanted, name))
    event_id = turn.emit(event)
    completion.new_children[wanted.workflow_id] = event_id
    completion.messages.append(
        StartChild(
            to_namespace_id=namespace_id,
            to_workflow_id=wanted.workflow_id,
            to_run_id="",
            from_namespace=run.namespace,
            from_namespace_id=run.namespace_id,
            from_workflow_id=run.workflow_id,
            from_run_id=run.run_id,
            initiated=event.SerializeToString(deterministic=True),
            root_workflow_id=run.root_workflow_id,
            root_run_id=run.root_run_id,
            parent_priority=run.priority,
        )
    )


def _validate(turn: Turn, wanted: StartChildWorkflowExecutionCommandAttributes, namespace: str) -> tuple[int, int]:
    """Run timeout and task timeout. Fills the retry policy's defaults."""
    limits = turn.limits
    workflow_id = wanted.workflow_id
    workflow_type = wanted.workflow_type.name
    if not workflow_id:
        raise BadCommand(
            _BAD,
            f"Required field WorkflowId is not set on {_COMMAND}. WorkflowType={workflow_type} Namespace={namespace}",
        )
    if not workflow_type:
        raise BadCommand(
            _BAD,
            f"Required field WorkflowType is not set on {_COMMAND}. WorkflowId={workflow_id} Namespace={namespace}",
        )
    where = f"WorkflowId={workflow_id} WorkflowType={workflow_type} Namespace={namespace}"
    for name, value in (("WorkflowId", workflow_id), ("WorkflowType", workflow_type)):
        length = len(value.encode())
        if length > limits.id_length:
            raise BadCommand(
                _BAD, f"{name} on {_COMMAND} exceeds length limit. {where} Length={length} Limit={limits.id_length}"
            )
    lengths = []
    for name, duration in (
        ("WorkflowExecutionTimeout", wanted.workflow_execution_timeout),
        ("WorkflowRunTimeout", wanted.workflow_run_timeout),
        ("WorkflowTaskTimeout", wanted.workflow_task_timeout),
    ):
        try:
            lengths.append(capped_duration(duration))
        except InvalidArgument as error:
            raise BadCommand(_BAD, f"Invalid {name} on {_COMMAND}: {error.message}. {where}") from error
    if wanted.HasField("retry_policy"):
        _checked("WorkflowRetryPolicy", where, lambda: fill_and_validate_retry_policy(wanted.retry_policy))
    if wanted.HasField("priority"):
        _checked("Priority", where, lambda: validate_priority(wanted.priority))
    _checked("CronSchedule", where, lambda: cron.validate(wanted.cron_schedule))
    if wanted.task_queue.name:
        _checked("TaskQueue", where, lambda: validate_task_queue(wanted.task_queue, limits))
    try:
        validate_search_attributes(
            wanted.search_attributes.indexed_fields,
            turn.shared.search_attribute_types,
            limits,
            namespace=turn.run.namespace,
        )
    except InvalidArgument as error:
        raise BadCommand(_BAD_SEARCH_ATTRIBUTES, error.message) from error
    _, run_timeout, task_timeout = clamped_timeouts(limits, *lengths)
    return run_timeout, task_timeout


def _checked(what: str, where: str, check: Callable[[], object]) -> None:
    try:
        check()
    except InvalidArgument as error:
        raise BadCommand(_BAD, f"invalid {what} on {_COMMAND}: {error.message}. {where}") from error


# ---- the parent hears
def record_started(turn: Turn, message: ChildStarted) -> None:
    """Also a parent that will never record the start (it closed meanwhile) lets the child go ahead: what its close
    policy says of the child came before, by a message of its own."""
    run = turn.run
    child = run.children.get(message.initiated_event_id)
    if run.running and child is not None and not child.run_id:
        event = turn.event(_STARTED)
        attributes = event.child_workflow_execution_started_event_attributes
        attributes.initiated_event_id = child.initiated_event_id
        attributes.namespace = child.namespace
        attributes.namespace_id = child.namespace_id
        attributes.workflow_execution.workflow_id = child.workflow_id
        attributes.workflow_execution.run_id = message.child_run_id
        attributes.workflow_type.name = child.workflow_type
        if message.header:
            attributes.header.ParseFromString(message.header)
        run.children[child.initiated_event_id] = child.replace(run_id=message.child_run_id)
        turn.dirty(CHILD, child.initiated_event_id)
        turn.buffer(event)
        schedule_workflow_task(turn)
    turn.send(release(message))


def release(message: ChildStarted) -> ParentReady:
    return ParentReady(
        to_namespace_id=message.child_namespace_id,
        to_workflow_id=message.child_workflow_id,
        to_run_id=message.child_run_id,
    )


def record_start_failed(turn: Turn, message: ChildStartFailed) -> None:
    child = turn.run.children.get(message.initiated_event_id)
    if not turn.run.running or child is None:
        return
    event = turn.event(_START_FAILED)
    attributes = event.start_child_workflow_execution_failed_event_attributes
    attributes.initiated_event_id = child.initiated_event_id
    attributes.namespace = child.namespace
    attributes.namespace_id = child.namespace_id
    attributes.workflow_id = child.workflow_id
    attributes.workflow_type.name = child.workflow_type
    attributes.cause = message.cause  # type: ignore[assignment] # an int of that enum
    attributes.control = message.control
    _end(turn, child, event)


_ENDS: Final = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: (
        _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        "workflow_execution_completed_event_attributes",
        "child_workflow_execution_completed_event_attributes",
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: (
        _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        "workflow_execution_failed_event_attributes",
        "child_workflow_execution_failed_event_attributes",
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: (
        _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        "workflow_execution_canceled_event_attributes",
        "child_workflow_execution_canceled_event_attributes",
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: (
        _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
        "workflow_execution_timed_out_event_attributes",
        "child_workflow_execution_timed_out_event_attributes",
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: (
        _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
        "workflow_execution_terminated_event_attributes",
        "child_workflow_execution_terminated_event_attributes",
    ),
}


def record_closed(turn: Turn, message: ChildClosed) -> None:
    """The child's last run closed: its close event becomes ours, without failure for a timeout or a termination."""
    child = turn.run.children.get(message.initiated_event_id)
    if not turn.run.running or child is None:
        return
    closed = HistoryEvent.FromString(message.close_event)
    event_type, theirs, ours = _ENDS[closed.event_type]
    source = getattr(closed, theirs)
    event = turn.event(event_type)
    attributes = getattr(event, ours)
    attributes.initiated_event_id = child.initiated_event_id
    attributes.started_event_id = child.started_event_id
    attributes.namespace = child.namespace
    attributes.namespace_id = child.namespace_id
    attributes.workflow_execution.workflow_id = child.workflow_id
    attributes.workflow_execution.run_id = message.child_run_id
    attributes.workflow_type.name = child.workflow_type
    if event_type == _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
        if source.HasField("result"):
            attributes.result.CopyFrom(source.result)
    elif event_type == _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
        attributes.failure.CopyFrom(source.failure)
        attributes.retry_state = source.retry_state
    elif event_type == _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
        if source.HasField("details"):
            attributes.details.CopyFrom(source.details)
    elif event_type == _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
        attributes.retry_state = source.retry_state
    _end(turn, child, event)


def _end(turn: Turn, child: Child, event: HistoryEvent) -> None:
    turn.buffer(event)
    remove_child(turn.run, child.initiated_event_id)
    schedule_workflow_task(turn)


# ---- a run closes
def tell_parent(turn: Turn) -> None:
    """Send the close event just emitted to the run that started this one's chain."""
    run = turn.run
    parent = run.parent
    if parent is None:
        return
    close_event = History.FromString(run.changes.events[-1]).events[0]
    turn.send(
        ChildClosed(
            to_namespace_id=parent.namespace_id,
            to_workflow_id=parent.workflow_id,
            to_run_id=parent.run_id,
            initiated_event_id=parent.initiated_event_id,
            child_workflow_id=run.workflow_id,
            child_run_id=run.run_id,
            close_event=close_event.SerializeToString(deterministic=True),
        )
    )


def tell_children(turn: Turn, spared: Container[str] = ()) -> None:
    """Parent close policy. The children of a run are its own, not its successor's; `spared` are run IDs of children
    that another run has taken over."""
    run = turn.run
    for child in run.children.values():
        if child.parent_close_policy == _ABANDON or child.run_id in spared:
            continue
        turn.send(
            ParentClosed(
                to_namespace_id=child.namespace_id,
                to_workflow_id=child.workflow_id,
                to_run_id="",
                from_namespace=run.namespace,
                from_namespace_id=run.namespace_id,
                from_workflow_id=run.workflow_id,
                from_run_id=run.run_id,
                child_run_id=child.run_id,
                policy=child.parent_close_policy,
                initiated_event_id=child.initiated_event_id,
            )
        )
