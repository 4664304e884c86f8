"""What clients and other workflows tell a run: signals and cancel requests."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.common.v1 import Header, Link, Payloads, WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.state import Run
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_workflow_task
from perdure.enums import EventType, ResourceExhaustedCause
from perdure.errors import InvalidArgument, NotFound, ResourceExhausted

_SIGNALED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
_CANCEL_REQUESTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
_BUSY = int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)
_NAMESPACE_SCOPE = 1


def signal_workflow(
    turn: Turn,
    *,
    signal_name: str,
    input: Payloads | None = None,
    identity: str = "",
    header: Header | None = None,
    request_id: str = "",
    links: Iterable[Link] = (),
    external: WorkflowExecution | None = None,
    break_backoff: bool = False,
    with_start: bool = False,
) -> None:
    """Record a signal. A request ID that this run has seen changes nothing, also when the run is closed.

    `external` is the sending workflow. `with_start`: the request ID is that of the run's own start and was not a signal
    yet. Raises NotFound (closed), InvalidArgument (too many signals), ResourceExhausted BUSY_WORKFLOW (a close was just
    refused).
    """
    run = turn.run
    if request_id and not with_start:
        seen = run.request_ids.get(request_id)
        if seen is not None and (seen[0] == _SIGNALED or break_backoff):
            return
    if not run.running:
        raise NotFound("workflow execution already completed")
    if (
        run.signal_count + len(run.buffered) >= turn.limits.signals_per_run
        and _signals(turn) >= turn.limits.signals_per_run
    ):
        raise InvalidArgument("exceeded workflow execution limit for signal events")
    task = run.workflow_task
    # A message of another workflow cannot come again later, so it is taken also when a client would have to try again.
    if external is None and task is not None and task.started_event_id and task.force_closing:
        raise ResourceExhausted(
            "workflow operation can not be applied because workflow is closing", _BUSY, _NAMESPACE_SCOPE
        )
    event = turn.event(_SIGNALED)
    attributes = event.workflow_execution_signaled_event_attributes
    attributes.signal_name = signal_name
    attributes.identity = identity
    if input is not None:
        attributes.input.CopyFrom(input)
    if header is not None:
        attributes.header.CopyFrom(header)
    if external is not None:
        attributes.external_workflow_execution.CopyFrom(external)
    event.links.extend(links)
    turn.buffer(event)
    if request_id and request_id not in run.request_ids:
        turn.remember_request(request_id, _SIGNALED)
    schedule_workflow_task(turn, break_backoff=break_backoff)


def was_signalled(run: Run, request_id: str) -> bool:
    """Whether a signal with that request ID reached the run: the caller that repeats it did not hear the answer."""
    return run.request_ids.get(request_id, (0, 0))[0] == _SIGNALED


def _signals(turn: Turn) -> int:
    """Signals of the run, those in the buffer included: parsed only when the limit is near."""
    buffered = sum(HistoryEvent.FromString(blob).event_type == _SIGNALED for blob in turn.run.buffered)
    return turn.run.signal_count + buffered


def request_cancel(
    turn: Turn,
    *,
    reason: str = "",
    identity: str = "",
    request_id: str = "",
    first_execution_run_id: str = "",
    links: Iterable[Link] = (),
    external: WorkflowExecution | None = None,
    external_initiated_event_id: int = 0,
) -> None:
    """Ask the workflow to cancel itself. Asking a closed run, or one that was asked before, is a success that changes
    nothing, whatever the first run ID. Raises NotFound for a running one of another chain."""
    run = turn.run
    if not run.running or run.cancel_requested:
        return
    if first_execution_run_id and first_execution_run_id != run.first_run_id:
        raise NotFound("workflow execution not found")
    event = turn.event(_CANCEL_REQUESTED)
    attributes = event.workflow_execution_cancel_requested_event_attributes
    attributes.cause = reason
    attributes.identity = identity
    if external is not None:
        attributes.external_workflow_execution.CopyFrom(external)
        attributes.external_initiated_event_id = external_initiated_event_id
    event.links.extend(links)
    turn.buffer(event)
    run.cancel_requested = True  # at once, also while the event is buffered
    run.cancel_request_id = request_id
    schedule_workflow_task(turn, break_backoff=True)
