"""Limits, with the reference server's defaults (source: its dynamic configuration; reference texts in the messages)."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.engine.times import DAY, MINUTE, SECOND

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, counts, durations in microseconds. A value exactly at a limit is allowed."""

    blob_size: int = 2 * MIB
    memo_size: int = 2 * MIB
    history_size: int = 50 * MIB
    history_count: int = 51_200
    history_size_suggest: int = 4 * MIB
    history_count_suggest: int = 4096
    mutable_state_size: int = 8 * MIB
    buffered_events: int = 100
    buffered_bytes: int = 2 * MIB
    pending_activities: int = 2000
    pending_children: int = 2000
    pending_signals: int = 2000
    pending_cancels: int = 2000
    signals_per_run: int = 10_000
    updates_in_flight: int = 10
    update_bytes_in_flight: int = 20 * MIB
    updates_per_run: int = 2000
    """0 lifts any of the three limits on updates."""
    updates_suggest: float = 0.9
    """The part of `updates_per_run` from which on continue-as-new is suggested."""
    id_length: int = 1000
    search_attribute_count: int = 100
    search_attribute_value: int = 2048
    search_attribute_total: int = 40 * 1024
    links_per_request: int = 10
    link_size: int = 4000
    activity_failure_kept: int = 4096
    task_timeout_default: int = 10 * SECOND
    task_timeout_max: int = 120 * SECOND
    heartbeat_task_span: int = 30 * MINUTE
    minimal_run_interval: int = 1 * SECOND
    reported_problems_after: int = 5
    answer_kept: int = 1024
    """An activity's poll answer is kept in the state up to this size."""
    items_in_core: int = 8 * 1024
    """Items move to rows of their own once they outgrow this."""
    batch_jobs: int = 1
    """Of a namespace, running at one time."""
    retention_min: int = DAY // 24
