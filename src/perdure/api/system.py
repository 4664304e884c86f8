"""What clients ask before anything else: which server this is, and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import (
    GetClusterInfoRequest,
    GetClusterInfoResponse,
    GetSystemInfoRequest,
    GetSystemInfoResponse,
)

from perdure.api.call import Call, Reply

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

CLUSTER_NAME = "active"
"""What the reference's development server calls its only cluster."""

HISTORY_SHARDS = 1

CLIENTS = {
    "temporal-go": "<2.0.0",
    "temporal-java": "<2.0.0",
    "temporal-php": "<2.0.0",
    "temporal-typescript": "<2.0.0",
    "temporal-cli": "<2.0.0",
    "temporal-server": "<2.0.0",
    "temporal-ui": "<3.0.0",
}
"""Shown to clients; the check itself is the transport's."""


class SystemHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._system_info = _system_info(runtime.config.server_version)

    def GetSystemInfo(self, request: GetSystemInfoRequest, call: Call) -> Reply:
        return self._system_info

    def GetClusterInfo(self, request: GetClusterInfoRequest, call: Call) -> Reply:
        version = self._runtime.config.server_version
        info = GetClusterInfoResponse()
        info.supported_clients.update(CLIENTS)
        info.server_version = version
        info.cluster_id = self._runtime.cluster_id
        info.version_info.current.version = version
        info.cluster_name = CLUSTER_NAME
        info.history_shard_count = HISTORY_SHARDS
        # Dashboards choose the filters they offer by these names.
        info.persistence_store = "sqlite"
        info.visibility_store = "sqlite"
        info.initial_failover_version = 1
        info.failover_version_increment = 10
        return info


def _system_info(version: str) -> GetSystemInfoResponse:
    info = GetSystemInfoResponse()
    info.server_version = version
    can = info.capabilities
    can.signal_and_query_header = True
    can.internal_error_differentiation = True
    can.activity_failure_include_heartbeat = True
    can.supports_schedules = True
    can.encoded_failure_attributes = True
    can.build_id_based_versioning = True  # workers then send version stamps, which histories record
    can.upsert_memo = True
    can.eager_workflow_start = True
    can.sdk_metadata = True
    can.count_group_by_execution_status = True
    return info
