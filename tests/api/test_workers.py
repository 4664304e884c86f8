from __future__ import annotations

import asyncio

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import WorkerStatus
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
            ws.ListWorkersRequest(namespace="default", query="Color = 'red'"),
            "unknown or unsupported worker heartbeat search field: Color",
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


async def test_workers_are_listed_and_counted_by_what_their_beats_say(api: Api) -> None:
    await record(api, "a", "b", "c")
    query = "TaskQueue = 'orders' AND WorkerInstanceKey != 'b'"

    page = await api.ListWorkers(ws.ListWorkersRequest(namespace="default", query=query, page_size=1))
    rest = await api.ListWorkers(
        ws.ListWorkersRequest(namespace="default", query=query, page_size=1, next_page_token=page.next_page_token)
    )
    counted = await api.CountWorkers(ws.CountWorkersRequest(namespace="default", query=query))

    assert [worker.worker_instance_key for worker in (*page.workers, *rest.workers)] == ["a", "c"]
    assert not rest.next_page_token
    assert counted.count == 2


async def test_workers_of_the_server_itself_are_listed_only_when_asked_for(api: Api) -> None:
    system = heartbeat("system")
    system.task_queue = "temporal-sys-per-ns-tq"
    await api.RecordWorkerHeartbeat(ws.RecordWorkerHeartbeatRequest(namespace="default", worker_heartbeat=[system]))
    await record(api, "a")

    assert (await api.CountWorkers(ws.CountWorkersRequest(namespace="default"))).count == 1
    everyone = ws.ListWorkersRequest(namespace="default", include_system_workers=True)
    assert len((await api.ListWorkers(everyone)).workers) == 2


async def test_a_worker_that_has_shut_down_is_forgotten_at_once(api: Api) -> None:
    await record(api, "a", "b")
    last = heartbeat("a")
    last.status = WorkerStatus.WORKER_STATUS_SHUTDOWN
    await api.RecordWorkerHeartbeat(ws.RecordWorkerHeartbeatRequest(namespace="default", worker_heartbeat=[last]))

    listed = await api.ListWorkers(ws.ListWorkersRequest(namespace="default"))

    assert [worker.worker_instance_key for worker in listed.workers] == ["b"]


async def test_older_ways_to_version_workers_are_refused_as_switched_off(api: Api) -> None:
    sets = (
        "PERMISSION_DENIED",
        "Worker versioning v0.1 (Version Set-based, deprecated) is disabled on this namespace.",
    )
    rules = ("PERMISSION_DENIED", "Worker versioning v0.2 (Rules-based, deprecated) is disabled on this namespace.")
    deployments = (
        "UNIMPLEMENTED",
        "Deployments are deprecated and no longer supported, use Worker Deployments instead",
    )
    name = "default"
    for answer, call in (
        (sets, api.UpdateWorkerBuildIdCompatibility(ws.UpdateWorkerBuildIdCompatibilityRequest(namespace=name))),
        (sets, api.GetWorkerBuildIdCompatibility(ws.GetWorkerBuildIdCompatibilityRequest(namespace=name))),
        (rules, api.UpdateWorkerVersioningRules(ws.UpdateWorkerVersioningRulesRequest(namespace=name))),
        (rules, api.GetWorkerVersioningRules(ws.GetWorkerVersioningRulesRequest(namespace=name))),
        (rules, api.GetWorkerTaskReachability(ws.GetWorkerTaskReachabilityRequest(namespace=name))),
        (deployments, api.DescribeDeployment(ws.DescribeDeploymentRequest(namespace=name))),
        (deployments, api.ListDeployments(ws.ListDeploymentsRequest(namespace=name))),
        (deployments, api.GetDeploymentReachability(ws.GetDeploymentReachabilityRequest(namespace=name))),
        (deployments, api.GetCurrentDeployment(ws.GetCurrentDeploymentRequest(namespace=name))),
        (deployments, api.SetCurrentDeployment(ws.SetCurrentDeploymentRequest(namespace=name))),
    ):
        with pytest.raises(Refused) as refused:
            await call
        assert (refused.value.code, refused.value.message) == answer


async def test_workers_are_not_configured_from_here(api: Api) -> None:
    for rpc, call in (
        ("FetchWorkerConfig", api.FetchWorkerConfig(ws.FetchWorkerConfigRequest(namespace="default"))),
        ("UpdateWorkerConfig", api.UpdateWorkerConfig(ws.UpdateWorkerConfigRequest(namespace="default"))),
    ):
        with pytest.raises(Refused) as refused:
            await call
        assert (refused.value.code, refused.value.message) == ("UNIMPLEMENTED", f"{rpc} command is not enabled.")
