"""Filters that take long to parse do not hold up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

LONG: Final = 4096
"""Characters of a filter that take too long to parse (a few milliseconds) for the event loop to wait."""

_T = TypeVar("_T")


async def parsed(text: str, parse: Callable[[], _T]) -> _T:
    """What `parse` makes of `text`, and what it raises: on another thread if the text is long."""
    return parse() if len(text) <= LONG else await asyncio.to_thread(parse)
