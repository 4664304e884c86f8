"""Time has come: the earliest of a run's deadlines, carried out in a turn of its own.

`run.deadlines` is a heap of hints. Whether one still holds is asked of the state when it comes up, so what moved later
or vanished costs nothing until then.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure.engine import activity_deadlines, timers, workflow_tasks
from perdure.engine.closing import time_out_run
from perdure.engine.failing import time_out_workflow_task
from perdure.engine.state import ACTIVITY, BACKOFF, RUN, TIMER, WORKFLOW_TASK, Run
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_workflow_task

RUN_ORDER = 1 << 62
"""What else is due at the same moment comes to pass before the run's own time is over."""
TIMERS_AT_ONCE = 100
"""More timers that are due fire in the turns that follow: one turn with thousands would keep everybody else waiting."""


def arm_all(run: Run) -> None:
    """Fill the heap of a loaded run."""
    if not run.running:
        return
    run.arm(run.backoff_until, 0, BACKOFF)
    run.arm(run.run_expires_at, RUN_ORDER, RUN)
    if run.workflow_task is not None:
        run.arm(workflow_tasks.deadline(run.workflow_task), 0, WORKFLOW_TASK)
    for timer in run.timers.values():
        run.arm(timer.due, timer.started_event_id, TIMER, timer.timer_id)
    for activity in run.activities.values():
        due = activity_deadlines.next_deadline(run, activity)
        run.arm(due, activity.scheduled_event_id, ACTIVITY, str(activity.scheduled_event_id))


def next_deadline(run: Run) -> int:
    """When something of the run is due, in microseconds since 1970; 0: never."""
    if not run.running:
        return 0
    while run.deadlines:
        due, order, sort, key = run.deadlines[0]
        real, real_order = _due(run, sort, key)
        if real == due and real_order == order:
            return due
        run.disarm()
        run.arm(real, real_order, sort, key)
    return 0


def _due(run: Run, sort: int, key: str) -> tuple[int, int]:
    """When that thing is due, and its place among what is due at the same moment; (0, 0) when it is gone. A timer's ID
    may have been used again since the hint was left."""
    if sort == TIMER:
        timer = run.timers.get(key)
        return (0, 0) if timer is None else (timer.due, timer.started_event_id)
    if sort == ACTIVITY:
        activity = run.activities.get(int(key))
        return (0, 0) if activity is None else (activity_deadlines.next_deadline(run, activity), int(key))
    if sort == WORKFLOW_TASK:
        return (0, 0) if run.workflow_task is None else (workflow_tasks.deadline(run.workflow_task), 0)
    return (run.run_expires_at, RUN_ORDER) if sort == RUN else (run.backoff_until, 0)


def wake(turn: Turn) -> bool:
    """Carry out what is due earliest, and with it what fell due in the same way right after. False when nothing is due.

    Raises Needs (nothing was done then).
    """
    run = turn.run
    due = next_deadline(run)
    if not due or due > turn.now:
        return False
    entry = run.disarm()
    _, _, sort, key = entry
    try:
        if sort in _TOGETHER:
            _together(turn, sort, key)
        else:
            _WAKE[sort](turn)
    except BaseException:
        run.arm(*entry)
        raise
    return True


def _together(turn: Turn, sort: int, key: str) -> None:
    """All timers (or all activities) that fell due with nothing else between: the workflow hears of them in one
    task. With more timers due than fire in a turn, the task comes with the last: the turn ends with it held back, and
    what is still due brings the next turn, also after a crash."""
    run = turn.run
    wake_one = _TOGETHER[sort]
    turn.task_held = True
    wake_one(turn, key)
    woken = 1
    while (due := next_deadline(run)) and due <= turn.now and run.deadlines[0][2] == sort:
        if woken >= TIMERS_AT_ONCE and sort == TIMER:
            return
        wake_one(turn, run.disarm()[3])
        woken += 1
    turn.task_held = False
    if turn.task_wanted:
        schedule_workflow_task(turn)


def _timer(turn: Turn, key: str) -> None:
    timers.fire(turn, turn.run.timers[key])


def _activity(turn: Turn, key: str) -> None:
    run = turn.run
    activity_deadlines.on_deadline(turn, run.activities[int(key)])
    activity = run.activities.get(int(key))
    if activity is not None:
        run.arm(activity_deadlines.next_deadline(run, activity), activity.scheduled_event_id, ACTIVITY, key)


def _first_task(turn: Turn) -> None:
    """The back-off is over; a child's first task still waits until its parent knows of it."""
    run = turn.run
    if run.awaits_parent:
        run.backoff_until = 0
        turn.touch()
        return
    schedule_workflow_task(turn, break_backoff=True)


_WAKE: dict[int, Callable[[Turn], None]] = {
    WORKFLOW_TASK: time_out_workflow_task,
    RUN: time_out_run,
    BACKOFF: _first_task,
}
_TOGETHER: dict[int, Callable[[Turn, str], None]] = {TIMER: _timer, ACTIVITY: _activity}
