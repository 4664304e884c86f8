"""Stored events for those who ask: from the tail kept beside a loaded run, else from the store. Blobs are cut by
walking their framing, not by parsing; a poll's answer is a header with the history spliced in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.engine.execution import WORKFLOW
from perdure.engine.framing import field
from perdure.engine.state import Run
from perdure.engine.times import set_timestamp
from perdure.engine.workflow_tasks import StartedWorkflowTask
from perdure.errors import Unavailable
from perdure.runtime.executions import Loaded
from perdure.runtime.pages import HistoryPage
from perdure.storage.store import HistoryBatch, StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

PAGE_EVENTS = 256
PAGE_BYTES = 4 * 1024 * 1024


_HISTORY = PollWorkflowTaskQueueResponse.DESCRIPTOR.fields_by_name["history"].number
_NEXT_PAGE_TOKEN = PollWorkflowTaskQueueResponse.DESCRIPTOR.fields_by_name["next_page_token"].number


def frames(blob: bytes) -> list[tuple[int, int]]:
    """Start and end of each framed event of a serialised History."""
    found = []
    at = 0
    end = len(blob)
    while at < end:
        start = at
        at += 1  # the tag of field 1, one byte
        length = shift = 0
        while True:
            byte = blob[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        at += length
        found.append((start, at))
    return found


def cut(batch: HistoryBatch, first: int, last: int) -> bytes:
    """The events first..last of a batch."""
    if first <= batch.first_event_id and last >= batch.last_event_id:
        return batch.blob
    spans = frames(batch.blob)
    low = max(0, first - batch.first_event_id)
    high = min(last, batch.last_event_id) - batch.first_event_id
    if high < low:
        return b""
    return batch.blob[spans[low][0] : spans[high][1]]


class Histories:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _loaded(self, run: Run) -> Loaded | None:
        loaded = self._runtime.executions.peek((run.namespace_id, WORKFLOW, run.workflow_id))
        if loaded is None or loaded.execution.runs.get(run.run_id) is not run:
            return None
        return loaded

    def durable_event_id(self, run: Run) -> int:
        """The last event that is committed; what the run decided since is nobody's to see yet."""
        loaded = self._loaded(run)
        if loaded is None:
            return run.next_event_id - 1
        return loaded.tail(run).durable_event_id

    def read(self, run: Run, first: int, last: int, max_bytes: int, done: Callable[[bytes, int], None]) -> None:
        """Serialised History of committed events first..last, and the ID of the last one given (less than `last` when
        `max_bytes` were reached; whole batches, at least one). Raises Unavailable when the store cannot answer."""
        loaded = self._loaded(run)
        if loaded is not None:
            tail = loaded.tail(run)
            last = min(last, tail.durable_event_id)
            if tail.first_event_id <= first:
                done(*_collect(tail.batches, first, last, max_bytes))
                return
        if first > last or not run.run_no:
            done(b"", first - 1)
            return

        def came(batches: list[HistoryBatch] | StoreFailed) -> None:
            if isinstance(batches, StoreFailed):
                raise Unavailable(str(batches))
            done(*_collect(batches, first, last, max_bytes))

        self._runtime.store.read_history(run.run_no, first, last, max_bytes, came)

    def read_events(self, run: Run, event_ids: tuple[int, ...], done: Callable[[list[HistoryEvent]], None]) -> None:
        """Single events, parsed: those that a turn needs. Also ones that are decided and not yet written."""
        unwritten = self._unwritten(run, event_ids)
        if unwritten is not None:
            done(unwritten)
            return
        events: list[HistoryEvent] = []

        def one(index: int) -> None:
            if index == len(event_ids):
                done(events)
                return
            event_id = event_ids[index]

            def came(blob: bytes, _: int) -> None:
                spans = frames(blob)
                if not spans:
                    raise Unavailable(f"event {event_id} of run {run.run_id} is not in the store")
                start, end = spans[0]
                events.append(_event(blob[start:end]))
                one(index + 1)

            self.read(run, event_id, event_id, 1, came)

        one(0)

    def awaits_commit(self, run: Run, event_ids: tuple[int, ...]) -> bool:
        """Whether events that a turn needs are neither in memory nor in the store yet: the run was just reset, and they
        are copied with the commit under way."""
        loaded = self._loaded(run)
        if loaded is None or loaded.tail(run).durable_event_id >= max(event_ids):
            return False
        return self._unwritten(run, event_ids) is None

    def _unwritten(self, run: Run, event_ids: tuple[int, ...]) -> list[HistoryEvent] | None:
        """The events from memory, if all are there: in the tail (sealed) or among the run's changes (not sealed)."""
        loaded = self._loaded(run)
        if loaded is None:
            return None
        tail = loaded.tail(run)
        changes = run.changes
        found = []
        for event_id in event_ids:
            if changes.events and event_id >= changes.first_event_id:
                index = event_id - changes.first_event_id
                if index >= len(changes.events):
                    return None
                found.append(_event(changes.events[index]))
                continue
            for batch in tail.batches:
                if batch.first_event_id <= event_id <= batch.last_event_id:
                    found.append(_event(cut(batch, event_id, event_id)))
                    break
            else:
                return None
        return found

    def watch(self, run: Run, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` once after the next commit that adds events to the run. Returns a function that cancels it."""
        loaded = self._loaded(run)
        if loaded is None:
            raise Unavailable("the run left memory while it was being watched, please retry")
        return loaded.tail(run).watch(wake)

    # ---- poll answers
    def workflow_task_answer(
        self, started: StartedWorkflowTask, queries: bytes, ready: Callable[[bytes], None]
    ) -> None:
        """The serialised PollWorkflowTaskQueueResponse; `queries` are serialised entries of its `queries` map."""
        header = _header(started) + queries + started.messages

        def came(blob: bytes, last: int) -> None:
            page = b""
            if last < started.last_event_id:
                token = HistoryPage(started.run_id, last + 1, 0, False).encode()
                page = field(_NEXT_PAGE_TOKEN, token)
            else:
                blob += started.virtual_events
            ready(header + field(_HISTORY, blob) + page)

        self.read(started.run, started.first_event_id, started.last_event_id, PAGE_BYTES, came)


def _collect(batches: Iterable[HistoryBatch], first: int, last: int, max_bytes: int) -> tuple[bytes, int]:
    parts: list[bytes] = []
    size = 0
    reached = first - 1
    for batch in batches:
        if batch.last_event_id < first:
            continue
        if batch.first_event_id > last or size >= max_bytes:
            break
        part = cut(batch, first, last)
        parts.append(part)
        size += len(part)
        reached = min(last, batch.last_event_id)
    return (parts[0] if len(parts) == 1 else b"".join(parts)), reached


def _event(framed: bytes) -> HistoryEvent:
    at = 1
    while framed[at] >= 0x80:
        at += 1
    return HistoryEvent.FromString(framed[at + 1 :])


def _header(started: StartedWorkflowTask) -> bytes:
    response = PollWorkflowTaskQueueResponse()
    response.task_token = started.token
    response.previous_started_event_id = started.previous_started_event_id
    response.started_event_id = started.started_event_id
    response.attempt = started.attempt
    set_timestamp(response.scheduled_time, started.scheduled_at)
    set_timestamp(response.started_time, started.started_at)
    of_run = _header_of_run(started.workflow_id, started.run_id, started.workflow_type, started.queue)
    return of_run + response.SerializeToString()


@lru_cache(1024)
def _header_of_run(workflow_id: str, run_id: str, workflow_type: str, queue_name: str) -> bytes:
    """What is the same in the header of each of a run's tasks."""
    response = PollWorkflowTaskQueueResponse()
    execution = response.workflow_execution
    execution.workflow_id = workflow_id
    execution.run_id = run_id
    response.workflow_type.name = workflow_type
    queue = response.workflow_execution_task_queue
    queue.name = queue_name
    queue.kind = 1  # type: ignore[assignment] # TASK_QUEUE_KIND_NORMAL
    return response.SerializeToString()
