"""The end of a turn: what grew too large has its consequence, and what is buffered finds its place."""

from __future__ import annotations

from perdure.engine import failing
from perdure.engine.closing import HISTORY_SERVICE, terminate
from perdure.engine.state import ACTIVITY, Run
from perdure.engine.turn import Turn
from perdure.errors import InvalidArgument, PerdureError


def finish(turn: Turn) -> PerdureError | None:
    """Ends the turn; every user of the engine calls this instead of `turn.end`.

    Returns the error to answer instead of the decided reply, when the input made the history or the state too large:
    its change is discarded and the workflow terminated (reference: engine 5.4).
    """
    run = turn.run
    if not turn.changed:
        return None
    error: PerdureError | None = None
    if run.buffered or turn.unflushed:
        if _buffer_overflows(turn):
            failing.overflow(turn)
        turn.settle()
    limits = turn.limits
    reason = ""
    if run.running:
        if run.history_size > limits.history_size:
            reason = "Workflow history size exceeds limit."
        elif run.next_event_id - 1 > limits.history_count:
            reason = "Workflow history count exceeds limit."
        elif run.changes.items and _may_be_bulky(run) and _size_of_items(run) > limits.mutable_state_size:
            reason = "Workflow mutable state size exceeds limit."
    if reason:
        if turn.before is not None:
            turn.back(turn.before)
        terminate(turn, reason, identity=HISTORY_SERVICE)
        error = InvalidArgument(reason)
    turn.end()
    return error


_MANY = 1000
_BULKY = 64 * 1024


def _may_be_bulky(run: Run) -> bool:
    """Whether it is worth adding up: items are small unless there are thousands, or someone heartbeats a lot of
    details."""
    if len(run.activities) + len(run.children) > _MANY:
        return True
    for sort, key in run.changes.items:
        if sort == ACTIVITY:
            activity = run.activities.get(int(key))
            if activity is not None and len(activity.heartbeat_details) > _BULKY:
                return True
    return False


def _size_of_items(run: Run) -> int:
    overhead = 200
    size = len(run.memo) + sum(map(len, run.buffered)) + overhead * (len(run.children) + len(run.timers))
    for a in run.activities.values():
        size += overhead + len(a.heartbeat_details) + len(a.answer) + len(a.last_failure) + len(a.retry_policy)
    return size


def _buffer_overflows(turn: Turn) -> bool:
    run = turn.run
    task = run.workflow_task
    if task is None or not task.started_event_id:
        return False
    limits = turn.limits
    if len(run.buffered) + len(turn.unflushed) > limits.buffered_events:
        return True
    size = sum(map(len, run.buffered)) + sum(event.ByteSize() for event in turn.unflushed)
    return size > limits.buffered_bytes
