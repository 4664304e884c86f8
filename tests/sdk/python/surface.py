"""The public methods of the SDK's client and handles, and its functions for workflows and activities: what they are
called, and which of them were seen at work.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import temporalio.activity
import temporalio.client
import temporalio.workflow

CLASSES = (
    "Client",
    "WorkflowHandle",
    "ScheduleHandle",
    "WorkflowUpdateHandle",
    "AsyncActivityHandle",
    "ActivityHandle",
)
"""Those of `temporalio.client` that the installed SDK has."""

MODULES = {"workflow": temporalio.workflow, "activity": temporalio.activity}


def public() -> dict[str, tuple[Any, str]]:
    """By names such as `WorkflowHandle.cancel` and `workflow.sleep`: where each is kept, and as what."""
    found = {}
    for owner in filter(None, (getattr(temporalio.client, name, None) for name in CLASSES)):
        for name in dir(owner):
            if not name.startswith("_") and callable(getattr(owner, name)):
                found[f"{owner.__name__}.{name}"] = (owner, name)
    for title, module in MODULES.items():
        for name, function in vars(module).items():
            if not name.startswith("_") and inspect.isfunction(function) and _is_of(function, module.__name__):
                found[f"{title}.{name}"] = (module, name)
    return found


def _is_of(function: Callable[..., Any], module: str) -> bool:
    return function.__module__ == module or function.__module__.startswith(f"{module}.")


@contextmanager
def observed() -> Iterator[set[str]]:
    """The names of what is called during the block."""
    seen: set[str] = set()
    originals = []
    for name, (owner, attribute) in public().items():
        original = inspect.getattr_static(owner, attribute)
        originals.append((owner, attribute, original))
        setattr(owner, attribute, _noting(name, original, seen))
    try:
        yield seen
    finally:
        for owner, attribute, original in originals:
            setattr(owner, attribute, original)


def _noting(name: str, original: Any, seen: set[str]) -> Any:
    if isinstance(original, staticmethod | classmethod):
        return type(original)(_noting(name, original.__func__, seen))

    @functools.wraps(original)
    def call(*args: Any, **settings: Any) -> Any:
        seen.add(name)
        return original(*args, **settings)

    return call
