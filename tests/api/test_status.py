"""The wire form of every error. Compared with what the reference server was recorded to send."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from google.rpc.status_pb2 import Status as RpcStatus
from temporalio.api.errordetails.v1 import (
    MultiOperationExecutionFailure,
    NamespaceInvalidStateFailure,
    NamespaceNotFoundFailure,
    QueryFailedFailure,
    WorkflowExecutionAlreadyStartedFailure,
)
from temporalio.api.failure.v1 import Failure, MultiOperationExecutionAborted

from perdure import errors
from perdure.api.status import _TABLE, Code, status_of

TYPES = "type.googleapis.com/temporal.api.errordetails.v1."


def detail_of(error: errors.PerdureError, message: Any) -> Any:
    status = RpcStatus()
    status.ParseFromString(status_of(error).details)
    [packed] = status.details
    assert packed.Unpack(message)
    return message


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (errors.InvalidArgument("x"), Code.INVALID_ARGUMENT, ""),
        (errors.QueryFailed("x"), Code.INVALID_ARGUMENT, "QueryFailedFailure"),
        (errors.NotFound("x"), Code.NOT_FOUND, "NotFoundFailure"),
        (errors.NamespaceNotFound("n"), Code.NOT_FOUND, "NamespaceNotFoundFailure"),
        (errors.AlreadyExists("x"), Code.ALREADY_EXISTS, ""),
        (errors.NamespaceAlreadyExists("n"), Code.ALREADY_EXISTS, "NamespaceAlreadyExistsFailure"),
        (
            errors.WorkflowAlreadyStarted("x", "q", "r", "f"),
            Code.ALREADY_EXISTS,
            "WorkflowExecutionAlreadyStartedFailure",
        ),
        (errors.FailedPrecondition("x"), Code.FAILED_PRECONDITION, ""),
        (errors.WorkflowNotReady("x"), Code.FAILED_PRECONDITION, "WorkflowNotReadyFailure"),
        (errors.ResourceExhausted("x", 1), Code.RESOURCE_EXHAUSTED, "ResourceExhaustedFailure"),
        (errors.MessageTooLarge(5, 4), Code.RESOURCE_EXHAUSTED, ""),
        (errors.PermissionDenied("x"), Code.PERMISSION_DENIED, "PermissionDeniedFailure"),
        (errors.Aborted("x"), Code.ABORTED, ""),
        (errors.Unavailable("x"), Code.UNAVAILABLE, ""),
        (errors.DeadlineExceeded("x"), Code.DEADLINE_EXCEEDED, ""),
        (errors.QueryTooSlow(5), Code.DEADLINE_EXCEEDED, ""),
        (errors.Unimplemented("x"), Code.UNIMPLEMENTED, ""),
    ],
)
def test_an_error_has_its_code_and_at_most_one_detail(error: errors.PerdureError, code: Code, detail: str) -> None:
    status = status_of(error)

    assert (status.code, status.message) == (code, error.message)
    wire = RpcStatus()
    wire.ParseFromString(status.details)
    assert [packed.type_url for packed in wire.details] == ([TYPES + detail] if detail else [])


def test_every_error_type_has_a_row_or_its_parent_has_one() -> None:
    types = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.PerdureError) and kind is not errors.PerdureError
    }

    assert set(_TABLE) <= types
    assert {kind for kind in types if _TABLE.keys().isdisjoint(inspect.getmro(kind))} == set()


def test_details_carry_the_fields_sdks_read() -> None:
    started = detail_of(errors.WorkflowAlreadyStarted("x", "q", "r", "f"), WorkflowExecutionAlreadyStartedFailure())
    namespace = detail_of(errors.NamespaceNotFound("orders"), NamespaceNotFoundFailure())
    query = detail_of(
        errors.QueryFailed("unknown query", Failure(message="boom").SerializeToString()), QueryFailedFailure()
    )
    state = detail_of(
        errors.NamespaceInvalidState("orders", 2, "Deprecated", [(1, "Registered")]), NamespaceInvalidStateFailure()
    )

    assert (started.start_request_id, started.run_id) == ("q", "r")
    assert namespace.namespace == "orders"
    assert query.failure.message == "boom"
    assert (state.namespace, state.state, list(state.allowed_states)) == ("orders", 2, [1])


def test_update_with_start_reports_one_status_an_operation() -> None:
    already = errors.WorkflowAlreadyStarted("Workflow execution is already running.", "q", "r", "")
    error = errors.MultiOperationFailed([already, errors.OperationAborted()])

    status = status_of(error)
    statuses = detail_of(error, MultiOperationExecutionFailure()).statuses

    assert (status.code, status.message) == (Code.ALREADY_EXISTS, "Update-with-Start could not be executed.")
    assert [(part.code, part.message) for part in statuses] == [
        (6, "Workflow execution is already running."),
        (10, "Operation was aborted."),
    ]
    assert statuses[0].details[0].type_url == TYPES + "WorkflowExecutionAlreadyStartedFailure"
    assert statuses[1].details[0].Is(MultiOperationExecutionAborted.DESCRIPTOR)


def test_an_operation_that_succeeded_has_status_ok() -> None:
    error = errors.MultiOperationFailed([None, errors.NotFound("update aborted")])

    statuses = detail_of(error, MultiOperationExecutionFailure()).statuses

    assert status_of(error).code == Code.NOT_FOUND
    assert [part.code for part in statuses] == [0, 5]


@pytest.mark.parametrize("error", [errors.Internal("secret"), ValueError("secret")])
def test_a_defect_is_masked_the_same_way_each_time(error: Exception) -> None:
    status = status_of(error)

    assert status.code == Code.INTERNAL
    assert status.message.startswith("something went wrong, please retry (")
    assert "secret" not in status.message
    assert status_of(error) == status


@pytest.mark.parametrize("letter", ["x", "é", "€"])
def test_a_long_message_is_cut_to_four_thousand_bytes(letter: str) -> None:
    message = status_of(errors.NotFound(letter * 5000)).message

    assert 3996 <= len(message.encode()) <= 4000
    assert message.endswith("... <truncated>")


def test_a_message_of_four_thousand_bytes_is_whole() -> None:
    assert status_of(errors.NotFound("x" * 4000)).message == "x" * 4000
