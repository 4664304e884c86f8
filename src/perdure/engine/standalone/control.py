"""What clients do to a standalone activity that runs: ask it to stop, end it (reference: advanced 7.4).

A repeated request ID changes nothing, also when the activity has closed since.
"""

from __future__ import annotations

import json

from temporalio.api.activity.v1 import ActivityExecutionOutcome
from temporalio.api.common.v1 import Payloads

from perdure.engine.standalone.attempts import close_canceled
from perdure.engine.standalone.describing import status_name
from perdure.engine.standalone.state import TERMINATED, ActivityTurn
from perdure.errors import FailedPrecondition


def request_cancel(turn: ActivityTurn, *, request_id: str, reason: str, identity: str) -> None:
    """One that no worker holds is cancelled at once; a worker learns of it by its heartbeat. Raises
    FailedPrecondition: closed, or another request came before."""
    state = turn.state
    if state.cancel_request_id and state.cancel_request_id == request_id:
        return
    _check_running(turn)
    attempt = state.attempt
    if attempt.cancel_requested:
        raise FailedPrecondition(f"cancellation already requested with request ID {state.cancel_request_id}")
    state.cancel_request_id = request_id
    state.cancel_reason = reason
    state.cancel_identity = identity
    attempt = attempt.replace(cancel_requested=True)
    if attempt.started_at:
        turn.put(attempt)
        return
    details = Payloads()
    payload = details.payloads.add()
    payload.metadata["encoding"] = b"json/plain"
    payload.data = json.dumps(reason, ensure_ascii=False).encode()
    close_canceled(turn, attempt, details, identity)


def terminate(turn: ActivityTurn, *, request_id: str, reason: str, identity: str) -> None:
    """End it at once. Raises FailedPrecondition: closed already, other than by this request."""
    state = turn.state
    if state.terminate_request_id:
        if state.terminate_request_id == request_id:
            return
        raise FailedPrecondition(f"already terminated with request ID {state.terminate_request_id}")
    _check_running(turn)
    state.terminate_request_id = request_id
    outcome = ActivityExecutionOutcome()
    outcome.failure.message = reason
    outcome.failure.terminated_failure_info.identity = identity
    turn.end(TERMINATED, outcome.SerializeToString(deterministic=True))


def _check_running(turn: ActivityTurn) -> None:
    if not turn.record.running:
        raise FailedPrecondition(f"activity is in terminal state {status_name(turn.record)}")
