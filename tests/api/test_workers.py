from __future__ import annotations

import asyncio

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.worker.v1 import WorkerHeartbeat

from tests.api.client import Api, Refused, queue


def heartbeat(key: str) -> WorkerHeartbeat:
    beat = WorkerHeartbeat(worker_instance_key=key, worker_identity=f"{key}@host", task_queue="orders")
    beat.host_info.host_name = "host"
    return beat


async def record(api: Api, *keys: str) -> None:
    await api.RecordWorkerHeartbeat(
        ws.RecordWorkerHeartbeatRequest(namespace="default", worker_heartbeat=[heartbeat(key) for key in keys])
    )


async def test_workers_that_beat_are_listed_in_pages(api: Api) -> None:
    await record(api, "b", "a", "c")

    first = await api.ListWorkers(ws.ListWorkersRequest(namespace="default", page_size=2))
    rest = await api.ListWorkers(
        ws.ListWorkersRequest(namespace="default", page_size=2, next_page_token=first.next_page_token)
    )

    assert [worker.worker_instance_key for worker in (*first.workers, *rest.workers)] == ["a", "b", "c"]
    assert first.workers_info[0].worker_heartbeat == heartbeat("a")
    assert first.workers[0].host_name == "host"
    assert not rest.next_page_token


async def test_a_worker_is_described_by_its_key(api: Api) -> None:
    await record(api, "a")

    described = await api.DescribeWorker(ws.DescribeWorkerRequest(namespace="default", worker_instance_key="a"))

    assert described.worker_info.worker_heartbeat == heartbeat("a")


async def test_an_unknown_worker_is_not_found(api: Api) -> None:
    await record(api, "a")

    with pytest.raises(Refused) as refused:
        await api.DescribeWorker(ws.DescribeWorkerRequest(namespace="default", worker_instance_key="b"))

    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "Worker b not found")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            ws.ListWorkersRequest(namespace="default", query="TaskQueue = 'orders'"),
            "filtering workers by a query is not supported yet",
        ),
        (ws.ListWorkersRequest(namespace="default", next_page_token=b"\xff"), "invalid next_page_token"),
    ],
)
async def test_a_list_that_cannot_be_given_is_refused(api: Api, request_: ws.ListWorkersRequest, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.ListWorkers(request_)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_shutting_down_a_worker_answers_its_polls_and_keeps_its_last_beat(api: Api) -> None:
    workflow = asyncio.ensure_future(api.poll(worker_instance_key="a", within=60))
    activity = asyncio.ensure_future(api.poll_activity(worker_instance_key="a", within=60))
    await api.parked(queue(), kind=1)
    await api.parked(queue(), kind=2)

    await api.ShutdownWorker(
        ws.ShutdownWorkerRequest(
            namespace="default",
            worker_instance_key="a",
            sticky_task_queue="sticky-a",
            worker_heartbeat=heartbeat("a"),
        )
    )

    assert (await workflow).task_token == (await activity).task_token == b""
    listed = await api.ListWorkers(ws.ListWorkersRequest(namespace="default"))
    assert [worker.worker_instance_key for worker in listed.workers] == ["a"]
