"""ResetWorkflowExecution: a new run that has the history of another one up to a workflow task, which fails there; the
workflow goes on from that point with what it was told since (reference: engine 8).

The base run may be open or closed, and need not be the current one. What is stored of it is read before anything is
decided (`NeedsReading`), so that a refused reset has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from temporalio.api.history.v1 import History
from temporalio.api.workflow.v1 import PostResetOperation, WorkflowExecutionOptions

from perdure.engine import reapplying, watching
from perdure.engine.children import tell_children
from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.effects import OfferActivityTask
from perdure.engine.execution import Current
from perdure.engine.finishing import finish
from perdure.engine.messages import CancelExternal, SignalExternal, StartChild
from perdure.engine.needs import NeedsReading, NeedsRun
from perdure.engine.rebuilding import Later, Rebuilding
from perdure.engine.state import ACTIVITY, RUNNING, Run
from perdure.engine.times import later
from perdure.engine.turn import Shared, Turn
from perdure.engine.waking import RUN_ORDER
from perdure.engine.workflow_options import merged_options, option_paths, update_workflow_options
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import EventType, WorkflowExecutionStatus, WorkflowTaskFailedCause
from perdure.errors import InvalidArgument, NotFound

RESETTER: Final = "history-resetter"
_E = EventType
_STARTED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_OPTIONS_UPDATED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_SIGNALED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
_TASK_SCHEDULED: Final = int(_E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
_TASK_STARTED: Final = int(_E.EVENT_TYPE_WORKFLOW_TASK_STARTED)
_TASK_FAILED: Final = int(_E.EVENT_TYPE_WORKFLOW_TASK_FAILED)
_CONTINUED: Final = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW)
_RESET: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
_NO_POLLER: Final = "emptyUuid"
"""Request ID of a started event that no poller asked for, as the reference writes it."""
_ANCESTORS: Final = 100
"""A reset run remembers so many runs before it whose children may be its own."""
_GOES_ON: Final = frozenset(
    {
        int(_E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED),
        int(_E.EVENT_TYPE_WORKFLOW_TASK_FAILED),
        int(_E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT),
        int(_E.EVENT_TYPE_ACTIVITY_TASK_STARTED),
    }
)
"""What never ends what is written in one go: a completion is followed by its commands' events, the start of an
activity by its end."""
_COMMANDS: Final = frozenset(
    int(kind)
    for kind in (
        _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        _E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
        _E.EVENT_TYPE_TIMER_STARTED,
        _E.EVENT_TYPE_TIMER_CANCELED,
        _E.EVENT_TYPE_MARKER_RECORDED,
        _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
        _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        _E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        _E.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    )
)


@dataclass(frozen=True, slots=True)
class Reset:
    """`finish_event_id` is the event that ended (or would end) the workflow task to cut at: events before it are kept.

    `excluded` are numbers of enums.ResetReapplyExcludeType. `options` are set when all is carried over (post-reset
    operations): the options and the paths that count.
    """

    finish_event_id: int
    request_id: str
    reason: str = ""
    excluded: frozenset[int] = frozenset()
    options: Sequence[tuple[WorkflowExecutionOptions, Sequence[str]]] = ()
    identity: str = ""
    """Of who sets them."""


def post_reset_options(
    operations: Iterable[PostResetOperation],
) -> list[tuple[WorkflowExecutionOptions, Sequence[str]]]:
    """The options to set, of operations that say nothing else. Raises InvalidArgument for those that do."""
    wanted: list[tuple[WorkflowExecutionOptions, Sequence[str]]] = []
    for operation in operations:
        name = operation.WhichOneof("variant")
        if name != "update_workflow_options":
            kind = "*workflow.PostResetOperation_SignalWorkflow_" if name else "<nil>"
            raise InvalidArgument(f"unsupported post reset operation: {kind}")
        update = operation.update_workflow_options
        if not update.HasField("update_mask"):
            raise InvalidArgument("UpdateMask is required")
        if not update.HasField("workflow_execution_options"):
            raise InvalidArgument("WorkflowExecutionOptions is required")
        wanted.append((update.workflow_execution_options, option_paths(update.update_mask.paths)))
    return wanted


def reset_workflow(shared: Shared, base: Run, reset: Reset) -> str:
    """The ID of the run that goes on. The same request again answers with the run it made.

    Raises InvalidArgument for an event that no run can be reset to, Needs for what must be read first.
    """
    current = _current(shared)
    if current is not None and current.reset_request_id == reset.request_id:
        return current.run_id
    made = _run(shared, base.reset_run_id) if base.reset_run_id else None
    if made is not None and made.reset_request_id == reset.request_id:
        return made.run_id  # which has gone on in another since
    cut = reset.finish_event_id
    if not 1 < cut < base.next_event_id:
        raise InvalidArgument("Workflow task finish ID must be > 1 && <= workflow last event ID.")
    rebuilding = _read_base(shared, base, cut)
    _check_point(rebuilding)
    for options, paths in reset.options:
        merged_options(Turn(shared, rebuilding.run), options, paths)
    later, chain = _read_chain(shared, base, rebuilding)

    new_run_id = rebuilding.run.run_id
    if current is not None and current.running:
        flushed = _terminate(shared, current, base, reset, rebuilding)
        if current.run_id in chain:
            later = later + flushed
    if base.reset_run_id != new_run_id:
        turn = Turn(shared, base)
        base.reset_run_id = new_run_id
        turn.touch()
        finish(turn)
    _continue(shared, base, rebuilding, later, reset)
    return new_run_id


# ---- what must be known
def _current(shared: Shared) -> Run | None:
    current = shared.execution.current
    if current is None:
        return None
    return _run(shared, current.run_id)


def _run(shared: Shared, run_id: str) -> Run | None:
    """None when it was deleted."""
    run: Run | None = shared.execution.runs.get(run_id)
    if run is None and run_id not in shared.readings:
        raise NeedsRun(run_id)
    return run


def _read_base(shared: Shared, base: Run, cut: int) -> Rebuilding:
    known = shared.readings.get(base.run_id)
    if isinstance(known, Rebuilding):
        return known
    rebuilding = Rebuilding(shared.execution, shared.entropy.uuid(), cut)
    raise NeedsReading(base, rebuilding)


def _read_chain(shared: Shared, base: Run, rebuilding: Rebuilding) -> tuple[list[bytes], set[str]]:
    """What was told the base after the cut, and those it continued as. Runs that are gone end the chain."""
    later = list(rebuilding.events)
    chain = {base.run_id}
    run = base
    while run.status == _CONTINUED:
        follower = _run(shared, run.successor_run_id)
        if follower is None or follower.run_id in chain:
            break
        run = follower
        known = shared.readings.get(run.run_id)
        if not isinstance(known, Later):
            raise NeedsReading(run, Later())
        later += known.events
        chain.add(run.run_id)
    return later, chain


def _check_point(rebuilding: Rebuilding) -> None:
    """Only a pending workflow task can fail, and what was written in one go is kept or dropped as one."""
    cut = rebuilding.cut
    before, at = rebuilding.before, rebuilding.at
    task = rebuilding.run.workflow_task
    closes_together = at == _TASK_SCHEDULED or at in _COMMANDS
    if before in _GOES_ON or (closes_together and before != _TASK_STARTED):
        raise InvalidArgument(
            f"StateRebuilder unable to Rebuild mutable state to event ID: {cut - 1}, version: 0, "
            "this event must be at the boundary"
        )
    if task is None or not rebuilding.run.running:
        raise InvalidArgument(
            f"Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: {cut}"
        )


# ---- the run that was
def _terminate(shared: Shared, current: Run, base: Run, reset: Reset, rebuilding: Rebuilding) -> list[bytes]:
    """End the current run. Its parent belongs to the new run from now on, as do the children that both know and, when
    it is the base, all its children. Returns what was buffered in it and may be carried over."""
    turn = Turn(shared, current)
    known = len(current.changes.events)
    terminate(turn, reset.reason, identity=RESETTER, tell_parent=False, tell_children=False)
    watching.hand_over(current, rebuilding.run)
    if current is base:
        base.reset_run_id = rebuilding.run.run_id
    else:
        tell_children(turn, spared={child.run_id for child in rebuilding.run.children.values() if child.run_id})
    finish(turn)
    carried = rebuilding.carried if current is base else Later.carried
    flushed = History.FromString(b"".join(current.changes.events[known:])).events
    return [event.SerializeToString(deterministic=True) for event in flushed if int(event.event_type) in carried]


# ---- the run that goes on
def _continue(shared: Shared, base: Run, rebuilding: Rebuilding, later: list[bytes], reset: Reset) -> None:
    run = _take_up(shared, base, rebuilding, reset)
    turn = Turn(shared, run)
    _fail_task(turn, base, reset)
    reapplying.reapply(turn, later, reset.excluded)
    for options, paths in reset.options:
        update_workflow_options(turn, options, paths, identity=reset.identity)
    _dispatch_activities(turn)
    _send_again(turn, rebuilding)
    schedule_workflow_task(turn)
    finish(turn)


def _take_up(shared: Shared, base: Run, rebuilding: Rebuilding, reset: Reset) -> Run:
    run = rebuilding.finished()
    now = shared.now
    run.create_request_id = base.create_request_id
    run.chain_request_id = base.chain_request_id
    run.reset_request_id = reset.request_id
    run.ancestors = [*base.ancestors, base.run_id][-_ANCESTORS:]
    run.changes.inherits = (base.run_no, rebuilding.inherited_event_id)
    run.request_ids[run.create_request_id] = (_STARTED, 1)
    for request_id, (event_type, event_id) in base.request_ids.items():
        kept = event_type == _OPTIONS_UPDATED and 0 < event_id < rebuilding.cut
        # A signal is kept or carried over; who sent it and did not hear the answer will send it once more.
        if kept or event_type == _SIGNALED:
            run.request_ids[request_id] = (event_type, event_id)
            run.changes.request_ids.append((request_id, event_type, event_id))
    run.started_at = run.execution_at = now
    run.execution_expires_at = later(now, run.execution_timeout) if run.execution_timeout else 0
    run.run_expires_at = later(now, run.run_timeout) if run.run_timeout else 0
    if run.run_expires_at and run.execution_expires_at:
        run.run_expires_at = min(run.run_expires_at, run.execution_expires_at)
    run.arm(run.run_expires_at, RUN_ORDER, 8)
    execution = shared.execution
    execution.runs[run.run_id] = run
    execution.current = Current(
        run_id=run.run_id,
        run_no=0,
        status=RUNNING,
        first_run_id=run.first_run_id,
        create_request_id=run.create_request_id,
        started_at=now,
    )
    return run


def _fail_task(turn: Turn, base: Run, reset: Reset) -> None:
    run = turn.run
    task = run.workflow_task
    if task is None:
        raise NotFound("Workflow task not found.")
    if not task.started_event_id:
        event = turn.event(_TASK_STARTED)
        started = event.workflow_task_started_event_attributes
        started.scheduled_event_id = task.scheduled_event_id
        started.identity = HISTORY_SERVICE
        started.request_id = _NO_POLLER
        started.history_size_bytes = turn.size_before
        turn.emit(event)
        task = run.workflow_task
        assert task is not None  # applying the event started it
    event = turn.event(_TASK_FAILED)
    failed = event.workflow_task_failed_event_attributes
    failed.scheduled_event_id = task.scheduled_event_id
    failed.started_event_id = task.started_event_id
    failed.cause = _RESET
    failed.failure.message = reset.reason
    failed.failure.reset_workflow_failure_info.SetInParent()
    failed.identity = HISTORY_SERVICE
    failed.base_run_id = base.run_id
    failed.new_run_id = run.run_id
    turn.emit(event)


def _dispatch_activities(turn: Turn) -> None:
    """All attempts are first ones, from now on. Their input is read from their Scheduled events when they start."""
    run = turn.run
    for scheduled_event_id, activity in list(run.activities.items()):
        run.activities[scheduled_event_id] = activity.replace(
            scheduled_at=turn.now, attempt_scheduled_at=turn.now, stamp=turn.next_stamp(), offered=True
        )
        turn.dirty(ACTIVITY, scheduled_event_id)
        for timeout in (activity.schedule_to_start, activity.schedule_to_close):
            if timeout:
                run.arm(turn.now + timeout, scheduled_event_id, ACTIVITY, str(scheduled_event_id))
        turn.effect(OfferActivityTask(run, scheduled_event_id))


def _send_again(turn: Turn, rebuilding: Rebuilding) -> None:
    """What was asked of other executions before the cut, and answered after it or never: asked again in the new run's
    name. A child that the base started is found there and not started twice."""
    run = turn.run
    for event_id, child in run.children.items():
        if not child.run_id:
            turn.send(
                StartChild(
                    to_namespace_id=child.namespace_id,
                    to_workflow_id=child.workflow_id,
                    to_run_id="",
                    from_namespace=run.namespace,
                    from_namespace_id=run.namespace_id,
                    from_workflow_id=run.workflow_id,
                    from_run_id=run.run_id,
                    initiated=rebuilding.initiated[event_id],
                    root_workflow_id=run.root_workflow_id,
                    root_run_id=run.root_run_id,
                    parent_priority=run.priority,
                    ancestors=list(run.ancestors),
                )
            )
    for message, pending in ((SignalExternal, run.signals), (CancelExternal, run.cancels)):
        for event_id, external in pending.items():
            turn.send(
                message(
                    to_namespace_id=external.namespace_id,
                    to_workflow_id=external.workflow_id,
                    to_run_id=external.run_id,
                    from_namespace=run.namespace,
                    from_namespace_id=run.namespace_id,
                    from_workflow_id=run.workflow_id,
                    from_run_id=run.run_id,
                    initiated=rebuilding.initiated[event_id],
                )
            )
