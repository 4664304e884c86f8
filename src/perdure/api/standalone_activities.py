"""Standalone activities, as clients use them: start, describe, await, list, cancel, terminate, delete.

Source: temporal/api/workflowservice/v1/request_response.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import msgpack
from temporalio.api.activity.v1 import ActivityExecutionListInfo
from temporalio.api.workflowservice.v1 import (
    CountActivityExecutionsRequest,
    CountActivityExecutionsResponse,
    DeleteActivityExecutionRequest,
    DeleteActivityExecutionResponse,
    DescribeActivityExecutionRequest,
    DescribeActivityExecutionResponse,
    ListActivityExecutionsRequest,
    ListActivityExecutionsResponse,
    PollActivityExecutionRequest,
    PollActivityExecutionResponse,
    RequestCancelActivityExecutionRequest,
    RequestCancelActivityExecutionResponse,
    StartActivityExecutionRequest,
    StartActivityExecutionResponse,
    TerminateActivityExecutionRequest,
    TerminateActivityExecutionResponse,
)

from perdure.api import lists
from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_identity, longer_than
from perdure.api.standalone_answers import check_activity_run_id, found, standalone_enabled
from perdure.engine.execution import ACTIVITY
from perdure.engine.record import Record
from perdure.engine.standalone import control, starting
from perdure.engine.standalone.describing import describe, outcome_of
from perdure.engine.standalone.state import ActivityTurn
from perdure.engine.times import set_duration, set_timestamp
from perdure.engine.turn import Shared
from perdure.errors import InvalidArgument, Unimplemented
from perdure.runtime.deletion import forget
from perdure.runtime.inputs import Outcome
from perdure.runtime.namespaces import Namespace
from perdure.runtime.record_waits import RecordWait
from perdure.storage.store import VisibilityWrite
from perdure.visibility.vocabulary import ACTIVITIES

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

START_DELAY: Final = "activity.startDelayEnabled"
"""Dynamic setting; true as in the reference."""
_NOT_CHANGED: Final = DescribeActivityExecutionResponse()
_NOT_CLOSED: Final = PollActivityExecutionResponse()

Named = (
    DescribeActivityExecutionRequest
    | PollActivityExecutionRequest
    | RequestCancelActivityExecutionRequest
    | TerminateActivityExecutionRequest
    | DeleteActivityExecutionRequest
)


class StandaloneActivityHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    # ---- start
    def StartActivityExecution(self, request: StartActivityExecutionRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        self._check_enabled()
        namespace = runtime.namespaces.registered(request.namespace)
        starting.validate_start(request, runtime.limits, namespace.search_attributes, runtime.entropy)
        delayed = request.start_delay.seconds or request.start_delay.nanos
        if delayed and not runtime.config.dynamic.bool(START_DELAY, True):
            raise InvalidArgument("start_delay is not enabled for this namespace")

        def start(shared: Shared, current: Record | None) -> Reply:
            started = starting.start(shared, current, request)
            reply = StartActivityExecutionResponse()
            reply.run_id = started.run_id
            reply.started = started.started
            link = reply.link.activity
            link.namespace = namespace.name
            link.activity_id = request.activity_id
            link.run_id = started.run_id
            return reply

        runtime.decide_record(namespace.id, ACTIVITY, request.activity_id, "", start, call)
        return PENDING

    # ---- look
    def DescribeActivityExecution(self, request: DescribeActivityExecutionRequest, call: Call) -> Reply | Pending:
        namespace = self._check(request)
        seen = _decode_token(request) if request.long_poll_token else None
        time = self._runtime.time

        def look(_: Shared, record: Record | None) -> Reply | None:
            record = found(record, request)
            if seen is not None and seen[0] != record.run_id:
                raise InvalidArgument("long poll token does not match execution")
            if seen is not None and seen[1] == record.state.transitions and record.running:
                return None
            reply = describe(record, request, time.now())
            reply.long_poll_token = _encode_token(record)
            return reply

        self._wait(namespace, request, look, call, _NOT_CHANGED)
        return PENDING

    def PollActivityExecution(self, request: PollActivityExecutionRequest, call: Call) -> Reply | Pending:
        namespace = self._check(request)

        def look(_: Shared, record: Record | None) -> Reply | None:
            record = found(record, request)
            return None if record.running else outcome_of(record)

        self._wait(namespace, request, look, call, _NOT_CLOSED)
        return PENDING

    async def ListActivityExecutions(self, request: ListActivityExecutionsRequest, call: Call) -> Reply:
        self._check_enabled()
        namespace = self._runtime.namespaces.active(request.namespace)
        rows, token = await lists.page(
            self._runtime, namespace, ACTIVITIES, request.query, request.page_size, request.next_page_token
        )
        reply = ListActivityExecutionsResponse()
        reply.next_page_token = token
        for row in rows:
            _fill_row(reply.executions.add(), row, namespace)
        return reply

    async def CountActivityExecutions(self, request: CountActivityExecutionsRequest, call: Call) -> Reply:
        self._check_enabled()
        namespace = self._runtime.namespaces.active(request.namespace)
        reply = CountActivityExecutionsResponse()
        await lists.count(self._runtime, namespace, ACTIVITIES, request.query, reply)
        return reply

    # ---- control
    def RequestCancelActivityExecution(
        self, request: RequestCancelActivityExecutionRequest, call: Call
    ) -> Reply | Pending:
        namespace = self._check(request)
        self._check_texts(request)
        request_id = request.request_id or self._runtime.entropy.uuid()

        def cancel(turn: ActivityTurn) -> Reply:
            control.request_cancel(turn, request_id=request_id, reason=request.reason, identity=request.identity)
            return RequestCancelActivityExecutionResponse()

        return self._decide(namespace, request, call, cancel)

    def TerminateActivityExecution(self, request: TerminateActivityExecutionRequest, call: Call) -> Reply | Pending:
        namespace = self._check(request)
        self._check_texts(request)
        request_id = request.request_id or self._runtime.entropy.uuid()

        def terminate(turn: ActivityTurn) -> Reply:
            control.terminate(turn, request_id=request_id, reason=request.reason, identity=request.identity)
            return TerminateActivityExecutionResponse()

        return self._decide(namespace, request, call, terminate)

    def DeleteActivityExecution(self, request: DeleteActivityExecutionRequest, call: Call) -> Reply | Pending:
        """Terminates it if need be, and forgets it."""
        runtime = self._runtime
        namespace = self._check(request)
        key = (namespace.id, ACTIVITY, request.activity_id)

        def delete(turn: ActivityTurn) -> Outcome:
            record = turn.record
            if record.running:
                control.terminate(
                    turn, request_id=runtime.entropy.uuid(), reason="Delete activity execution", identity=""
                )
            return Outcome(
                PENDING, committed=lambda: forget(runtime, key, record, call, DeleteActivityExecutionResponse())
            )

        return self._decide(namespace, request, call, delete)

    # ----
    def _check_enabled(self) -> None:
        if not standalone_enabled(self._runtime):
            raise Unimplemented("Standalone activity is disabled")

    def _check(self, request: Named) -> Namespace:
        self._check_enabled()
        namespace = self._runtime.namespaces.active(request.namespace)
        if not request.activity_id:
            raise InvalidArgument("activity ID is required")
        limit = self._runtime.limits.id_length
        if longer_than(request.activity_id, limit):
            length = len(request.activity_id.encode())
            raise InvalidArgument(f"activity ID exceeds length limit. Length={length} Limit={limit}")
        check_activity_run_id(request.run_id)
        return namespace

    def _check_texts(self, request: RequestCancelActivityExecutionRequest | TerminateActivityExecutionRequest) -> None:
        limits = self._runtime.limits
        check_identity(request.identity, limits)
        for name, text in (("request ID", request.request_id), ("reason", request.reason)):
            if longer_than(text, limits.id_length):
                length = len(text.encode())
                raise InvalidArgument(f"{name} exceeds length limit. Length={length} Limit={limits.id_length}")

    def _decide(
        self, namespace: Namespace, request: Named, call: Call, decide: Callable[[ActivityTurn], Reply | Outcome]
    ) -> Pending:
        def on_record(shared: Shared, record: Record | None) -> Reply | Outcome:
            return decide(ActivityTurn(shared, found(record, request)))

        self._runtime.decide_record(namespace.id, ACTIVITY, request.activity_id, request.run_id, on_record, call)
        return PENDING

    def _wait(
        self,
        namespace: Namespace,
        request: Named,
        look: Callable[[Shared, Record | None], Reply | None],
        call: Call,
        empty: Reply,
    ) -> None:
        key = (namespace.id, ACTIVITY, request.activity_id)
        RecordWait(self._runtime, key, request.run_id, look, call, empty).ask()


# ---- tokens of describe's long polls: msgpack [run ID, transitions seen]
def _encode_token(record: Record) -> bytes:
    token: bytes = msgpack.encode([record.run_id, record.state.transitions])
    return token


def _decode_token(request: DescribeActivityExecutionRequest) -> tuple[str, int]:
    if not request.run_id:
        raise InvalidArgument("run id is required when long poll token is provided")
    try:
        run_id, transitions = msgpack.decode(request.long_poll_token)
    except Exception as error:  # garbage, in one way or the other
        raise InvalidArgument("invalid long poll token") from error
    if type(run_id) is not str or type(transitions) is not int:
        raise InvalidArgument("invalid long poll token")
    return run_id, transitions


def _fill_row(info: ActivityExecutionListInfo, row: VisibilityWrite, namespace: Namespace) -> None:
    info.activity_id = row.workflow_id
    info.run_id = row.run_id
    info.activity_type.name = row.workflow_type
    info.status = row.status  # type: ignore[assignment] # an int of that enum
    info.task_queue = row.task_queue
    set_timestamp(info.schedule_time, row.start_time)
    set_timestamp(info.execution_time, row.execution_time)
    info.search_attributes.SetInParent()
    if row.search_attributes:
        lists.fill_search_attributes(info.search_attributes, row, namespace)
    if row.close_time is not None:
        set_timestamp(info.close_time, row.close_time)
        set_duration(info.execution_duration, max(0, row.close_time - row.execution_time))
        info.state_transition_count = row.state_transitions
        info.state_size_bytes = row.history_size
