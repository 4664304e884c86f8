"""Workflows that go on in another run, for whoever tells stories of retries and cron."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError


@workflow.defn
class SucceedsAt:
    @workflow.run
    async def run(self, attempt: int) -> int:
        if workflow.info().attempt < attempt:
            raise ApplicationError(f"not at attempt {workflow.info().attempt}")
        return workflow.info().attempt


@workflow.defn
class Counts:
    """A cron workflow: each run adds one to what the run before it left."""

    @workflow.run
    async def run(self) -> int:
        last = workflow.get_last_completion_result(int) if workflow.has_last_completion_result() else 0
        return (last or 0) + 1
