"""Activities of workflows: attempts, retries, timeouts."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("activities", "tests/engine/test_activities.py", "tests/engine/test_activity_operations.py")
fault = AREA.fault

fault(
    "an activity has one attempt more than its policy allows",
    "engine/activity_retry.py",
    "activity.attempt >= policy.maximum_attempts:",
    "activity.attempt > policy.maximum_attempts:",
)
fault(
    "the wait before a retry is one step of the coefficient too long",
    "engine/failures.py",
    "(policy.backoff_coefficient or 2.0) ** (attempt - 1)",
    "(policy.backoff_coefficient or 2.0) ** attempt",
)
fault(
    "the wait before a retry grows beyond its maximum",
    "engine/failures.py",
    "    return int(delay) if delay < maximum else maximum",
    "    return int(delay)",
)
fault(
    "types of failure that must not be retried are",
    "engine/failures.py",
    "        return not info.non_retryable and info.type not in non_retryable_types",
    "        return not info.non_retryable",
)
fault(
    "a failure that says it is final is retried",
    "engine/failures.py",
    "        return not info.non_retryable and info.type not in non_retryable_types",
    "        return info.type not in non_retryable_types",
)
fault(
    "a timeout that must not be retried is",
    "engine/failures.py",
    '        return f"TemporalTimeout:{TIMEOUT_NAMES[timeout_type]}" not in non_retryable_types',
    "        return True",
)
fault(
    "a retry is scheduled beyond schedule-to-close",
    "engine/activity_retry.py",
    "    if activity.schedule_to_close and now + delay > activity.scheduled_at + activity.schedule_to_close:",
    "    if activity.schedule_to_close and now > activity.scheduled_at + activity.schedule_to_close:",
)
fault(
    "the delay that a failure asks for is ignored",
    "engine/activity_retry.py",
    "    delay = failures.asked_delay(failure)\n",
    "    delay = None\n",
)
fault(
    "an activity that was asked to cancel is retried",
    "engine/activity_retry.py",
    "    if activity.cancel_requested:\n        return failures.CANCEL_REQUESTED, 0\n",
    "",
)
fault(
    "a heartbeat does not put the timeout off",
    "engine/activity_deadlines.py",
    "            alive = max(activity.started_at, activity.heartbeat_at)",
    "            alive = activity.started_at",
)
fault(
    "an attempt is out of time by the heartbeats of the one before",
    "engine/activity_deadlines.py",
    "            alive = max(activity.started_at, activity.heartbeat_at)",
    "            alive = activity.heartbeat_at or activity.started_at",
)
fault(
    "schedule-to-start is counted from the first attempt",
    "engine/activity_deadlines.py",
    "            armed.append((activity.attempt_scheduled_at + activity.schedule_to_start,",
    "            armed.append((activity.scheduled_at + activity.schedule_to_start,",
)
fault(
    "schedule-to-close is counted from each attempt",
    "engine/activity_deadlines.py",
    "        armed.append((activity.scheduled_at + activity.schedule_to_close,",
    "        armed.append((activity.attempt_scheduled_at + activity.schedule_to_close,",
)
fault(
    "the details of the last heartbeat are lost with the attempt",
    "engine/activity_retry.py",
    "        offered=False,\n        reset=False,\n",
    '        offered=False,\n        reset=False,\n        heartbeat_details=b"",\n',
)
fault(
    "the last failure is forgotten",
    "engine/activity_retry.py",
    "        last_failure=kept,\n",
    "",
)
fault(
    "an activity task under an old stamp is started",
    "engine/activities.py",
    "        or activity.stamp != stamp\n",
    "",
)
fault(
    "the answer of an attempt that timed out is taken for that of the next",
    "engine/activities.py",
    "        if found is None or found.stamp != which.stamp:",
    "        if found is None:",
)
fault(
    "an activity is given to two pollers",
    "engine/activities.py",
    "        or activity.started_at\n        or activity.paused\n        or run.paused\n",
    "        or activity.paused\n        or run.paused\n",
)
fault(
    "a paused activity is given out",
    "engine/activities.py",
    "        or activity.paused\n        or run.paused\n    ):\n        raise Stale",
    "    ):\n        raise Stale",
    "tests/engine/test_activity_operations.py",
    "tests/engine/test_pausing.py",
)
fault(
    "the Started event of an activity has the time of its end",
    "engine/activities.py",
    "        set_timestamp(started.event_time, activity.started_at)\n",
    "",
)
fault(
    "an activity is canceled that nobody asked to",
    "engine/activities.py",
    "    if not activity.cancel_requested:\n        raise InvalidArgument(",
    "    if activity.cancel_requested is None:\n        raise InvalidArgument(",
)
fault(
    "an activity that was canceled before anyone took it is offered all the same",
    "engine/activity_commands.py",
    "            waiting.remove(scheduled_event_id)\n",
    "            pass\n",
)
fault(
    "two open activities have one ID",
    "engine/activity_commands.py",
    "    if wanted.activity_id in run.activity_ids:",
    "    if wanted.activity_id in ():",
)
fault(
    "a run has one pending activity more than its limit",
    "engine/activity_commands.py",
    "    if len(run.activities) >= limit:",
    "    if len(run.activities) > limit:",
)
fault(
    "a result larger than the limit is taken",
    "engine/activities.py",
    "    if request.result.ByteSize() > turn.limits.blob_size:",
    "    if request.result.ByteSize() > 2 * turn.limits.blob_size:",
)
fault(
    "a reset attempt goes on counting",
    "engine/activity_retry.py",
    "        attempt=1 if activity.reset else activity.attempt + 1,",
    "        attempt=activity.attempt + 1,",
)
fault(
    "the workflow does not hear of the end of its activity",
    "engine/activities.py",
    "        note_pauses(turn)\n    schedule_workflow_task(turn)",
    "        note_pauses(turn)",
)
fault(
    "an activity closes and stays pending",
    "engine/activities.py",
    "    remove_activity(turn.run, activity.scheduled_event_id)\n",
    "",
)
