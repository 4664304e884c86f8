"""A batch job whose server dies in the middle of it, more than once, still does each thing exactly once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import pytest
import temporalio.api.batch.v1 as batch
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import ResetOptions
from temporalio.api.enums.v1 import EventType

from tests.api.client import NAMESPACE, Api, Refused, start_timer
from tests.crash.harness import POINTS_OF_A_COMMIT
from tests.support.server_process import LaunchFailed, ServerProcess, dev_server_command, free_port

CRASHING_SERVER = Path(__file__).parents[1] / "support" / "crashing_server.py"
ORDERS = 30


def job(job_id: str, **operation: Any) -> ws.StartBatchOperationRequest:
    return ws.StartBatchOperationRequest(
        namespace=NAMESPACE,
        job_id=job_id,
        reason="all of them",
        visibility_query="WorkflowType = 'Order' AND ExecutionStatus = 'Running'",
        max_operations_per_second=300,
        **operation,
    )


async def has_started(api: Api, wanted: ws.StartBatchOperationRequest) -> None:
    try:
        await api.StartBatchOperation(wanted)
    except Refused as refused:
        if refused.code != "ALREADY_EXISTS":
            raise


async def state_of(api: Api, job_id: str) -> Any:
    return await api.DescribeBatchOperation(ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id=job_id))


@asynccontextmanager
async def serving(command: list[str], port: int) -> AsyncIterator[Api]:
    """A server until it dies, by itself or at the end of the block."""
    server = await asyncio.to_thread(ServerProcess, command, port)
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield Api(channel)
    finally:
        await asyncio.to_thread(server.kill)


async def runs_to_its_end(api: Api, wanted: ws.StartBatchOperationRequest) -> Any:
    await has_started(api, wanted)
    while (done := await state_of(api, wanted.job_id)).state == 1:
        pass
    return done


@pytest.mark.timeout(120)
async def test_each_target_is_signalled_and_reset_once_whatever_dies(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    database = tmp_path / "perdure.db"
    port = free_port()
    server = dev_server_command(port, database=database)
    signals = job("signals", signal_operation=batch.BatchOperationSignal(signal="news"))
    resets = job("resets", reset_operation=batch.BatchOperationReset(options=ResetOptions(first_workflow_task={})))
    async with serving(server, port) as api:
        for number in range(ORDERS):
            await api.start(f"order-{number}")
            await api.step(start_timer())

    for wanted in (signals, resets):
        point, hit = random.choice(POINTS_OF_A_COMMIT), random.randint(2, 25)
        mortal = [sys.executable, str(CRASHING_SERVER), str(port), str(database), point, str(hit)]
        with suppress(Refused, LaunchFailed):
            async with serving(mortal, port) as api:
                await runs_to_its_end(api, wanted)
        async with serving(server, port) as api:
            done = await runs_to_its_end(api, wanted)
        assert done.complete_operation_count == done.total_operation_count == ORDERS, f"seed {seed}"

    async with serving(server, port) as api:
        for number in range(ORDERS):
            events = (await api.history(f"order-{number}")).history.events
            told = [event for event in events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED]
            assert len(told) == 1, f"seed {seed}"
        counted = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE))
        assert counted.count == 2 * ORDERS, f"seed {seed}"
