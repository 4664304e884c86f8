"""Workers as such: their heartbeats, the list of them, and their shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerListInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkersRequest,
    CountWorkersResponse,
    DescribeWorkerRequest,
    DescribeWorkerResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    RecordWorkerHeartbeatRequest,
    RecordWorkerHeartbeatResponse,
    ShutdownWorkerRequest,
    ShutdownWorkerResponse,
)

from perdure.api.call import Call, Reply
from perdure.engine.times import make_legal, timestamp_us
from perdure.enums import TaskQueueType, WorkerStatus
from perdure.errors import InvalidArgument, NotFound
from perdure.matching.workers import Accepts
from perdure.runtime.long_filters import parsed
from perdure.runtime.namespaces import Namespace
from perdure.runtime.stopping_workers import stop_worker
from perdure.visibility.workers import parse_worker_filter

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_BOTH_KINDS: Final = (
    int(TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    int(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
)
_SHUTDOWN: Final = int(WorkerStatus.WORKER_STATUS_SHUTDOWN)
_STATUSES: Final = {
    int(WorkerStatus.WORKER_STATUS_RUNNING): "Running",
    int(WorkerStatus.WORKER_STATUS_SHUTTING_DOWN): "ShuttingDown",
    _SHUTDOWN: "Shutdown",
}
_POLLERS: Final = ("workflow_poller_info", "workflow_sticky_poller_info", "activity_poller_info", "nexus_poller_info")
SYSTEM_QUEUE: Final = "temporal-sys-per-ns-tq"
"""Its workers serve the server itself; they are listed only when asked for."""


class WorkerHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def ShutdownWorker(self, request: ShutdownWorkerRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        if request.HasField("worker_heartbeat"):
            self._record(namespace, request.worker_heartbeat)
        kinds = [int(kind) for kind in request.task_queue_types] or list(_BOTH_KINDS)
        stop_worker(self._runtime, namespace.id, request.sticky_task_queue, request.worker_instance_key, kinds)
        return ShutdownWorkerResponse()

    def RecordWorkerHeartbeat(self, request: RecordWorkerHeartbeatRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        for heartbeat in request.worker_heartbeat:
            self._record(namespace, heartbeat)
        return RecordWorkerHeartbeatResponse()

    async def ListWorkers(self, request: ListWorkersRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        accepts = await _accepts(request)
        try:
            after = request.next_page_token.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument("invalid next_page_token") from error
        now = self._runtime.monotonic.now()
        entries, token = self._runtime.workers.list_workers(namespace.id, now, request.page_size, after, accepts)
        reply = ListWorkersResponse()
        reply.next_page_token = token.encode()
        for entry in entries:
            heartbeat = reply.workers_info.add().worker_heartbeat
            heartbeat.ParseFromString(entry.heartbeat)
            _fill_compact(reply.workers.add(), heartbeat)
        return reply

    async def CountWorkers(self, request: CountWorkersRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        reply = CountWorkersResponse()
        accepts = await _accepts(request)
        reply.count = self._runtime.workers.count_workers(namespace.id, self._runtime.monotonic.now(), accepts)
        return reply

    def DescribeWorker(self, request: DescribeWorkerRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        key = request.worker_instance_key
        entry = self._runtime.workers.describe_worker(namespace.id, key, self._runtime.monotonic.now())
        if entry is None:
            if not self._runtime.workers.has_reported(namespace.id):
                raise NotFound(f"namespace not found: {namespace.id}")
            raise NotFound(f"Worker {key} not found")
        reply = DescribeWorkerResponse()
        reply.worker_info.worker_heartbeat.ParseFromString(entry.heartbeat)
        return reply

    def _record(self, namespace: Namespace, heartbeat: WorkerHeartbeat) -> None:
        workers = self._runtime.workers
        key = heartbeat.worker_instance_key
        if heartbeat.status == _SHUTDOWN:
            workers.forget(namespace.id, key)
            return
        make_legal(heartbeat, "start_time", "heartbeat_time", "elapsed_since_last_heartbeat")
        for name in _POLLERS:
            if heartbeat.HasField(name):
                make_legal(getattr(heartbeat, name), "last_successful_poll_time")
        now = self._runtime.monotonic.now()
        workers.record(namespace.id, key, heartbeat.SerializeToString(), now, _known(heartbeat))


async def _accepts(request: ListWorkersRequest | CountWorkersRequest) -> Accepts | None:
    text = request.query
    wanted = await parsed(text, lambda: parse_worker_filter(text))
    if request.include_system_workers:
        return wanted
    if wanted is None:
        return lambda known: known.get("TaskQueue") != SYSTEM_QUEUE
    return lambda known: known.get("TaskQueue") != SYSTEM_QUEUE and wanted(known)


def _known(heartbeat: WorkerHeartbeat) -> dict[str, str | int | float | bool]:
    """What filters may ask of a worker: see `visibility/workers.py`."""
    known: dict[str, str | int | float | bool] = {
        "WorkerInstanceKey": heartbeat.worker_instance_key,
        "WorkerIdentity": heartbeat.worker_identity,
        "HostName": heartbeat.host_info.host_name,
        "TaskQueue": heartbeat.task_queue,
        "DeploymentName": heartbeat.deployment_version.deployment_name,
        "BuildId": heartbeat.deployment_version.build_id,
        "SdkName": heartbeat.sdk_name,
        "SdkVersion": heartbeat.sdk_version,
        "WorkerStatus": _STATUSES.get(heartbeat.status, ""),
    }
    known = {name: value for name, value in known.items() if value}
    for name, time in (("StartTime", "start_time"), ("HeartbeatTime", "heartbeat_time")):
        if heartbeat.HasField(time):  # type: ignore[arg-type] # one of the two above
            known[name] = timestamp_us(getattr(heartbeat, time))
    return known


def _fill_compact(info: WorkerListInfo, heartbeat: WorkerHeartbeat) -> None:
    info.worker_instance_key = heartbeat.worker_instance_key
    info.worker_identity = heartbeat.worker_identity
    info.task_queue = heartbeat.task_queue
    if heartbeat.HasField("deployment_version"):
        info.deployment_version.CopyFrom(heartbeat.deployment_version)
    info.sdk_name = heartbeat.sdk_name
    info.sdk_version = heartbeat.sdk_version
    info.status = heartbeat.status
    if heartbeat.HasField("start_time"):
        info.start_time.CopyFrom(heartbeat.start_time)
    info.host_name = heartbeat.host_info.host_name
    info.worker_grouping_key = heartbeat.host_info.worker_grouping_key
    info.process_id = heartbeat.host_info.process_id
    info.plugins.extend(heartbeat.plugins)
    info.drivers.extend(heartbeat.drivers)
