"""What clients see of a task queue: who polls it, and what waits in it.

A queue exists by being named, so an unknown one is simply empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueKind, TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse

from perdure.api.call import Call, Reply
from perdure.api.checks import check_task_queue
from perdure.clock import SECOND
from perdure.engine.times import set_duration, set_timestamp
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

    def DescribeTaskQueue(self, request: DescribeTaskQueueRequest, call: Call) -> Reply:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        name = check_task_queue(request.task_queue, request.HasField("task_queue"), runtime.limits)
        sticky = request.task_queue.kind == _STICKY
        if request.api_mode == _ENHANCED:
            if sticky:
                raise InvalidArgument(
                    "Enhanced DescribeTaskQueue is not valid for a sticky queue, "
                    "use api_mode=UNSPECIFIED or a normal queue."
                )
            return self._enhanced(namespace, name, request)
        key = (namespace.id, name, int(request.task_queue_type or _WORKFLOW))
        now = runtime.monotonic.now()
        reply = DescribeTaskQueueResponse()
        for seen in runtime.matching.pollers(key, now):
            self._fill_poller(reply.pollers.add(), seen, now)
        if request.include_task_queue_status:
            status = reply.task_queue_status
            status.backlog_count_hint = self._backlog(key, runtime.matching.stats(key, now))
            status.rate_per_second = DEFAULT_RATE
            status.task_id_block.SetInParent()
        if request.report_stats:
            self._fill_stats(reply.stats, key, runtime.matching.stats(key, now))
            for priority, stats in runtime.matching.stats_by_priority(key, now).items():
                self._fill_stats(reply.stats_by_priority_key[priority], None, stats)
        if request.report_config:
            reply.config.SetInParent()
        if not sticky:
            reply.versioning_info.current_version = UNVERSIONED
        return reply

    def _enhanced(self, namespace: Namespace, name: str, request: DescribeTaskQueueRequest) -> Reply:
        """The older form: by build ID and type. Without versioning there is one build, the empty one."""
        runtime = self._runtime
        now = runtime.monotonic.now()
        reply = DescribeTaskQueueResponse()
        version = reply.versions_info[""]
        for kind in request.task_queue_types or (_WORKFLOW, _ACTIVITY):
            key = (namespace.id, name, int(kind))
            info = version.types_info[int(kind)]
            if request.report_pollers:
                for seen in runtime.matching.pollers(key, now):
                    self._fill_poller(info.pollers.add(), seen, now)
            if request.report_stats:
                self._fill_stats(info.stats, key, runtime.matching.stats(key, now))
        return reply

    def _fill_poller(self, info: PollerInfo, seen: Seen, now: float) -> None:
        ago = int((now - seen.last_access) * SECOND)
        set_timestamp(info.last_access_time, self._runtime.time.now() - ago)
        info.identity = seen.identity
        info.rate_per_second = seen.rate

    def _fill_stats(self, target: TaskQueueStats, key: QueueKey | None, stats: QueueStats) -> None:
        """`key` None: of one priority, of which only tasks in memory are known."""
        target.approximate_backlog_count = self._backlog(key, stats)
        age = self._runtime.time.now() - stats.oldest_created if stats.oldest_created is not None else 0
        set_duration(target.approximate_backlog_age, max(0, age))
        target.tasks_add_rate = stats.add_rate
        target.tasks_dispatch_rate = stats.dispatch_rate

    def _backlog(self, key: QueueKey | None, stats: QueueStats) -> int:
        if key is None or not stats.overflow:
            return stats.backlog_count
        return max(stats.backlog_count, self._runtime.store.count_tasks(*key))
