"""Run chains: the run that follows another one by workflow retry or by its cron schedule (reference: engine 6).

A successor is planned before anything is written (the start event it copies may have to be loaded), named in the close
event, and created after it, in the same transaction. Continue-as-new, where the command says it all, is in
`continuing.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine import failures, watching
from perdure.engine.cron import next_backoff
from perdure.engine.times import MAX_DURATION, duration_us, set_duration, set_timestamp
from perdure.engine.turn import Shared, Turn
from perdure.enums import CommandType, ContinueAsNewInitiator

_T = CommandType
_RETRY: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY
_CRON: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
_START: Final = 1
"""ID of the start event."""


class Successor:
    """The planned next run of a chain. `run_id` is empty when the chain ends here; `create` then does nothing."""

    __slots__ = ("_fill", "_shared", "retry_state", "run_id")

    def __init__(
        self,
        shared: Shared,
        retry_state: int = 0,
        run_id: str = "",
        fill: Callable[[HistoryEvent], None] | None = None,
    ) -> None:
        self._shared = shared
        self._fill = fill
        self.run_id = run_id
        self.retry_state = retry_state

    def create(self) -> None:
        """To be called after the close event was emitted and `after_close` is done."""
        if self._fill is None:
            return
        from perdure.engine.finishing import finish  # both close runs, and so import this module
        from perdure.engine.start import create_run

        shared = self._shared
        execution = shared.execution
        closed = None if execution.current is None else execution.runs.get(execution.current.run_id)
        turn = create_run(shared, self.run_id, shared.entropy.uuid(), self._fill)
        if closed is not None:
            turn.run.chain_request_id = closed.chain_request_id or closed.create_request_id
        watching.hand_over(closed, turn.run)
        finish(turn)


def prepare(turn: Turn, request: RespondWorkflowTaskCompletedRequest) -> None:
    """Raises Needs when the last command closes the run and its successor inherits from the start event. To be called
    before the completion writes anything."""
    if not request.commands:
        return
    run = turn.run
    last = request.commands[-1].command_type
    if (
        (last == _T.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION and run.cron_schedule)
        or (last == _T.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION and (run.cron_schedule or run.has_retry_policy))
        or (last == _T.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION and run.start_carries)
    ):
        turn.stored_event(_START)


def after_completion(turn: Turn, result: Payloads | None) -> Successor:
    """The next cron run after a success, if any."""
    if not turn.run.cron_schedule:
        return Successor(turn.shared)
    start = turn.stored_event(_START)
    return _cron_successor(turn, start, 0, None, result if result is not None else _last_result(start))


def retry_or_cron(turn: Turn, failure: Failure) -> Successor:
    """After a FailWorkflowExecution command: a retry, else the next cron run, else none. Raises Needs."""
    return _after_failure(turn, failure, keep_result=False)


def after_timeout(turn: Turn) -> Successor:
    """After the run's time is over: as after a failure, unless the time of the whole chain is over. Raises Needs."""
    expires = turn.run.execution_expires_at
    if expires and turn.now >= expires:
        return Successor(turn.shared, failures.TIMEOUT)
    failure = failures.timeout_failure("workflow timeout", failures.START_TO_CLOSE)
    return _after_failure(turn, failure, keep_result=True)


def _after_failure(turn: Turn, failure: Failure, keep_result: bool) -> Successor:
    run = turn.run
    if not run.has_retry_policy and not run.cron_schedule:
        return Successor(turn.shared, failures.POLICY_NOT_SET)
    start = turn.stored_event(_START)
    retry_state, delay = _evaluate(turn, start, failure)
    if retry_state == failures.IN_PROGRESS:
        result = _last_result(start) if keep_result else None
        return _planned(turn, start, retry_state, _RETRY, run.attempt + 1, delay, failure, result)
    if run.cron_schedule:
        return _cron_successor(turn, start, retry_state, failure, _last_result(start))
    return Successor(turn.shared, retry_state)


def _evaluate(turn: Turn, start: HistoryEvent, failure: Failure) -> tuple[int, int]:
    """RetryState and the wait in microseconds."""
    run = turn.run
    attributes = start.workflow_execution_started_event_attributes
    if not attributes.HasField("retry_policy"):
        return failures.POLICY_NOT_SET, 0
    policy = attributes.retry_policy
    if not failures.is_retryable(failure, policy.non_retryable_error_types):
        return failures.NON_RETRYABLE, 0
    if policy.maximum_attempts > 0 and run.attempt >= policy.maximum_attempts:
        return failures.MAXIMUM_ATTEMPTS, 0
    asked = failures.asked_delay(failure)
    if asked is None:
        delay = failures.next_delay(policy, run.attempt)
    else:
        maximum = duration_us(policy.maximum_interval) or 100 * duration_us(policy.initial_interval)
        maximum = min(maximum, MAX_DURATION)  # of a policy that was stored before it was capped
        delay = min(asked or maximum, maximum)
    if run.execution_expires_at and turn.now + delay > run.execution_expires_at:
        return failures.TIMEOUT, 0
    return failures.IN_PROGRESS, delay


def _last_result(start: HistoryEvent) -> Payloads | None:
    attributes = start.workflow_execution_started_event_attributes
    return attributes.last_completion_result if attributes.HasField("last_completion_result") else None


def _cron_successor(
    turn: Turn, start: HistoryEvent, retry_state: int, failure: Failure | None, result: Payloads | None
) -> Successor:
    backoff = next_backoff(turn.run.cron_schedule, turn.run.execution_at, turn.now)
    return _planned(turn, start, retry_state, _CRON, 1, backoff, failure, result)


def minimal_backoff(turn: Turn, backoff: int) -> int:
    """Runs of a chain follow each other at least a second apart, so that none can spin."""
    age = turn.now - turn.run.execution_at
    return max(backoff, turn.limits.minimal_run_interval - age)


def _planned(
    turn: Turn,
    start: HistoryEvent,
    retry_state: int,
    initiator: int,
    attempt: int,
    backoff: int,
    failure: Failure | None,
    result: Payloads | None,
) -> Successor:
    """A run that starts as this one did: what was upserted since is lost."""
    run = turn.run
    run_id = turn.entropy.uuid()
    backoff = minimal_backoff(turn, backoff)

    def fill(event: HistoryEvent) -> None:
        attributes = event.workflow_execution_started_event_attributes
        attributes.CopyFrom(start.workflow_execution_started_event_attributes)
        attributes.initiator = initiator  # type: ignore[assignment] # an int of that enum
        attributes.attempt = attempt
        attributes.identity = ""
        attributes.eager_execution_accepted = False
        attributes.original_execution_run_id = run_id
        attributes.first_execution_run_id = run.first_run_id
        attributes.continued_execution_run_id = run.run_id
        set_duration(attributes.first_workflow_task_backoff, backoff)
        if run.execution_expires_at:
            set_timestamp(attributes.workflow_execution_expiration_time, run.execution_expires_at)
        attributes.ClearField("continued_failure")
        if failure is not None:
            attributes.continued_failure.CopyFrom(failure)
        attributes.ClearField("last_completion_result")
        if result is not None:
            attributes.last_completion_result.CopyFrom(result)
        if initiator == _CRON:
            attributes.ClearField("completion_callbacks")  # they are called at the close of each cron run
        if run.reset_points:
            attributes.prev_auto_reset_points.ParseFromString(run.reset_points)
        event.links.extend(start.links)

    return Successor(turn.shared, retry_state, run_id, fill)
