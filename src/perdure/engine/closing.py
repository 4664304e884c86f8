"""How runs end other than by their own command: terminated, or out of time; and what every close brings about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from temporalio.api.common.v1 import Link, Payloads

from perdure.engine import chains, children, updates, watching
from perdure.engine.effects import Closed
from perdure.engine.pause_info import note_pauses
from perdure.engine.speculative import forget_speculative
from perdure.engine.state import CANCEL, SIGNAL, TIMER
from perdure.engine.turn import Turn
from perdure.enums import EventType, WorkflowTaskFailedCause
from perdure.errors import NotFound

HISTORY_SERVICE: Final = "history-service"
"""The identity of what the server itself does."""
_FORCE_CLOSE = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND


def terminate(
    turn: Turn,
    reason: str,
    details: Payloads | None = None,
    identity: str = HISTORY_SERVICE,
    links: Iterable[Link] = (),
    *,
    first_execution_run_id: str = "",
    tell_parent: bool = True,
    tell_children: bool = True,
) -> None:
    """End the run at once. Raises NotFound when it is closed, or not of the chain asked for.

    A reset keeps the parent and the children of the run it terminates: they belong to the new run.
    """
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    if first_execution_run_id and first_execution_run_id != run.first_run_id:
        raise NotFound("workflow execution not found")
    close_started_task(turn)
    event = turn.event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
    attributes = event.workflow_execution_terminated_event_attributes
    attributes.reason = reason
    attributes.identity = identity
    if details is not None:
        attributes.details.CopyFrom(details)
    event.links.extend(links)
    turn.emit(event)
    after_close(turn, tell_parent=tell_parent, tell_children=tell_children)


def time_out_run(turn: Turn) -> None:
    """The run's time is over: retried or followed by its next cron run unless the whole chain's time is over too."""
    successor = chains.after_timeout(turn)
    close_started_task(turn)
    event = turn.event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT)
    attributes = event.workflow_execution_timed_out_event_attributes
    attributes.retry_state = successor.retry_state  # type: ignore[assignment] # an int of that enum
    attributes.new_execution_run_id = successor.run_id
    turn.emit(event)
    after_close(turn)
    successor.create()


def close_started_task(turn: Turn) -> None:
    """Fail the started workflow task, if any, so that the buffered events appear before what comes next.

    Of an attempt that history knows nothing of, history gets nothing.
    """
    run = turn.run
    forget_speculative(turn)
    task = run.workflow_task
    if task is not None and task.started_event_id:
        if not task.transient:
            event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
            attributes = event.workflow_task_failed_event_attributes
            attributes.scheduled_event_id = task.scheduled_event_id
            attributes.started_event_id = task.started_event_id
            attributes.cause = _FORCE_CLOSE
            attributes.identity = HISTORY_SERVICE
            turn.emit(event)
        run.workflow_task = None
        turn.touch()
    turn.flush()


def after_close(turn: Turn, *, tell_parent: bool = True, tell_children: bool = True) -> None:
    """To be called right after a close event was emitted, by whoever emitted it (a successor run comes after this).

    What was pending stays listed, as the reference does, but is dead: no deadline of a closed run is due, no answer to
    its tasks is taken. Timers and external requests are forgotten.
    """
    run = turn.run
    turn.drop_buffer()
    run.workflow_task = None
    run.sticky_queue = ""
    run.sticky_timeout = 0
    run.backoff_until = 0
    run.awaits_parent = False
    if run.pause_info:
        run.pause_info = b""
        note_pauses(turn)
    for sort, items in ((TIMER, run.timers), (SIGNAL, run.signals), (CANCEL, run.cancels)):
        for key in items:
            turn.dirty(sort, key)
        items.clear()
    if run.admitted or run.updates:
        updates.abort_all(turn)
    if tell_children and run.children:
        children.tell_children(turn)
    if tell_parent and run.parent is not None and not run.successor_run_id:
        children.tell_parent(turn)
    if run.watchers and tell_parent and not run.successor_run_id:
        watching.tell_watchers(turn)
    current = turn.execution.current
    if current is not None and current.run_id == run.run_id:
        current.status = run.status
    turn.effect(Closed(run))
