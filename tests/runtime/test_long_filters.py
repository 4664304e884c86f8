"""A long filter is read while others are served."""

from __future__ import annotations

import threading

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.runtime.long_filters import LONG, parsed
from tests.api.client import NAMESPACE
from tests.support.runtime_world import running

MANY = " OR ".join(f"WorkerIdentity = 'worker-{number}'" for number in range(500))


@pytest.mark.parametrize(("length", "elsewhere"), [(LONG, False), (LONG + 1, True)])
async def test_only_a_long_text_is_parsed_on_another_thread(length: int, elsewhere: bool) -> None:
    thread = await parsed("x" * length, threading.get_ident)

    assert (thread != threading.get_ident()) is elsewhere


async def test_workers_are_counted_by_a_long_filter() -> None:
    async with running() as world:
        report = ws.RecordWorkerHeartbeatRequest(namespace=NAMESPACE)
        report.worker_heartbeat.add(worker_instance_key="k", worker_identity="worker-7")
        await world.ask(report)

        found = await world.ask_patiently(ws.CountWorkersRequest(namespace=NAMESPACE, query=MANY))

        assert len(MANY) > LONG
        assert found.count == 1
