"""Workflow tasks, and the order of what is written around them."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("tasks", "tests/engine/test_workflow_tasks.py", "tests/engine/test_commands.py")
fault = AREA.fault

fault(
    "a workflow task under an old stamp is started",
    "engine/workflow_tasks.py",
    "        or task.stamp != stamp\n        or task.scheduled_event_id != scheduled_event_id\n",
    "        or task.scheduled_event_id != scheduled_event_id\n",
)
fault(
    "the first token of a task that was given out again still works",
    "engine/workflow_tasks.py",
    "        or task.stamp != token.stamp\n        or task.started_at",
    "        or task.started_at",
)
fault(
    "a workflow task is given to two pollers",
    "engine/workflow_tasks.py",
    "        or task.started_event_id\n        or task.stamp != stamp\n",
    "        or task.stamp != stamp\n",
)
fault(
    "buffered completions keep the place in which they came",
    "engine/turn.py",
    "        if len(events) > 1:\n            events = [e for e",
    "        if len(events) > 1000:\n            events = [e for e",
    "tests/engine/test_workflow_tasks.py",
    "tests/engine/test_activities.py",
    "tests/engine/test_children.py",
    "tests/engine/test_signals.py",
)
fault(
    "an event that comes during a task is dropped",
    "engine/turn.py",
    "                run.buffered.extend(e.SerializeToString(deterministic=True) for e in self.unflushed)",
    "                run.buffered.extend(e.SerializeToString(deterministic=True) for e in self.unflushed[1:])",
)
fault(
    "of several buffered events the newest are written first",
    "engine/turn.py",
    "        events = [HistoryEvent.FromString(blob) for blob in run.buffered]\n",
    "        events = [HistoryEvent.FromString(blob) for blob in reversed(run.buffered)]\n",
    "tests/engine/test_workflow_tasks.py",
    "tests/engine/test_signals.py",
)
fault(
    "what is buffered does not bring a next task",
    "engine/completing.py",
    "    if force or outcome.needs_task or run.buffered or turn.unflushed:",
    "    if force or outcome.needs_task or turn.unflushed:",
)
fault(
    "the sticky queue is kept after nobody took a task from it",
    "engine/failing.py",
    "        clear_sticky(turn)\n        if event is not None:",
    "        if event is not None:",
)
fault(
    "the sticky queue is kept when a worker of the normal queue takes the task",
    "engine/workflow_tasks.py",
    "    if run.sticky_queue and not sticky:\n        clear_sticky(turn)\n",
    "",
)
fault(
    "the sticky queue is kept when a worker has no cache",
    "engine/completing.py",
    "    if not _set_sticky(run, request):\n        clear_sticky(turn)\n",
    "    _set_sticky(run, request)\n",
)
fault(
    "a failure on a sticky queue counts as an attempt",
    "engine/failing.py",
    "        run.workflow_task_attempt = 1\n        clear_sticky(turn)\n",
    "        run.workflow_task_attempt = task.attempt + 1\n        clear_sticky(turn)\n",
)
fault(
    "a sticky worker gets one event too many",
    "engine/workflow_tasks.py",
    "        first_event_id=run.previous_started_event_id + 1 if sticky else 1,",
    "        first_event_id=run.previous_started_event_id if sticky else 1,",
)
fault(
    "the second attempt of a workflow task is written to the history",
    "engine/workflow_tasks.py",
    "    if attempt > 1:\n        run.workflow_task = WorkflowTask(",
    "    if attempt > 2:\n        run.workflow_task = WorkflowTask(",
)
fault(
    "each failure of a transient task is written to the history",
    "engine/failing.py",
    "    if not task.transient:\n        event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)",
    "    if task is not None:\n        event = turn.event(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)",
)
fault(
    "a transient task that completes leaves no Scheduled and Started",
    "engine/completing.py",
    "        store_transient(turn, request.identity)\n        stored = turn.run.workflow_task\n",
    "        stored = turn.run.workflow_task\n",
)
fault(
    "a workflow closes over a signal that its worker has not seen",
    "engine/commands.py",
    "    if completion.turn.run.buffered:\n        raise BadCommand(_UNHANDLED)",
    "    pass",
)
fault(
    "signals are taken while a workflow tries again to close",
    "engine/failing.py",
    "        turn.run.close_attempted = True\n",
    "        pass\n",
    "tests/engine/test_workflow_tasks.py",
    "tests/engine/test_signals.py",
)
fault(
    "the commands before a bad one stay carried out",
    "engine/completing.py",
    "        turn.back(mark)\n        error = InvalidArgument(bad.message)",
    "        error = InvalidArgument(bad.message)",
)
fault(
    "the effects of a refused completion remain",
    "engine/turn.py",
    "        del self.effects[mark.effects :]\n",
    "",
    "tests/engine/test_updates.py",
)
fault(
    "commands after the one that closes are taken",
    "engine/commands.py",
    "        if closing in _CLOSING:",
    "        if closing in ():",
)
fault(
    "a worker that only asks for more time gets it for ever",
    "engine/completing.py",
    "                next_task.original_scheduled_at = task.original_scheduled_at",
    "                pass",
)
fault(
    "a run has as many events as its limit and one more",
    "engine/finishing.py",
    "run.next_event_id - 1 > limits.history_count:",
    "run.next_event_id - 1 > limits.history_count + 1:",
)
fault(
    "more is buffered than may wait for a task",
    "engine/finishing.py",
    "    if len(run.buffered) + len(turn.unflushed) > limits.buffered_events:",
    "    if len(run.buffered) > limits.buffered_events:",
)
fault(
    "a signal that was sent twice is written twice",
    "engine/signals.py",
    "        turn.remember_request(request_id, _SIGNALED)",
    "        pass",
    "tests/engine/test_signals.py",
)
fault(
    "a signal under the request ID of the start counts as seen",
    "engine/signals.py",
    "        if seen is not None and (seen[0] == _SIGNALED or break_backoff):",
    "        if seen is not None:",
    "tests/engine/test_signals.py",
    "tests/engine/test_start.py",
)
fault(
    "a run takes one signal more than its limit",
    "engine/signals.py",
    "        and _signals(turn) >= turn.limits.signals_per_run",
    "        and _signals(turn) > turn.limits.signals_per_run",
    "tests/engine/test_signals.py",
)
fault(
    "a workflow is asked twice to cancel itself",
    "engine/signals.py",
    "    if not run.running or run.cancel_requested:\n        return",
    "    if not run.running:\n        return",
    "tests/engine/test_signals.py",
)
fault(
    "a cancel request that is buffered is not known yet",
    "engine/signals.py",
    "    run.cancel_requested = True  # at once, also while the event is buffered\n",
    "",
    "tests/engine/test_signals.py",
)
fault(
    "a cancel request for another chain is taken",
    "engine/signals.py",
    "    if first_execution_run_id and first_execution_run_id != run.first_run_id:",
    "    if first_execution_run_id and not run.first_run_id:",
    "tests/engine/test_signals.py",
    "tests/engine/test_closing.py",
)
fault(
    "a paused workflow gets a task",
    "engine/workflow_tasks.py",
    "    if run.paused:  # unpausing schedules it\n",
    "    if run.paused and break_backoff:\n",
    "tests/engine/test_pausing.py",
)
