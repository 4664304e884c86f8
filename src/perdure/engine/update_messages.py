"""The protocol messages of updates: requests to a worker with its workflow task, and what it answers with its
completion.

A message is carried out where a ProtocolMessage command names it, else after all commands. One that cannot be taken
fails the workflow task. Source: temporal/api/protocol/v1/message.proto, temporal/api/update/v1/message.proto; reference
advanced 1.2.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError
from temporalio.api.command.v1 import Command
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Outcome, Rejection, Request, Response
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.engine.apply import remove_update
from perdure.engine.bad_command import BadCommand
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.effects import UpdateProgress
from perdure.engine.failures import make_readable
from perdure.engine.framing import field
from perdure.engine.items import AdmittedUpdate
from perdure.engine.state import Run
from perdure.engine.turn import Turn
from perdure.engine.updates import COMPLETED, IS_ACCEPTED, accepted_now, check_total, drop_admitted
from perdure.enums import EventType, WorkflowTaskFailedCause
from perdure.errors import FailedPrecondition

_BAD: Final = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE)
_ACCEPTED: Final = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
_COMPLETED: Final = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
_MESSAGES: Final = PollWorkflowTaskQueueResponse.DESCRIPTOR.fields_by_name["messages"].number
_TYPES: Final = "type.googleapis.com/"
_PACKAGE: Final = "temporal.api.update.v1"
_REQUEST_TYPE: Final = f"{_TYPES}{_PACKAGE}.Request"
_BODIES: Final[dict[str, type[Any]]] = {
    f"{_PACKAGE}.Acceptance": Acceptance,
    f"{_PACKAGE}.Rejection": Rejection,
    f"{_PACKAGE}.Response": Response,
}


# ---- to the worker
def requests_for(run: Run, started_event_id: int, *, again: bool = False) -> bytes:
    """The requests that go with a workflow task, as serialised entries of its poll answer's `messages`; they count as
    sent. `again`: also those that were sent with it already, to a poller that had gone."""
    entries = []
    for update in run.admitted.values():
        if update.sent and not again:
            continue
        message = Message()
        message.id = _request_id(update.update_id)
        message.protocol_instance_id = update.update_id
        message.event_id = started_event_id - 1
        message.body.type_url = _REQUEST_TYPE
        message.body.value = update.request
        entries.append(field(_MESSAGES, message.SerializeToString()))
    if entries:
        run.admitted = {key: AdmittedUpdate(key, update.request, True) for key, update in run.admitted.items()}
    return b"".join(entries)


def _request_id(update_id: str) -> str:
    return f"{update_id}/request"


# ---- from the worker
def carry_out_command(completion: Completion, command: Command) -> None:
    """A ProtocolMessage command: its message comes now."""
    if not command.HasField("protocol_message_command_attributes"):
        raise attributes_missing(_BAD, "ProtocolMessage")
    message_id = command.protocol_message_command_attributes.message_id
    if not message_id:
        raise BadCommand(_BAD, "MessageID is not set on ProtocolMessageCommand.")
    message = completion.messages_left.pop(message_id, None)
    if message is None:
        raise BadCommand(_BAD, f"ProtocolMessageCommand referenced absent message ID {message_id}")
    _carry_out(completion.turn, message)


def carry_out_rest(completion: Completion) -> None:
    """Messages that no command named, in their order."""
    for message in completion.messages_left.values():
        _carry_out(completion.turn, message)
    completion.messages_left.clear()


def carry_out_rejections(completion: Completion) -> None:
    """Rejections that no command named, while the run closes: other messages mean nothing any more, as the close aborts
    what is under way."""
    for message_id, message in list(completion.messages_left.items()):
        if message.body.type_url == f"{_TYPES}{_PACKAGE}.Rejection":
            del completion.messages_left[message_id]
            _carry_out(completion.turn, message)


def _carry_out(turn: Turn, message: Message) -> None:
    if not message.HasField("body"):
        raise BadCommand(_BAD, "invalid *protocol.Message: body is not set")
    kind = message.body.type_url.removeprefix(_TYPES)
    if message.body.ByteSize() > turn.limits.blob_size:
        raise BadCommand(_BAD, f"Message type {kind} exceeds size limit.", terminate=True)
    body_type = _BODIES.get(kind)
    if body_type is None:
        raise BadCommand(_BAD, f"unsupported message type {kind}")
    try:
        body = body_type.FromString(message.body.value)
    except DecodeError as error:
        raise BadCommand(_BAD, f"message {message.id} of type {kind} cannot be read") from error
    if isinstance(body, Response):
        make_readable(body.outcome.failure)
    elif isinstance(body, Rejection):
        make_readable(body.failure)
    _TAKE[body_type](turn, message.protocol_instance_id, body)


def _accept(turn: Turn, update_id: str, body: Acceptance) -> None:
    _required(body, "accepted_request_sequencing_event_id", "accepted_request_message_id")
    run = turn.run
    event = turn.event(_ACCEPTED)
    attributes = event.workflow_execution_update_accepted_event_attributes
    attributes.protocol_instance_id = update_id
    attributes.accepted_request_message_id = _request_id(update_id)
    attributes.accepted_request_sequencing_event_id = body.accepted_request_sequencing_event_id
    known = run.updates.get(update_id)
    if known is None or known.accepted_event_id:  # else its UpdateAdmitted event has the request
        echo = body.accepted_request if body.HasField("accepted_request") else None
        attributes.accepted_request.MergeFromString(_request_of(turn, update_id, echo, body))
    if update_id in run.admitted:
        drop_admitted(turn, update_id, IS_ACCEPTED)
    else:
        turn.update_moved(update_id, IS_ACCEPTED)
    turn.emit(event)


def _reject(turn: Turn, update_id: str, body: Rejection) -> None:
    _required(body, "failure")
    run = turn.run
    outcome = Outcome()
    outcome.failure.CopyFrom(body.failure)
    progress = UpdateProgress(COMPLETED, outcome.SerializeToString(deterministic=True))
    known = run.updates.get(update_id)
    if known is not None and not known.accepted_event_id:
        remove_update(run, update_id)
        turn.touch()
        turn.update_moved(update_id, progress)
        return
    _request_of(turn, update_id, body.rejected_request if body.HasField("rejected_request") else None, body)
    drop_admitted(turn, update_id, progress)


def _respond(turn: Turn, update_id: str, body: Response) -> None:
    _required(body, "meta", "outcome")
    _required(body.meta, "update_id", of="*update.Response: meta")
    run = turn.run
    if body.meta.update_id != update_id:
        raise BadCommand(
            _BAD, f"invalid *update.Response: meta.update_id {body.meta.update_id} is not that of its message"
        )
    accepted = accepted_now(run, update_id)
    if accepted is None:
        raise _unknown(update_id) if _state(run, update_id) is None else _out_of_order(run, update_id, body)
    event = turn.event(_COMPLETED)
    attributes = event.workflow_execution_update_completed_event_attributes
    attributes.meta.CopyFrom(body.meta)
    attributes.accepted_event_id = accepted.accepted_event_id
    attributes.outcome.CopyFrom(body.outcome)
    turn.emit(event)
    turn.update_moved(update_id, UpdateProgress(COMPLETED, body.outcome.SerializeToString(deterministic=True)))


_TAKE: Final[dict[type[Any], Any]] = {Acceptance: _accept, Rejection: _reject, Response: _respond}


def _request_of(turn: Turn, update_id: str, echo: Request | None, body: Acceptance | Rejection) -> bytes:
    """The request of an update that is being answered. One that was lost with its server comes back to life by the
    worker's echo of it."""
    run = turn.run
    update = run.admitted.get(update_id)
    if update is not None and update.sent:
        return update.request
    if _state(run, update_id) is not None:
        raise _out_of_order(run, update_id, body)
    if echo is None:
        raise _unknown(update_id)
    try:
        check_total(turn)
    except FailedPrecondition as full:
        raise BadCommand(_BAD, full.message) from full
    return echo.SerializeToString(deterministic=True)


def _state(run: Run, update_id: str) -> str | None:
    update = run.admitted.get(update_id)
    if update is not None:
        return "Sent" if update.sent else "Admitted"
    known = run.updates.get(update_id)
    if known is None:
        return None
    if known.completed_event_id:
        return "Completed"
    return "Accepted" if known.accepted_event_id else "Sent"


def _out_of_order(run: Run, update_id: str, body: Any) -> BadCommand:
    name = type(body).__name__
    return BadCommand(
        _BAD,
        f"invalid state transition attempted for Update {update_id}: received *update.{name} message while in state "
        f"{_state(run, update_id)}",
    )


def _unknown(update_id: str) -> BadCommand:
    return BadCommand(
        _BAD,
        f"update {update_id} wasn't found on the server. "
        "This is most likely a transient error which will be resolved automatically by retries",
    )


def _required(body: Any, *names: str, of: str = "") -> None:
    for name in names:
        is_message = body.DESCRIPTOR.fields_by_name[name].message_type is not None
        if not (body.HasField(name) if is_message else getattr(body, name)):
            where = f"{of}.{name}" if of else f"*update.{type(body).__name__}: {name}"
            raise BadCommand(_BAD, f"invalid {where} is not set")
