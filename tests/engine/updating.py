"""Updates in the words of a test: clients ask, a worker answers by messages."""

from __future__ import annotations

from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Meta, Outcome, Rejection, Request, Response
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.engine.effects import UpdateProgress, UpdatesMoved
from perdure.engine.state import Run
from perdure.engine.updates import admit, look_up
from tests.engine.given import Scene, command, payloads


def update_request(update_id: str = "u1", name: str = "set", *args: str) -> Request:
    request = Request()
    request.meta.update_id = update_id
    request.meta.identity = "client"
    request.input.name = name
    request.input.args.CopyFrom(payloads(*args))
    return request


def ask(scene: Scene, update_id: str = "u1", *args: str, run: Run | None = None, first_run_id: str = "") -> Any:
    request = update_request(update_id, "set", *args)
    return scene.decide(lambda turn: admit(turn, request, first_run_id), run)


def look(scene: Scene, update_id: str = "u1", run: Run | None = None) -> UpdateProgress:
    return scene.decide(lambda turn: look_up(turn, update_id), run)


def messages(started: Any) -> list[Message]:
    """What a poll answer brings."""
    return list(PollWorkflowTaskQueueResponse.FromString(started.messages).messages)


def request_in(message: Message) -> Request:
    request = Request()
    assert message.body.Unpack(request)
    return request


def accept(message: Message | str, *, echo: bool = True, event_id: int = 1) -> Message:
    """Of a request that came, or of an update ID."""
    body = Acceptance()
    if isinstance(message, str):
        update_id = message
        body.accepted_request_message_id = f"{update_id}/request"
        body.accepted_request_sequencing_event_id = event_id
    else:
        update_id = message.protocol_instance_id
        body.accepted_request_message_id = message.id
        body.accepted_request_sequencing_event_id = message.event_id
        if echo:
            body.accepted_request.CopyFrom(request_in(message))
    return _message(update_id, "accept", body)


def reject(message: Message, why: str = "no") -> Message:
    body = Rejection(rejected_request_message_id=message.id, rejected_request_sequencing_event_id=message.event_id)
    body.rejected_request.CopyFrom(request_in(message))
    body.failure.message = why
    return _message(message.protocol_instance_id, "reject", body)


def respond(update_id: str = "u1", result: str = "done", *, failure: str = "") -> Message:
    body = Response(meta=Meta(update_id=update_id, identity="client"))
    if failure:
        body.outcome.failure.message = failure
    else:
        body.outcome.success.CopyFrom(payloads(result))
    return _message(update_id, "complete", body)


def _message(update_id: str, what: str, body: Any) -> Message:
    message = Message(id=f"{update_id}/{what}", protocol_instance_id=update_id)
    message.body.Pack(body)
    return message


def place(message: Message) -> Command:
    """The command that puts the message among the others."""
    return command(CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE, "protocol_message", message_id=message.id)


def told(scene: Scene) -> dict[str, UpdateProgress]:
    """What those who wait for updates last heard."""
    heard: dict[str, UpdateProgress] = {}
    for effect in scene.effects:
        if isinstance(effect, UpdatesMoved):
            heard.update(effect.progress)
    return heard


def success(progress: UpdateProgress) -> str:
    [value] = Outcome.FromString(progress.outcome).success.payloads
    return value.data.decode().strip('"')


def failure(progress: UpdateProgress) -> Failure:
    outcome = Outcome.FromString(progress.outcome)
    assert outcome.HasField("failure")
    return outcome.failure
