"""What open workflows wait for, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from perdure.engine.codec import decode
from perdure.engine.state import Run
from perdure.storage.store import StoredExecution, StoreFailed

SHOWN = 20
"""Open workflows that are described; of more only that there are more is said."""


def waits(runtime: Any, now: int) -> Iterator[str]:
    """A line for each open workflow. `runtime`: the server's; call this on its thread. `now`: microseconds."""
    keys = runtime.store.open_executions(("", 0, ""), SHOWN + 1)
    for key in keys[:SHOWN]:
        run = _current(runtime, key)
        if run is not None:
            yield f"workflow {run.workflow_id!r} ({run.workflow_type}) waits for {_what(run, now)}"
    if len(keys) > SHOWN:
        yield "and more"
    if not keys:
        yield "none"


def _current(runtime: Any, key: tuple[str, int, str]) -> Run | None:
    loaded = runtime.executions.peek(key)
    if loaded is not None and loaded.execution.current is not None:
        run: Run | None = loaded.execution.runs.get(loaded.execution.current.run_id)
        if run is not None:
            return run
    found: list[Run] = []

    def came(stored: StoredExecution | StoreFailed) -> None:
        if isinstance(stored, StoreFailed):
            raise stored
        if stored.run is not None:
            found.append(decode(stored.run.core, stored.run.items))

    runtime.store.load_execution(*key, "", came)
    return found[0] if found else None


def _what(run: Run, now: int) -> str:
    reasons = []
    if run.workflow_task is not None:
        where = (
            f"worked on by {run.workflow_task.identity!r}" if run.workflow_task.started_event_id else "not taken yet"
        )
        reasons.append(f"a workflow task on {run.workflow_task.queue!r} ({where})")
    if run.backoff_until:
        reasons.append(f"its first workflow task, due {_in(run.backoff_until, now)}")
    for activity in run.activities.values():
        reasons.append(f"activity {activity.activity_type!r} ({_stage(activity, now)})")
    for timer in sorted(run.timers.values(), key=lambda timer: timer.due):
        reasons.append(f"timer {timer.timer_id!r}, due {_in(timer.due, now)}")
    for child in run.children.values():
        reasons.append(f"child workflow {child.workflow_id!r}")
    for external in (*run.signals.values(), *run.cancels.values()):
        reasons.append(f"workflow {external.workflow_id!r} to get its message")
    if not reasons:
        reasons.append("a message from outside (nothing of its own is pending)")
    if run.run_expires_at:
        reasons.append(f"or its run timeout {_in(run.run_expires_at, now)}")
    return ", ".join(reasons)


def _stage(activity: Any, now: int) -> str:
    attempt = f"attempt {activity.attempt}"
    if activity.started_at:
        return f"{attempt} runs on {activity.started_identity!r}"
    if activity.paused:
        return f"{attempt} is paused"
    if not activity.offered:
        return f"{attempt} is due {_in(activity.attempt_scheduled_at, now)}"
    return f"{attempt} waits for a worker on {activity.queue!r}"


def _in(at: int, now: int) -> str:
    return f"in {timedelta(microseconds=at - now)}" if at > now else "now"
