"""Settings of task queues that UpdateTaskQueueConfig makes: stored with the queue, in force once they are durable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from temporalio.api.taskqueue.v1 import TaskQueueConfig

from perdure.errors import PerdureError
from perdure.matching import QueueKey
from perdure.matching.pace import UNSET, QueueSettings
from perdure.runtime.followers import Callback
from perdure.storage.store import QueueWrite

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


class QueueSettingsRegistry:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._newest: dict[QueueKey, bytes] = {}
        self._stored: dict[QueueKey, bytes] = {}

    def load(self, rows: Iterable[QueueWrite]) -> None:
        """What the store holds, at start."""
        for row in rows:
            key = (row.namespace_id, row.queue, row.kind)
            self._newest[key] = row.config
            self._landed(key, row.config)

    def get(self, key: QueueKey) -> TaskQueueConfig:
        """The newest value, durable or about to be."""
        return TaskQueueConfig.FromString(self._newest.get(key, b""))

    def put(
        self,
        key: QueueKey,
        config: TaskQueueConfig,
        done: Callable[[], object],
        refused: Callable[[PerdureError], None],
    ) -> None:
        """Store a queue's settings whole. When the batch is refused, so is all that was decided since: they are again
        what is stored."""
        blob = config.SerializeToString(deterministic=True)
        self._newest[key] = blob

        def landed() -> None:
            self._landed(key, blob)
            self._runtime.dispatch.heed_limits()
            done()

        def lost(error: PerdureError) -> None:
            self._newest[key] = self._stored.get(key, b"")
            refused(error)

        committer = self._runtime.committer
        committer.add_queue(QueueWrite(*key, blob))
        committer.follow(Callback(landed, lost), committer.newest_no)

    def forget_namespace(self, namespace_id: str) -> None:
        """The namespace was deleted, and with it its rows."""
        for key in [key for key in self._newest if key[0] == namespace_id]:
            del self._newest[key]
            self._stored.pop(key, None)
            self._runtime.matching.rate_limits.configure(key, UNSET, self._runtime.monotonic.now())

    def _landed(self, key: QueueKey, blob: bytes) -> None:
        self._stored[key] = blob
        config = TaskQueueConfig.FromString(blob)
        rate = key_rate = None
        if config.queue_rate_limit.HasField("rate_limit"):
            rate = float(config.queue_rate_limit.rate_limit.requests_per_second)
        if config.fairness_keys_rate_limit_default.HasField("rate_limit"):
            key_rate = float(config.fairness_keys_rate_limit_default.rate_limit.requests_per_second)
        settings = QueueSettings(rate, key_rate, dict(config.fairness_weight_overrides))
        self._runtime.matching.rate_limits.configure(key, settings, self._runtime.monotonic.now())
