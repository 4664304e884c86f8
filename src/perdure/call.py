"""What a handler knows of its caller. Transports implement `Call`; handlers never see the transport.

A handler is a plain function `(request, call) -> Reply | Pending`. `PENDING` says that the answer comes later by
`call.finish` or `call.fail`, called by the committer, by matching or by a timer, with no task and no future.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from google.protobuf.message import Message

from perdure.errors import PerdureError

Reply = Message | bytes
"""A response message, or its serialised bytes when they were spliced together."""


class Pending:
    """The type of `PENDING`."""


PENDING: Final = Pending()


class Waiter(Protocol):
    """Somebody who waits for one answer. A second answer is ignored."""

    def finish(self, reply: Reply) -> bool:
        """Answer. False when the caller is gone, so that nothing was sent (a task can then be given to another)."""

    def fail(self, error: PerdureError) -> None:
        """Answer with an error."""


class Call(Waiter, Protocol):
    """One call of one RPC."""

    @property
    def method(self) -> str:
        """The full name, such as `/temporal.api.workflowservice.v1.WorkflowService/SignalWorkflowExecution`."""

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, in seconds of `Monotonic`; None when it set no deadline."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Request headers by lower-case name (textual ones)."""

    @property
    def peer(self) -> str:
        """The caller's address, for logs."""

    @property
    def client_name(self) -> str:
        """The `client-name` header, such as `temporal-python`; empty when absent."""

    @property
    def gone(self) -> bool:
        """True once the caller cancelled, disconnected, or was answered."""

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the caller cancels or disconnects before it was answered."""


class Handler(Protocol):
    def __call__(self, request: Message, call: Call, /) -> Reply | Pending: ...
