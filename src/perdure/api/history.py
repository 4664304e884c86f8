"""Reading a run's history, forwards with long polls, and backwards.

Pages are stored bytes, spliced behind their header without parsing. A page token pins the run; where nothing new is
there yet, the call waits for the next commit that adds events, up to 20 s.
Source: temporal/api/workflowservice/v1/request_response.proto, GetWorkflowExecutionHistoryRequest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.history.v1 import History
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)

from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_execution
from perdure.engine.execution import Execution
from perdure.engine.framing import field
from perdure.engine.state import Run
from perdure.engine.virtual_events import virtual_events
from perdure.enums import EventType, HistoryEventFilterType, TimeoutType
from perdure.errors import InvalidArgument, PerdureError, Unavailable
from perdure.runtime.histories import PAGE_BYTES, PAGE_EVENTS, cut, frames
from perdure.runtime.inputs import Outcome
from perdure.runtime.namespaces import Namespace
from perdure.runtime.pages import HistoryPage
from perdure.storage.store import HistoryBatch, StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

LONG_POLL_SECONDS: Final = 20.0

ANSWER_EARLIER: Final = 1.0
"""Seconds before the caller's deadline at which a long poll is answered empty."""

_FIELDS: Final = GetWorkflowExecutionHistoryResponse.DESCRIPTOR.fields_by_name
_HISTORY: Final = _FIELDS["history"].number
_NEXT_PAGE_TOKEN: Final = _FIELDS["next_page_token"].number
"""The reverse response has both under the same numbers."""

_CLOSE_EVENT: Final = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
_WITHOUT_TRANSIENT: Final = frozenset({"temporal-cli", "temporal-ui"})
_FOLLOWS: Final = "follows-next-run-id"


class HistoryHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def GetWorkflowExecutionHistory(self, request: GetWorkflowExecutionHistoryRequest, call: Call) -> Reply | Pending:
        namespace = self._runtime.namespaces.active(request.namespace)
        check_execution(request.execution, request.HasField("execution"))
        page = _page_asked_for(request.next_page_token, request.execution.run_id)
        read = _Read(self._runtime, namespace, request, call, page)
        read.look()
        return PENDING

    def GetWorkflowExecutionHistoryReverse(
        self, request: GetWorkflowExecutionHistoryReverseRequest, call: Call
    ) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        check_execution(request.execution, request.HasField("execution"))
        asked = _page_asked_for(request.next_page_token, request.execution.run_id)
        most = _page_events(request.maximum_page_size)

        def look(execution: Execution, run: Run) -> Outcome:
            newest = min(asked.last_event_id, run.history_length) if asked.last_event_id else run.history_length

            def came(batches: list[HistoryBatch] | StoreFailed) -> None:
                if isinstance(batches, StoreFailed):
                    call.fail(Unavailable(str(batches)))
                    return
                call.finish(_reverse_page(batches, newest, most, run.run_id))

            # The run, or its newest events, may not be in the store yet; refused, they are looked for again.
            return Outcome(
                PENDING, committed=lambda: runtime.store.read_history_reverse(run.run_no, newest, most, came)
            )

        runtime.inspect(namespace, request.execution.workflow_id, asked.run_id, look, call)
        return PENDING


class _Read:
    """One call of GetWorkflowExecutionHistory, from its first look to its answer."""

    __slots__ = (
        "_asked",
        "_call",
        "_cancel_watch",
        "_close_only",
        "_first",
        "_looks",
        "_most",
        "_namespace",
        "_raw",
        "_rewrites",
        "_run_id",
        "_runtime",
        "_timer",
        "_until",
        "_wait",
        "_workflow_id",
    )

    def __init__(
        self,
        runtime: Runtime,
        namespace: Namespace,
        request: GetWorkflowExecutionHistoryRequest,
        call: Call,
        page: HistoryPage,
    ) -> None:
        self._runtime = runtime
        self._namespace = namespace
        self._call = call
        self._workflow_id = request.execution.workflow_id
        self._asked = self._run_id = page.run_id
        self._first = page.next_event_id
        self._most = _page_events(request.maximum_page_size)
        self._wait = request.wait_new_event
        self._close_only = request.history_event_filter_type == _CLOSE_EVENT
        self._raw = call.client_name in _WITHOUT_TRANSIENT
        self._rewrites = self._close_only and _FOLLOWS not in call.metadata.get("supported-features", "")
        self._until = 0.0
        self._looks = 0
        self._cancel_watch: Callable[[], None] | None = None
        self._timer: Any = None  # whatever the runtime's alarms give, with a `cancel`

    def look(self) -> None:
        self._runtime.inspect(self._namespace, self._workflow_id, self._run_id, self._looked, self._call)

    def _looked(self, execution: Execution, run: Run) -> Reply | Pending | Outcome:
        self._run_id = run.run_id
        last = run.history_length
        if self._close_only:
            if run.running:
                return self._wait_for(run)
            self._runtime.histories.read(run, last, last, PAGE_BYTES, self._close_event)
            return PENDING
        if self._first <= last:
            upto = min(last, self._first + self._most - 1)
            virtual = virtual_events(run) if upto == last and not self._raw else b""
            goes_on = run.running and self._wait

            def came(blob: bytes, end: int) -> None:
                self._answer_page(blob, end, last, virtual, goes_on)

            def read() -> None:
                self._runtime.histories.read(run, self._first, upto, PAGE_BYTES, came)

            if virtual:  # no event is written of it: only behind the barrier is it true
                return Outcome(PENDING, committed=read)
            read()
            return PENDING
        if run.running and self._wait:
            return self._wait_for(run)
        return _answer(b"", b"")

    # ---- answers
    def _answer_page(self, blob: bytes, end: int, last: int, virtual: bytes, goes_on: bool) -> None:
        if not blob:
            self._look_after_commit()
            return
        token = self._token(end + 1) if end < last or goes_on else b""
        if end == last:
            blob += virtual
        self._call.finish(_answer(blob, token))

    def _close_event(self, blob: bytes, end: int) -> None:
        if not blob:
            self._look_after_commit()
            return
        self._call.finish(_answer(_as_continued(blob) if self._rewrites else blob, b""))

    def _look_after_commit(self) -> None:
        """What the run shows is decided but not durable yet, so nobody may see it. If it is refused, there may be
        another run."""
        committer = self._runtime.committer
        if committer.failed:
            self._call.fail(Unavailable(committer.trouble))
            return

        def refused(error: PerdureError) -> None:
            self._run_id = self._asked
            self.look()

        self._runtime.after_commit(self.look, refused)

    def _token(self, next_event_id: int) -> bytes:
        return HistoryPage(self._run_id, next_event_id, 0, self._close_only).encode()

    # ---- waiting
    def _wait_for(self, run: Run) -> Reply | Pending:
        now = self._runtime.monotonic.now()
        if not self._until:
            self._until = now + LONG_POLL_SECONDS
            deadline = self._call.deadline
            if deadline is not None:
                self._until = min(self._until, deadline - ANSWER_EARLIER)
            self._call.on_gone(self._stop)
        if now >= self._until:
            return self._nothing_new()
        self._stop()  # what was watched before, if that was refused
        if self._call.gone:
            return PENDING
        self._looks += 1
        number = self._looks
        self._cancel_watch = self._runtime.histories.watch(run, lambda: self._woken(number))
        self._timer = self._runtime.call_at(self._until, self._timed_out)
        return PENDING

    def _nothing_new(self) -> Reply:
        return _answer(b"", self._token(self._first) if self._wait else b"")

    def _woken(self, number: int) -> None:
        if number != self._looks:
            return  # it looks at what came after
        self._cancel_watch = None
        self._stop()
        if not self._call.gone:
            self.look()

    def _timed_out(self) -> None:
        self._timer = None
        self._stop()
        self._call.finish(self._nothing_new())

    def _stop(self) -> None:
        if self._cancel_watch is not None:
            self._cancel_watch()
            self._cancel_watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _page_asked_for(token: bytes, run_id: str) -> HistoryPage:
    """Where to read: as the token says, or from the beginning (reverse: the end) of the run."""
    if not token:
        return HistoryPage(run_id, 1, 0, False)
    page = HistoryPage.decode(token)
    if run_id and run_id != page.run_id:
        raise InvalidArgument("RunId in the request does not match the NextPageToken.")
    return page


def _page_events(asked: int) -> int:
    return asked if 0 < asked <= PAGE_EVENTS else PAGE_EVENTS


def _answer(events: bytes, token: bytes) -> bytes:
    """A serialised GetWorkflowExecutionHistory(Reverse)Response. `history` is there also when it is empty."""
    history = field(_HISTORY, events)
    return history + field(_NEXT_PAGE_TOKEN, token) if token else history


def _reverse_page(batches: list[HistoryBatch], newest: int, most: int, run_id: str) -> bytes:
    """`batches` come newest first; `newest` is the first event to show, `most` the number of events."""
    oldest = max(1, newest - most + 1)
    parts: list[bytes] = []
    for batch in batches:
        blob = cut(batch, oldest, newest)
        parts += [blob[start:end] for start, end in reversed(frames(blob))]
    before = newest - len(parts)
    token = HistoryPage(run_id, 1, before, False).encode() if before > 0 else b""
    return _answer(b"".join(parts), token)


def _as_continued(history: bytes) -> bytes:
    """For clients that do not follow the next run by themselves, a close by retry or cron looks like continue-as-new.

    `history` holds the close event alone; any other close comes back as it is.
    """
    (event,) = History.FromString(history).events
    shown = History()
    rewritten = shown.events.add()
    continued = rewritten.workflow_execution_continued_as_new_event_attributes
    kind = event.event_type
    if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        completed = event.workflow_execution_completed_event_attributes
        continued.new_execution_run_id = completed.new_execution_run_id
        if completed.HasField("result"):
            continued.last_completion_result.CopyFrom(completed.result)
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        failed = event.workflow_execution_failed_event_attributes
        continued.new_execution_run_id = failed.new_execution_run_id
        if failed.HasField("failure"):
            continued.failure.CopyFrom(failed.failure)
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
        timed_out = event.workflow_execution_timed_out_event_attributes
        continued.new_execution_run_id = timed_out.new_execution_run_id
        continued.failure.message = "workflow timeout"
        continued.failure.source = "Server"
        continued.failure.timeout_failure_info.timeout_type = TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    if not continued.new_execution_run_id:
        return history
    rewritten.event_id = event.event_id
    rewritten.event_time.CopyFrom(event.event_time)
    rewritten.version = event.version
    rewritten.task_id = event.task_id
    rewritten.event_type = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    return shown.SerializeToString()
