"""No RPC is offered that no test has called."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from perdure.api.handlers import HANDLERS
from perdure.api.registry import served_rpcs

TESTS = Path(__file__).parent


def offered() -> list[str]:
    return sorted(rpc for _, rpc in served_rpcs(HANDLERS))


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
