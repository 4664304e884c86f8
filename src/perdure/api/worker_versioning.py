"""Older ways of versioning workers, and their remote configuration: refused in the reference's words, as by a server
that has them switched off, which is its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.workflowservice.v1 import (
    DescribeDeploymentRequest,
    FetchWorkerConfigRequest,
    GetCurrentDeploymentRequest,
    GetDeploymentReachabilityRequest,
    GetWorkerBuildIdCompatibilityRequest,
    GetWorkerTaskReachabilityRequest,
    GetWorkerVersioningRulesRequest,
    ListDeploymentsRequest,
    SetCurrentDeploymentRequest,
    UpdateWorkerBuildIdCompatibilityRequest,
    UpdateWorkerConfigRequest,
    UpdateWorkerVersioningRulesRequest,
)

from perdure.api.call import Call, Reply
from perdure.errors import PermissionDenied, Unimplemented

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


class VersionSetHandlers:
    """Versioning by sets and by rules, which Worker Deployments replaced."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def UpdateWorkerBuildIdCompatibility(self, request: UpdateWorkerBuildIdCompatibilityRequest, call: Call) -> Reply:
        raise self._off(request.namespace, "v0.1 (Version Set-based, deprecated)")

    def GetWorkerBuildIdCompatibility(self, request: GetWorkerBuildIdCompatibilityRequest, call: Call) -> Reply:
        raise self._off(request.namespace, "v0.1 (Version Set-based, deprecated)")

    def UpdateWorkerVersioningRules(self, request: UpdateWorkerVersioningRulesRequest, call: Call) -> Reply:
        raise self._off(request.namespace, "v0.2 (Rules-based, deprecated)")

    def GetWorkerVersioningRules(self, request: GetWorkerVersioningRulesRequest, call: Call) -> Reply:
        raise self._off(request.namespace, "v0.2 (Rules-based, deprecated)")

    def GetWorkerTaskReachability(self, request: GetWorkerTaskReachabilityRequest, call: Call) -> Reply:
        raise self._off(request.namespace, "v0.2 (Rules-based, deprecated)")

    def _off(self, namespace: str, which: str) -> PermissionDenied:
        self._runtime.namespaces.active(namespace)
        return PermissionDenied(f"Worker versioning {which} is disabled on this namespace.")


class WorkerConfigHandlers:
    """Remote configuration of workers, which the reference does not enable either."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def FetchWorkerConfig(self, request: FetchWorkerConfigRequest, call: Call) -> Reply:
        raise Unimplemented("FetchWorkerConfig command is not enabled.")

    def UpdateWorkerConfig(self, request: UpdateWorkerConfigRequest, call: Call) -> Reply:
        raise Unimplemented("UpdateWorkerConfig command is not enabled.")


class DeprecatedDeploymentHandlers:
    """The first form of Worker Deployments, which was never released."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def DescribeDeployment(self, request: DescribeDeploymentRequest, call: Call) -> Reply:
        raise Unimplemented(_DEPRECATED_DEPLOYMENTS)

    def ListDeployments(self, request: ListDeploymentsRequest, call: Call) -> Reply:
        raise Unimplemented(_DEPRECATED_DEPLOYMENTS)

    def GetDeploymentReachability(self, request: GetDeploymentReachabilityRequest, call: Call) -> Reply:
        raise Unimplemented(_DEPRECATED_DEPLOYMENTS)

    def GetCurrentDeployment(self, request: GetCurrentDeploymentRequest, call: Call) -> Reply:
        raise Unimplemented(_DEPRECATED_DEPLOYMENTS)

    def SetCurrentDeployment(self, request: SetCurrentDeploymentRequest, call: Call) -> Reply:
        raise Unimplemented(_DEPRECATED_DEPLOYMENTS)


_DEPRECATED_DEPLOYMENTS: Final = "Deployments are deprecated and no longer supported, use Worker Deployments instead"
