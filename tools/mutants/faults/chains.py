"""Starts, and the runs that follow each other."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("chains", "tests/engine/test_start.py", "tests/engine/test_chains.py")
fault = AREA.fault

fault(
    "an ID that must not be used again is",
    "engine/start.py",
    "    if policy == _REJECT_DUPLICATE:\n        raise",
    "    if policy == -1:\n        raise",
)
fault(
    "an ID is used again although its last run did not fail",
    "engine/start.py",
    "    if policy == _FAILED_ONLY and run.status in _SUCCEEDED:\n        raise",
    "    if policy == _FAILED_ONLY and run.status in ():\n        raise",
)
fault(
    "a start that is repeated is refused",
    "engine/start.py",
    "        if request.request_id == current.create_request_id:\n            outcome = existing(current, started=True)",
    "        if request.request_id == current.run_id:\n            outcome = existing(current, started=True)",
)
fault(
    "a request that was attached to a run is attached again",
    "engine/start.py",
    "        if current.request_ids.get(request.request_id, (0, 0))[0] == _OPTIONS_UPDATED:",
    "        if current.request_ids.get(request.request_id, (0, 0))[0] == -1:",
)
fault(
    "a running workflow is replaced without being asked",
    "engine/start.py",
    "    if request.workflow_id_conflict_policy != _TERMINATE_EXISTING:\n        raise _already_started(",
    "    if request.workflow_id_conflict_policy == _USE_EXISTING:\n        raise _already_started(",
)
fault(
    "the run that makes way goes on running",
    "engine/start.py",
    '    terminate(turn, "TerminateIfRunning WorkflowIdReusePolicy", details, HISTORY_SERVICE)\n    finish(turn)',
    "    finish(turn)",
)
fault(
    "signal-with-start to a running workflow does not end its delay",
    "engine/start.py",
    "        break_backoff=not with_start,\n",
    "        break_backoff=False,\n",
)
fault(
    "the first task does not wait for the start delay",
    "engine/workflow_tasks.py",
    "    if (run.backoff_until or run.awaits_parent) and not break_backoff:\n        return",
    "    if run.awaits_parent and not break_backoff:\n        return",
)
fault(
    "a workflow is retried once too often",
    "engine/chains.py",
    "run.attempt >= policy.maximum_attempts:",
    "run.attempt > policy.maximum_attempts:",
)
fault(
    "each retry of a workflow is attempt one",
    "engine/chains.py",
    "        return _planned(turn, start, retry_state, _RETRY, run.attempt + 1, delay, failure, result)",
    "        return _planned(turn, start, retry_state, _RETRY, 1, delay, failure, result)",
)
fault(
    "a workflow is retried beyond the time of its chain",
    "engine/chains.py",
    "    if run.execution_expires_at and turn.now + delay > run.execution_expires_at:\n        return failures.TIMEOUT, 0\n",
    "",
)
fault(
    "a chain whose time is over goes on with another run",
    "engine/chains.py",
    "    if expires and turn.now >= expires:",
    "    if expires and turn.now > expires + 3_600_000_000:",
)
fault(
    "each run of a chain has the whole time of the chain anew",
    "engine/chains.py",
    "            set_timestamp(attributes.workflow_execution_expiration_time, run.execution_expires_at)\n"
    '        attributes.ClearField("continued_failure")',
    "            set_timestamp(attributes.workflow_execution_expiration_time, turn.now + run.execution_timeout)\n"
    '        attributes.ClearField("continued_failure")',
)
fault(
    "the last result of a cron chain is forgotten when a run returns none",
    "engine/chains.py",
    "result if result is not None else _last_result(start))",
    "result)",
)
fault(
    "runs of a chain can spin",
    "engine/chains.py",
    "    return max(backoff, turn.limits.minimal_run_interval - age)",
    "    return backoff",
)
fault(
    "continue-as-new loses a signal that came in its task",
    "engine/commands.py",
    "    _begin_close(completion)\n    event, successor = continue_as_new(completion, command)",
    "    event, successor = continue_as_new(completion, command)",
)
fault(
    "a continued run does not know the first of its chain",
    "engine/continuing.py",
    "        attributes.first_execution_run_id = run.first_run_id\n",
    "        attributes.first_execution_run_id = run_id\n",
)
fault(
    "a continued run is nobody's child",
    "engine/continuing.py",
    "    if run.parent is not None:\n",
    "    if run.parent is None and run.parent:\n",
    "tests/engine/test_children.py",
    "tests/engine/test_chains.py",
)
fault(
    "who started a schedule's run does not hear of the end of its chain",
    "engine/chains.py",
    "        watching.hand_over(closed, turn.run)\n",
    "",
    "tests/runtime/test_schedules.py",
)
fault(
    "a run times out at once when its first task has to wait",
    "engine/apply.py",
    "        run.run_expires_at = later(at, backoff + run.run_timeout)\n",
    "        run.run_expires_at = later(at, run.run_timeout)\n",
)
fault(
    "a run is continued with search attributes without data",
    "engine/apply.py",
    "        if not is_null(value):\n            fields[name]",
    "        if value is not None:\n            fields[name]",
)
