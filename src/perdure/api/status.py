"""The wire form of errors: one table from our types to gRPC codes and typed details.

SDKs raise typed exceptions from the detail message, not from the code, so every row names both. Codes are numbers: only
transports know gRPC. Source: temporal/api/errordetails/v1/message.proto; google/rpc/status.proto.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1.grpc_status_pb2 import GrpcStatus
from temporalio.api.enums.v1.failed_cause_pb2 import ResourceExhaustedCause, ResourceExhaustedScope
from temporalio.api.errordetails.v1 import message_pb2 as details
from temporalio.api.failure.v1.message_pb2 import MultiOperationExecutionAborted

from perdure import errors
from perdure.enums import name_of
from perdure.storage.store import StoreFailed

MAX_MESSAGE_BYTES = 4000
_CUT = b"... <truncated>"


class Code(IntEnum):
    """google.rpc.Code, as far as we answer it."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Status:
    """What a transport sends. `details` is a serialised google.rpc.Status for `grpc-status-details-bin`; empty: no such
    trailer. `headers` are response headers (not trailers)."""

    code: int
    message: str
    details: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Detail = Callable[[Any], Message]


def _already_started(error: errors.WorkflowAlreadyStarted) -> Message:
    detail = details.WorkflowExecutionAlreadyStartedFailure()
    detail.start_request_id = error.start_request_id
    detail.run_id = error.run_id
    return detail


def _invalid_state(error: errors.NamespaceInvalidState) -> Message:
    detail = details.NamespaceInvalidStateFailure()
    detail.namespace = error.namespace
    detail.state = error.state  # type: ignore[assignment]  # the number of an enum value
    detail.allowed_states.extend(error.allowed)  # type: ignore[arg-type]  # numbers of enum values
    return detail


def _query_failed(error: errors.QueryFailed) -> Message:
    detail = details.QueryFailedFailure()
    if error.failure:
        detail.failure.ParseFromString(error.failure)
    return detail


def _resource_exhausted(error: errors.ResourceExhausted) -> Message:
    detail = details.ResourceExhaustedFailure()
    detail.cause = error.cause  # type: ignore[assignment]  # the number of an enum value
    detail.scope = error.scope  # type: ignore[assignment]  # the number of an enum value
    return detail


def _multi_operation(error: errors.MultiOperationFailed) -> Message:
    detail = details.MultiOperationExecutionFailure()
    for outcome in error.outcomes:
        status = detail.statuses.add()
        if outcome is None:
            continue
        code, build = _row(outcome)
        status.code = code
        status.message = _cut(outcome.message)
        if build is not None:
            status.details.add().Pack(build(outcome))
    return detail


_TABLE: Mapping[type[errors.PerdureError], tuple[Code, Detail | None]] = {
    errors.InvalidArgument: (Code.INVALID_ARGUMENT, None),
    errors.QueryFailed: (Code.INVALID_ARGUMENT, _query_failed),
    errors.NotFound: (Code.NOT_FOUND, lambda _: details.NotFoundFailure()),
    errors.NamespaceNotFound: (
        Code.NOT_FOUND,
        lambda e: details.NamespaceNotFoundFailure(namespace=e.namespace),
    ),
    errors.AlreadyExists: (Code.ALREADY_EXISTS, None),
    errors.NamespaceAlreadyExists: (Code.ALREADY_EXISTS, lambda _: details.NamespaceAlreadyExistsFailure()),
    errors.WorkflowAlreadyStarted: (Code.ALREADY_EXISTS, _already_started),
    errors.ActivityAlreadyStarted: (
        Code.ALREADY_EXISTS,
        lambda e: details.ActivityExecutionAlreadyStartedFailure(start_request_id=e.start_request_id, run_id=e.run_id),
    ),
    errors.FailedPrecondition: (Code.FAILED_PRECONDITION, None),
    errors.NamespaceInvalidState: (Code.FAILED_PRECONDITION, _invalid_state),
    errors.WorkflowNotReady: (Code.FAILED_PRECONDITION, lambda _: details.WorkflowNotReadyFailure()),
    errors.ClientVersionNotSupported: (
        Code.FAILED_PRECONDITION,
        lambda e: details.ClientVersionNotSupportedFailure(
            client_version=e.version, client_name=e.name, supported_versions=e.supported
        ),
    ),
    errors.ServerVersionNotSupported: (
        Code.FAILED_PRECONDITION,
        lambda e: details.ServerVersionNotSupportedFailure(
            server_version=e.version, client_supported_server_versions=e.supported
        ),
    ),
    errors.ResourceExhausted: (Code.RESOURCE_EXHAUSTED, _resource_exhausted),
    errors.MessageTooLarge: (Code.RESOURCE_EXHAUSTED, None),
    errors.PermissionDenied: (
        Code.PERMISSION_DENIED,
        lambda e: details.PermissionDeniedFailure(reason=e.reason),
    ),
    errors.Aborted: (Code.ABORTED, None),
    errors.OperationAborted: (Code.ABORTED, lambda _: MultiOperationExecutionAborted()),
    errors.MultiOperationFailed: (Code.ABORTED, _multi_operation),
    errors.Unavailable: (Code.UNAVAILABLE, None),
    errors.DeadlineExceeded: (Code.DEADLINE_EXCEEDED, None),
    errors.QueryTooSlow: (Code.DEADLINE_EXCEEDED, None),
    errors.Unimplemented: (Code.UNIMPLEMENTED, None),
    errors.Internal: (Code.INTERNAL, None),
}


def status_of(error: BaseException) -> Status:
    """The status to answer `error` with. What is not deliberate, and `Internal`, is masked: see `is_defect`."""
    if isinstance(error, StoreFailed):  # a read failed; when a write does, the server ends
        return Status(Code.UNAVAILABLE, _cut(str(error)))
    if not isinstance(error, errors.PerdureError) or isinstance(error, errors.Internal):
        return Status(Code.INTERNAL, f"something went wrong, please retry ({fingerprint(error)})")
    code, build = _row(error)
    message = _cut(error.message)
    if isinstance(error, errors.MultiOperationFailed):
        code = _code_of_first_failure(error)
    headers = _exhausted_headers(error) if isinstance(error, errors.ResourceExhausted) else ()
    if build is None:
        return Status(code, message, headers=headers)
    wire = GrpcStatus()  # field for field google.rpc.Status
    wire.code = code
    wire.message = message
    wire.details.add().Pack(build(error))
    return Status(code, message, wire.SerializeToString(), headers)


def is_defect(error: BaseException) -> bool:
    """True for what only a bug of ours can cause: worth a traceback in the log."""
    return isinstance(error, errors.Internal) or not isinstance(error, errors.PerdureError | StoreFailed)


def is_failed_read(error: BaseException) -> bool:
    """True for what only the disk or the database can cause: its operator must hear of it."""
    return isinstance(error, StoreFailed)


def fingerprint(error: BaseException) -> str:
    """Eight hex digits that the masked answer and the log line share."""
    return f"{zlib.crc32(f'{type(error).__name__}: {error}'.encode()):08x}"


def _row(error: errors.PerdureError) -> tuple[Code, Detail | None]:
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind]
    return (Code.INTERNAL, None)


def _code_of_first_failure(error: errors.MultiOperationFailed) -> Code:
    for outcome in error.outcomes:
        if outcome is not None and not isinstance(outcome, errors.OperationAborted):
            return _row(outcome)[0]
    return Code.ABORTED


def _exhausted_headers(error: errors.ResourceExhausted) -> tuple[tuple[str, str], ...]:
    return (
        ("x-resource-exhausted-cause", _short(ResourceExhaustedCause, "RESOURCE_EXHAUSTED_CAUSE_", error.cause)),
        ("x-resource-exhausted-scope", _short(ResourceExhaustedScope, "RESOURCE_EXHAUSTED_SCOPE_", error.scope)),
    )


def _short(enum: Any, prefix: str, number: int) -> str:
    """RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT as RpsLimit; a number the installed descriptors lack as itself."""
    return "".join(word.capitalize() for word in name_of(enum, number).removeprefix(prefix).split("_"))


def _cut(message: str) -> str:
    encoded = message.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return message
    return (encoded[: MAX_MESSAGE_BYTES - len(_CUT)]).decode("utf-8", "ignore") + _CUT.decode()
