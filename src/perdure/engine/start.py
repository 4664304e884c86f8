"""Starting runs: by a client, with a signal, or (`create_run` alone) as child, retry, cron or continue-as-new.

Conflict policy alone governs a running workflow of that ID, reuse policy alone a closed one (reference: engine 1.7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import SignalWithStartWorkflowExecutionRequest, StartWorkflowExecutionRequest

from perdure.engine import signals
from perdure.engine.apply import copy_values
from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.cron import next_backoff
from perdure.engine.execution import Current
from perdure.engine.finishing import finish
from perdure.engine.state import RUNNING, Run
from perdure.engine.times import SECOND, duration_of, later, set_duration, set_timestamp
from perdure.engine.turn import Shared, Turn
from perdure.engine.validation import clamped_timeouts
from perdure.engine.workflow_tasks import (
    Poller,
    StartedWorkflowTask,
    answer_of,
    schedule_workflow_task,
    start_workflow_task,
)
from perdure.enums import (
    ContinueAsNewInitiator,
    EventType,
    TaskQueueKind,
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
)
from perdure.errors import WorkflowAlreadyStarted

_STARTED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_OPTIONS_UPDATED: Final = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_MILLISECOND: Final = SECOND // 1000
_REJECT_DUPLICATE: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
_FAILED_ONLY: Final = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
_USE_EXISTING: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
_TERMINATE_EXISTING: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
_SUCCEEDED: Final = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
)

StartRequest = StartWorkflowExecutionRequest | SignalWithStartWorkflowExecutionRequest


class StartOutcome(Struct, eq=False):
    """`link_event_type` is STARTED for the run's start, OPTIONS_UPDATED for a request attached to a running one (the
    link is then by `link_request_id`), SIGNALED for signal-with-start."""

    run: Run | None
    run_id: str
    started: bool
    status: int
    first_run_id: str
    eager: StartedWorkflowTask | None = None
    link_request_id: str = ""
    link_event_type: int = _STARTED


def create_run(
    shared: Shared,
    run_id: str,
    request_id: str,
    fill: Callable[[HistoryEvent], None],
    *,
    schedule_first_task: bool = True,
    awaits_parent: bool = False,
) -> Turn:
    """A new run whose Started event `fill` fills, now the execution's current one. Returns its open turn: the caller
    goes on with it (a signal, say) and must `finish` it.

    The first task is scheduled unless the event says back-off, or the run `awaits_parent`, or the caller does it later.
    """
    execution = shared.execution
    run = Run()
    run.namespace_id = execution.namespace_id
    run.namespace = execution.namespace
    run.workflow_id = execution.execution_id
    run.run_id = run_id
    run.create_request_id = request_id
    run.root_workflow_id = execution.execution_id
    run.root_run_id = run_id
    run.awaits_parent = awaits_parent
    run.changes.started = True
    execution.runs[run_id] = run
    turn = Turn(shared, run)
    event = turn.event(_STARTED)
    fill(event)
    turn.emit(event)
    execution.current = Current(
        run_id=run_id,
        run_no=0,
        status=RUNNING,
        first_run_id=run.first_run_id,
        create_request_id=request_id,
        started_at=run.started_at,
    )
    turn.remember_request(request_id, _STARTED, 1)
    if schedule_first_task:
        schedule_workflow_task(turn)
    return turn


def start_workflow(shared: Shared, current: Run | None, request: StartWorkflowExecutionRequest) -> StartOutcome:
    """StartWorkflowExecution, validated and defaulted (`validation.validate_start`). `current` is the ID's latest run.

    Raises WorkflowAlreadyStarted; nothing is written then.
    """
    if current is not None:
        if request.request_id == current.create_request_id:
            outcome = existing(current, started=True)
            if request.request_eager_execution:
                outcome.eager = _first_task_again(current)
            return outcome
        if request.request_id == current.chain_request_id:
            return _began_with(current)
        if current.request_ids.get(request.request_id, (0, 0))[0] == _OPTIONS_UPDATED:
            return _attached(existing(current), request.request_id)
        if current.running:
            if request.workflow_id_conflict_policy == _USE_EXISTING:
                return _use_existing(shared, current, request)
            _check_conflict(current, request)
        else:
            _check_reuse(current, request)
    backoff = _first_backoff(shared, request)
    eager = request.request_eager_execution and not backoff
    run_id = shared.entropy.uuid()
    if current is not None and current.running:
        _make_way(shared, current, run_id)

    def fill(event: HistoryEvent) -> None:
        _fill(shared, event, request, run_id, backoff)
        attributes = event.workflow_execution_started_event_attributes
        attributes.eager_execution_accepted = eager
        if request.HasField("continued_failure"):
            attributes.continued_failure.CopyFrom(request.continued_failure)
        if request.HasField("last_completion_result"):
            attributes.last_completion_result.CopyFrom(request.last_completion_result)
        attributes.completion_callbacks.extend(request.completion_callbacks)

    turn = create_run(shared, run_id, request.request_id, fill, schedule_first_task=not eager)
    run = turn.run
    answer = None
    if eager:
        schedule_workflow_task(turn, offer=False)
        task = run.workflow_task
        assert task is not None
        poller = Poller(request.identity, run.task_queue, request_id=request.request_id)
        answer = start_workflow_task(turn, task.scheduled_event_id, task.stamp, poller)
    finish(turn)
    return StartOutcome(run, run_id, True, run.status, run.first_run_id, answer)


def signal_with_start(
    shared: Shared, current: Run | None, request: SignalWithStartWorkflowExecutionRequest
) -> StartOutcome:
    """SignalWithStartWorkflowExecution, validated and defaulted. A signal to a running workflow also ends its start
    delay."""
    if current is not None:
        if current.running and request.workflow_id_conflict_policy != _TERMINATE_EXISTING:
            turn = Turn(shared, current)
            _signal(turn, request, with_start=False)
            finish(turn)
            return _signalled(existing(current), request.request_id)
        known = (current.create_request_id, current.chain_request_id)
        if request.request_id in known or signals.was_signalled(current, request.request_id):
            return _signalled(existing(current), request.request_id)
        if not current.running:
            _check_reuse(current, request)
    backoff = _first_backoff(shared, request)
    run_id = shared.entropy.uuid()
    if current is not None and current.running:
        _make_way(shared, current, run_id)
    turn = create_run(
        shared,
        run_id,
        request.request_id,
        lambda event: _fill(shared, event, request, run_id, backoff),
        schedule_first_task=False,
    )
    _signal(turn, request, with_start=True)
    finish(turn)
    run = turn.run
    return _signalled(StartOutcome(run, run_id, True, run.status, run.first_run_id), request.request_id)


def _signal(turn: Turn, request: SignalWithStartWorkflowExecutionRequest, *, with_start: bool) -> None:
    signals.signal_workflow(
        turn,
        signal_name=request.signal_name,
        input=request.signal_input if request.HasField("signal_input") else None,
        identity=request.identity,
        header=request.header if request.HasField("header") else None,
        request_id=request.request_id,
        links=request.links,
        break_backoff=not with_start,
        with_start=with_start,
    )


# ---- the run that is there
def existing(run: Run, *, started: bool = False) -> StartOutcome:
    """An answer that names the run that is there."""
    return StartOutcome(run, run.run_id, started, run.status, run.first_run_id)


def _began_with(run: Run) -> StartOutcome:
    """For a client that did not hear that it started a workflow which has gone on in another run since."""
    outcome = existing(run, started=True)
    outcome.run_id = run.first_run_id
    return outcome


def _attached(outcome: StartOutcome, request_id: str) -> StartOutcome:
    outcome.link_request_id = request_id
    outcome.link_event_type = _OPTIONS_UPDATED
    return outcome


def _signalled(outcome: StartOutcome, request_id: str) -> StartOutcome:
    outcome.link_request_id = request_id
    outcome.link_event_type = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    return outcome


def _first_task_again(run: Run) -> StartedWorkflowTask | None:
    """The eager task once more, for a client that lost the first answer, as long as it is still the very same task."""
    task = run.workflow_task
    if task is None or task.started_event_id != 3 or task.attempt != 1 or not run.running:
        return None
    return answer_of(run, task, sticky=False)


def _use_existing(shared: Shared, run: Run, request: StartWorkflowExecutionRequest) -> StartOutcome:
    outcome = existing(run)
    if not request.HasField("on_conflict_options"):
        return outcome
    options = request.on_conflict_options
    turn = Turn(shared, run)
    event = turn.event(_OPTIONS_UPDATED)
    event.worker_may_ignore = True
    attributes = event.workflow_execution_options_updated_event_attributes
    attributes.SetInParent()
    if options.attach_request_id:
        attributes.attached_request_id = request.request_id
    if options.attach_completion_callbacks:
        attributes.attached_completion_callbacks.extend(request.completion_callbacks)
    if options.attach_links:
        event.links.extend(request.links)
    turn.buffer(event)
    if options.attach_request_id:
        turn.remember_request(request.request_id, _OPTIONS_UPDATED)
        _attached(outcome, request.request_id)
    finish(turn)
    return outcome


def _check_conflict(run: Run, request: StartRequest) -> None:
    if request.workflow_id_conflict_policy != _TERMINATE_EXISTING:
        raise _already_started(
            run, f"Workflow execution is already running. WorkflowId: {run.workflow_id}, RunId: {run.run_id}."
        )


def _check_reuse(run: Run, request: StartRequest) -> None:
    policy = request.workflow_id_reuse_policy
    if policy == _REJECT_DUPLICATE:
        raise _already_started(
            run,
            f"Workflow execution already finished. WorkflowId: {run.workflow_id}, RunId: {run.run_id}. "
            "Workflow Id reuse policy: reject duplicate workflow Id.",
        )
    if policy == _FAILED_ONLY and run.status in _SUCCEEDED:
        raise _already_started(
            run,
            f"Workflow execution already finished successfully. WorkflowId: {run.workflow_id}, RunId: {run.run_id}. "
            "Workflow Id reuse policy: allow duplicate workflow Id if last run failed.",
        )


def _already_started(run: Run, message: str) -> WorkflowAlreadyStarted:
    # The reference names no first run here (recorded: start_request_id_dedup).
    return WorkflowAlreadyStarted(message, run.create_request_id, run.run_id, "")


def _make_way(shared: Shared, run: Run, new_run_id: str) -> None:
    turn = Turn(shared, run)
    details = Payloads()
    payload = details.payloads.add()
    payload.metadata["encoding"] = b"json/plain"
    payload.data = f'"terminated by new runID: {new_run_id}"'.encode()
    terminate(turn, "TerminateIfRunning WorkflowIdReusePolicy", details, HISTORY_SERVICE)
    finish(turn)


# ---- the first event
def _first_backoff(shared: Shared, request: StartRequest) -> int:
    if request.cron_schedule:
        return next_backoff(request.cron_schedule, shared.now, shared.now)
    return duration_of(request, "workflow_start_delay")


def _fill(shared: Shared, event: HistoryEvent, request: StartRequest, run_id: str, backoff: int) -> None:
    attributes = event.workflow_execution_started_event_attributes
    attributes.workflow_type.CopyFrom(request.workflow_type)
    attributes.task_queue.name = request.task_queue.name
    attributes.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
    if request.HasField("input"):
        attributes.input.CopyFrom(request.input)
    execution_timeout, run_timeout, task_timeout = clamped_timeouts(
        shared.limits,
        duration_of(request, "workflow_execution_timeout"),
        duration_of(request, "workflow_run_timeout"),
        duration_of(request, "workflow_task_timeout"),
    )
    if execution_timeout or request.HasField("workflow_execution_timeout"):
        set_duration(attributes.workflow_execution_timeout, execution_timeout)
    if run_timeout or request.HasField("workflow_run_timeout"):
        set_duration(attributes.workflow_run_timeout, run_timeout)
    set_duration(attributes.workflow_task_timeout, task_timeout)
    if execution_timeout:
        expires = later(shared.now, execution_timeout + _MILLISECOND // 2)
        set_timestamp(attributes.workflow_execution_expiration_time, expires - expires % _MILLISECOND)
    if request.HasField("versioning_override"):
        attributes.versioning_override.CopyFrom(request.versioning_override)
    attributes.identity = request.identity
    attributes.workflow_id = shared.execution.execution_id
    attributes.original_execution_run_id = run_id
    attributes.first_execution_run_id = run_id
    attributes.attempt = 1
    if request.HasField("retry_policy"):
        attributes.retry_policy.CopyFrom(request.retry_policy)
    if request.cron_schedule:
        attributes.cron_schedule = request.cron_schedule
        attributes.initiator = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
    set_duration(attributes.first_workflow_task_backoff, backoff)
    if request.HasField("memo"):
        copy_values(request.memo.fields, attributes.memo.fields)
    if request.HasField("search_attributes"):
        copy_values(request.search_attributes.indexed_fields, attributes.search_attributes.indexed_fields)
    if request.HasField("header"):
        attributes.header.CopyFrom(request.header)
    if request.HasField("priority"):
        attributes.priority.CopyFrom(request.priority)
    if request.HasField("user_metadata"):
        event.user_metadata.CopyFrom(request.user_metadata)
    if request.links:
        event.links.extend(request.links)
