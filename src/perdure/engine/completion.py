"""The workflow task completion whose commands are being carried out: what the commands' functions share."""

from __future__ import annotations

from google.protobuf.message import Message as Proto
from msgspec import Struct, field
from temporalio.api.command.v1 import Command
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message as ProtocolMessage
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine.bad_command import BadCommand
from perdure.engine.messages import Message
from perdure.engine.turn import Turn
from perdure.errors import NamespaceNotFound


class Completion(Struct, eq=False):
    """What commands want done outside is gathered here, as it is not done when a later command closes the run."""

    turn: Turn
    request: RespondWorkflowTaskCompletedRequest
    event_id: int
    """Of WorkflowTaskCompleted, which every event of a command names."""
    needs_task: bool = False
    """A command had a result of its own (an unstarted activity was cancelled) that the workflow must hear of."""
    closed: bool = False
    eager: list[int] = field(default_factory=list)
    """Scheduled event IDs of activities that go back with the answer."""
    offers: list[int] = field(default_factory=list)
    """Scheduled event IDs of activities for matching."""
    messages: list[Message] = field(default_factory=list)
    messages_left: dict[str, ProtocolMessage] = field(default_factory=dict)
    """The request's messages that were not carried out yet, by message ID."""
    new_children: dict[str, int] = field(default_factory=dict)
    """Children that this very completion starts: workflow ID to initiated event ID."""

    @property
    def identity(self) -> str:
        return self.request.identity

    def event(self, event_type: int, command: Command) -> HistoryEvent:
        """A new event with what any command hands on to its event. Not its event group markers, which newer SDKs set on
        what an update or signal handler does (recorded: counter_sdk)."""
        event = self.turn.event(event_type)
        if command.HasField("user_metadata"):
            event.user_metadata.CopyFrom(command.user_metadata)
        return event

    def check_size(self, payload: Proto, limit: int, cause: int, detail: str) -> None:
        """What is too large to be stored ends the workflow: trying again would not make it smaller."""
        if payload.ByteSize() > limit:
            raise BadCommand(cause, detail, terminate=True)

    def target_namespace(self, name: str, cause: int) -> tuple[str, str]:
        """Name and ID of the namespace that a command aims at; empty means the run's own.

        Raises NamespaceNotFound (the workflow task does not fail of it, it stays started), or BadCommand for another
        namespace.
        """
        run = self.turn.run
        if not name or name == run.namespace:
            return run.namespace, run.namespace_id
        if name not in self.turn.shared.namespaces:
            raise NamespaceNotFound(name)
        raise BadCommand(cause, "cross namespace commands are not allowed")


def attributes_missing(cause: int, command: str) -> BadCommand:
    return BadCommand(cause, f"{command}CommandAttributes is not set on {command}Command.")
