"""The table of RPCs, built from the installed descriptors."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest, SignalWorkflowExecutionResponse

from perdure.api.registry import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE, build_methods, unknown_method
from perdure.errors import Unimplemented

SIGNAL = f"/{WORKFLOW_SERVICE}/SignalWorkflowExecution"


class Signals:
    def SignalWorkflowExecution(self, request: Any, call: Any) -> Any:
        return SignalWorkflowExecutionResponse()


def test_every_rpc_of_both_services_is_in_the_table() -> None:
    methods = build_methods([])

    assert {method.service for method in methods.values()} == {WORKFLOW_SERVICE, OPERATOR_SERVICE}
    assert len(methods) >= 110
    assert methods[SIGNAL].request_class is SignalWorkflowExecutionRequest
    assert methods[SIGNAL].response_class is SignalWorkflowExecutionResponse


def test_a_handler_takes_the_rpc_of_its_name() -> None:
    methods = build_methods([Signals()])

    assert methods[SIGNAL].implemented
    assert not methods[SIGNAL].is_async
    assert [name for name, method in methods.items() if method.implemented] == [SIGNAL]


def test_an_rpc_without_a_handler_is_refused_in_the_words_java_looks_for() -> None:
    method = build_methods([])[f"/{WORKFLOW_SERVICE}/GetSystemInfo"]

    with pytest.raises(Unimplemented) as failure:
        method.handler(method.request_class(), None)  # type: ignore[arg-type]  # nobody looks at the call

    text = "unknown method GetSystemInfo for service temporal.api.workflowservice.v1.WorkflowService"
    assert failure.value.message == text
    assert unknown_method(f"/{WORKFLOW_SERVICE}/GetSystemInfo") == text


def test_a_coroutine_function_is_told_apart() -> None:
    class Rare:
        service = OPERATOR_SERVICE

        async def ListClusters(self, request: Any, call: Any) -> Any: ...

    assert build_methods([Rare()])[f"/{OPERATOR_SERVICE}/ListClusters"].is_async


def test_the_test_service_is_served_only_when_somebody_answers_it() -> None:
    class Skipping:
        service = TEST_SERVICE

        def GetCurrentTime(self, request: Any, call: Any) -> Any: ...

    assert build_methods([Skipping()])[f"/{TEST_SERVICE}/GetCurrentTime"].implemented


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([type("Wrong", (), {"NoSuchRpc": lambda self, request, call: None})()], "NoSuchRpc of temporal.api.workflow"),
        ([Signals(), Signals()], "second to answer SignalWorkflowExecution"),
        ([type("Odd", (), {"service": "x.Y"})()], "'x.Y', which is no known service"),
    ],
)
def test_programming_errors_are_found_when_the_table_is_built(objects: list[object], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        build_methods(objects)
