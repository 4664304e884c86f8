"""Failures that the server makes, what may be retried, and how long to wait (reference: engine 4.5, 10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.failure.v1 import Failure

from perdure.engine.times import MAX_DURATION, capped_duration, duration_us, make_legal
from perdure.enums import RetryState, TimeoutType
from perdure.errors import InvalidArgument

IN_PROGRESS: Final = int(RetryState.RETRY_STATE_IN_PROGRESS)
NON_RETRYABLE: Final = int(RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)
TIMEOUT: Final = int(RetryState.RETRY_STATE_TIMEOUT)
MAXIMUM_ATTEMPTS: Final = int(RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
POLICY_NOT_SET: Final = int(RetryState.RETRY_STATE_RETRY_POLICY_NOT_SET)
CANCEL_REQUESTED: Final = int(RetryState.RETRY_STATE_CANCEL_REQUESTED)

START_TO_CLOSE: Final = int(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
SCHEDULE_TO_START: Final = int(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START)
SCHEDULE_TO_CLOSE: Final = int(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
HEARTBEAT: Final = int(TimeoutType.TIMEOUT_TYPE_HEARTBEAT)
TIMEOUT_NAMES: Final = {
    START_TO_CLOSE: "StartToClose",
    SCHEDULE_TO_START: "ScheduleToStart",
    SCHEDULE_TO_CLOSE: "ScheduleToClose",
    HEARTBEAT: "Heartbeat",
}
_CAUSES_KEPT: Final = 20
MAX_CAUSES: Final = 64
"""Of a failure that a request brings."""


def server_failure(message: str, non_retryable: bool, cause: Failure | None = None) -> Failure:
    failure = Failure()
    failure.message = message
    failure.server_failure_info.non_retryable = non_retryable
    failure.server_failure_info.SetInParent()
    if cause is not None:
        failure.cause.CopyFrom(cause)
    return failure


def timeout_failure(message: str, timeout_type: int) -> Failure:
    failure = Failure()
    failure.message = message
    failure.source = "Server"
    failure.timeout_failure_info.timeout_type = timeout_type  # type: ignore[assignment] # an int of that enum
    return failure


def fitting(failure: Failure, limit: int, non_retryable: bool) -> Failure:
    """The failure itself, or, when it is larger than `limit` bytes, a server failure caused by what fits of it."""
    if failure.ByteSize() <= limit:
        return failure
    return server_failure("Failure exceeds size limit.", non_retryable, truncated(failure, limit))


def truncated(failure: Failure, limit: int) -> Failure:
    """What says most about a failure in about `limit` bytes: kind, message, source, stack, causes; no payloads."""
    top = Failure()
    target = top
    source: Failure = failure
    for _ in range(_CAUSES_KEPT):
        kind = source.WhichOneof("failure_info")
        if kind == "application_failure_info":
            target.application_failure_info.type = source.application_failure_info.type[:limit]
            target.application_failure_info.non_retryable = source.application_failure_info.non_retryable
        elif kind == "server_failure_info":
            target.server_failure_info.non_retryable = source.server_failure_info.non_retryable
        limit -= target.ByteSize()
        target.source = _cut(source.source, limit)
        limit -= len(target.source.encode())
        target.message = _cut(source.message, limit)
        limit -= len(target.message.encode())
        target.stack_trace = _cut(source.stack_trace, limit)
        limit -= len(target.stack_trace.encode())
        if not source.HasField("cause") or limit <= 0:
            break
        target, source = target.cause, source.cause
        target.SetInParent()
    return top


def _cut(text: str, limit: int) -> str:
    return text.encode()[: max(limit, 0)].decode(errors="ignore")


def make_readable(failure: Failure) -> None:
    """Leave at most so many causes of causes that the failure can be read wherever it is put (`api/nesting.py` has the
    reason), and no delay that no Duration is for."""
    for _ in range(MAX_CAUSES):
        _make_delay_legal(failure)
        if not failure.HasField("cause"):
            return
        failure = failure.cause
    _make_delay_legal(failure)
    failure.ClearField("cause")


def _make_delay_legal(failure: Failure) -> None:
    if failure.HasField("application_failure_info"):
        make_legal(failure.application_failure_info, "next_retry_delay")


def is_retryable(failure: Failure | None, non_retryable_types: Iterable[str]) -> bool:
    """By the failure itself; its causes are not looked at."""
    if failure is None:
        return True
    kind = failure.WhichOneof("failure_info")
    if kind == "application_failure_info":
        info = failure.application_failure_info
        return not info.non_retryable and info.type not in non_retryable_types
    if kind == "timeout_failure_info":
        timeout_type = int(failure.timeout_failure_info.timeout_type)
        if timeout_type not in (START_TO_CLOSE, HEARTBEAT):
            return False
        return f"TemporalTimeout:{TIMEOUT_NAMES[timeout_type]}" not in non_retryable_types
    if kind == "server_failure_info":
        return not failure.server_failure_info.non_retryable
    return kind not in ("terminated_failure_info", "canceled_failure_info")


def next_delay(policy: RetryPolicy, attempt: int) -> int:
    """Microseconds to wait after `attempt` (from 1) failed: initial * coefficient ** (attempt - 1), capped by the
    policy's maximum (100 times the initial interval when unset). No jitter."""
    initial = duration_us(policy.initial_interval)
    maximum = min(duration_us(policy.maximum_interval) or 100 * initial, MAX_DURATION)
    try:
        delay = max(initial * (policy.backoff_coefficient or 2.0) ** (attempt - 1), 0.0)
    except OverflowError:
        return maximum
    return int(delay) if delay < maximum else maximum


def asked_delay(failure: Failure | None) -> int | None:
    """Microseconds of `next_retry_delay` when the (top-level) application failure has that field, else None."""
    if failure is None or failure.WhichOneof("failure_info") != "application_failure_info":
        return None
    info = failure.application_failure_info
    return min(duration_us(info.next_retry_delay), MAX_DURATION) if info.HasField("next_retry_delay") else None


def check_retry_delays(failure: Failure) -> None:
    """Caps each `next_retry_delay` in the chain of causes. Raises InvalidArgument when one is no duration."""
    while True:
        if failure.application_failure_info.HasField("next_retry_delay"):
            try:
                capped_duration(failure.application_failure_info.next_retry_delay)
            except InvalidArgument as error:
                raise InvalidArgument(f"NextRetryDelay is not a valid duration: {error.message}") from error
        if not failure.HasField("cause"):
            return
        failure = failure.cause
