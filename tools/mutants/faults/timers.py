"""Timers, and who is woken when."""

from __future__ import annotations

from tools.mutants.fault import Area, Edit

AREA = Area("timers", "tests/engine/test_timers.py", "tests/engine/test_waking.py")
fault = AREA.fault

fault(
    "a timer fires twice",
    "engine/timers.py",
    "    turn.buffer(event)\n    remove_timer(",
    "    turn.buffer(event)\n    turn.buffer(event)\n    remove_timer(",
)
fault(
    "a timer is canceled and fires",
    "engine/apply.py",
    '    _E.EVENT_TYPE_TIMER_CANCELED: _timer_ended("timer_canceled_event_attributes"),',
    "    _E.EVENT_TYPE_TIMER_CANCELED: lambda run, event: None,",
)
fault(
    "a firing that is buffered cannot be taken back",
    "engine/timers.py",
    "            del turn.run.buffered[index]\n",
    "",
)
fault(
    "two open timers have one ID",
    "engine/timers.py",
    "    if timer_id in completion.turn.run.timers:",
    "    if timer_id in ():",
)
fault(
    "a timer fires a moment late",
    "engine/waking.py",
    "    if not due or due > turn.now:",
    "    if not due or due >= turn.now:",
)
fault(
    "the ID of a canceled timer, used again, fires at the old time",
    "engine/waking.py",
    "        if real == due and real_order == order:",
    "        if real:",
)
fault(
    "timers that are due together bring a task each",
    "engine/waking.py",
    "    turn.task_held = True\n",
    "",
)
fault(
    "timers of a loaded run are not armed",
    "engine/waking.py",
    "        run.arm(timer.due, timer.started_event_id, TIMER, timer.timer_id)\n",
    "        pass\n",
    "tests/engine/test_waking.py",
    "tests/runtime/test_timers_and_cache.py",
)
AREA.fault_in_several_places(
    "the run's own end comes before what else is due",
    (
        Edit("engine/waking.py", "RUN_ORDER = 1 << 62", "RUN_ORDER = -1"),
        Edit(
            "engine/apply.py",
            "        run.arm(run.run_expires_at, 1 << 62, RUN)",
            "        run.arm(run.run_expires_at, -1, RUN)",
        ),
    ),
)
fault(
    "the wake-up of a run is not kept in memory",
    "runtime/runtime.py",
    "        self.wakes.arm(loaded.key, run.run_id, wake_at)\n        if self.skipper is not None:\n"
    "            self.skipper.sealed(loaded.key, run)",
    "        if self.skipper is not None:\n            self.skipper.sealed(loaded.key, run)",
    "tests/runtime/test_timers_and_cache.py",
)
fault(
    "the wake-up of a run is not stored",
    "runtime/run_writes.py",
    "            wake_at or None,\n",
    "            None,\n",
    "tests/runtime/test_timers_and_cache.py",
)
fault(
    "a wake-up that is moved earlier rings at the old time",
    "runtime/wakes.py",
    "        if self._running and (self._handle is None or wake_at < self._handle_for):\n            self._schedule()",
    "        if self._running and self._handle is None:\n            self._schedule()",
    "tests/runtime/test_wakes.py",
)
fault(
    "what the store knows of a wake-up overrules what was decided since",
    "runtime/wakes.py",
    "            if run.run_id not in self._armed:\n",
    "            if run.run_id:\n",
    "tests/runtime/test_wakes.py",
    "tests/runtime/test_timers_and_cache.py",
)
fault(
    "of more wake-ups at one moment than a page holds, some are lost",
    "runtime/wakes.py",
    "        self._read_to = (due[-1].wake_at, due[-1].run_no) if len(due) == PAGE else (until, NEVER)",
    "        self._read_to = (due[-1].wake_at, NEVER) if len(due) == PAGE else (until, NEVER)",
    "tests/runtime/test_wakes.py",
    "tests/runtime/test_timers_and_cache.py",
)
fault(
    "the wake-up of a run whose batch was refused stays as decided",
    "runtime/committer.py",
    "        for loaded, run, _ in sealed.sealed_runs:\n            self._on_unsealed(loaded, run)\n",
    "",
    "tests/runtime/test_refused_batches.py",
    "tests/runtime/test_wakes.py",
)
