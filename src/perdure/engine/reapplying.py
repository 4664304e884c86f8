"""What a workflow was told after the point it is reset to, told again to the new run (reference: engine 8.4, advanced
1.11).

Signals, updates, changed options, and the start and end of children that were asked for before that point. Updates are
admitted anew: the worker gets them from the history and answers again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.turn import Turn
from perdure.engine.updates import reapply_update
from perdure.enums import EventType, ResetReapplyExcludeType, ResetReapplyType
from perdure.errors import InvalidArgument

_E = EventType
_SIGNALED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
_ADMITTED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
_ACCEPTED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
_OPTIONS_UPDATED: Final = int(_E.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_CHILD_STARTED: Final = int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
_CHILD: Final = {
    int(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED): "start_child_workflow_execution_failed_event_attributes",
    _CHILD_STARTED: "child_workflow_execution_started_event_attributes",
    int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED): "child_workflow_execution_completed_event_attributes",
    int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED): "child_workflow_execution_failed_event_attributes",
    int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED): "child_workflow_execution_canceled_event_attributes",
    int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT): "child_workflow_execution_timed_out_event_attributes",
    int(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED): "child_workflow_execution_terminated_event_attributes",
}
_X = ResetReapplyExcludeType
SIGNALS: Final = int(_X.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL)
UPDATES: Final = int(_X.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE)
ALL: Final = frozenset(
    {
        SIGNALS,
        UPDATES,
        int(_X.RESET_REAPPLY_EXCLUDE_TYPE_NEXUS),
        int(_X.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST),
    }
)


_R = ResetReapplyType
_EXCLUDED: Final[dict[int, frozenset[int]]] = {
    int(_R.RESET_REAPPLY_TYPE_UNSPECIFIED): frozenset(),
    int(_R.RESET_REAPPLY_TYPE_ALL_ELIGIBLE): frozenset(),
    int(_R.RESET_REAPPLY_TYPE_SIGNAL): frozenset({UPDATES}),
    int(_R.RESET_REAPPLY_TYPE_NONE): frozenset({SIGNALS, UPDATES}),
}


def exclusions(reapply_type: int, exclude_types: Iterable[int]) -> frozenset[int]:
    """Numbers of enums.ResetReapplyExcludeType. The older field names what is carried over, the newer one what is not:
    each may leave out more. Raises InvalidArgument."""
    excluded = _EXCLUDED.get(int(reapply_type))
    if excluded is None:
        raise InvalidArgument(f"unknown reset type: {reapply_type}")
    return excluded | frozenset(map(int, exclude_types))


def reapply(turn: Turn, later: Iterable[bytes], excluded: frozenset[int]) -> None:
    """`later` are serialised events in order; who excludes all kinds gets none of them, also not of those that cannot
    be excluded by name."""
    if excluded >= ALL:
        return
    for serialised in later:
        event = HistoryEvent.FromString(serialised)
        kind = int(event.event_type)
        if kind == _SIGNALED:
            if SIGNALS not in excluded:
                _signal(turn, event)
        elif kind in (_ADMITTED, _ACCEPTED):
            if UPDATES not in excluded:
                _update(turn, event)
        elif kind == _OPTIONS_UPDATED:
            _options(turn, event)
        elif kind in _CHILD:
            _child(turn, event, kind)


def _signal(turn: Turn, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_signaled_event_attributes
    attributes.ClearField("external_workflow_execution")
    turn.emit(_anew(turn, event))


def _update(turn: Turn, event: HistoryEvent) -> None:
    if event.event_type == _ADMITTED:
        reapply_update(turn, event.workflow_execution_update_admitted_event_attributes.request)
        return
    accepted = event.workflow_execution_update_accepted_event_attributes
    if accepted.HasField("accepted_request"):  # else it was admitted by an event of its own, which came before
        reapply_update(turn, accepted.accepted_request)


def _options(turn: Turn, event: HistoryEvent) -> None:
    request_id = event.workflow_execution_options_updated_event_attributes.attached_request_id
    event_id = turn.emit(_anew(turn, event))
    if request_id:
        turn.remember_request(request_id, _OPTIONS_UPDATED, event_id)


def _child(turn: Turn, event: HistoryEvent, kind: int) -> None:
    """Only of a child that the new run still waits for. Its Started event may have another ID here."""
    attributes = getattr(event, _CHILD[kind])
    child = turn.run.children.get(attributes.initiated_event_id)
    if child is None or (kind == _CHILD_STARTED and child.run_id):
        return
    if kind != _CHILD_STARTED and child.started_event_id:
        attributes.started_event_id = child.started_event_id
    turn.emit(_anew(turn, event))


def _anew(turn: Turn, event: HistoryEvent) -> HistoryEvent:
    """The event with all it says, as something that happens now."""
    event.event_time.CopyFrom(turn.event(event.event_type).event_time)
    event.version = 0
    return event
