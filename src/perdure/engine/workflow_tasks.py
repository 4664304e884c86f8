"""Workflow tasks: scheduled once something happened that the workflow must hear of, started by a poller.

At most one is pending. After a failure the next attempts are *transient*: neither Scheduled nor Started is stored until
the attempt completes; their poll answer carries them as virtual events (`virtual_events.py`). Tasks made for updates
alone are *speculative* (`speculative.py`). How a task ends is in `completing.py` and `failing.py`.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.effects import OfferWorkflowTask, Rearm
from perdure.engine.items import WorkflowTask
from perdure.engine.stale import Stale
from perdure.engine.state import WORKFLOW_TASK, Run
from perdure.engine.times import MINUTE, SECOND, set_duration
from perdure.engine.tokens import WORKFLOW_TASK as WORKFLOW_TASK_TOKEN
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Turn
from perdure.engine.virtual_events import fill_started, virtual_events
from perdure.enums import EventType, SuggestContinueAsNewReason, TaskQueueKind
from perdure.errors import NotFound

_SCHEDULED = EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_NORMAL = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
_STICKY = TaskQueueKind.TASK_QUEUE_KIND_STICKY


class Poller(Struct):
    """Who takes a task. `queue` is the name it polled: the sticky queue's own one when `sticky`."""

    identity: str = ""
    queue: str = ""
    sticky: bool = False
    request_id: str = ""
    worker_version: bytes = b""
    """Serialised WorkerVersionStamp, or empty."""


class StartedWorkflowTask(Struct, eq=False):
    """All that a PollWorkflowTaskQueueResponse needs but the stored events first..last, which the runtime splices in
    before `virtual_events` (the framed Scheduled and Started of a transient or speculative task)."""

    token: bytes
    namespace_id: str
    workflow_id: str
    run_id: str
    workflow_type: str
    queue: str
    """The run's normal queue."""
    first_event_id: int
    last_event_id: int
    virtual_events: bytes
    scheduled_event_id: int
    started_event_id: int
    previous_started_event_id: int
    attempt: int
    scheduled_at: int
    started_at: int
    stamp: int
    sticky: bool
    run: Run
    messages: bytes = b""
    """Serialised entries of the answer's `messages`: requests of updates."""


# ---- scheduling
def schedule_workflow_task(turn: Turn, *, break_backoff: bool = False, offer: bool = True) -> None:
    """Have a worker look at the run, unless a task is pending, the run is closed, or its first task has to wait.

    `break_backoff` ends that wait (cancel request, signal-with-start, the back-off's end). `offer` False keeps the task
    from matching: the caller starts it itself.
    """
    run = turn.run
    task = run.workflow_task
    if task is not None:
        if task.speculative:
            turn.write_speculative()
        return
    if not run.running:
        return
    if run.paused:  # unpausing schedules it
        if break_backoff and (run.backoff_until or run.awaits_parent):
            run.backoff_until = 0
            run.awaits_parent = False
            turn.touch()
        return
    if (run.backoff_until or run.awaits_parent) and not break_backoff:
        return
    if turn.task_held:
        turn.task_wanted = True
        return
    if run.workflow_task_attempt > 1 and (run.buffered or turn.unflushed):
        run.workflow_task_attempt = 1  # with something new to see, it is a task of its own, not a repetition
    turn.flush()
    run.awaits_parent = False
    attempt = run.workflow_task_attempt
    if attempt > 1:
        run.workflow_task = WorkflowTask(
            scheduled_event_id=run.next_event_id,
            attempt=attempt,
            scheduled_at=turn.now,
            original_scheduled_at=turn.now,
            start_to_close=_start_to_close(turn, attempt),
            queue=run.task_queue,
            transient=True,
            stamp=turn.next_stamp(),
        )
        turn.touch()
    else:
        fields = _scheduled_fields(run.sticky_queue, run.task_queue, run.task_timeout, attempt)
        turn.emit(turn.event(_SCHEDULED, fields))
        task = run.workflow_task
        assert task is not None  # made by applying the event
        task.stamp = turn.next_stamp()
        if task.sticky:
            task.schedule_to_start = run.sticky_timeout
            if run.sticky_timeout:
                run.arm(turn.now + run.sticky_timeout, 0, WORKFLOW_TASK)
    if offer:
        assert run.workflow_task is not None
        turn.effect(OfferWorkflowTask(run, run.workflow_task.stamp))


def _start_to_close(turn: Turn, attempt: int) -> int:
    """Attempts from the fourth on are paced by a longer and longer timeout (reference: engine 2.4)."""
    timeout = turn.run.task_timeout
    if attempt < 4:
        return timeout
    pause = min(5 * SECOND << min(attempt - 4, 20), 10 * MINUTE)
    return timeout + int(pause * (0.8 + 0.2 * turn.entropy.jitter()))


@lru_cache(1024)
def _scheduled_fields(sticky_queue: str, task_queue: str, start_to_close: int, attempt: int) -> bytes:
    """What most tasks of a queue's runs have in common. A serialised HistoryEvent."""
    event = HistoryEvent()
    attributes = event.workflow_task_scheduled_event_attributes
    queue = attributes.task_queue
    if sticky_queue:
        queue.name = sticky_queue
        queue.kind = _STICKY
        queue.normal_name = task_queue
    else:
        queue.name = task_queue
        queue.kind = _NORMAL
    set_duration(attributes.start_to_close_timeout, start_to_close)
    attributes.attempt = attempt
    return event.SerializeToString()


# ---- starting
def start_workflow_task(turn: Turn, scheduled_event_id: int, stamp: int, poller: Poller) -> StartedWorkflowTask:
    """Hand the pending task to a poller. Raises Stale when that very task is not waiting any more."""
    run = turn.run
    task = run.workflow_task
    if (
        task is None
        or not run.running
        or task.started_event_id
        or task.stamp != stamp
        or task.scheduled_event_id != scheduled_event_id
        or (poller.sticky and task.queue != poller.queue)
    ):
        raise Stale
    if task.speculative and not run.admitted:
        run.workflow_task = None  # there is nothing to tell
        raise Stale
    sticky = poller.sticky and task.sticky  # a poll may name a normal queue as if it were a worker's own
    if run.sticky_queue and not sticky:
        clear_sticky(turn)
    if task.transient and task.scheduled_event_id != run.next_event_id:
        # Events came since the failure: the worker sees something new, so this is a first attempt again, and stored.
        run.workflow_task = None
        run.workflow_task_attempt = 1
        schedule_workflow_task(turn, break_backoff=True, offer=False)
        task = run.workflow_task
        assert task is not None
    stamp = task.stamp
    size = turn.size_before
    reasons = _suggest_continue_as_new(turn, size)
    if task.transient or task.speculative:
        started = task.replace(
            started_event_id=task.scheduled_event_id + 1,
            started_at=turn.now,
            request_id=poller.request_id,
            identity=poller.identity,
            worker_version=poller.worker_version,
        )
        run.arm(turn.now + task.start_to_close, 0, WORKFLOW_TASK)
        run.workflow_task = started
        if task.speculative:
            turn.effect(Rearm(run))
        else:
            turn.touch()
    else:
        event = turn.event(_STARTED)
        fill_started(
            event,
            task.scheduled_event_id,
            poller.identity,
            poller.request_id,
            poller.worker_version,
            size,
            reasons,
        )
        turn.emit(event)
        written = run.workflow_task
        assert written is not None
        started = written
    started.history_size = size
    started.suggest_continue_as_new = bool(reasons)
    started.suggest_reasons = reasons
    started.force_closing = run.close_attempted
    answer = answer_of(run, started, sticky)
    if run.admitted:
        from perdure.engine.update_messages import requests_for  # which imports what completes tasks

        answer.messages = requests_for(run, started.started_event_id)
    return answer


def _suggest_continue_as_new(turn: Turn, size: int) -> list[int]:
    reasons = []
    if size >= turn.limits.history_size_suggest:
        reasons.append(int(SuggestContinueAsNewReason.SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE))
    if turn.run.next_event_id >= turn.limits.history_count_suggest:
        reasons.append(int(SuggestContinueAsNewReason.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS))
    updates = turn.run.updates
    limit = turn.limits.updates_per_run
    if updates and limit and len(updates) + len(turn.run.admitted) >= limit * turn.limits.updates_suggest:
        reasons.append(int(SuggestContinueAsNewReason.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_UPDATES))
    return reasons


def answer_of(run: Run, task: WorkflowTask, sticky: bool) -> StartedWorkflowTask:
    """What the poller of the started task gets; `sticky`: it holds the history up to its last completion."""
    token = TaskToken(
        run.namespace_id,
        run.workflow_id,
        run.run_id,
        WORKFLOW_TASK_TOKEN,
        task.scheduled_event_id,
        task.started_event_id,
        task.attempt,
        task.stamp,
        task.started_at,
    )
    return StartedWorkflowTask(
        token=token.encode(),
        namespace_id=run.namespace_id,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        queue=run.task_queue,
        first_event_id=run.previous_started_event_id + 1 if sticky else 1,
        last_event_id=task.scheduled_event_id - 1 if task.transient or task.speculative else task.started_event_id,
        virtual_events=virtual_events(run) if task.transient or task.speculative else b"",
        scheduled_event_id=task.scheduled_event_id,
        started_event_id=task.started_event_id,
        previous_started_event_id=run.previous_started_event_id,
        attempt=task.attempt,
        scheduled_at=task.scheduled_at,
        started_at=task.started_at,
        stamp=task.stamp,
        sticky=sticky,
        run=run,
    )


def start_inline(turn: Turn, poller: Poller) -> StartedWorkflowTask:
    """Start the task that this turn scheduled without matching, for the worker that waits for the answer. It holds the
    history up to here, so it gets the events since its last completion only, also without a sticky queue."""
    run = turn.run
    task = run.workflow_task
    assert task is not None
    poller.sticky = bool(run.sticky_queue)
    poller.queue = run.sticky_queue
    answer = start_workflow_task(turn, task.scheduled_event_id, task.stamp, poller)
    answer.first_event_id = run.previous_started_event_id + 1
    answer.sticky = True
    return answer


# ---- tasks that lost their way
def started_task(turn: Turn, token: TaskToken) -> WorkflowTask:
    """The started task that the token was given for. Raises NotFound `Workflow task not found.`"""
    run = turn.run
    task = run.workflow_task
    if (
        task is None
        or not run.running
        or not task.started_event_id
        or task.scheduled_event_id != token.scheduled_event_id
        or task.started_event_id != token.started_event_id
        or task.attempt != token.attempt
        or task.stamp != token.stamp
        or task.started_at != token.started_at
    ):
        raise NotFound("Workflow task not found.")
    return task


def reissue_workflow_task(turn: Turn, token: TaskToken) -> StartedWorkflowTask | None:
    """The poller went away before its answer left: the same started task for another poller of that queue, under a new
    stamp, so that the first token is dead. None when the task ended meanwhile."""
    try:
        task = started_task(turn, token)
    except NotFound:
        return None
    task = task.replace(stamp=_new_stamp(turn, task))
    run = turn.run
    run.workflow_task = task
    if not task.speculative:
        turn.touch()
    answer = answer_of(run, task, task.sticky and task.queue == run.sticky_queue)
    if run.admitted:
        from perdure.engine.update_messages import requests_for  # which imports what completes tasks

        answer.messages = requests_for(run, task.started_event_id, again=True)
    return answer


def sticky_unavailable(turn: Turn, stamp: int) -> None:
    """Nobody polls the sticky queue: the task goes to the normal one. Its Scheduled event and its schedule-to-start
    timer stay as they are; the sticky queue is forgotten when a poller of the normal one takes the task. Raises
    Stale."""
    task = turn.run.workflow_task
    if task is None or task.started_event_id or task.stamp != stamp:
        raise Stale
    _move_to_normal(turn, task)


def clear_sticky(turn: Turn) -> None:
    run = turn.run
    if run.sticky_queue:
        run.sticky_queue = ""
        run.sticky_timeout = 0
        if run.workflow_task is None or not run.workflow_task.speculative:
            turn.touch()


def reset_sticky(turn: Turn) -> None:
    """ResetStickyTaskQueue. A task that waits in the sticky queue moves, as its pollers would refuse it from now on."""
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    clear_sticky(turn)
    task = run.workflow_task
    if task is not None and task.sticky and not task.started_event_id:
        _move_to_normal(turn, task)


def _move_to_normal(turn: Turn, task: WorkflowTask) -> None:
    run = turn.run
    run.workflow_task = task.replace(queue=run.task_queue, sticky=False, stamp=_new_stamp(turn, task))
    if not task.speculative:
        turn.touch()
    turn.effect(OfferWorkflowTask(run, run.workflow_task.stamp))


def _new_stamp(turn: Turn, task: WorkflowTask) -> int:
    return turn.volatile_stamp() if task.speculative else turn.next_stamp()


def deadline(task: WorkflowTask) -> int:
    """When the task times out; 0: never."""
    if task.started_event_id:
        return task.started_at + task.start_to_close
    if task.schedule_to_start:
        return task.scheduled_at + task.schedule_to_start
    return 0
