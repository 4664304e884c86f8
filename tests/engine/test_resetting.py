"""A run is reset: another one has its history up to a workflow task, and goes on from there."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import (
    CommandType,
    ResetReapplyExcludeType,
    UpdateAdmittedEventOrigin,
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
)
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import ResetPoints, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    StartWorkflowExecutionRequest,
)

from perdure.engine.activities import complete_activity
from perdure.engine.closing import terminate
from perdure.engine.codec import decode, encode_core
from perdure.engine.describe import describe
from perdure.engine.effects import OfferActivityTask
from perdure.engine.failing import fail_workflow_task
from perdure.engine.resetting import Reset, reset_workflow
from perdure.engine.signals import request_cancel, signal_workflow
from perdure.engine.start import start_workflow
from perdure.engine.state import Run
from perdure.engine.times import SECOND, timestamp_us
from perdure.engine.tokens import WORKFLOW_TASK, decode_token
from perdure.engine.turn import Shared
from perdure.engine.waking import next_deadline
from perdure.engine.workflow_options import update_workflow_options
from perdure.errors import InvalidArgument
from tests.engine.given import (
    NOON,
    Scene,
    command,
    complete_workflow,
    given,
    kind,
    marker,
    payloads,
    schedule_activity,
    start_timer,
)
from tests.engine.test_children import start_child
from tests.engine.updating import accept, ask, messages, place, respond, update_request
from tests.engine.world import World, answer, take_activity, token

_S = WorkflowExecutionStatus
_X = ResetReapplyExcludeType
ALL = frozenset(value for value in _X.values() if value)
NEW = ["WorkflowTaskFailed", "WorkflowTaskScheduled"]


def reset(scene: Scene, finish_event_id: int, base: Run | None = None, **fields: Any) -> Run:
    """The run that goes on."""
    fields.setdefault("request_id", scene.entropy.uuid())
    fields.setdefault("reason", "redo")
    base = base or scene.run
    wanted = Reset(finish_event_id, **fields)
    run_id = scene.decide_shared(lambda shared: reset_workflow(shared, base, wanted))
    run: Run = scene.execution.runs[run_id]
    return run


def signal(scene: Scene, name: str, request_id: str = "") -> None:
    scene.decide(
        lambda turn: signal_workflow(
            turn, signal_name=name, input=payloads(name), identity="client", request_id=request_id
        )
    )


def continue_as_new() -> Any:
    return command(CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, "continue_as_new_workflow_execution")


def signals(events: list[HistoryEvent]) -> list[str]:
    return [e.workflow_execution_signaled_event_attributes.signal_name for e in events if "Signaled" in kind(e)]


def a_run_with_two_tasks() -> Scene:
    """1 Started, 2-4 first task, 5 timer, 6 signal `one`, 7-9 second task, 10 marker, 11 signal `two`, 12 scheduled."""
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60))
    signal(scene, "one")
    scene.complete(marker("seen"))
    signal(scene, "two")
    return scene


# ---- the two runs
@pytest.mark.parametrize("batch_events", [1, 3, 100])
def test_the_new_run_begins_with_the_history_before_the_point_and_hears_again_what_came_after(
    batch_events: int,
) -> None:
    scene = a_run_with_two_tasks()
    scene.batch_events = batch_events
    base = scene.run
    scene.advance(30)

    run = reset(scene, 4)

    assert scene.kinds(base)[12:] == ["WorkflowExecutionTerminated"]
    ended = scene.last(base).workflow_execution_terminated_event_attributes
    assert (ended.reason, ended.identity) == ("redo", "history-resetter")
    history = scene.history(run)
    assert [event.event_id for event in history] == list(range(1, 8))
    assert history[:3] == scene.history(base)[:3]
    assert [kind(event) for event in history[3:]] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    failed = history[3].workflow_task_failed_event_attributes
    assert (failed.base_run_id, failed.new_run_id) == (base.run_id, run.run_id)
    assert (failed.scheduled_event_id, failed.started_event_id) == (2, 3)
    assert failed.identity == "history-service"
    assert failed.failure.message == "redo"
    assert failed.failure.HasField("reset_workflow_failure_info")
    assert [timestamp_us(event.event_time) for event in history[3:]] == [scene.now] * 4
    assert signals(history) == ["one", "two"]
    assert history[4].workflow_execution_signaled_event_attributes.input == payloads("one")
    assert scene.run is run


def test_the_new_run_keeps_its_origin_and_says_when_it_was_reset() -> None:
    scene = a_run_with_two_tasks()
    base = scene.run
    scene.advance(30)

    run = reset(scene, 9)

    stored = decode(encode_core(run, 1 << 20), [])
    told = describe(stored, scene.now)
    assert (run.first_run_id, run.original_run_id, run.root_run_id) == (base.run_id, base.run_id, run.run_id)
    assert told.workflow_extended_info.last_reset_time.ToMicroseconds() == NOON + 30 * SECOND
    assert told.workflow_extended_info.original_start_time.ToMicroseconds() == NOON
    assert told.workflow_execution_info.start_time.ToMicroseconds() == NOON + 30 * SECOND
    assert describe(base, scene.now).workflow_extended_info.reset_run_id == run.run_id
    assert stored.create_request_id == base.create_request_id
    assert run.history_size == sum(len(frame) for frame in run.changes.events) + _inherited_bytes(scene, base, run)


def _inherited_bytes(scene: Scene, base: Run, run: Run) -> int:
    assert run.changes.inherits is not None
    return sum(len(frame) for frame in base.changes.events[: run.changes.inherits[1]])


def test_the_new_run_goes_on_with_a_first_attempt_on_the_normal_queue_and_completes() -> None:
    scene = given()
    scene.start()
    started = scene.poll()
    scene.complete(start_timer("t", 60), started=started, sticky_attributes=_sticky())
    signal(scene, "one")

    run = reset(scene, 4)

    task = run.workflow_task
    assert task is not None
    assert (task.queue, task.sticky, task.attempt) == ("orders", False, 1)
    polled = scene.poll()
    assert (polled.first_event_id, polled.last_event_id, polled.previous_started_event_id) == (1, 7, 0)
    scene.complete(complete_workflow("done"), started=polled)
    assert scene.kinds()[-2:] == ["WorkflowTaskCompleted", "WorkflowExecutionCompleted"]


def _sticky() -> Any:
    from temporalio.api.taskqueue.v1 import StickyExecutionAttributes

    attributes = StickyExecutionAttributes()
    attributes.worker_task_queue.name = "sticky-1"
    return attributes


# ---- where one may reset to
@pytest.mark.parametrize("finish_event_id", [3, 4, 8, 9])
def test_any_event_of_a_pending_workflow_task_is_a_point(finish_event_id: int) -> None:
    scene = a_run_with_two_tasks()

    run = reset(scene, finish_event_id, excluded=ALL)

    kept = scene.history(run)[: finish_event_id - 1]
    assert kept == scene.history(next(iter(scene.execution.runs.values())))[: finish_event_id - 1]
    rest = scene.kinds(run)[finish_event_id - 1 :]
    started = [] if finish_event_id in (4, 9) else ["WorkflowTaskStarted"]
    assert rest == [*started, *NEW]


def test_a_task_that_failed_or_timed_out_is_a_point() -> None:
    scene = given()
    scene.start()
    started = scene.poll()
    scene.decide(
        lambda turn: fail_workflow_task(
            turn, decode_token(started.token, WORKFLOW_TASK), RespondWorkflowTaskFailedRequest(identity="w")
        )
    )
    assert scene.kinds() == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
    ]

    run = reset(scene, 4)

    assert scene.kinds(run)[3:] == NEW
    assert run.workflow_task is not None
    assert run.workflow_task.attempt == 1


def test_a_point_between_a_scheduled_and_a_started_task_keeps_what_came_in_between() -> None:
    scene = given()
    scene.start()
    signal(scene, "early")
    scene.complete(complete_workflow())

    run = reset(scene, 4)

    assert scene.kinds(run) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowExecutionSignaled",
        "WorkflowTaskStarted",
        *NEW,
    ]
    started = scene.history(run)[3].workflow_task_started_event_attributes
    assert (started.identity, started.scheduled_event_id) == ("history-service", 2)


@pytest.mark.parametrize(
    ("finish_event_id", "text"),
    [
        (0, "Workflow task finish ID must be > 1 && <= workflow last event ID."),
        (1, "Workflow task finish ID must be > 1 && <= workflow last event ID."),
        (13, "Workflow task finish ID must be > 1 && <= workflow last event ID."),
        (
            2,
            "StateRebuilder unable to Rebuild mutable state to event ID: 1, version: 0, "
            "this event must be at the boundary",
        ),
        (
            5,
            "StateRebuilder unable to Rebuild mutable state to event ID: 4, version: 0, "
            "this event must be at the boundary",
        ),
        (
            6,
            "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: 6",
        ),
        (
            7,
            "StateRebuilder unable to Rebuild mutable state to event ID: 6, version: 0, "
            "this event must be at the boundary",
        ),
    ],
)
def test_no_other_event_is_a_point_and_a_refused_reset_changes_nothing(finish_event_id: int, text: str) -> None:
    scene = a_run_with_two_tasks()
    before = encode_core(scene.run, 1 << 20)
    effects = list(scene.effects)

    with pytest.raises(InvalidArgument) as refused:
        reset(scene, finish_event_id)

    assert refused.value.message == text
    assert encode_core(scene.run, 1 << 20) == before
    assert len(scene.execution.runs) == 1
    assert scene.effects == effects


def test_the_same_request_again_changes_nothing() -> None:
    scene = a_run_with_two_tasks()
    base = scene.run
    run = reset(scene, 4, request_id="r")
    before = encode_core(run, 1 << 20)

    again = reset(scene, 4, base, request_id="r")

    assert again is run
    assert encode_core(run, 1 << 20) == before
    assert len(scene.execution.runs) == 2


@pytest.mark.parametrize("over", [False, True])
def test_the_same_request_again_changes_nothing_though_the_new_run_has_gone_on_in_another(over: bool) -> None:
    """Its first answer was lost."""
    scene = given()
    base = scene.start()
    scene.advance(1)
    scene.complete(start_timer("t", 60))
    run = reset(scene, 4, request_id="r")
    scene.advance(1)
    scene.complete(continue_as_new())
    if over:
        scene.complete(complete_workflow())
    latest = scene.run
    assert latest is not run

    again = reset(scene, 4, base, request_id="r")

    assert again is run
    assert scene.run is latest
    assert len(scene.execution.runs) == 3


def test_a_start_with_the_request_id_of_the_base_finds_the_new_run() -> None:
    scene = given()
    scene.start(request_id="started-by")
    scene.complete(start_timer("t", 60))

    run = reset(scene, 4)

    def start(shared: Shared) -> Any:
        return start_workflow(shared, run, StartWorkflowExecutionRequest(request_id="started-by"))

    outcome = scene.decide_shared(start)
    assert (outcome.run_id, outcome.started) == (run.run_id, True)


@pytest.mark.parametrize("point", [4, 9])
def test_a_signal_that_is_sent_again_after_a_reset_is_still_one(point: int) -> None:
    """Whether it was kept or carried over: its sender did not hear the answer."""
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60))
    signal(scene, "one", request_id="r")
    scene.complete(marker("seen"))
    run = reset(scene, point)

    signal(scene, "one", request_id="r")

    assert signals(scene.history(run)) == ["one"]


# ---- closed runs and chains
def test_a_closed_run_is_reset_and_stays_as_it_ended() -> None:
    scene = given()
    base = scene.start()
    scene.complete(complete_workflow("wrong"))

    run = reset(scene, 4)

    assert base.status == _S.WORKFLOW_EXECUTION_STATUS_COMPLETED
    assert scene.kinds(base)[-1] == "WorkflowExecutionCompleted"
    assert base.reset_run_id == run.run_id
    assert run.running
    assert scene.kinds(run)[3:] == NEW


def test_an_older_run_is_reset_and_the_current_one_ends() -> None:
    scene = given()
    base = scene.start()
    scene.complete(complete_workflow())
    scene.advance(10)
    other = scene.start()
    signal(scene, "of another chain")

    run = reset(scene, 4, base)

    assert other.status == _S.WORKFLOW_EXECUTION_STATUS_TERMINATED
    assert scene.last(other).workflow_execution_terminated_event_attributes.identity == "history-resetter"
    assert signals(scene.history(run)) == []
    assert scene.run is run


def test_signals_to_the_runs_that_a_run_continued_as_are_heard_again() -> None:
    scene = given()
    base = scene.start()
    scene.complete(start_timer("t", 60))
    signal(scene, "first")
    scene.complete(continue_as_new())
    signal(scene, "second")
    scene.advance(2)
    scene.wake()
    scene.complete(continue_as_new())
    scene.advance(2)
    scene.wake()
    scene.poll()
    signal(scene, "buffered")

    run = reset(scene, 4, base)

    assert signals(scene.history(run)) == ["first", "second", "buffered"]
    assert [r.status for r in scene.execution.runs.values()] == [
        _S.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
        _S.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
        _S.WORKFLOW_EXECUTION_STATUS_TERMINATED,
        _S.WORKFLOW_EXECUTION_STATUS_RUNNING,
    ]


def test_what_was_buffered_is_flushed_by_the_end_and_heard_again() -> None:
    scene = given()
    base = scene.start()
    scene.complete(start_timer("t", 60))
    signal(scene, "one")
    scene.poll()
    signal(scene, "while a worker was busy")

    run = reset(scene, 4)

    assert scene.kinds(base)[-3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowExecutionTerminated"]
    assert signals(scene.history(run)) == ["one", "while a worker was busy"]


def test_a_run_that_was_reset_can_be_reset_again() -> None:
    scene = a_run_with_two_tasks()
    first = reset(scene, 4)
    scene.complete(marker("again"))

    second = reset(scene, 9)

    assert scene.kinds(second)[:8] == scene.kinds(first)[:8]
    assert scene.kinds(second)[8:] == NEW
    assert second.ancestors == [*first.ancestors, first.run_id]
    third = reset(scene, 4)
    assert signals(scene.history(third)) == ["one", "two"]


# ---- what is carried over
def test_signals_can_be_left_out_but_not_those_before_the_point() -> None:
    scene = a_run_with_two_tasks()

    run = reset(scene, 9, excluded=frozenset({_X.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL}))

    assert signals(scene.history(run)) == ["one"]
    assert run.signal_count == 1


def test_a_cancel_request_stays_when_it_came_before_the_point_and_is_dropped_after_it() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60))
    scene.decide(lambda turn: request_cancel(turn, reason="enough"))
    scene.complete(marker("m"))

    early = reset(scene, 4)
    base = next(iter(scene.execution.runs.values()))
    late = reset(scene, 9, base)

    assert not early.cancel_requested
    assert "WorkflowExecutionCancelRequested" not in scene.kinds(early)
    assert late.cancel_requested


def test_search_attributes_memo_and_reset_points_are_those_of_the_point() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60), binary_checksum="good")
    signal(scene, "one")
    scene.complete(marker("m"), binary_checksum="bad")

    run = reset(scene, 9)

    points = ResetPoints.FromString(run.reset_points).points
    assert [(p.binary_checksum, p.first_workflow_task_completed_id, p.run_id) for p in points] == [
        ("good", 4, run.run_id)
    ]
    assert set(run.search_attributes) == {"BuildIds"}


def test_updates_are_admitted_again_with_their_requests_whatever_became_of_them() -> None:
    scene = given()
    base = scene.start()
    scene.complete()
    for update_id in ("u1", "u2"):
        ask(scene, update_id)
        started = scene.poll()
        [message] = messages(started)
        yes, done = accept(message), respond(update_id)
        scene.complete(place(yes), place(done), started=started, messages=[yes, done])
    signal(scene, "between")

    first = reset(scene, 4)
    second = reset(scene, 4, first)
    without = reset(scene, 4, base, excluded=frozenset({_X.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE}))

    for run in (first, second):
        assert scene.kinds(run)[3:7] == [
            "WorkflowTaskFailed",
            "WorkflowExecutionUpdateAdmitted",
            "WorkflowExecutionUpdateAdmitted",
            "WorkflowExecutionSignaled",
        ]
        admitted = scene.history(run)[4].workflow_execution_update_admitted_event_attributes
        assert admitted.request == update_request("u1")
        assert admitted.origin == UpdateAdmittedEventOrigin.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY
    assert "WorkflowExecutionUpdateAdmitted" not in scene.kinds(without)
    assert not without.updates


def test_options_that_were_updated_hold_again_and_their_request_stays_known() -> None:
    scene = given()
    base = scene.start()
    scene.complete(start_timer("t", 60))
    again = StartWorkflowExecutionRequest(
        request_id="attached",
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
    )
    again.on_conflict_options.attach_request_id = True
    scene.decide_shared(lambda shared: start_workflow(shared, base, again))
    options = WorkflowExecutionOptions()
    options.priority.priority_key = 2
    scene.decide(lambda turn: update_workflow_options(turn, options, ["priority"], identity="operator"))

    run = reset(scene, 4, excluded=ALL - {_X.RESET_REAPPLY_EXCLUDE_TYPE_NEXUS})

    assert scene.kinds(run)[4:6] == ["WorkflowExecutionOptionsUpdated"] * 2
    assert run.priority_key == 2
    assert run.request_ids["attached"][1] == 5


def test_options_are_set_once_all_is_carried_over() -> None:
    scene = a_run_with_two_tasks()
    options = WorkflowExecutionOptions()
    options.priority.priority_key = 3

    run = reset(scene, 4, options=[(options, ["priority"])], identity="operator")

    assert scene.kinds(run)[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionOptionsUpdated",
        "WorkflowTaskScheduled",
    ]
    assert run.priority_key == 3


def test_options_that_cannot_be_set_refuse_the_whole_reset() -> None:
    scene = a_run_with_two_tasks()
    before = encode_core(scene.run, 1 << 20)
    options = WorkflowExecutionOptions()
    options.priority.priority_key = -3

    with pytest.raises(InvalidArgument):
        reset(scene, 4, options=[(options, ["priority"])])

    assert encode_core(scene.run, 1 << 20) == before
    assert len(scene.execution.runs) == 1


# ---- what was pending
def test_timers_keep_their_time_and_those_that_are_overdue_fire_at_once() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("soon", 10), start_timer("late", 100))
    signal(scene, "one")
    scene.complete(marker("m"))
    scene.advance(50)

    run = reset(scene, 10, excluded=ALL)

    assert next_deadline(run) == NOON + 10 * SECOND
    assert scene.wake() == 1
    assert next_deadline(decode(encode_core(run, 1 << 20), [])) == NOON + 100 * SECOND


def test_timeouts_of_the_run_begin_anew() -> None:
    scene = given()
    scene.start(workflow_run_timeout=100, workflow_execution_timeout=300)
    scene.complete(start_timer("t", 600))
    scene.advance(90)

    run = reset(scene, 4)

    assert run.run_expires_at == scene.now + 100 * SECOND
    assert run.execution_expires_at == scene.now + 300 * SECOND
    scene.advance(99)
    assert run.running
    scene.complete(start_timer("t", 600))
    scene.advance(2)
    scene.wake()
    assert run.status == _S.WORKFLOW_EXECUTION_STATUS_TIMED_OUT


def test_activities_of_the_kept_part_are_tried_from_the_beginning_now() -> None:
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a", input=payloads("in")), schedule_activity("b"))
    base = scene.run
    old = take_activity(scene, 5)
    signal(scene, "one")
    scene.complete(marker("m"))
    scene.advance(30)

    run = reset(scene, 10, excluded=ALL)

    offered = [e.scheduled_event_id for e in scene.effects if isinstance(e, OfferActivityTask) and e.run is run]
    assert offered == [5, 6]
    started = take_activity(scene, 5, run)
    told = answer(started)
    assert (told.attempt, told.activity_id, told.input) == (1, "a", payloads("in"))
    assert told.workflow_execution.run_id == run.run_id
    assert told.current_attempt_scheduled_time.ToMicroseconds() == NOON + 30 * SECOND
    scene.decide(
        lambda turn: complete_activity(turn, token(started), RespondActivityTaskCompletedRequest(identity="w")), run
    )
    assert list(run.activities) == [6]
    assert base.activities
    assert old.token != started.token


def test_an_activity_scheduled_by_the_task_that_is_cut_off_is_gone() -> None:
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a"))

    run = reset(scene, 4)

    assert not run.activities


# ---- children
def a_parent_of_a_running_child() -> tuple[World, Scene, Scene]:
    """5 initiated, 6 started, 7-9 second task, 10 marker."""
    world = World()
    parent = world.scene("parent")
    parent.start()
    parent.complete(start_child())
    world.settle()
    parent.complete(marker("m"))
    return world, parent, world.scene("child")


def test_a_child_started_before_the_point_reports_to_the_new_run() -> None:
    world, parent, child = a_parent_of_a_running_child()

    run = reset(parent, 9, excluded=ALL)
    world.settle()
    assert child.run.running
    child.complete(complete_workflow("grown"))
    world.settle()

    assert parent.kinds(run)[8:] == [
        "WorkflowTaskFailed",
        "WorkflowTaskScheduled",
        "ChildWorkflowExecutionCompleted",
    ]
    closed = parent.last(run).child_workflow_execution_completed_event_attributes
    assert (closed.initiated_event_id, closed.started_event_id, closed.result) == (5, 6, payloads("grown"))


def test_a_childs_end_after_the_point_is_told_again() -> None:
    world, parent, child = a_parent_of_a_running_child()
    child.complete(complete_workflow("grown"))
    world.settle()

    run = reset(parent, 9)
    world.settle()

    assert parent.kinds(run)[8:] == [
        "WorkflowTaskFailed",
        "ChildWorkflowExecutionCompleted",
        "WorkflowTaskScheduled",
    ]
    assert not run.children


def test_a_child_that_started_after_the_point_is_not_started_twice() -> None:
    world = World()
    parent = world.scene("parent")
    parent.start()
    started = parent.poll()
    signal(parent, "while busy")
    parent.complete(start_child(), started=started)
    assert parent.kinds()[3:] == [
        "WorkflowTaskCompleted",
        "StartChildWorkflowExecutionInitiated",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    world.settle()
    parent.complete(marker("m"))
    child = world.scene("child")

    told = reset(parent, 8)
    world.settle()

    assert parent.kinds(told)[7:] == [
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
        "ChildWorkflowExecutionStarted",
        "WorkflowTaskScheduled",
    ]
    found = reset(parent, 8, told, excluded=ALL)
    world.settle()

    assert "ChildWorkflowExecutionStarted" in parent.kinds(found)
    assert len(child.execution.runs) == 1
    assert [c.run_id for c in found.children.values()] == [child.run.run_id]


def test_a_child_of_a_run_that_was_reset_ends_with_it() -> None:
    world, parent, child = a_parent_of_a_running_child()
    reset(parent, 9)
    world.settle()
    assert child.run.running

    parent.decide(lambda turn: terminate(turn, "enough"))
    world.settle()

    assert child.run.status == _S.WORKFLOW_EXECUTION_STATUS_TERMINATED


def test_a_child_that_is_reset_stays_its_parents_child() -> None:
    world, parent, child = a_parent_of_a_running_child()
    child.complete(start_timer("t", 60))

    reset(child, 4)
    world.settle()
    assert parent.run.children
    child.complete(complete_workflow("second try"))
    world.settle()

    closed = parent.history()[-2].child_workflow_execution_completed_event_attributes
    assert closed.result == payloads("second try")
    assert closed.workflow_execution.run_id == child.run.run_id


# ---- other workflows
def test_a_signal_to_another_workflow_that_was_on_its_way_is_sent_again() -> None:
    world = World()
    sender = world.scene("sender")
    sender.start()
    started = sender.poll()
    signal(sender, "while busy")
    external = command(
        CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
        "signal_external_workflow_execution",
        signal_name="hello",
    )
    external.signal_external_workflow_execution_command_attributes.execution.workflow_id = "nobody"
    sender.complete(external, started=started)
    world.settle()

    run = reset(sender, 8)
    world.settle()

    assert sender.kinds(run)[-1] == "SignalExternalWorkflowExecutionFailed"
    assert not run.signals
