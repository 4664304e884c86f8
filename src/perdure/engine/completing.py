"""RespondWorkflowTaskCompleted: the worker's commands become events, all of them or none.

A command that cannot be taken undoes the whole completion; what then is written is the task's failure. Order of what
one completion writes (reference: engine 2.6): [Scheduled, Started of a transient task], Completed, the commands'
events, what was buffered, [Scheduled [, Started] of the next task].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine import chains
from perdure.engine.activities import StartedActivity, start_eager_activity
from perdure.engine.bad_command import BadCommand
from perdure.engine.commands import check_sequence, run_commands
from perdure.engine.failing import REPORTED_PROBLEMS, fail_for_bad_command, write_timeout
from perdure.engine.pausing import hold_activities
from perdure.engine.state import WorkflowTask
from perdure.engine.times import MAX_DURATION, duration_us
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Turn
from perdure.engine.worker_marks import BUILD_IDS, note_build_id, note_reset_point
from perdure.engine.workflow_tasks import (
    Poller,
    StartedWorkflowTask,
    clear_sticky,
    schedule_workflow_task,
    start_inline,
    started_task,
    store_transient,
)
from perdure.enums import EventType, WorkerVersioningMode, WorkflowTaskFailedCause
from perdure.errors import FailedPrecondition, InvalidArgument, NotFound, PerdureError

INLINE_REQUEST: Final = "request-from-RespondWorkflowTaskCompleted"
_UNHANDLED: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
_VERSIONED: Final = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED


@dataclass(slots=True)
class CompletedTask:
    """`failed`: the error to answer although the turn wrote something (the task's failure or timeout)."""

    new_task: StartedWorkflowTask | None = None
    eager_activities: list[StartedActivity] = field(default_factory=list)
    failed: PerdureError | None = None


def complete_workflow_task(turn: Turn, token: TaskToken, request: RespondWorkflowTaskCompletedRequest) -> CompletedTask:
    """Raises NotFound (the token's attempt is over), InvalidArgument (command sequence; a bad command of a transient
    attempt, which stays started until it times out), Needs; nothing is written then."""
    task = started_task(turn, token)
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


def _complete(
    turn: Turn, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest, heartbeat: bool
) -> CompletedTask:
    run = turn.run
    completed_event_id = _write_completed(turn, task, request)
    run.workflow_task_attempt = 1
    if task.force_closing:
        run.close_attempted = False
    sticky = request.sticky_attributes
    if request.HasField("sticky_attributes") and sticky.worker_task_queue.name:
        run.sticky_queue = sticky.worker_task_queue.name
        run.sticky_timeout = max(0, min(duration_us(sticky.schedule_to_start_timeout), MAX_DURATION))
    else:
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
    if force or outcome.needs_task or run.buffered or turn.has_unflushed:
        inline = request.return_new_workflow_task
        schedule_workflow_task(turn, offer=not inline)
        next_task = run.workflow_task
        if next_task is not None:
            if heartbeat:
                next_task.original_scheduled_at = task.original_scheduled_at
            if inline:
                poller = Poller(identity=request.identity, request_id=INLINE_REQUEST, worker_version=worker_version)
                done.new_task = start_inline(turn, poller)
    return done


def _write_completed(turn: Turn, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest) -> int:
    if task.transient:
        store_transient(turn, request.identity)
        stored = turn.run.workflow_task
        assert stored is not None
        task = stored
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
    stamp = request.worker_version_stamp
    if request.HasField("worker_version_stamp"):
        version = stamp.SerializeToString(deterministic=True)
        changed = version != run.worker_version
        run.worker_version = version
    else:
        changed = False
    if changed or BUILD_IDS not in run.search_attributes:
        note_build_id(run, "" if stamp.use_versioning else stamp.build_id)
    if run.search_attributes.pop(REPORTED_PROBLEMS, None) is not None:
        run.changes.visibility = True
    build_id = stamp.build_id or request.deployment_options.build_id
    note_reset_point(run, request.binary_checksum, build_id, completed_event_id, turn.now)
