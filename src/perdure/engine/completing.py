"""RespondWorkflowTaskCompleted: the worker's commands become events, all of them or none.

A command that cannot be taken undoes the whole completion; what then is written is the task's failure. Order of what
one completion writes (reference: engine 2.6): [Scheduled, Started of a transient or speculative task], Completed, the
commands' events, what was buffered, [Scheduled [, Started] of the next task].
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field
from temporalio.api.common.v1 import WorkerVersionStamp
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine import chains
from perdure.engine.activities import StartedActivity, start_eager_activity
from perdure.engine.bad_command import BadCommand
from perdure.engine.commands import check_sequence, run_commands
from perdure.engine.completion import Completion
from perdure.engine.effects import Rearm
from perdure.engine.failing import REPORTED_PROBLEMS, fail_for_bad_command, write_timeout
from perdure.engine.items import WorkflowTask
from perdure.engine.pausing import hold_activities
from perdure.engine.speculative import leaves_no_trace, make_normal, schedule_speculative
from perdure.engine.state import Run
from perdure.engine.times import MAX_DURATION, duration_us
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Turn
from perdure.engine.update_messages import carry_out_rest
from perdure.engine.updates import has_unsent, reject_unanswered
from perdure.engine.virtual_events import store_transient
from perdure.engine.worker_marks import BUILD_IDS, note_build_id, note_reset_point
from perdure.engine.workflow_tasks import (
    Poller,
    StartedWorkflowTask,
    clear_sticky,
    reset_sticky,
    schedule_workflow_task,
    start_inline,
    started_task,
)
from perdure.enums import EventType, WorkerVersioningMode, WorkflowTaskFailedCause
from perdure.errors import FailedPrecondition, InvalidArgument, NotFound, PerdureError

INLINE_REQUEST: Final = "request-from-RespondWorkflowTaskCompleted"
_UNHANDLED: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
_NO_STAMP: Final = WorkerVersionStamp()
_VERSIONED: Final = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED


class CompletedTask(Struct, eq=False):
    """`failed`: the error to answer although the turn wrote something (the task's failure or timeout)."""

    new_task: StartedWorkflowTask | None = None
    eager_activities: list[StartedActivity] = field(default_factory=list)
    failed: PerdureError | None = None
    reset_event_id: int = 0
    """The task left no trace: the worker goes back to where it was after this event."""


def complete_workflow_task(turn: Turn, token: TaskToken, request: RespondWorkflowTaskCompletedRequest) -> CompletedTask:
    """Raises NotFound (the token's attempt is over), InvalidArgument (command sequence; a bad command of a transient
    attempt, which stays started until it times out), Needs; nothing is written then."""
    try:
        task = started_task(turn, token)
    except NotFound as gone:
        if not _was_speculative(turn, token):
            raise
        reset_sticky(turn)
        return CompletedTask(failed=gone)
    if request.intermediate_page or request.page_number:
        raise FailedPrecondition(
            f"workflow task completion pagination is disabled for this namespace {turn.run.namespace}"
        )
    _check_versioning(request)
    if request.force_create_new_workflow_task and turn.run.paused:
        raise FailedPrecondition("Workflow is paused and force create new workflow task is not allowed.")
    check_sequence(request.commands)
    chains.prepare(turn, request)

    heartbeat = request.force_create_new_workflow_task and not request.commands and not request.messages
    if heartbeat and turn.now > task.original_scheduled_at + turn.limits.heartbeat_task_span:
        write_timeout(turn, task)
        schedule_workflow_task(turn)
        return CompletedTask(failed=NotFound("workflow task heartbeat timeout"))

    mark = turn.mark()
    try:
        return _complete(turn, task, request, heartbeat)
    except BadCommand as bad:
        turn.back(mark)
        error = InvalidArgument(bad.message)
        if task.transient and bad.cause != _UNHANDLED:
            raise error from bad
        fail_for_bad_command(turn, task, bad, request.identity, request.binary_checksum)
        return CompletedTask(failed=error)
    except Exception:
        turn.back(mark)
        raise


def _was_speculative(turn: Turn, token: TaskToken) -> bool:
    """Whether the token may be of a speculative task that was lost with its server. Its worker believes in events that
    never came to be, so the next task must not build on what that worker remembers."""
    run = turn.run
    return run.running and bool(run.sticky_queue) and token.scheduled_event_id > run.previous_started_event_id


def _complete(
    turn: Turn, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest, heartbeat: bool
) -> CompletedTask:
    run = turn.run
    if leaves_no_trace(run, task, request):
        return _drop(turn, request)
    completed_event_id = _write_completed(turn, task, request)
    run.workflow_task_attempt = 1
    if task.force_closing:
        run.close_attempted = False
    if not _set_sticky(run, request):
        clear_sticky(turn)
    _note_worker(turn, request, completed_event_id)

    outcome = run_commands(turn, request, completed_event_id)
    done = CompletedTask()
    if outcome.closed or not run.running:
        return done
    if run.paused:
        hold_activities(turn)
        outcome.eager.clear()
    worker_version = run.worker_version if request.HasField("worker_version_stamp") else b""
    for scheduled_event_id in outcome.eager:
        done.eager_activities.append(start_eager_activity(turn, scheduled_event_id, request.identity, worker_version))

    force = request.force_create_new_workflow_task
    if run.admitted and not force:
        reject_unanswered(turn)
    if force or outcome.needs_task or run.buffered or turn.unflushed:
        inline = request.return_new_workflow_task
        schedule_workflow_task(turn, offer=not inline)
        next_task = run.workflow_task
        if next_task is not None:
            if heartbeat:
                next_task.original_scheduled_at = task.original_scheduled_at
            if inline:
                done.new_task = start_inline(turn, _same_worker(request, worker_version))
    elif run.admitted:
        done.new_task = _task_for_updates(turn, request, worker_version)
    return done


def _set_sticky(run: Run, request: RespondWorkflowTaskCompletedRequest) -> bool:
    """Note the queue of the worker that now has the run in its cache. False: it keeps none."""
    sticky = request.sticky_attributes
    if not request.HasField("sticky_attributes") or not sticky.worker_task_queue.name:
        return False
    run.sticky_queue = sticky.worker_task_queue.name
    run.sticky_timeout = max(0, min(duration_us(sticky.schedule_to_start_timeout), MAX_DURATION))
    return True


def _same_worker(request: RespondWorkflowTaskCompletedRequest, worker_version: bytes) -> Poller:
    return Poller(identity=request.identity, request_id=INLINE_REQUEST, worker_version=worker_version)


def _task_for_updates(
    turn: Turn, request: RespondWorkflowTaskCompletedRequest, worker_version: bytes
) -> StartedWorkflowTask | None:
    """The next task, when nothing but updates that came meanwhile needs one."""
    if not has_unsent(turn.run):
        return None
    inline = request.return_new_workflow_task
    schedule_speculative(turn, offer=not inline)
    if not inline or turn.run.workflow_task is None:
        return None
    return start_inline(turn, _same_worker(request, worker_version))


def _drop(turn: Turn, request: RespondWorkflowTaskCompletedRequest) -> CompletedTask:
    """All that the task was for was rejected: it never was."""
    run = turn.run
    run.workflow_task = None
    _set_sticky(run, request)
    carry_out_rest(Completion(turn, request, 0, messages_left={message.id: message for message in request.messages}))
    reject_unanswered(turn)
    turn.effect(Rearm(run))
    done = CompletedTask(reset_event_id=run.previous_started_event_id)
    if run.admitted:
        version = run.worker_version if request.HasField("worker_version_stamp") else b""
        done.new_task = _task_for_updates(turn, request, version)
    return done


def _write_completed(turn: Turn, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest) -> int:
    if task.transient:
        store_transient(turn, request.identity)
        stored = turn.run.workflow_task
        assert stored is not None
        task = stored
    elif task.speculative:
        make_normal(turn, request.identity)
    event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    attributes = event.workflow_task_completed_event_attributes
    attributes.scheduled_event_id = task.scheduled_event_id
    attributes.started_event_id = task.started_event_id
    attributes.identity = request.identity
    attributes.binary_checksum = request.binary_checksum
    if request.HasField("worker_version_stamp"):
        attributes.worker_version.CopyFrom(request.worker_version_stamp)
    if request.HasField("sdk_metadata"):
        attributes.sdk_metadata.CopyFrom(request.sdk_metadata)
    if request.HasField("metering_metadata"):
        attributes.metering_metadata.CopyFrom(request.metering_metadata)
    if request.HasField("deployment_options"):
        options = request.deployment_options
        attributes.worker_deployment_name = options.deployment_name
        if options.worker_versioning_mode == _VERSIONED:
            attributes.versioning_behavior = request.versioning_behavior
            attributes.deployment_version.deployment_name = options.deployment_name
            attributes.deployment_version.build_id = options.build_id
    return turn.emit(event)


def _check_versioning(request: RespondWorkflowTaskCompletedRequest) -> None:
    if (
        request.versioning_behavior
        and not request.HasField("deployment_options")
        and not request.HasField("deployment")
    ):
        raise InvalidArgument(
            "versioning behavior cannot be specified without deployment options being set with versioned mode"
        )


# ---- what is noted of the worker
def _note_worker(turn: Turn, request: RespondWorkflowTaskCompletedRequest, completed_event_id: int) -> None:
    """Its version, the build IDs search attribute, the point to reset to if that build proves bad; no problems any
    more."""
    run = turn.run
    stamp = request.worker_version_stamp if request.HasField("worker_version_stamp") else _NO_STAMP
    if stamp is not _NO_STAMP:
        version = stamp.SerializeToString(deterministic=True)
        changed = version != run.worker_version
        run.worker_version = version
    else:
        changed = False
    if changed or BUILD_IDS not in run.search_attributes:
        note_build_id(run, "" if stamp.use_versioning else stamp.build_id)
    if run.search_attributes.pop(REPORTED_PROBLEMS, None) is not None:
        run.changes.visibility = True
    build_id = stamp.build_id
    options = request.deployment_options if request.HasField("deployment_options") else None
    if not build_id and options is not None and options.worker_versioning_mode == _VERSIONED:  # as the event has it
        build_id = options.build_id
    note_reset_point(run, request.binary_checksum, build_id, completed_event_id, turn.now)
