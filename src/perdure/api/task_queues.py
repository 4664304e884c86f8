"""What clients see of a task queue: who polls it, and what waits in it.

A queue exists by being named, so an unknown one is simply empty.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueStats
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    ListTaskQueuePartitionsRequest,
    ListTaskQueuePartitionsResponse,
)

from perdure.api.answers import committed
from perdure.api.call import Call, Reply
from perdure.api.checks import RESERVED_QUEUE_PREFIX, check_task_queue
from perdure.clock import SECOND
from perdure.engine.times import set_duration, set_timestamp
from perdure.enums import BuildIdTaskReachability, DescribeTaskQueueMode, TaskQueueKind, TaskQueueType
from perdure.errors import InvalidArgument
from perdure.matching.tasks import PollerInfo as Seen
from perdure.matching.tasks import QueueKey, QueueStats
from perdure.runtime.namespaces import Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_WORKFLOW: Final = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_ACTIVITY: Final = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
_STICKY: Final = TaskQueueKind.TASK_QUEUE_KIND_STICKY
_ENHANCED: Final = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED

UNVERSIONED: Final = "__unversioned__"
REACHABILITY_LIMIT: Final = 5
_PARTITION: Final = re.compile(re.escape(RESERVED_QUEUE_PREFIX) + r"(.+)/([1-9]\d*)", re.ASCII)


class TaskQueueHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def DescribeTaskQueue(self, request: DescribeTaskQueueRequest, call: Call) -> Reply:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        name, partition = self._name(request)
        sticky = request.task_queue.kind == _STICKY
        enhanced = request.api_mode == _ENHANCED
        if enhanced and sticky:
            raise InvalidArgument(
                "Enhanced DescribeTaskQueue is not valid for a sticky queue, "
                "use api_mode=UNSPECIFIED or a normal queue."
            )
        if enhanced and partition:
            raise InvalidArgument(
                "Enhanced DescribeTaskQueue is not valid for non-root queue partitions, "
                "use api_mode=UNSPECIFIED or a normal queue root name."
            )
        if enhanced and request.report_task_reachability and len(request.versions.build_ids) > REACHABILITY_LIMIT:
            raise InvalidArgument(
                f"Too many build ids queried at once with ReportTaskReachability==true, limit: {REACHABILITY_LIMIT}"
            )
        if partition and request.report_stats:
            raise InvalidArgument("DescribeTaskQueue stats are only supported for the root partition")
        # A task that was just offered is counted by its row.
        await committed(runtime)
        reply = DescribeTaskQueueResponse()
        if enhanced:
            await self._fill_enhanced(reply, namespace, name, request)
        else:
            key = (namespace.id, request.task_queue.name, int(request.task_queue_type or _WORKFLOW))
            await self._fill(reply, key, request)
            if not sticky:
                reply.versioning_info.current_version = UNVERSIONED
        return reply

    def ListTaskQueuePartitions(self, request: ListTaskQueuePartitionsRequest, call: Call) -> Reply:
        """A queue is one partition here, of its own name."""
        runtime = self._runtime
        runtime.namespaces.active(request.namespace)
        name = check_task_queue(request.task_queue, request.HasField("task_queue"), runtime.limits)
        reply = ListTaskQueuePartitionsResponse()
        for partitions in (reply.activity_task_queue_partitions, reply.workflow_task_queue_partitions):
            partition = partitions.add()
            partition.key = name
            partition.owner_host_name = runtime.config.ip
        return reply

    def _name(self, request: DescribeTaskQueueRequest) -> tuple[str, int]:
        """The queue's name and the number of the partition meant: 0 is the root, which is all of a queue here."""
        task_queue = request.task_queue
        partition = _PARTITION.fullmatch(task_queue.name)
        if partition is not None:
            return partition[1], int(partition[2])
        if task_queue.name.startswith(RESERVED_QUEUE_PREFIX):
            raise InvalidArgument(f"invalid task queue partition name {task_queue.name}")
        return check_task_queue(task_queue, request.HasField("task_queue"), self._runtime.limits), 0

    async def _fill(self, reply: DescribeTaskQueueResponse, key: QueueKey, request: DescribeTaskQueueRequest) -> None:
        matching, now = self._runtime.matching, self._runtime.monotonic.now()
        for seen in matching.survey.pollers(key, now):
            self._fill_poller(reply.pollers.add(), seen, now)
        rate, source, holds = matching.rate_limits.limit(key, now)
        reply.effective_rate_limit.requests_per_second = rate
        reply.effective_rate_limit.rate_limit_source = source  # type: ignore[assignment] # an int of that enum
        if request.include_task_queue_status or request.report_stats:
            overall, by_priority = await self._stats(key)
            if request.include_task_queue_status:
                status = reply.task_queue_status
                status.backlog_count_hint = overall.backlog_count
                status.rate_per_second = rate
                status.ack_level, status.read_level = matching.survey.levels(key)
                status.task_id_block.start_id = status.ack_level + 1
                status.task_id_block.end_id = max(status.read_level, status.ack_level + 1)
            if request.report_stats:
                self._fill_stats(reply.stats, overall)
                reply.stats.rate_limiting_active = holds
                for priority, stats in by_priority.items():
                    self._fill_stats(reply.stats_by_priority_key[priority], stats)
        if request.report_config:
            reply.config.CopyFrom(self._runtime.queue_settings.get(key))

    async def _fill_enhanced(
        self, reply: DescribeTaskQueueResponse, namespace: Namespace, name: str, request: DescribeTaskQueueRequest
    ) -> None:
        """The older form: by build ID and type. Without versioning all there is belongs to one build, the empty one."""
        now = self._runtime.monotonic.now()
        selected = request.versions
        for build_id in selected.build_ids:
            other = reply.versions_info[build_id]
            for kind in request.task_queue_types or (_WORKFLOW, _ACTIVITY):
                other.types_info[int(kind)].SetInParent()
            if request.report_task_reachability:
                other.task_reachability = BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_UNREACHABLE
        if selected.build_ids and not (selected.unversioned or selected.all_active):
            return
        version = reply.versions_info[""]
        if request.report_task_reachability:
            version.task_reachability = BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_REACHABLE
        for kind in request.task_queue_types or (_WORKFLOW, _ACTIVITY):
            key = (namespace.id, name, int(kind))
            info = version.types_info[int(kind)]
            if request.report_pollers:
                for seen in self._runtime.matching.survey.pollers(key, now):
                    self._fill_poller(info.pollers.add(), seen, now)
            if request.report_stats:
                overall, _ = await self._stats(key)
                self._fill_stats(info.stats, overall)

    async def _stats(self, key: QueueKey) -> tuple[QueueStats, dict[int, QueueStats]]:
        """Of the whole queue, and by priority. What the queue does not keep in memory is counted in the store."""
        matching, now = self._runtime.matching, self._runtime.monotonic.now()
        overall = matching.survey.stats(key, now)
        by_priority = matching.survey.stats_by_priority(key, now)
        if not overall.overflow:
            return overall, by_priority
        counts = await self._runtime.store.task_counts(*key)
        stored = {priority: (count, oldest) for priority, count, oldest in counts}
        overall = replace(
            overall,
            backlog_count=sum(count for count, _ in stored.values()),
            oldest_created=min((oldest for _, oldest in stored.values()), default=None),
        )
        both: dict[int, QueueStats] = {}
        for priority in sorted({*by_priority, *stored}):
            count, oldest = stored.get(priority, (0, None))
            both[priority] = replace(by_priority.get(priority, _NO_STATS), backlog_count=count, oldest_created=oldest)
        return overall, both

    def _fill_poller(self, info: PollerInfo, seen: Seen, now: float) -> None:
        ago = int((now - seen.last_access) * SECOND)
        set_timestamp(info.last_access_time, self._runtime.time.now() - ago)
        info.identity = seen.identity
        info.rate_per_second = seen.rate

    def _fill_stats(self, target: TaskQueueStats, stats: QueueStats) -> None:
        target.approximate_backlog_count = stats.backlog_count
        age = self._runtime.time.now() - stats.oldest_created if stats.oldest_created is not None else 0
        set_duration(target.approximate_backlog_age, max(0, age))
        target.tasks_add_rate = stats.add_rate
        target.tasks_dispatch_rate = stats.dispatch_rate


_NO_STATS: Final = QueueStats(0, True, None, 0.0, 0.0)
