"""Answers that must not overtake what they show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.api.call import PENDING, Call, Pending, Reply

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


def after_commit(runtime: Runtime, call: Call, reply: Reply) -> Pending:
    """Answer once all that was decided so far is durable: `reply` may show some of it. Unavailable if it is refused."""
    runtime.answer_after_commit(call, reply)
    return PENDING


async def committed(runtime: Runtime) -> None:
    """Wait until all that anybody could have been told of is durable, so that a reader of the store sees it too."""
    durable = asyncio.get_running_loop().create_future()

    def landed() -> None:
        if not durable.done():  # the caller may have gone
            durable.set_result(None)

    runtime.after_commit(landed)
    await durable
