"""Answers that must not overtake what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.api.call import PENDING, Call, Pending, Reply

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


def after_commit(runtime: Runtime, call: Call, reply: Reply) -> Pending:
    """Answer once all that was decided so far is durable: `reply` may show some of it."""

    def finish() -> None:
        call.finish(reply)

    runtime.after_commit(finish)
    return PENDING
