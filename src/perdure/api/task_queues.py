"""What clients see of a task queue: who polls it, and what waits in it.

A queue exists by being named, so an unknown one is simply empty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse

from perdure.api.answers import committed
from perdure.api.call import Call, Reply
from perdure.api.checks import check_task_queue
from perdure.clock import SECOND
from perdure.engine.times import set_duration, set_timestamp
from perdure.enums import DescribeTaskQueueMode, TaskQueueKind, TaskQueueType
from perdure.errors import InvalidArgument
from perdure.matching.tasks import DEFAULT_RATE, QueueKey, QueueStats
from perdure.matching.tasks import PollerInfo as Seen
from perdure.runtime.namespaces import Namespace

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_WORKFLOW: Final = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_ACTIVITY: Final = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
_STICKY: Final = TaskQueueKind.TASK_QUEUE_KIND_STICKY
_ENHANCED: Final = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED

UNVERSIONED: Final = "__unversioned__"


class TaskQueueHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def DescribeTaskQueue(self, request: DescribeTaskQueueRequest, call: Call) -> Reply:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        name = check_task_queue(request.task_queue, request.HasField("task_queue"), runtime.limits)
        sticky = request.task_queue.kind == _STICKY
        enhanced = request.api_mode == _ENHANCED
        if enhanced and sticky:
            raise InvalidArgument(
                "Enhanced DescribeTaskQueue is not valid for a sticky queue, "
                "use api_mode=UNSPECIFIED or a normal queue."
            )
        # A task that was just offered is counted by its row.
        await committed(runtime)
        reply = DescribeTaskQueueResponse()
        if enhanced:
            await self._fill_enhanced(reply, namespace, name, request)
        else:
            key = (namespace.id, name, int(request.task_queue_type or _WORKFLOW))
            await self._fill(reply, key, request)
            if not sticky:
                reply.versioning_info.current_version = UNVERSIONED
        return reply

    async def _fill(self, reply: DescribeTaskQueueResponse, key: QueueKey, request: DescribeTaskQueueRequest) -> None:
        now = self._runtime.monotonic.now()
        for seen in self._runtime.matching.pollers(key, now):
            self._fill_poller(reply.pollers.add(), seen, now)
        if request.include_task_queue_status or request.report_stats:
            overall, by_priority = await self._stats(key)
            if request.include_task_queue_status:
                status = reply.task_queue_status
                status.backlog_count_hint = overall.backlog_count
                status.rate_per_second = DEFAULT_RATE
                status.task_id_block.SetInParent()
            if request.report_stats:
                self._fill_stats(reply.stats, overall)
                for priority, stats in by_priority.items():
                    self._fill_stats(reply.stats_by_priority_key[priority], stats)
        if request.report_config:
            reply.config.SetInParent()

    async def _fill_enhanced(
        self, reply: DescribeTaskQueueResponse, namespace: Namespace, name: str, request: DescribeTaskQueueRequest
    ) -> None:
        """The older form: by build ID and type. Without versioning there is one build, the empty one."""
        now = self._runtime.monotonic.now()
        version = reply.versions_info[""]
        for kind in request.task_queue_types or (_WORKFLOW, _ACTIVITY):
            key = (namespace.id, name, int(kind))
            info = version.types_info[int(kind)]
            if request.report_pollers:
                for seen in self._runtime.matching.pollers(key, now):
                    self._fill_poller(info.pollers.add(), seen, now)
            if request.report_stats:
                overall, _ = await self._stats(key)
                self._fill_stats(info.stats, overall)

    async def _stats(self, key: QueueKey) -> tuple[QueueStats, dict[int, QueueStats]]:
        """Of the whole queue, and by priority. What the queue does not keep in memory is counted in the store."""
        matching, now = self._runtime.matching, self._runtime.monotonic.now()
        overall = matching.stats(key, now)
        by_priority = matching.stats_by_priority(key, now)
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
