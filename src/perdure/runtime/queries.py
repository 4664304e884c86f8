"""Queries: answered by a worker, written nowhere. Direct ones are tasks of their own; others ride on the next
workflow task.

A query must see all that happened before it. When a workflow task is pending, something happened that no worker has
seen: the query is buffered, attached to that task's poll answer, and answered with its completion. Otherwise it is
dispatched directly, to the sticky queue first. Source of rules and texts: the reference server's behaviour (reference
sections "Queries").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.internal.containers import MessageMap
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueResponse,
    QueryWorkflowRequest,
    QueryWorkflowResponse,
    RespondQueryTaskCompletedRequest,
)

from perdure.call import PENDING, Call, Pending, Reply
from perdure.engine.execution import Execution
from perdure.engine.framing import field
from perdure.engine.state import RUNNING, Run
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import reset_sticky
from perdure.enums import QueryRejectCondition, QueryResultType, ResourceExhaustedCause, WorkflowExecutionStatus
from perdure.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    PerdureError,
    QueryFailed,
    ResourceExhausted,
    WorkflowNotReady,
)
from perdure.matching import Poller as ParkedPoller
from perdure.matching import Task
from perdure.runtime.inputs import Input, Outcome
from perdure.runtime.query_tasks import QueryTask, question, waits

if TYPE_CHECKING:
    from perdure.runtime.executions import Key, Loaded
    from perdure.runtime.runtime import Runtime

_NOT_OPEN = QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_OPEN
_NOT_COMPLETED_CLEANLY = QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY
_COMPLETED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED
_ANSWERED = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
_BUSY_WORKFLOW = int(ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)
_QUERIES = PollWorkflowTaskQueueResponse.DESCRIPTOR.fields_by_name["queries"].number
STICKY_ALIVE_SECONDS = 10.0
RECENT_POLLER_SECONDS = 20.0
QUERY_SECONDS = 60.0
NO_POLLER_MARGIN_SECONDS = 1.0


class Queries:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._direct: dict[str, QueryTask] = {}

    # ---- coming in
    def query(self, key: Key, run_id: str, request: QueryWorkflowRequest, call: Call) -> None:
        """Answer `call` with a QueryWorkflowResponse or an error, some time before its deadline."""
        condition = request.query_reject_condition
        query = request.query.SerializeToString()
        admission = _Admission(self, call)

        def look(execution: Execution, run: Run) -> QueryWorkflowResponse | Pending:
            rejected = (condition == _NOT_OPEN and run.status != RUNNING) or (
                condition == _NOT_COMPLETED_CLEANLY and run.status not in (RUNNING, _COMPLETED)
            )
            if rejected or run.paused:
                response = QueryWorkflowResponse()
                response.query_rejected.status = run.status  # type: ignore[assignment] # an int of that enum
                return response
            if admission.item is None and not call.gone:
                # Decided again it is on its way already: `ask_again` sees to what waits.
                admission.item = self._admit(key, run_id, run, query, call)
            return PENDING

        self._runtime.inspect_key(key, run_id, look, admission)

    def _admit(self, key: Key, asked_run_id: str, run: Run, query: bytes, call: Call) -> QueryTask:
        """Raises what the reference answers for runs that cannot be queried now."""
        task = run.workflow_task
        if not run.running and not run.completed_tasks:
            raise WorkflowNotReady("Workflow execution closed before WorkflowTaskStarted event")
        now = self._runtime.monotonic.now()
        until = now + QUERY_SECONDS if call.deadline is None else call.deadline
        if run.running and task is None and not run.completed_tasks:
            wait = (run.backoff_until - self._runtime.time.now()) / 1e6
            if not run.backoff_until or call.deadline is None or now + wait >= until:
                raise WorkflowNotReady("Workflow task is not scheduled yet.")
        if task is not None and task.attempt >= 3:
            raise WorkflowNotReady("Unable to query workflow due to Workflow Task in failed state.")
        item = QueryTask(self._runtime.entropy.uuid(), key, asked_run_id, run.run_id, query, call)
        if run.completed_tasks and (not run.running or task is None):
            self._watch_over(item, until)
            self._dispatch(item, run)
            return item
        loaded = self._runtime.executions.get(key)
        if loaded.queries:
            raise ResourceExhausted(
                "consistent query buffer is full, this may be caused by too many queries and workflow not able to "
                "process query fast enough",
                _BUSY_WORKFLOW,
            )
        self._watch_over(item, until)
        loaded.queries.append(item)
        return item

    def _watch_over(self, item: QueryTask, until: float) -> None:
        runtime = self._runtime

        def expire() -> None:
            self._fail(item, DeadlineExceeded("query timed out before a worker could process it"))

        def check() -> None:
            item.alarm = runtime.alarms.at(until, expire)
            task = item.task
            if task is None or item.handed_out:
                return
            now = runtime.monotonic.now()
            if not runtime.matching.survey.has_recent_poller(task.queue, now, RECENT_POLLER_SECONDS):
                self._fail(item, FailedPrecondition("no poller seen for task queue recently, worker may be down"))

        item.alarm = runtime.alarms.at(until - NO_POLLER_MARGIN_SECONDS, check)
        item.call.on_gone(lambda: self.forget(item))

    # ---- direct dispatch
    def _dispatch(self, item: QueryTask, run: Run) -> None:
        """To the sticky queue while its worker lives, else to the normal one."""
        runtime = self._runtime
        self._direct[item.query_id] = item
        if runtime.skipper is not None:
            runtime.skipper.hold(item, lambda: waits(item))
        sticky = (item.key[0], run.sticky_queue, 1)
        now = runtime.monotonic.now()
        if run.sticky_queue and runtime.matching.survey.has_recent_poller(sticky, now, STICKY_ALIVE_SECONDS):
            wait = run.sticky_timeout / 1e6 or 10.0
            item.sticky_alarm = runtime.alarms.at(now + wait, lambda: self._sticky_timed_out(item))
            runtime.dispatch.offer_query(sticky, item)
            return
        if run.sticky_queue and run.running:
            self._forget_sticky(item)
        runtime.dispatch.offer_query((item.key[0], run.task_queue, 1), item)

    def _sticky_timed_out(self, item: QueryTask) -> None:
        if item.done or item.handed_out:
            return
        self._forget_sticky(item)
        self.to_normal_queue(item)

    def to_normal_queue(self, item: QueryTask) -> None:
        """The sticky queue's worker is gone: ask any worker."""
        if item.done:
            return
        self._withdraw(item)

        def look(execution: Execution, run: Run) -> Pending:
            if not item.done:
                self._runtime.dispatch.offer_query((item.key[0], run.task_queue, 1), item)
            return PENDING

        self._runtime.inspect_key(item.key, item.run_id, look, _Asker(self, item))

    def _forget_sticky(self, item: QueryTask) -> None:
        def decide(turn: Turn) -> Pending:
            if turn.run.running:
                reset_sticky(turn)
            return PENDING

        self._runtime.enter(Input(self._runtime, item.key, item.run_id, decide))

    def hand_out(self, item: QueryTask, task: Task, poller: ParkedPoller) -> None:
        """A poller took the query: send it the history (all of it, or none to a sticky worker) with the question."""
        runtime = self._runtime
        if item.done:
            runtime.dispatch.next_for(poller)
            return
        sticky = task.queue[1] != "" and poller.sticky
        item.handed_out = True

        def look(execution: Execution, run: Run) -> Outcome:
            # Behind the barrier: a worker must not answer from what may yet be given up.
            return Outcome(PENDING, committed=lambda: send(run))

        def send(run: Run) -> None:
            def came(blob: bytes, last: int) -> None:
                now = runtime.monotonic.now()
                if item.done:
                    runtime.dispatch.next_for(poller)
                    return
                whole = sticky or last >= runtime.histories.durable_event_id(run)
                answer = question(item, run, task.queue, blob, last, whole)
                if poller.waiter.call.finish(runtime.dispatch.with_hints(answer, poller, False, now)):
                    poller.waiter.over()
                    runtime.matching.confirm(poller, now)
                else:  # that poll went away: ask the next
                    runtime.matching.cancel(poller, now)
                    runtime.matching.release(poller, now)
                    item.handed_out = False
                    alarm = item.sticky_alarm
                    if alarm is not None and alarm.callback is None:  # it rang meanwhile
                        self._sticky_timed_out(item)
                    else:
                        runtime.dispatch.offer_query(task.queue, item)

            if sticky:
                came(b"", run.next_event_id - 1)
            else:
                last = runtime.histories.durable_event_id(run)
                runtime.histories.read(run, 1, last, 4 * 1024 * 1024, came)

        runtime.inspect_key(item.key, item.run_id, look, _HandedOut(self, item, poller))

    def not_handed_out(self, item: QueryTask, poller: ParkedPoller, error: PerdureError) -> None:
        """The run is gone, or cannot be read: the poller is free for the next task."""
        self._fail(item, error)
        self._runtime.dispatch.next_for(poller)

    def ask_again(self, loaded: Loaded) -> None:
        """The execution at which these queries wait left the cache: they wait at what is stored."""
        waiting, loaded.queries = loaded.queries, []
        for item in waiting:
            if isinstance(item, QueryTask) and not item.done:
                item.handed_out = False
                self._wait_again(item)

    def _wait_again(self, item: QueryTask) -> None:
        waits = False

        def look(execution: Execution, run: Run) -> Pending:
            nonlocal waits
            if not item.done and not waits:  # decided again it waits already, or is asked
                waits = True
                item.run_id = run.run_id
                loaded = self._runtime.executions.get(item.key)
                loaded.queries.append(item)
                self.unblock(loaded, run)
            return PENDING

        self._runtime.inspect_key(item.key, item.asked_run_id, look, _Asker(self, item))

    def complete(self, token: TaskToken, request: RespondQueryTaskCompletedRequest) -> None:
        """A worker answered a direct query. Raises NotFound when nobody waits for it any more."""
        item = self._direct.get(token.run_id)
        if item is None or item.done or item.key[0] != token.namespace_id:
            raise NotFound("query task not found, or already expired")
        if request.completed_type == _ANSWERED:
            self._succeed(item, request.query_result.SerializeToString())
        else:
            failure = request.failure.SerializeToString() if request.HasField("failure") else b""
            self._fail(item, QueryFailed(request.error_message, failure))

    # ---- riding on a workflow task
    def ride_along(self, key: Key, run: Run) -> bytes:
        """The run's buffered queries as serialised entries of the poll answer's `queries` map."""
        loaded = self._runtime.executions.peek(key)
        if loaded is None or not loaded.queries:
            return b""
        entries = []
        for item in loaded.queries:
            if isinstance(item, QueryTask) and item.run_id == run.run_id and not item.done:
                item.handed_out = True
                entries.append(field(_QUERIES, field(1, item.query_id.encode()) + field(2, item.query)))
        return b"".join(entries)

    def results(self, loaded: Loaded, run: Run, results: MessageMap[str, WorkflowQueryResult]) -> None:
        """A workflow task completed (durably): answer what it answered, and send the others on their way."""
        for item in list(loaded.queries):
            if not isinstance(item, QueryTask) or item.run_id != run.run_id:
                continue
            if item.query_id in results:
                loaded.queries.remove(item)
                result = results[item.query_id]
                if result.result_type == _ANSWERED:
                    self._succeed(item, result.answer.SerializeToString())
                else:
                    failure = result.failure.SerializeToString() if result.HasField("failure") else b""
                    self._fail(item, QueryFailed(result.error_message, failure))
        self.unblock(loaded, run)

    def unblock(self, loaded: Loaded, run: Run) -> None:
        """Buffered queries of a run without a pending workflow task are dispatched directly."""
        if run.running and run.workflow_task is not None:
            return
        for item in list(loaded.queries):
            if isinstance(item, QueryTask) and item.run_id == run.run_id:
                if run.running and not run.completed_tasks:
                    continue  # still waiting for its first task
                loaded.queries.remove(item)
                item.handed_out = False
                if not run.completed_tasks:
                    self._fail(item, WorkflowNotReady("Workflow execution closed before WorkflowTaskStarted event"))
                elif not item.done:
                    self._dispatch(item, run)

    # ---- ends
    def _succeed(self, item: QueryTask, result: bytes) -> None:
        if item.done:
            return
        self.forget(item)
        response = QueryWorkflowResponse()
        response.query_result.MergeFromString(result)
        item.call.finish(response)

    def _fail(self, item: QueryTask, error: PerdureError) -> None:
        if item.done:
            return
        self.forget(item)
        item.call.fail(error)

    def forget(self, item: QueryTask) -> None:
        item.done = True
        for alarm in (item.alarm, item.sticky_alarm):
            if alarm is not None:
                alarm.cancel()
        self._direct.pop(item.query_id, None)
        if self._runtime.skipper is not None:
            self._runtime.skipper.release(item)
        loaded = self._runtime.executions.peek(item.key)
        if loaded is not None and item in loaded.queries:
            loaded.queries.remove(item)
        self._withdraw(item)

    def _withdraw(self, item: QueryTask) -> None:
        if item.task is not None:
            self._runtime.matching.withdraw_volatile(item.task)
            item.task = None

    def close(self) -> None:
        for item in list(self._direct.values()):
            self._fail(item, DeadlineExceeded("the server is shutting down"))


class _Admission:
    """The caller of a query, and what became of it: told of an error, it has no query under way."""

    __slots__ = ("_call", "_queries", "item")

    def __init__(self, queries: Queries, call: Call) -> None:
        self._queries = queries
        self._call = call
        self.item: QueryTask | None = None

    @property
    def gone(self) -> bool:
        return self._call.gone

    def finish(self, reply: Reply) -> bool:
        if self.item is not None:
            self._queries.forget(self.item)
        return self._call.finish(reply)

    def fail(self, error: PerdureError) -> None:
        if self.item is not None:
            self._queries.forget(self.item)
        self._call.fail(error)


class _Asker:
    """Whoever put a query, as one who waits for its run."""

    __slots__ = ("_item", "_queries")

    def __init__(self, queries: Queries, item: QueryTask) -> None:
        self._queries = queries
        self._item = item

    def finish(self, reply: Reply) -> bool:
        return False  # the query's own answer comes otherwise

    def fail(self, error: PerdureError) -> None:
        self._queries._fail(self._item, error)


class _HandedOut(_Asker):
    """The same while a poller is held for the query."""

    __slots__ = ("_poller",)

    def __init__(self, queries: Queries, item: QueryTask, poller: ParkedPoller) -> None:
        super().__init__(queries, item)
        self._poller = poller

    def fail(self, error: PerdureError) -> None:
        self._queries.not_handed_out(self._item, self._poller, error)
