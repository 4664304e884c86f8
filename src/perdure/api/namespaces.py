"""Namespaces: register, describe, list, update, deprecate.

Source: temporal/api/workflowservice/v1/request_response.proto, temporal/api/namespace/v1/message.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import BadBinaries, NamespaceConfig, NamespaceInfo
from temporalio.api.replication.v1 import NamespaceReplicationConfig
from temporalio.api.workflowservice.v1 import (
    DeprecateNamespaceRequest,
    DeprecateNamespaceResponse,
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    RegisterNamespaceRequest,
    RegisterNamespaceResponse,
    UpdateNamespaceRequest,
    UpdateNamespaceResponse,
)

from perdure.api.activity_operations import STANDALONE_COMMANDS
from perdure.api.answers import after_commit
from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import longer_than
from perdure.api.standalone_activities import START_DELAY
from perdure.api.standalone_answers import standalone_enabled
from perdure.api.system import CLUSTER_NAME
from perdure.api.workflow_operations import PAUSE_ENABLED
from perdure.engine.times import set_duration, set_timestamp, valid_duration
from perdure.enums import ArchivalState, ReplicationState
from perdure.errors import InvalidArgument, NamespaceAlreadyExists, NamespaceNotFound
from perdure.runtime import namespace_rows
from perdure.runtime.namespaces import DELETED, DEPRECATED, REGISTERED, BadBinary, Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

PAGE: Final = 100
"""Of who asks for none."""

MAX_BAD_BINARIES: Final = 10

_MAY_BECOME: Final = {REGISTERED: (DEPRECATED, DELETED), DEPRECATED: (DELETED,), DELETED: ()}
_NO_ARCHIVAL: Final = ArchivalState.ARCHIVAL_STATE_DISABLED


class NamespaceHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def RegisterNamespace(self, request: RegisterNamespaceRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        name = request.namespace
        if not name:
            raise InvalidArgument("Namespace not set on request.")
        if longer_than(name, runtime.limits.id_length):
            raise InvalidArgument("Namespace length exceeds limit.")
        if request.is_global_namespace:
            raise InvalidArgument("Cannot register global namespace when not enabled")
        retention = self._retention(request, "workflow_execution_retention_period")
        if request.active_cluster_name not in ("", CLUSTER_NAME):
            raise InvalidArgument("Invalid local namespace active cluster")
        if any(cluster.cluster_name != CLUSTER_NAME for cluster in request.clusters):
            raise InvalidArgument("Invalid local namespace clusters")
        _refuse_archival(request)
        if runtime.namespaces.find(name) is not None:
            raise NamespaceAlreadyExists(name)
        namespace = Namespace(
            id=runtime.entropy.uuid(),
            name=name,
            description=request.description,
            owner_email=request.owner_email,
            data=dict(request.data),
            retention=retention,
        )
        namespace_rows.write(runtime, runtime.namespaces.put(namespace), call, RegisterNamespaceResponse())
        return PENDING

    def DescribeNamespace(self, request: DescribeNamespaceRequest, call: Call) -> Reply | Pending:
        if request.namespace and request.id:
            raise InvalidArgument("GetNamespace operation failed.  Both ID and Name specified in request.")
        if not request.namespace and not request.id:
            raise InvalidArgument("Namespace not set on request.")
        namespaces = self._runtime.namespaces
        namespace = namespaces.find_by_id(request.id) if request.id else namespaces.find(request.namespace)
        if namespace is None:
            raise NamespaceNotFound(request.namespace or request.id)
        reply = DescribeNamespaceResponse()
        self._fill(reply, namespace)
        return after_commit(self._runtime, call, reply)

    def ListNamespaces(self, request: ListNamespacesRequest, call: Call) -> Reply | Pending:
        try:
            after = request.next_page_token.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument("Invalid NextPageToken.") from error
        page_size = request.page_size if request.page_size > 0 else PAGE
        shown = [
            namespace
            for namespace in self._runtime.namespaces
            if namespace.id > after and (namespace.state != DELETED or request.namespace_filter.include_deleted)
        ]
        reply = ListNamespacesResponse()
        for namespace in shown[:page_size]:
            self._fill(reply.namespaces.add(), namespace)
        if len(shown) > page_size:
            reply.next_page_token = shown[page_size - 1].id.encode()
        return after_commit(self._runtime, call, reply)

    def UpdateNamespace(self, request: UpdateNamespaceRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        if request.promote_namespace or _replicates(request):
            raise InvalidArgument(
                "global namespace is not enabled on this cluster, cannot update global namespace or promote local "
                f"namespace: {namespace.name}"
            )
        changes: dict[str, Any] = {}
        if request.HasField("update_info"):
            changes |= dict(_updated_info(request, namespace))
        if request.HasField("config"):
            config = request.config
            _refuse_archival(config)
            if config.custom_search_attribute_aliases:
                raise InvalidArgument(
                    "search attributes have no physical fields here: use AddSearchAttributes of the operator service"
                )
            if config.HasField("workflow_execution_retention_ttl"):
                changes["retention"] = self._retention(config, "workflow_execution_retention_ttl")
            if config.HasField("bad_binaries"):
                changes["bad_binaries"] = self._merged(namespace, config.bad_binaries)
        if request.delete_bad_binary:
            changes["bad_binaries"] = _without(
                changes.get("bad_binaries", namespace.bad_binaries), request.delete_bad_binary
            )
        namespace = replace(namespace, **changes)
        row = runtime.namespaces.put(namespace)
        reply = UpdateNamespaceResponse()
        self._fill(reply, namespace)
        namespace_rows.write(runtime, row, call, reply)
        return PENDING

    def DeprecateNamespace(self, request: DeprecateNamespaceRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = replace(runtime.namespaces.active(request.namespace), state=DEPRECATED)
        namespace_rows.write(runtime, runtime.namespaces.put(namespace), call, DeprecateNamespaceResponse())
        return PENDING

    # ----
    def _retention(self, request: RegisterNamespaceRequest | NamespaceConfig, field: str) -> int:
        """Microseconds. There is no endless retention."""
        period: Duration = getattr(request, field)
        try:
            retention = valid_duration(period)
        except InvalidArgument:
            retention = 0
        if not request.HasField(field) or retention < self._runtime.limits.retention_min:  # type: ignore[arg-type]  # a field of either
            raise InvalidArgument("A valid retention period is not set on request.")
        return retention

    def _merged(self, namespace: Namespace, added: BadBinaries) -> dict[str, BadBinary]:
        now = self._runtime.time.now()
        binaries = dict(namespace.bad_binaries)
        for checksum, info in added.binaries.items():
            binaries[checksum] = BadBinary(info.reason, info.operator, now)
        if len(binaries) > MAX_BAD_BINARIES:
            raise InvalidArgument(f"Total resetBinaries cannot exceed the max limit: {MAX_BAD_BINARIES}")
        return binaries

    def _fill(self, reply: DescribeNamespaceResponse | UpdateNamespaceResponse, namespace: Namespace) -> None:
        self._fill_info(reply.namespace_info, namespace)
        _fill_config(reply.config, namespace)
        _fill_replication(reply.replication_config)
        reply.is_global_namespace = False

    def _fill_info(self, info: NamespaceInfo, namespace: Namespace) -> None:
        limits = self._runtime.limits
        info.name = namespace.name
        info.id = namespace.id
        info.state = namespace.state  # type: ignore[assignment]  # the number of an enum value
        info.description = namespace.description
        info.owner_email = namespace.owner_email
        info.data.update(namespace.data)
        # Only what is true: SDKs and dashboards act on these without asking again.
        can = info.capabilities
        can.eager_workflow_start = True
        can.sync_update = True
        can.async_update = True
        can.reported_problems_search_attribute = True
        can.worker_heartbeats = True
        can.worker_poll_complete_on_shutdown = True
        can.poller_autoscaling = True
        can.standalone_activities = standalone_enabled(self._runtime)
        can.standalone_activity_start_delay = self._runtime.config.dynamic.bool(START_DELAY, True)
        can.standalone_activity_operator_commands = self._runtime.config.dynamic.bool(STANDALONE_COMMANDS, False)
        can.workflow_pause = self._runtime.config.dynamic.bool(PAUSE_ENABLED, False)
        info.limits.blob_size_limit_error = limits.blob_size
        info.limits.memo_size_limit_error = limits.memo_size
        info.supports_schedules = True


def _updated_info(request: UpdateNamespaceRequest, namespace: Namespace) -> Iterator[tuple[str, Any]]:
    """Texts overwrite unless empty, `data` is merged, the state moves one way."""
    info = request.update_info
    if info.description:
        yield "description", info.description
    if info.owner_email:
        yield "owner_email", info.owner_email
    if info.data:
        yield "data", {**namespace.data, **info.data}
    state = int(info.state)
    if state and state != namespace.state:
        if state not in _MAY_BECOME[namespace.state]:
            raise InvalidArgument("Invalid namespace state update.")
        yield "state", state


def _without(binaries: dict[str, BadBinary], checksum: str) -> dict[str, BadBinary]:
    if checksum not in binaries:
        raise InvalidArgument(f"Bad binary checksum {checksum} doesn't exists.")
    return {known: binary for known, binary in binaries.items() if known != checksum}


def _refuse_archival(request: RegisterNamespaceRequest | NamespaceConfig) -> None:
    enabled = ArchivalState.ARCHIVAL_STATE_ENABLED
    if enabled not in (request.history_archival_state, request.visibility_archival_state):
        return
    if not (request.history_archival_uri or request.visibility_archival_uri):
        raise InvalidArgument("Invalid to enable archival without specifying a uri.")
    raise InvalidArgument("archival is not offered by this server")


def _replicates(request: UpdateNamespaceRequest) -> bool:
    """Whether anything but the only cluster is asked for."""
    wanted = request.replication_config
    return wanted.active_cluster_name not in ("", CLUSTER_NAME) or any(
        cluster.cluster_name != CLUSTER_NAME for cluster in wanted.clusters
    )


def _fill_config(config: NamespaceConfig, namespace: Namespace) -> None:
    set_duration(config.workflow_execution_retention_ttl, namespace.retention)
    config.history_archival_state = _NO_ARCHIVAL
    config.visibility_archival_state = _NO_ARCHIVAL
    config.bad_binaries.SetInParent()
    for checksum, binary in namespace.bad_binaries.items():
        info = config.bad_binaries.binaries[checksum]
        info.reason = binary.reason
        info.operator = binary.operator
        set_timestamp(info.create_time, binary.created)


def _fill_replication(config: NamespaceReplicationConfig) -> None:
    config.active_cluster_name = CLUSTER_NAME
    config.clusters.add().cluster_name = CLUSTER_NAME
    config.state = ReplicationState.REPLICATION_STATE_NORMAL
