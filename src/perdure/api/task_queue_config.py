"""UpdateTaskQueueConfig: rate limits and fairness weights of a task queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.api.taskqueue.v1 import RateLimitConfig, TaskQueue
from temporalio.api.workflowservice.v1 import UpdateTaskQueueConfigRequest, UpdateTaskQueueConfigResponse

from perdure.api.call import PENDING, Call, Pending
from perdure.api.checks import check_task_queue
from perdure.engine.times import set_timestamp
from perdure.enums import TaskQueueType
from perdure.errors import InvalidArgument

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_WORKFLOW: Final = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_TEXT_LIMIT: Final = 1_000
"""Characters of identities and reasons."""
_KEY_LIMIT: Final = 64
"""Bytes."""
_OVERRIDES_LIMIT: Final = 1_000


class TaskQueueConfigHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def UpdateTaskQueueConfig(self, request: UpdateTaskQueueConfigRequest, call: Call) -> Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        task_queue = TaskQueue()
        task_queue.name = request.task_queue
        name = check_task_queue(task_queue, True, runtime.limits)
        kind = request.task_queue_type or _WORKFLOW
        _check(request, kind == _WORKFLOW)
        key = (namespace.id, name, int(kind))
        config = runtime.queue_settings.get(key)
        now = runtime.time.now()
        if request.HasField("update_queue_rate_limit"):
            update = request.update_queue_rate_limit
            _update(config.queue_rate_limit, update, request.identity, now)
        if request.HasField("update_fairness_key_rate_limit_default"):
            update = request.update_fairness_key_rate_limit_default
            _update(config.fairness_keys_rate_limit_default, update, request.identity, now)
        for fairness_key in request.unset_fairness_weight_overrides:
            config.fairness_weight_overrides.pop(fairness_key, None)
        config.fairness_weight_overrides.update(request.set_fairness_weight_overrides)
        _check_number(len(config.fairness_weight_overrides))
        reply = UpdateTaskQueueConfigResponse()
        reply.config.CopyFrom(config)
        runtime.queue_settings.put(key, config, lambda: call.finish(reply), call.fail)
        return PENDING


def _check(request: UpdateTaskQueueConfigRequest, of_workflows: bool) -> None:
    queue_limit = request.HasField("update_queue_rate_limit")
    key_limit = request.HasField("update_fairness_key_rate_limit_default")
    if of_workflows and queue_limit:
        raise InvalidArgument("Setting rate limit on workflow task queues is not allowed.")
    if of_workflows and key_limit:
        raise InvalidArgument("Setting fairness key rate limit on workflow task queues is not allowed.")
    if queue_limit:
        _check_update(request.update_queue_rate_limit, "UpdateQueueRateLimit")
    if key_limit:
        _check_update(request.update_fairness_key_rate_limit_default, "UpdateFairnessKeyRateLimitDefault")
    if len(request.identity) > _TEXT_LIMIT:
        raise InvalidArgument(f"Identity field too long (max {_TEXT_LIMIT} characters).")
    wanted, unwanted = request.set_fairness_weight_overrides, request.unset_fairness_weight_overrides
    _check_number(max(len(wanted), len(unwanted)))
    for fairness_key in (*wanted, *unwanted):
        if not fairness_key:
            raise InvalidArgument("fairness weight override key must not be empty")
        if len(fairness_key.encode()) > _KEY_LIMIT:
            raise InvalidArgument("fairness key length exceeds limit")
    for fairness_key, weight in wanted.items():
        if not weight > 0.0:
            raise InvalidArgument(f'fairness weight override for key "{fairness_key}" must be greater than zero')
    for fairness_key in unwanted:
        if fairness_key in wanted:
            raise InvalidArgument(f'fairness weight override key "{fairness_key}" present in both set and unset lists')


def _check_number(overrides: int) -> None:
    if overrides > _OVERRIDES_LIMIT:
        raise InvalidArgument(
            f"too many fairness weight overrides in request: got {overrides}, maximum {_OVERRIDES_LIMIT}"
        )


def _check_update(update: UpdateTaskQueueConfigRequest.RateLimitUpdate, name: str) -> None:
    # Not a number passes every comparison, and would stop the queue for ever.
    if update.HasField("rate_limit") and not update.rate_limit.requests_per_second >= 0.0:
        raise InvalidArgument(f"RequestsPerSecond for {name} rate limit must be non-negative.")
    if len(update.reason) > _TEXT_LIMIT:
        raise InvalidArgument(f"{name}.Reason field too long (max {_TEXT_LIMIT} characters).")


def _update(
    config: RateLimitConfig, update: UpdateTaskQueueConfigRequest.RateLimitUpdate, identity: str, now: int
) -> None:
    """An update without a limit takes the limit away."""
    config.ClearField("rate_limit")
    if update.HasField("rate_limit"):
        config.rate_limit.CopyFrom(update.rate_limit)
    config.metadata.reason = update.reason
    config.metadata.update_identity = identity
    set_timestamp(config.metadata.update_time, now)
