"""When a reader is answered, moment by moment: with a runtime whose commits the test makes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.history.v1 import History
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest, GetWorkflowExecutionHistoryResponse

from perdure.api.history import HistoryHandlers
from perdure.clock import SeededEntropy
from perdure.engine.execution import WORKFLOW, Execution
from perdure.engine.limits import Limits
from perdure.engine.state import Run
from perdure.errors import PerdureError
from perdure.runtime.namespaces import Namespaces

COMPLETED = 2


class Alarm:
    def __init__(self, due: float, ring: Callable[[], None]) -> None:
        self.due, self.ring, self.cancelled = due, ring, False

    def cancel(self) -> None:
        self.cancelled = True


class Caller:
    """A call; `answers` are what left the server."""

    method = "/temporal.api.workflowservice.v1.WorkflowService/GetWorkflowExecutionHistory"
    peer = client_name = ""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.metadata: dict[str, str] = {}
        self.gone = False
        self.answers: list[GetWorkflowExecutionHistoryResponse] = []
        self.errors: list[PerdureError] = []
        self.leave: list[Callable[[], None]] = []

    def finish(self, reply: Any) -> bool:
        blob = reply if isinstance(reply, bytes) else reply.SerializeToString()
        self.answers.append(GetWorkflowExecutionHistoryResponse.FromString(blob))
        return True

    def fail(self, error: PerdureError) -> None:
        self.errors.append(error)

    def on_gone(self, callback: Callable[[], None]) -> None:
        self.leave.append(callback)


class World:
    """A runtime with one run, of which `durable` events are committed and the others only decided."""

    def __init__(self, events: int, durable: int) -> None:
        self.limits = Limits()
        self.committer = SimpleNamespace(failed=False, trouble="")
        self.namespaces = Namespaces(SeededEntropy(1), self.limits)
        self.namespaces.ensure("default")
        self.monotonic = self.histories = self
        self.seconds = 100.0
        self.run = Run()
        self.run.workflow_id, self.run.run_id = "order-1", "run-1"
        self.durable = durable
        self.watchers: list[Callable[[], None]] = []
        self.alarms: list[Alarm] = []
        self.waiting: list[Callable[[], None]] = []
        self.decide(events)

    def now(self) -> float:
        return self.seconds

    def decide(self, events: int, status: int = 1) -> None:
        self.run.next_event_id = events + 1
        self.run.status = status
        self.run.running = status == 1

    def commit(self) -> None:
        self.durable = self.run.history_length
        watchers, self.watchers = self.watchers, []
        waiting, self.waiting = self.waiting, []
        for callback in (*watchers, *waiting):
            callback()

    # ---- what handlers use
    def inspect(self, namespace: Any, workflow_id: str, run_id: str, look: Any, waiter: Any) -> None:
        reply = look(Execution(namespace.id, namespace.name, WORKFLOW, workflow_id), self.run)
        if isinstance(reply, bytes):
            waiter.finish(reply)

    def read(self, run: Run, first: int, last: int, most: int, done: Callable[[bytes, int], None]) -> None:
        last = min(last, self.durable)
        history = History()
        for event_id in range(first, last + 1):
            history.events.add(event_id=event_id)
        done(history.SerializeToString(), max(last, first - 1))

    def watch(self, run: Run, callback: Callable[[], None]) -> Callable[[], None]:
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    def call_at(self, due: float, ring: Callable[[], None]) -> Alarm:
        self.alarms.append(Alarm(due, ring))
        return self.alarms[-1]

    def after_commit(self, callback: Callable[[], None], refused: Callable[[Any], None] | None = None) -> None:
        self.waiting.append(callback)


def read(world: World, caller: Caller, **fields: Any) -> None:
    request = GetWorkflowExecutionHistoryRequest(namespace="default", **fields)
    request.execution.workflow_id = "order-1"
    HistoryHandlers(cast(Any, world)).GetWorkflowExecutionHistory(request, cast(Any, caller))


def shown(caller: Caller) -> list[list[int]]:
    return [[event.event_id for event in answer.history.events] for answer in caller.answers]


def token_after_first_page(world: World) -> bytes:
    caller = Caller()
    read(world, caller, wait_new_event=True)
    return caller.answers[0].next_page_token


def test_nobody_sees_a_close_that_is_only_decided() -> None:
    world, caller = World(events=4, durable=4), Caller()
    world.decide(5, COMPLETED)
    read(world, caller, history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)

    assert shown(caller) == []
    world.commit()
    assert shown(caller) == [[5]]


def test_a_reader_of_a_run_that_is_only_decided_waits_for_its_commit() -> None:
    world, caller = World(events=2, durable=0), Caller()
    read(world, caller)

    assert shown(caller) == []
    world.commit()
    assert shown(caller) == [[1, 2]]


def test_a_reader_is_told_what_is_durable_and_where_to_go_on() -> None:
    world, caller = World(events=4, durable=2), Caller()
    read(world, caller)

    assert shown(caller) == [[1, 2]]
    assert caller.answers[0].next_page_token


def test_a_commit_without_new_events_for_the_reader_leaves_it_waiting() -> None:
    world = World(events=2, durable=2)
    token = token_after_first_page(world)
    caller = Caller()
    read(world, caller, wait_new_event=True, next_page_token=token)

    world.commit()
    assert shown(caller) == []
    world.decide(3)
    world.commit()
    assert shown(caller) == [[3]]


def test_a_reader_waits_twenty_seconds_however_often_it_is_woken() -> None:
    world = World(events=2, durable=2)
    token = token_after_first_page(world)
    caller = Caller()
    read(world, caller, wait_new_event=True, next_page_token=token)

    world.seconds = 115.0
    world.commit()
    assert [alarm.due for alarm in world.alarms] == [120.0, 120.0]
    assert [alarm.cancelled for alarm in world.alarms] == [True, False]
    world.alarms[-1].ring()
    assert (shown(caller), caller.answers[0].next_page_token) == ([[]], token)


def test_a_reader_is_answered_a_second_before_its_deadline() -> None:
    world = World(events=2, durable=2)
    token = token_after_first_page(world)
    read(world, Caller(deadline=105.0), wait_new_event=True, next_page_token=token)

    assert [alarm.due for alarm in world.alarms] == [104.0]


def test_of_a_reader_that_went_away_nothing_is_left() -> None:
    world = World(events=2, durable=2)
    token = token_after_first_page(world)
    caller = Caller()
    read(world, caller, wait_new_event=True, next_page_token=token)

    (leave,) = caller.leave
    leave()

    assert not world.watchers
    assert [alarm.cancelled for alarm in world.alarms] == [True]
