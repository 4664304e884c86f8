from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import temporalio.api.operatorservice.v1 as ops
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import NamespaceState

from perdure import Server
from perdure.clock import SeededEntropy
from perdure.engine.limits import Limits
from perdure.runtime.namespaces import SYSTEM_NAMESPACE_ID, BadBinary, Namespace, Namespaces, decode_namespace
from tests.api.client import Api, Refused, start_request

DAY = Duration(seconds=86_400)


async def register(api: Api, name: str = "orders", **fields: Any) -> Any:
    fields = {"workflow_execution_retention_period": DAY, **fields}
    return await api.RegisterNamespace(ws.RegisterNamespaceRequest(namespace=name, **fields))


async def describe(api: Api, name: str = "orders") -> Any:
    return await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=name))


# ---- register, describe, list
async def test_a_registered_namespace_can_be_used_at_once(api: Api) -> None:
    await register(api, description="all orders", owner_email="ann@example.com", data={"team": "shop"})

    started = await api.StartWorkflowExecution(start_request(namespace="orders"))
    described = await describe(api)

    assert started.run_id
    info = described.namespace_info
    assert (info.name, info.description, info.owner_email) == ("orders", "all orders", "ann@example.com")
    assert info.state == NamespaceState.NAMESPACE_STATE_REGISTERED
    assert dict(info.data) == {"team": "shop"}
    assert described.config.workflow_execution_retention_ttl == DAY


async def test_a_namespace_tells_its_limits_and_only_what_it_can_do(api: Api) -> None:
    info = (await describe(api, "default")).namespace_info

    assert (info.limits.blob_size_limit_error, info.limits.memo_size_limit_error) == (2097152, 2097152)
    assert {field.name for field, _ in info.capabilities.ListFields()} == {
        "async_update",
        "eager_workflow_start",
        "poller_autoscaling",
        "reported_problems_search_attribute",
        "standalone_activities",
        "standalone_activity_start_delay",
        "sync_update",
        "worker_heartbeats",
        "worker_poll_complete_on_shutdown",
    }
    assert info.supports_schedules


async def test_a_namespace_is_found_by_its_id_too(api: Api) -> None:
    named = await describe(api, "default")

    found = await api.DescribeNamespace(ws.DescribeNamespaceRequest(id=named.namespace_info.id))

    assert found == named


async def test_the_system_namespace_has_the_references_id(api: Api) -> None:
    assert (await describe(api, "temporal-system")).namespace_info.id == SYSTEM_NAMESPACE_ID


async def test_namespaces_are_listed_in_pages_without_the_deleted(api: Api) -> None:
    await register(api, "a")
    await register(api, "b")
    await update(api, "b", state=NamespaceState.NAMESPACE_STATE_DELETED)

    names, token = [], b""
    while True:
        page = await api.ListNamespaces(ws.ListNamespacesRequest(page_size=1, next_page_token=token))
        names += [found.namespace_info.name for found in page.namespaces]
        token = page.next_page_token
        if not token:
            break
    everything = ws.ListNamespacesRequest()
    everything.namespace_filter.include_deleted = True

    assert sorted(names) == ["a", "default", "temporal-system"]
    assert len((await api.ListNamespaces(everything)).namespaces) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "Namespace not set on request."),
        ({"name": "n" * 1001}, "Namespace length exceeds limit."),
        (
            {"workflow_execution_retention_period": None},
            "A valid retention period is not set on request.",
        ),
        (
            {"workflow_execution_retention_period": Duration(seconds=3599)},
            "A valid retention period is not set on request.",
        ),
        (
            {"workflow_execution_retention_period": Duration(seconds=-1)},
            "A valid retention period is not set on request.",
        ),
        ({"is_global_namespace": True}, "Cannot register global namespace when not enabled"),
        ({"active_cluster_name": "other"}, "Invalid local namespace active cluster"),
        ({"history_archival_state": 2}, "Invalid to enable archival without specifying a uri."),
    ],
)
async def test_what_cannot_be_registered_is_refused(api: Api, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        await register(api, **fields)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_a_name_is_registered_once(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        await register(api, "default")

    assert (refused.value.code, refused.value.message) == (
        "ALREADY_EXISTS",
        'Namespace "default" already exists',
    )


async def test_an_unknown_namespace_is_not_found(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        await describe(api, "nowhere")

    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "Namespace nowhere is not found.")


# ---- update, deprecate
async def update(api: Api, name: str = "default", **info: Any) -> Any:
    request = ws.UpdateNamespaceRequest(namespace=name)
    data = info.pop("data", {})
    for field, value in info.items():
        setattr(request.update_info, field, value)
    request.update_info.data.update(data)
    return await api.UpdateNamespace(request)


async def test_an_update_overwrites_texts_and_merges_data(api: Api) -> None:
    await update(api, description="first", data={"a": "1"})

    updated = await update(api, owner_email="ann@example.com", data={"b": "2"})

    assert updated.namespace_info.description == "first"
    assert updated.namespace_info == (await describe(api, "default")).namespace_info
    assert dict(updated.namespace_info.data) == {"a": "1", "b": "2"}


async def test_retention_and_bad_binaries_are_updated(api: Api) -> None:
    request = ws.UpdateNamespaceRequest(namespace="default")
    request.config.workflow_execution_retention_ttl.seconds = 7200
    request.config.bad_binaries.binaries["build-1"].reason = "loses orders"
    updated = await api.UpdateNamespace(request)
    removed = await api.UpdateNamespace(ws.UpdateNamespaceRequest(namespace="default", delete_bad_binary="build-1"))
    with pytest.raises(Refused) as refused:
        await api.UpdateNamespace(ws.UpdateNamespaceRequest(namespace="default", delete_bad_binary="build-1"))

    assert updated.config.workflow_execution_retention_ttl.seconds == 7200
    assert updated.config.bad_binaries.binaries["build-1"].reason == "loses orders"
    assert not removed.config.bad_binaries.binaries
    assert refused.value.message == "Bad binary checksum build-1 doesn't exists."


async def test_a_deprecated_namespace_starts_nothing_new_and_serves_what_runs(api: Api) -> None:
    await api.start()

    await api.DeprecateNamespace(ws.DeprecateNamespaceRequest(namespace="default"))
    with pytest.raises(Refused) as refused:
        await api.start("order-2")

    assert (refused.value.code, refused.value.message) == (
        "FAILED_PRECONDITION",
        "Namespace has invalid state: Deprecated. Must be Registered.",
    )
    await api.signal()


async def test_a_deleted_namespace_serves_nothing_and_never_comes_back(api: Api) -> None:
    await register(api)
    await update(api, "orders", state=NamespaceState.NAMESPACE_STATE_DELETED)

    with pytest.raises(Refused) as refused:
        await update(api, "orders", state=NamespaceState.NAMESPACE_STATE_REGISTERED)

    assert refused.value.message == "Namespace has invalid state: Deleted. Must be Registered or Deprecated."


async def test_a_namespace_cannot_be_registered_again_by_update(api: Api) -> None:
    await api.DeprecateNamespace(ws.DeprecateNamespaceRequest(namespace="default"))

    with pytest.raises(Refused) as refused:
        await update(api, state=NamespaceState.NAMESPACE_STATE_REGISTERED)

    assert refused.value.message == "Invalid namespace state update."


# ---- kept
async def test_namespaces_survive_a_restart(tmp_path: Path) -> None:
    database = str(tmp_path / "namespaces.db")
    async with Server(db_filename=database) as server, grpc.aio.insecure_channel(server.address) as channel:
        await register(Api(channel), data={"team": "shop"})
        before = await describe(Api(channel))

    async with Server(db_filename=database) as server, grpc.aio.insecure_channel(server.address) as channel:
        after = await describe(Api(channel))

    assert after == before


def test_a_stored_namespace_keeps_what_a_newer_release_wrote() -> None:
    namespace = Namespace(
        id="id-1", name="orders", bad_binaries={"b": BadBinary("r", "o", 5)}, extra={"invented_later": [1, 2]}
    )

    read = decode_namespace(namespace.row())

    assert read == namespace
    assert decode_namespace(read.row()).extra == {"invented_later": [1, 2]}


def test_ensuring_a_namespace_twice_writes_it_once() -> None:
    namespaces = Namespaces(SeededEntropy(1), Limits())

    rows = [
        namespaces.ensure("default", search_attributes={"A": 2}),
        namespaces.ensure("default", search_attributes={"A": 3}),
        namespaces.ensure("default", search_attributes={"B": 3}),
    ]

    assert [row is not None for row in rows] == [True, False, True]
    assert namespaces.active("default").search_attributes == {"A": 2, "B": 3}


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({}, "INVALID_ARGUMENT", "namespace or namespace ID is required"),
        (
            {"namespace": "default", "namespace_id": "x"},
            "INVALID_ARGUMENT",
            "only one of namespace or namespace ID must be set",
        ),
        ({"namespace": "temporal-system"}, "FAILED_PRECONDITION", "unable to delete system namespace"),
        ({"namespace": "nowhere"}, "NOT_FOUND", "Namespace nowhere is not found."),
        ({"namespace_id": "nothing"}, "NOT_FOUND", "Namespace nothing is not found."),
    ],
)
async def test_a_namespace_that_cannot_be_deleted_stays(api: Api, fields: dict[str, str], code: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.DeleteNamespace(ops.DeleteNamespaceRequest(**fields))

    assert (refused.value.code, refused.value.message) == (code, text)


async def test_a_namespace_is_deleted_by_its_id_once(api: Api) -> None:
    described = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace="default"))
    namespace_id = described.namespace_info.id

    deleted = await api.DeleteNamespace(ops.DeleteNamespaceRequest(namespace_id=namespace_id))

    assert deleted.deleted_namespace == f"default-deleted-{namespace_id[:5]}"
    with pytest.raises(Refused, match="NOT_FOUND"):
        await api.DeleteNamespace(ops.DeleteNamespaceRequest(namespace_id=namespace_id))
    with pytest.raises(Refused, match="NOT_FOUND"):
        await api.start()
