"""The workers that report heartbeats, which ListWorkers and DescribeWorker show, and those that stopped lately. In
memory only, as in the reference.

Heartbeats are serialised `temporal.api.worker.v1.WorkerHeartbeat` messages, opaque here; `known` is what filters may
ask of them, taken out once, when they come. Times are seconds of Monotonic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

TTL_SECONDS: Final = 300.0
LIMIT: Final = 100_000
"""Workers in all namespaces; beyond it the one not heard of for longest is forgotten. A kilobyte or two each."""
LIMIT_BYTES: Final = 128 * 1024 * 1024
"""Of their heartbeats, likewise: nothing keeps a worker from saying more of itself."""


STOPPED_SECONDS: Final = 300.0
"""Longer than a poll in its back-off stays away; a worker that stopped polls with its key once more, never for long."""


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    worker_instance_key: str
    heartbeat: bytes
    known: Mapping[str, str | int | float | bool]
    first_seen: float
    last_seen: float


Accepts = Callable[[Mapping[str, str | int | float | bool]], bool]
"""A filter: whether a worker of whom this is known is meant."""


_NOTHING: Final[Mapping[str, str | int | float | bool]] = {}


class WorkerRegistry:
    """Workers by (namespace ID, worker instance key), until `ttl` seconds after their last heartbeat."""

    def __init__(self, ttl: float = TTL_SECONDS, limit: int = LIMIT, limit_bytes: int = LIMIT_BYTES) -> None:
        self._ttl = ttl
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, str], WorkerEntry] = OrderedDict()  # by last heartbeat
        self._namespaces: dict[str, set[str]] = {}

    def record(
        self,
        namespace_id: str,
        worker_instance_key: str,
        heartbeat: bytes,
        now: float,
        known: Mapping[str, str | int | float | bool] = _NOTHING,
    ) -> None:
        self._expire(now)
        keys = self._namespaces.setdefault(namespace_id, set())
        keys.add(worker_instance_key)
        key = (namespace_id, worker_instance_key)
        before = self._entries.get(key)
        first_seen = before.first_seen if before is not None else now
        self._bytes += len(heartbeat) - (0 if before is None else len(before.heartbeat))
        self._entries[key] = WorkerEntry(worker_instance_key, heartbeat, known, first_seen, now)
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit or (self._bytes > self._limit_bytes and len(self._entries) > 1):
            self._forget(next(iter(self._entries)))

    def forget(self, namespace_id: str, worker_instance_key: str) -> None:
        """The worker has shut down."""
        if (namespace_id, worker_instance_key) in self._entries:
            self._forget((namespace_id, worker_instance_key))
        else:
            self._namespaces.setdefault(namespace_id, set())  # it reported, all the same

    def list_workers(
        self, namespace_id: str, now: float, page_size: int = 0, after: str = "", accepts: Accepts | None = None
    ) -> tuple[list[WorkerEntry], str]:
        """A page in order of instance keys, from the first one greater than `after`; `page_size` 0 means all.

        The second value continues as the next page's `after`; empty on the last page.
        """
        self._expire(now)
        keys = sorted(self._namespaces.get(namespace_id, ()))
        page: list[WorkerEntry] = []
        for key in keys[bisect_right(keys, after) if after else 0 :]:
            entry = self._entries[namespace_id, key]
            if accepts is not None and not accepts(entry.known):
                continue
            if 0 < page_size <= len(page):
                return page, page[-1].worker_instance_key
            page.append(entry)
        return page, ""

    def count_workers(self, namespace_id: str, now: float, accepts: Accepts | None = None) -> int:
        self._expire(now)
        keys = self._namespaces.get(namespace_id, ())
        if accepts is None:
            return len(keys)
        return sum(accepts(self._entries[namespace_id, key].known) for key in keys)

    def describe_worker(self, namespace_id: str, worker_instance_key: str, now: float) -> WorkerEntry | None:
        self._expire(now)
        return self._entries.get((namespace_id, worker_instance_key))

    def has_reported(self, namespace_id: str) -> bool:
        """Whether any worker ever reported in this namespace: DescribeWorker words its NotFound by that."""
        return namespace_id in self._namespaces

    def forget_namespace(self, namespace_id: str) -> None:
        """The namespace was deleted."""
        for key in self._namespaces.pop(namespace_id, ()):
            self._bytes -= len(self._entries.pop((namespace_id, key)).heartbeat)

    def __len__(self) -> int:
        return len(self._entries)

    def _expire(self, now: float) -> None:
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if now - entry.last_seen <= self._ttl:
                return
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        self._bytes -= len(self._entries.pop(key).heartbeat)
        self._namespaces[key[0]].discard(key[1])


class StoppedWorkers:
    """Workers that said they stop. A poll of theirs that was on its way meanwhile must not wait: they wait for it."""

    def __init__(self, seconds: float = STOPPED_SECONDS, limit: int = LIMIT) -> None:
        self._seconds = seconds
        self._limit = limit
        self._stopped: OrderedDict[tuple[str, str, int], float] = OrderedDict()  # by time

    def add(self, namespace_id: str, worker_instance_key: str, kinds: Iterable[int], now: float) -> None:
        """`kinds`: of the task queues the worker polls no more."""
        for kind in kinds:
            key = (namespace_id, worker_instance_key, kind)
            self._stopped[key] = now
            self._stopped.move_to_end(key)
        while self._stopped:
            key, since = next(iter(self._stopped.items()))
            if now - since <= self._seconds and len(self._stopped) <= self._limit:
                return
            del self._stopped[key]

    def has(self, namespace_id: str, worker_instance_key: str, kind: int, now: float) -> bool:
        since = self._stopped.get((namespace_id, worker_instance_key, kind))
        return since is not None and now - since <= self._seconds
