"""Schedules: create, describe, update, patch, delete, list, count, and the times they match."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.schedule.v1 import ScheduleListInfo
from temporalio.api.workflowservice.v1 import (
    CountSchedulesRequest,
    CountSchedulesResponse,
    CreateScheduleRequest,
    CreateScheduleResponse,
    DeleteScheduleRequest,
    DeleteScheduleResponse,
    DescribeScheduleRequest,
    ListScheduleMatchingTimesRequest,
    ListSchedulesRequest,
    ListSchedulesResponse,
    PatchScheduleRequest,
    PatchScheduleResponse,
    UpdateScheduleRequest,
    UpdateScheduleResponse,
)

from perdure.api import lists
from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.checks import check_identity
from perdure.engine.execution import SCHEDULE
from perdure.engine.record import Record
from perdure.engine.schedules import editing, showing
from perdure.engine.schedules.checking import (
    PREFIX,
    check_attributes,
    check_patch,
    check_request_id,
    check_schedule,
    check_schedule_id,
)
from perdure.engine.schedules.state import PAUSED_ATTRIBUTE
from perdure.engine.times import timestamp_us
from perdure.engine.turn import Shared
from perdure.errors import InvalidArgument, NotFound, PerdureError
from perdure.runtime.inputs import Outcome
from perdure.runtime.namespaces import Namespace
from perdure.storage.store import VisibilityWrite
from perdure.visibility.vocabulary import SCHEDULES

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_AT_ONCE: Final = 25
"""Schedules of a page that are looked at before others have a turn."""

Look = Callable[[Shared, Any], Reply]


class ScheduleHandlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    # ---- one schedule
    def CreateSchedule(self, request: CreateScheduleRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        limits = runtime.limits
        namespace = runtime.namespaces.registered(request.namespace)
        check_schedule_id(request.schedule_id, limits)
        check_request_id(request.request_id, limits)
        check_identity(request.identity, limits)
        wanted = check_schedule(request.schedule, namespace.name, limits, namespace.search_attributes, runtime.entropy)
        check_patch(request.initial_patch)
        attributes = check_attributes(request.search_attributes, namespace.name, limits, namespace.search_attributes)
        if request.memo.ByteSize() > limits.memo_size:
            raise InvalidArgument("Memo size exceeds limit.")
        memo = request.memo.SerializeToString(deterministic=True)

        def create(shared: Shared, current: Record | None) -> Reply:
            record = editing.create(
                shared, current, wanted, request.request_id, memo, attributes, request.initial_patch
            )
            reply = CreateScheduleResponse()
            reply.conflict_token = record.state.conflict_token
            return reply

        runtime.decide_record(namespace.id, SCHEDULE, request.schedule_id, "", create, call)
        return PENDING

    def DescribeSchedule(self, request: DescribeScheduleRequest, call: Call) -> Reply | Pending:
        def describe(shared: Shared, record: Record | None) -> Reply:
            return showing.describe(_open(shared, record), shared.now)

        return self._look(request.namespace, request.schedule_id, describe, call)

    def ListScheduleMatchingTimes(self, request: ListScheduleMatchingTimesRequest, call: Call) -> Reply | Pending:
        if not request.HasField("start_time") or not request.HasField("end_time"):
            raise InvalidArgument("missing or invalid query")
        after, until = timestamp_us(request.start_time), timestamp_us(request.end_time)

        def match(shared: Shared, record: Record | None) -> Reply:
            return showing.matching_times(_open(shared, record), after, until)

        return self._look(request.namespace, request.schedule_id, match, call)

    def UpdateSchedule(self, request: UpdateScheduleRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        limits = runtime.limits
        namespace = runtime.namespaces.active(request.namespace)
        check_schedule_id(request.schedule_id, limits)
        check_identity(request.identity, limits)
        wanted = check_schedule(request.schedule, namespace.name, limits, namespace.search_attributes, runtime.entropy)
        if not wanted.action:
            raise InvalidArgument("Only StartWorkflow action is supported for schedules")
        attributes = memo = None
        if request.HasField("search_attributes"):
            attributes = check_attributes(
                request.search_attributes, namespace.name, limits, namespace.search_attributes
            )
        if request.HasField("memo"):
            if request.memo.ByteSize() > limits.memo_size:
                raise InvalidArgument("Memo size exceeds limit.")
            memo = request.memo.SerializeToString(deterministic=True)

        def update(shared: Shared, current: Record | None) -> Reply:
            editing.update(shared, current, wanted, request.conflict_token, request.request_id, memo, attributes)
            return UpdateScheduleResponse()

        runtime.decide_record(namespace.id, SCHEDULE, request.schedule_id, "", update, call)
        return PENDING

    def PatchSchedule(self, request: PatchScheduleRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        check_schedule_id(request.schedule_id, runtime.limits)
        check_identity(request.identity, runtime.limits)
        if not request.HasField("patch"):
            raise InvalidArgument("Patch is not set on request.")
        check_patch(request.patch)

        def patch(shared: Shared, current: Record | None) -> Reply:
            editing.patch(shared, current, request.patch, request.request_id)
            return PatchScheduleResponse()

        runtime.decide_record(namespace.id, SCHEDULE, request.schedule_id, "", patch, call)
        return PENDING

    def DeleteSchedule(self, request: DeleteScheduleRequest, call: Call) -> Reply | Pending:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        check_schedule_id(request.schedule_id, runtime.limits)
        check_identity(request.identity, runtime.limits)

        def delete(shared: Shared, current: Record | None) -> Reply:
            editing.delete(shared, current)
            return DeleteScheduleResponse()

        runtime.decide_record(namespace.id, SCHEDULE, request.schedule_id, "", delete, call)
        return PENDING

    # ---- many
    async def ListSchedules(self, request: ListSchedulesRequest, call: Call) -> Reply:
        runtime = self._runtime
        namespace = runtime.namespaces.active(request.namespace)
        reply = ListSchedulesResponse()
        rows, reply.next_page_token = await lists.page(
            runtime, namespace, SCHEDULES, request.query, request.maximum_page_size, request.next_page_token
        )
        for begin in range(0, len(rows), _AT_ONCE):
            portion = rows[begin : begin + _AT_ONCE]
            infos = await _Glance(runtime, namespace, portion).infos()
            for row, info in zip(portion, infos, strict=True):
                if info is None:
                    continue
                entry = reply.schedules.add()
                entry.schedule_id = row.workflow_id
                entry.memo.ParseFromString(row.memo)
                lists.fill_search_attributes(entry.search_attributes, row, namespace)
                entry.search_attributes.indexed_fields.pop(PAUSED_ATTRIBUTE, None)
                entry.info.CopyFrom(info)
        return reply

    async def CountSchedules(self, request: CountSchedulesRequest, call: Call) -> Reply:
        namespace = self._runtime.namespaces.active(request.namespace)
        reply = CountSchedulesResponse()
        await lists.count(self._runtime, namespace, SCHEDULES, request.query, reply)
        return reply

    def _look(self, namespace: str, schedule_id: str, look: Look, call: Call) -> Pending:
        found = self._runtime.namespaces.active(namespace)
        check_schedule_id(schedule_id, self._runtime.limits)
        self._runtime.decide_record(found.id, SCHEDULE, schedule_id, "", look, call)
        return PENDING


def _open(shared: Shared, record: Record | None) -> Record:
    if record is None:
        raise NotFound(f"workflow not found for ID: {PREFIX}{shared.execution.execution_id}")
    if not record.running or editing.forgotten(record, shared.now):
        raise NotFound("schedule not found")
    return record


class _Glance:
    """What lists say of a few schedules, asked of each of them: None for one that is gone meanwhile. Those that are to
    be forgotten are closed on the way."""

    def __init__(self, runtime: Runtime, namespace: Namespace, rows: list[VisibilityWrite]) -> None:
        self._runtime = runtime
        self._namespace_id = namespace.id
        self._rows = rows
        self._left = len(rows)
        self._error: PerdureError | None = None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._infos: dict[str, ScheduleListInfo] = {}

    async def infos(self) -> list[ScheduleListInfo | None]:
        for row in self._rows:
            self._runtime.decide_record(self._namespace_id, SCHEDULE, row.workflow_id, "", self._look, self)
        await self._done
        if self._error is not None:
            raise self._error
        return [self._infos.get(row.workflow_id) for row in self._rows]

    def _look(self, shared: Shared, record: Record | None) -> Outcome:
        editing.close_forgotten(shared, record)
        if record is not None and record.running:
            self._infos[record.execution_id] = showing.list_info(record, shared.now)
        return Outcome(b"")

    def finish(self, reply: Reply) -> bool:
        self._left -= 1
        if not self._left:
            self._loop.call_soon(self._end)  # also when all were in memory: others want a turn
        return True

    def fail(self, error: PerdureError) -> None:
        self._error = error
        self.finish(b"")

    def _end(self) -> None:
        if not self._done.done():  # the caller may have gone
            self._done.set_result(None)
