from __future__ import annotations

import temporalio.api.operatorservice.v1 as op
import temporalio.api.workflowservice.v1 as ws

from tests.api.client import Api


async def test_the_version_is_one_that_go_and_java_clients_accept(api: Api) -> None:
    info = await api.GetSystemInfo(ws.GetSystemInfoRequest())

    assert info.server_version.split(".")[0] == "1"


async def test_the_cluster_names_its_stores_as_dashboards_know_them(api: Api) -> None:
    info = await api.GetClusterInfo(ws.GetClusterInfoRequest())

    assert (info.cluster_name, info.persistence_store, info.visibility_store) == ("active", "sqlite", "sqlite")
    assert info.history_shard_count == 1
    assert "temporal-ui" in info.supported_clients


async def test_there_is_one_cluster_and_it_keeps_its_id(api: Api) -> None:
    info = await api.GetClusterInfo(ws.GetClusterInfoRequest())

    (cluster,) = (await api.ListClusters(op.ListClustersRequest())).clusters

    assert cluster.cluster_id == info.cluster_id != ""
    assert cluster.is_connection_enabled
