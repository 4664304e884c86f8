"""The workflow that must go on running beside everything: the official SDK, a worker and a client."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import temporalio.api.workflowservice.v1 as ws
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

NAMESPACE = "canary"


@activity.defn
async def sing_a_note(note: str) -> str:
    return note.upper()


@workflow.defn
class Song:
    @workflow.run
    async def run(self, notes: list[str]) -> str:
        sung = [
            await workflow.execute_activity(sing_a_note, note, start_to_close_timeout=timedelta(seconds=30))
            for note in notes
        ]
        return "".join(sung)


async def sing(address: str, within: float = 30.0) -> None:
    """Run one workflow with two activities. Raises what keeps it from completing."""
    async with asyncio.timeout(within):
        client = await Client.connect(address, namespace=NAMESPACE)
        request = ws.RegisterNamespaceRequest(namespace=NAMESPACE)
        request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
        try:
            await client.workflow_service.register_namespace(request)
        except RPCError as error:
            if error.status != RPCStatusCode.ALREADY_EXISTS:
                raise
        name = f"canary-{uuid.uuid4()}"
        async with Worker(
            client,
            task_queue=name,
            workflows=[Song],
            activities=[sing_a_note],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            assert await client.execute_workflow(Song.run, ["a", "b"], id=name, task_queue=name) == "AB"
