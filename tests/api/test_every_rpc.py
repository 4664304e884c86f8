"""No RPC is offered that no test has called."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.api.handlers import all_handlers
from perdure.api.registry import build_methods

TESTS = Path(__file__).parent


class AnyRuntime:
    """Enough of a runtime to make handlers: they look at it when they are called, but for the version they announce."""

    class config:
        server_version = "1.0.0"


def offered() -> list[str]:
    methods = build_methods(all_handlers(cast(Any, AnyRuntime())))
    return sorted(method.rpc for method in methods.values() if method.implemented)


def called() -> set[str]:
    """Names of methods that tests call on their client."""
    names: set[str] = set()
    for path in TESTS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                names.add(node.func.attr)
    return names


@pytest.mark.parametrize("rpc", offered())
def test_each_rpc_offered_is_called_by_a_test(rpc: str) -> None:
    assert rpc in called()


def test_what_is_not_offered_yet_is_not_pretended() -> None:
    assert not {"UpdateWorkflowExecution", "CreateSchedule", "StartBatchOperation", "ResetWorkflowExecution"} & set(
        offered()
    )
