"""Testing workflows: servers in the test's own process whose time skips, and a pytest plugin.

async with await TimeSkippingEnvironment.start() as env:
    async with Worker(env.client, task_queue="orders", workflows=[OrderWorkflow], activities=[charge]):
        assert await env.client.execute_workflow(OrderWorkflow.run, order, id="1", task_queue="orders") == "late"

See docs/testing.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.testing.environment import TimeSkippingEnvironment
    from perdure.testing.expectations import assert_history, check_history, event
    from perdure.testing.history import history_text
    from perdure.testing.server import TimeSkippingServer

__all__ = [
    "TimeSkippingEnvironment",
    "TimeSkippingServer",
    "assert_history",
    "check_history",
    "event",
    "history_text",
]

_HOME = {
    "TimeSkippingEnvironment": "environment",
    "TimeSkippingServer": "server",
    "assert_history": "expectations",
    "check_history": "expectations",
    "event": "expectations",
    "history_text": "history",
}


def __getattr__(name: str) -> Any:
    # pytest imports this package, to find the plugin in it, in every run of every project it is installed for.
    if name in _HOME:
        return getattr(importlib.import_module(f"perdure.testing.{_HOME[name]}"), name)
    raise AttributeError(f"module 'perdure.testing' has no attribute {name!r}")
