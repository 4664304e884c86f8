"""The workflow's side: started and stopped for a schedule, and telling it how the chain of runs ended.

A run that was started for a schedule carries whom to tell (`Run.watchers`); a successor takes that over, and the close
of a run without one is told.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.engine.closing import terminate
from perdure.engine.effects import Send
from perdure.engine.messages import Message, ScheduledRefused, ScheduledStarted, StartScheduled, StopScheduled
from perdure.engine.signals import request_cancel
from perdure.engine.start import start_workflow
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn
from perdure.errors import PerdureError


def start_scheduled(shared: Shared, current: Run | None, message: StartScheduled) -> None:
    """Start the workflow, and answer the schedule either way. `current` is the ID's latest run."""
    request = StartWorkflowExecutionRequest.FromString(message.request)
    reply: Message
    try:
        outcome = start_workflow(shared, current, request)
    except PerdureError:
        reply = ScheduledRefused(number=message.number)
    else:
        run = outcome.run
        if run is not None and run is not current:
            run.watchers = [_watcher(message)]
        reply = ScheduledStarted(number=message.number, run_id=outcome.run_id)
    addressed = reply.replace(
        to_namespace_id=message.to_namespace_id,
        to_workflow_id=message.from_schedule_id,
        to_run_id=message.from_run_id,
    )
    shared.effects.append(Send(addressed))


def _watcher(message: StartScheduled) -> list[Any]:
    return [message.from_schedule_id, message.from_run_id, message.number]


def stop_scheduled(turn: Turn, message: StopScheduled) -> None:
    """Make way for the next one: cancelled, or terminated, if it is still the one that is meant. The caller ends the
    turn."""
    run = turn.run
    if not run.running or run.first_run_id != message.first_run_id:
        return
    if message.terminate:
        terminate(turn, "terminated by schedule overlap policy", identity=message.identity)
    else:
        request_cancel(turn, reason="cancelled by schedule overlap policy", identity=message.identity)
