"""The operator's service: custom search attributes, and the cluster, which is one.

Source: temporal/api/operatorservice/v1/request_response.proto.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    AddSearchAttributesResponse,
    DeleteNamespaceRequest,
    DeleteNamespaceResponse,
    ListClustersRequest,
    ListClustersResponse,
    ListSearchAttributesRequest,
    ListSearchAttributesResponse,
    RemoveSearchAttributesRequest,
    RemoveSearchAttributesResponse,
)

from perdure.api.answers import after_commit
from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import longer_than
from perdure.api.registry import OPERATOR_SERVICE
from perdure.api.system import CLUSTER_NAME, HISTORY_SHARDS
from perdure.engine.times import valid_duration
from perdure.errors import FailedPrecondition, InvalidArgument, NamespaceNotFound
from perdure.runtime import namespace_rows
from perdure.runtime.namespaces import DELETED, SYSTEM_NAMESPACE, Namespace
from perdure.visibility.attributes import PREDEFINED, RESERVED, SYSTEM, TYPE_NAMES

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

RESERVED_PREFIX: Final = "Temporal"


class OperatorHandlers:
    service = OPERATOR_SERVICE

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def AddSearchAttributes(self, request: AddSearchAttributesRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        if not request.search_attributes:
            raise InvalidArgument("SearchAttributes are not set on request.")
        for name, kind in request.search_attributes.items():
            if name in RESERVED or name in PREDEFINED or name.startswith(RESERVED_PREFIX):
                raise InvalidArgument(f"Search attribute {name} is reserved by system.")
            if kind not in TYPE_NAMES:
                raise InvalidArgument(f"Unknown search attribute type: {kind}.")
            if not name or longer_than(name, runtime.limits.id_length):
                raise InvalidArgument("Search attribute name length exceeds limit.")
        namespace = self._namespace(request.namespace)
        # One that is there already keeps its type: asking twice must be safe.
        attributes = {
            **{name: int(kind) for name, kind in request.search_attributes.items()},
            **namespace.search_attributes,
        }
        row = runtime.namespaces.put(replace(namespace, search_attributes=attributes))
        namespace_rows.write(runtime, row, call, AddSearchAttributesResponse())
        return PENDING

    def RemoveSearchAttributes(self, request: RemoveSearchAttributesRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        if not request.search_attributes:
            raise InvalidArgument("SearchAttributes are not set on request.")
        namespace = self._namespace(request.namespace)
        gone = set(request.search_attributes)
        system = sorted(name for name in gone if name in SYSTEM or name in PREDEFINED)
        if system:
            raise InvalidArgument(f"Unable to remove non-custom search attributes: {system[0]}.")
        attributes = {name: kind for name, kind in namespace.search_attributes.items() if name not in gone}
        row = runtime.namespaces.put(replace(namespace, search_attributes=attributes))
        namespace_rows.write(runtime, row, call, RemoveSearchAttributesResponse())
        return PENDING

    def ListSearchAttributes(self, request: ListSearchAttributesRequest, call: Call) -> Reply | Pending:
        namespace = self._namespace(request.namespace)
        reply = ListSearchAttributesResponse()
        for name, kind in namespace.search_attributes.items():
            reply.custom_attributes[name] = kind  # type: ignore[assignment]  # the number of an enum value
        for name, kind in (*SYSTEM.items(), *PREDEFINED.items()):
            reply.system_attributes[name] = kind  # type: ignore[assignment]  # the number of an enum value
        return after_commit(self._runtime, call, reply)

    def DeleteNamespace(self, request: DeleteNamespaceRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        if not request.namespace and not request.namespace_id:
            raise InvalidArgument("namespace or namespace ID is required")
        if request.namespace and request.namespace_id:
            raise InvalidArgument("only one of namespace or namespace ID must be set")
        namespaces = runtime.namespaces
        named = (
            namespaces.find_by_id(request.namespace_id) if request.namespace_id else namespaces.find(request.namespace)
        )
        if named is None or named.delete_after:
            raise NamespaceNotFound(request.namespace or request.namespace_id)
        if named.name == SYSTEM_NAMESPACE:
            raise FailedPrecondition("unable to delete system namespace")
        try:
            delay = valid_duration(request.namespace_delete_delay)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid namespace_delete_delay: {error.message}") from error
        name = self._name_of_deleted(named)
        deleted = replace(named, name=name, state=DELETED, delete_after=runtime.time.now() + delay)
        namespace_rows.write(runtime, namespaces.put(deleted), call, DeleteNamespaceResponse(deleted_namespace=name))
        runtime.removal.soon()
        return PENDING

    def _name_of_deleted(self, namespace: Namespace) -> str:
        """The old name is free again at once."""
        for length in range(5, len(namespace.id) + 1):
            name = f"{namespace.name}-deleted-{namespace.id[:length]}"
            if self._runtime.namespaces.find(name) is None:
                return name
        raise FailedPrecondition(f"namespace {namespace.name} was deleted before under each name it could get")

    def ListClusters(self, request: ListClustersRequest, call: Call) -> Reply:
        reply = ListClustersResponse()
        cluster = reply.clusters.add()
        cluster.cluster_name = CLUSTER_NAME
        cluster.cluster_id = self._runtime.cluster_id
        cluster.initial_failover_version = 1
        cluster.history_shard_count = HISTORY_SHARDS
        cluster.is_connection_enabled = True
        return reply

    def _namespace(self, name: str) -> Namespace:
        if not name:
            raise InvalidArgument("Namespace is not set on request.")
        return self._runtime.namespaces.active(name)
