"""Workflow updates and speculative tasks."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("updates", "tests/engine/test_updates.py", "tests/runtime/test_updates.py")
fault = AREA.fault

fault(
    "an update is accepted twice",
    "engine/update_messages.py",
    "    if _state(run, update_id) is not None:\n        raise _out_of_order(run, update_id, body)\n    if echo",
    "    if echo",
)
fault(
    "an update is completed twice",
    "engine/updates.py",
    "    return update if update is not None and update.accepted_event_id and not update.completed_event_id else None",
    "    return update if update is not None and update.accepted_event_id else None",
)
fault(
    "a rejected update leaves a trace",
    "engine/speculative.py",
    "    if not task.speculative or request.commands",
    "    if task.speculative or request.commands",
)
fault(
    "a task that did something is dropped with the updates it rejected",
    "engine/speculative.py",
    "    if not task.speculative or request.commands or request.force_create_new_workflow_task",
    "    if not task.speculative or request.force_create_new_workflow_task",
)
fault(
    "an update under a known ID is admitted again",
    "engine/updates.py",
    "    known = progress_of(turn, update_id)\n    if known is None:\n        _check_limits",
    "    known = None\n    if known is None:\n        _check_limits",
)
fault(
    "an update is lost when the task that carried it fails",
    "engine/failing.py",
    "    run.workflow_task = None\n    send_again(run)\n",
    "    run.workflow_task = None\n",
)
fault(
    "the caller of an update of which the worker says nothing waits in vain",
    "engine/completing.py",
    "    if run.admitted and not force:\n        reject_unanswered(turn)\n",
    "",
)
fault(
    "one update more than the limit is in flight",
    "engine/updates.py",
    "    if limits.updates_in_flight and in_flight(run) >= limits.updates_in_flight:",
    "    if limits.updates_in_flight and in_flight(run) > limits.updates_in_flight:",
)
fault(
    "a run has one update more than its limit",
    "engine/updates.py",
    "    if limit and total(turn.run) >= limit:",
    "    if limit and total(turn.run) > limit:",
)
fault(
    "the callers of accepted updates do not hear that the workflow closed",
    "engine/updates.py",
    "                turn.update_moved(update.update_id, UpdateProgress(COMPLETED, _unfinished()))",
    "                pass",
)
fault(
    "the callers of admitted updates do not hear that the workflow closed",
    "engine/updates.py",
    "    for update_id in waiting:\n        turn.update_moved(update_id, UpdateProgress(error=error))",
    "    pass",
)
fault(
    "an update for another chain is taken",
    "engine/updates.py",
    "    if first_execution_run_id and first_execution_run_id != run.first_run_id:",
    "    if first_execution_run_id and not run.first_run_id:",
)
fault(
    "a caller who waits for completion is answered at acceptance",
    "runtime/updates.py",
    "        return self.progress.stage >= self.stage",
    "        return self.progress.stage >= min(self.stage, 2)",
)
fault(
    "a speculative task that nobody takes waits for ever",
    "engine/speculative.py",
    "        schedule_to_start=SCHEDULE_TO_START,\n",
    "        schedule_to_start=0,\n",
)
fault(
    "an event after a speculative task gets the ID of the task",
    "engine/turn.py",
    "        if task is not None and task.speculative:\n            self.write_speculative()\n        event_id",
    "        event_id",
)
fault(
    "a speculative task is offered twice when options change",
    "engine/workflow_options.py",
    "    if task is not None and task is run.workflow_task and not task.started_event_id:",
    "    if (task := run.workflow_task) is not None and not task.started_event_id:",
    "tests/engine/test_workflow_options.py",
)
