"""Batch jobs."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("batches", "tests/engine/test_batches.py", "tests/runtime/test_batch_jobs.py", "tests/api/test_batches.py")
fault = AREA.fault

fault(
    "a page of targets that comes late passes for the next",
    "engine/batches/jobs.py",
    "    return record.running and job.listing and job.token == asked",
    "    return record.running and job.listing",
    "tests/engine/test_batches.py",
)
fault(
    "a target that answers twice is counted twice",
    "engine/batches/jobs.py",
    "    turn.put_item(_TARGET, key, None)\n    job.under_way -= 1\n",
    "    job.under_way -= 1\n",
)
fault(
    "a job sends what it sent again after a restart",
    "engine/batches/jobs.py",
    "        job.next_sent += 1\n        job.under_way += 1\n    pause",
    "        job.next_sent += 1\n        job.under_way += 1\n    turn = RecordTurn(turn.shared, record)\n"
    "    turn.touch = lambda: None  # type: ignore[method-assign]\n    pause",
)
fault(
    "a job's rate is not kept",
    "engine/batches/jobs.py",
    "    pause = max(_TICK, int(min(SECOND / job.per_second, MAX_DURATION)))",
    "    pause = 1",
)
fault(
    "a job has more under way than it may",
    "engine/batches/jobs.py",
    "    count = min(count, _UNDER_WAY - job.under_way, job.next_number - job.next_sent)",
    "    count = min(count, job.next_number - job.next_sent)",
)
fault(
    "a target that was busy is given up at once",
    "engine/batches/jobs.py",
    "    elif result.outcome == AGAIN and attempts + 1 < _ATTEMPTS:",
    "    elif result.outcome == AGAIN and attempts + 1 < 0:",
)
fault(
    "a job goes on after it was stopped",
    "engine/batches/jobs.py",
    "    _end(RecordTurn(shared, record), record.state, STOPPED)",
    "    pass",
)
fault(
    "a job ends before its last target has answered",
    "engine/batches/jobs.py",
    "    if job.next_sent < job.next_number or job.under_way or job.listing:\n        return",
    "    if job.next_sent < job.next_number or job.listing:\n        return",
)
fault(
    "a job finds its first page of targets again and again",
    "engine/batches/jobs.py",
    "    job.token = token\n    job.listed = not token",
    "    job.listed = not token",
)
fault(
    "a signal that a job sends twice is written twice",
    "engine/batches/operations.py",
    '    return f"{message.from_run_id}:{message.number}"',
    '    return ""',
)
fault(
    "a job that asks for running workflows also finds closed ones",
    "runtime/lookups.py",
    '    return query.narrowed(_OPEN, {"ExecutionStatus": SYSTEM["ExecutionStatus"]})',
    "    return query",
)
fault(
    "a page of targets that did not come is not asked for again",
    "engine/batches/jobs.py",
    "    job.due = turn.now + _LISTING_PAUSE\n",
    "    job.due = 0\n",
)
