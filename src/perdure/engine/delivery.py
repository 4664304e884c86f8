"""The single entry for messages from other executions (and from other runs of the same one)."""

from __future__ import annotations

from perdure.engine import childhood, children, externals
from perdure.engine.batches.operations import operate
from perdure.engine.effects import Send
from perdure.engine.finishing import finish
from perdure.engine.messages import (
    BatchOperation,
    CancelExternal,
    ChildClosed,
    ChildStarted,
    ChildStartFailed,
    ExternalResult,
    Message,
    ParentClosed,
    ParentReady,
    SignalExternal,
    StartChild,
    StartScheduled,
    StopScheduled,
)
from perdure.engine.schedules import starting
from perdure.engine.state import Run
from perdure.engine.turn import Shared, Turn


def deliver(shared: Shared, run: Run | None, message: Message) -> None:
    """Decide one message. `run` is the named run, or the execution's current one when none is named; None when there is
    no such run.

    Never refuses: what cannot be done is answered by a message, or, when nobody waits for it any more (the run closed,
    the child is not pending), changes nothing. Turns are finished here.
    """
    if isinstance(message, StartChild):
        childhood.create_child(shared, message)
        return
    if isinstance(message, BatchOperation):
        operate(shared, run, message)
        return
    if isinstance(message, (ChildStarted, ChildStartFailed, ChildClosed)) and _was_reset(run):
        assert run is not None
        shared.effects.append(Send(message.replace(to_run_id=run.reset_run_id)))
        return
    if isinstance(message, StartScheduled):
        starting.start_scheduled(shared, run, message)
        return
    turn = Turn(shared, run) if run is not None else None
    match message:
        case SignalExternal():
            externals.receive_signal(shared, turn, message)
        case CancelExternal():
            externals.receive_cancel(shared, turn, message)
        case ChildStarted() if turn is None:
            shared.effects.append(Send(children.release(message)))
        case _ if turn is None:
            return
        case ChildStarted():
            children.record_started(turn, message)
        case ChildStartFailed():
            children.record_start_failed(turn, message)
        case ChildClosed():
            children.record_closed(turn, message)
        case ParentReady():
            childhood.parent_is_ready(turn)
        case ParentClosed():
            childhood.parent_closed(turn, message)
        case StopScheduled():
            starting.stop_scheduled(turn, message)
        case ExternalResult():
            externals.record_result(turn, message)
        case _:
            raise TypeError(f"no receiver for {type(message).__name__}")
    if turn is not None:
        finish(turn)


def _was_reset(run: Run | None) -> bool:
    """Its children belong to the run that it was reset to."""
    return run is not None and not run.running and bool(run.reset_run_id)
