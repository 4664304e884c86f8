"""Speculative workflow tasks: made for an update when nothing else needs one, and stored only if something comes of
them.

Their Scheduled and Started are virtual, with the next IDs of the history, until something is written to the run:
whatever that is, it comes after those two, which make the task a normal one (`make_normal`, called by `Turn.emit`). A
task whose updates were all rejected is dropped without a trace. Everything here but that changes nothing durable, so it
must not `touch`; what it moves (deadlines, offers) it says by effects. Source: reference advanced 1.8.
"""

from __future__ import annotations

from typing import Final

from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine.effects import OfferWorkflowTask, Rearm
from perdure.engine.items import WorkflowTask
from perdure.engine.state import WORKFLOW_TASK, Run
from perdure.engine.times import SECOND
from perdure.engine.turn import Turn
from perdure.engine.virtual_events import virtual_scheduled, virtual_started

SCHEDULE_TO_START: Final = 5 * SECOND
"""On any queue: a speculative task has no row, so that one which nobody takes must become a normal one."""
EVENTS_TO_GO_BACK: Final = 10
"""How many events a worker may have to forget when a task is dropped."""
_REJECTION: Final = "temporal.api.update.v1.Rejection"


def schedule_speculative(turn: Turn, *, offer: bool = True) -> None:
    """Have a worker look at the updates that wait, unless a task is pending, which then carries them. A start delay or
    back-off does not hold them up; a child whose parent does not know of it yet gets its first task in
    a moment, a paused workflow when it is unpaused."""
    run = turn.run
    if run.workflow_task is not None or not run.running or run.awaits_parent or run.paused:
        return
    sticky = run.sticky_queue
    run.workflow_task = WorkflowTask(
        scheduled_event_id=run.next_event_id,
        attempt=1,
        scheduled_at=turn.now,
        original_scheduled_at=turn.now,
        start_to_close=run.task_timeout,
        schedule_to_start=SCHEDULE_TO_START,
        queue=sticky or run.task_queue,
        sticky=bool(sticky),
        speculative=True,
        scheduled_on_sticky=sticky,
        stamp=turn.volatile_stamp(),
    )
    run.arm(turn.now + SCHEDULE_TO_START, 0, WORKFLOW_TASK)
    if offer:
        turn.effect(OfferWorkflowTask(run, run.workflow_task.stamp))
        turn.effect(Rearm(run))


def make_normal(turn: Turn, identity: str | None = None, *, offer: bool = True) -> None:
    """Write the pending speculative task's events: it is a normal one from now on. `identity` is for the Started event,
    the poller's by default. One that waits for a poller is offered again, as a task that is stored, unless it ends in
    this very turn (`offer` False)."""
    run = turn.run
    task = run.workflow_task
    assert task is not None
    assert task.speculative
    run.workflow_task = None
    turn.emit(virtual_scheduled(run, task, 0))
    if task.started_event_id:
        turn.emit(virtual_started(task, task.scheduled_event_id, task.identity if identity is None else identity))
    timeout = run.sticky_timeout if task.sticky and not task.started_event_id else 0
    run.workflow_task = task = task.replace(speculative=False, schedule_to_start=timeout)
    if timeout:
        run.arm(task.scheduled_at + timeout, 0, WORKFLOW_TASK)
    if not task.started_event_id and offer:
        task.stamp = turn.next_stamp()
        turn.effect(OfferWorkflowTask(run, task.stamp))


def forget_speculative(turn: Turn) -> None:
    """The run closes: a speculative task that nobody took leaves no trace."""
    task = turn.run.workflow_task
    if task is not None and task.speculative and not task.started_event_id:
        turn.run.workflow_task = None


def leaves_no_trace(run: Run, task: WorkflowTask, request: RespondWorkflowTaskCompletedRequest) -> bool:
    """Whether a completion may be dropped, as if its task had never been: it only rejects updates, and its worker can
    go back to where it was before. A workflow that has not begun yet has nowhere to go back to."""
    if not task.speculative or request.commands or request.force_create_new_workflow_task or not run.completed_tasks:
        return False
    if any(not message.body.type_url.endswith(_REJECTION) for message in request.messages):
        return False
    # The completion of the last task comes right after its start.
    between = task.scheduled_event_id - (run.previous_started_event_id + 2)
    return between == 0 or (
        request.capabilities.discard_speculative_workflow_task_with_events and between <= EVENTS_TO_GO_BACK
    )
