"""Deliberate failures. The message is written for the SDK user who will read it; `api/status.py` gives each its wire
form.

Source of codes and texts: temporal/api/errordetails/v1/message.proto and the reference server's observable behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence


class PerdureError(Exception):
    """Base of all deliberate failures."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(PerdureError):
    """The request can never succeed as it is."""


class NotFound(PerdureError):
    """The run, task, activity or update is gone or was never there."""


class NamespaceNotFound(NotFound):
    def __init__(self, namespace: str) -> None:
        super().__init__(f"Namespace {namespace} is not found.")
        self.namespace = namespace


class AlreadyExists(PerdureError):
    """Something of that name is there already."""


class NamespaceAlreadyExists(AlreadyExists):
    def __init__(self, namespace: str) -> None:
        super().__init__(f'Namespace "{namespace}" already exists')


class WorkflowAlreadyStarted(AlreadyExists):
    def __init__(self, message: str, start_request_id: str, run_id: str, first_execution_run_id: str) -> None:
        super().__init__(message)
        self.start_request_id = start_request_id
        self.run_id = run_id
        self.first_execution_run_id = first_execution_run_id


class ActivityAlreadyStarted(AlreadyExists):
    def __init__(self, message: str, start_request_id: str, run_id: str) -> None:
        super().__init__(message)
        self.start_request_id = start_request_id
        self.run_id = run_id


class FailedPrecondition(PerdureError):
    """The state does not allow it now."""


class NamespaceInvalidState(FailedPrecondition):
    def __init__(self, namespace: str, state: int, state_name: str, allowed: Sequence[tuple[int, str]]) -> None:
        names = " or ".join(name for _, name in allowed)
        super().__init__(f"Namespace has invalid state: {state_name}. Must be {names}.")
        self.namespace = namespace
        self.state = state
        self.allowed = [number for number, _ in allowed]


class WorkflowNotReady(FailedPrecondition):
    """A query or update that the workflow cannot take in its present state."""


class ClientVersionNotSupported(FailedPrecondition):
    def __init__(self, version: str, name: str, supported: str) -> None:
        super().__init__(f"Client version {version} is not supported. Server supports {name} versions: {supported}")
        self.version = version
        self.name = name
        self.supported = supported


class ServerVersionNotSupported(FailedPrecondition):
    def __init__(self, version: str, supported: str) -> None:
        super().__init__(f"Server version {version} is not supported. Client supports server versions: {supported}")
        self.version = version
        self.supported = supported


class ResourceExhausted(PerdureError):
    """`cause` and `scope` are numbers of enums ResourceExhaustedCause and ResourceExhaustedScope."""

    def __init__(self, message: str, cause: int, scope: int = 1) -> None:
        super().__init__(message)
        self.cause = cause
        self.scope = scope


class SystemOverloaded(ResourceExhausted):
    """There is no room for more at present."""

    def __init__(self) -> None:
        from perdure.enums import ResourceExhaustedCause, ResourceExhaustedScope

        super().__init__(
            "the server is overloaded, please retry",
            int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED),
            int(ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_SYSTEM),
        )


class QueryFailed(PerdureError):
    """The worker answered the query with an error; `failure` is a serialised temporal.api.failure.v1.Failure."""

    def __init__(self, message: str, failure: bytes = b"") -> None:
        super().__init__(message)
        self.failure = failure


class PermissionDenied(PerdureError):
    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Unavailable(PerdureError):
    """Try again: the caller's request was not carried out, or its outcome will be found by the retry."""


class DeadlineExceeded(PerdureError):
    """The caller's time is over."""


class QueryTooSlow(DeadlineExceeded):
    """A list or count was given up; clients do not repeat it by themselves, as they would what is exhausted."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the filter took longer than {seconds:g} s and was stopped: make it narrower by a WorkflowId, "
            "WorkflowType, TaskQueue or search attribute that is equal to a value which few executions have, "
            "or by a range of CloseTime"
        )


class Unimplemented(PerdureError):
    """Not offered by this server, or switched off."""


class MessageTooLarge(PerdureError):
    """A request over the transport's limit; SDKs recognise the text."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"grpc: received message larger than max ({size} vs. {limit})")


class Internal(PerdureError):
    """A defect of ours; the text is masked on the wire."""


class Aborted(PerdureError):
    """A race that the caller should try again from the start."""


class OperationAborted(Aborted):
    """The part of a multi-operation that is not at fault for the other's failure."""

    def __init__(self) -> None:
        super().__init__("Operation was aborted.")


class MultiOperationFailed(PerdureError):
    """Update-with-start did not succeed. `outcomes` holds one error an operation, None for one that succeeded."""

    def __init__(self, outcomes: Sequence[PerdureError | None]) -> None:
        super().__init__("Update-with-Start could not be executed.")
        self.outcomes = outcomes
