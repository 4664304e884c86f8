"""Workflow tasks: handed out, completed, failed, timed out, tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import History
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes
from temporalio.api.workflowservice.v1 import (
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
)

from perdure.engine.activities import complete_activity
from perdure.engine.completing import complete_workflow_task
from perdure.engine.failing import fail_workflow_task
from perdure.engine.limits import Limits
from perdure.engine.signals import signal_workflow
from perdure.engine.stale import Stale
from perdure.engine.tokens import WORKFLOW_TASK, decode_token
from perdure.engine.workflow_tasks import (
    Poller,
    reissue_workflow_task,
    reset_sticky,
    start_workflow_task,
    sticky_unavailable,
)
from perdure.errors import InvalidArgument, NotFound, PerdureError, ResourceExhausted
from tests.engine.given import (
    Scene,
    cancel_timer,
    complete_workflow,
    given,
    kind,
    marker,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.engine.world import take_activity, token

CAUSE = WorkflowTaskFailedCause
STICKY = StickyExecutionAttributes(worker_task_queue={"name": "mine", "kind": 2}, schedule_to_start_timeout=seconds(5))


def started(**fields: Any) -> Scene:
    scene = given()
    scene.start(**fields)
    return scene


def signal(scene: Scene, name: str = "go") -> None:
    scene.decide(lambda turn: signal_workflow(turn, signal_name=name))


def fail(scene: Scene, task: Any, message: str = "no") -> None:
    request = RespondWorkflowTaskFailedRequest(
        cause=CAUSE.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR, identity="worker-1"
    )
    request.failure.message = message
    token = decode_token(task.token, WORKFLOW_TASK)
    scene.decide(lambda turn: fail_workflow_task(turn, token, request))


def complete_error(scene: Scene, task: Any, *commands: Any) -> PerdureError:
    request = RespondWorkflowTaskCompletedRequest(task_token=task.token, commands=commands)
    token = decode_token(task.token, WORKFLOW_TASK)
    return scene.refused(lambda turn: complete_workflow_task(turn, token, request))


# ---- handing out
def test_a_task_is_handed_out_once() -> None:
    scene = started()
    task = scene.run.workflow_task
    assert task is not None

    answer = scene.poll()

    assert (answer.first_event_id, answer.last_event_id, answer.started_event_id) == (1, 3, 3)
    assert answer.previous_started_event_id == 0
    with pytest.raises(Stale):
        scene.decide(lambda turn: start_workflow_task(turn, task.scheduled_event_id, task.stamp, Poller()))


def test_a_completion_is_followed_by_nothing_when_nothing_happened() -> None:
    scene = started()

    scene.complete(marker("m"))

    assert scene.kinds()[2:] == ["WorkflowTaskStarted", "WorkflowTaskCompleted", "MarkerRecorded"]
    assert scene.run.workflow_task is None
    assert scene.run.previous_started_event_id == 3


def test_what_comes_during_a_task_waits_for_its_end_and_brings_the_next_one() -> None:
    scene = started()
    task = scene.poll()
    signal(scene)
    assert len(scene.history()) == 3

    scene.complete(marker("m"), started=task)

    assert scene.kinds()[3:] == [
        "WorkflowTaskCompleted", "MarkerRecorded", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"
    ]  # fmt: skip


def test_what_came_during_a_task_keeps_its_order_but_ends_of_activities_come_last() -> None:
    scene = started()
    scene.complete(schedule_activity("a"))
    activity = take_activity(scene, 5)
    signal(scene, "zero")
    task = scene.poll()
    signal(scene, "one")
    scene.decide(lambda turn: complete_activity(turn, token(activity), RespondActivityTaskCompletedRequest()))
    signal(scene, "two")
    signal(scene, "three")

    scene.complete(started=task)

    after = scene.history()[task.started_event_id + 1 :]
    assert [event.workflow_execution_signaled_event_attributes.signal_name or kind(event) for event in after] == [
        "one", "ActivityTaskStarted", "two", "three", "ActivityTaskCompleted", "WorkflowTaskScheduled"
    ]  # fmt: skip
    assert after[4].activity_task_completed_event_attributes.started_event_id == after[1].event_id


def test_a_token_works_once() -> None:
    scene = started()
    task = scene.poll()
    scene.complete(started=task)

    error = complete_error(scene, task)

    assert isinstance(error, NotFound)
    assert error.message == "Workflow task not found."


def test_a_lost_answer_is_handed_to_another_poller_and_the_first_token_is_dead() -> None:
    scene = started()
    lost = scene.poll()

    again = scene.decide(lambda turn: reissue_workflow_task(turn, decode_token(lost.token, WORKFLOW_TASK)))

    assert again is not None
    assert again.started_event_id == lost.started_event_id
    assert isinstance(complete_error(scene, lost), NotFound)
    scene.complete(complete_workflow(), started=again)
    assert scene.kinds().count("WorkflowTaskStarted") == 1


def test_a_new_task_asked_for_comes_back_with_the_answer() -> None:
    scene = started()
    offered = scene.offered_workflow_tasks()

    done = scene.complete(marker("m"), force_create_new_workflow_task=True, return_new_workflow_task=True)

    assert (done.new_task.first_event_id, done.new_task.last_event_id) == (4, 7)
    assert done.new_task.previous_started_event_id == 3
    attributes = scene.last().workflow_task_started_event_attributes
    assert attributes.request_id == "request-from-RespondWorkflowTaskCompleted"
    assert scene.offered_workflow_tasks() == offered
    scene.complete(complete_workflow(), started=done.new_task)


def test_a_worker_that_only_asks_for_more_time_gets_thirty_minutes() -> None:
    scene = started(workflow_task_timeout=seconds(120))
    task = scene.poll()
    more: dict[str, Any] = {"force_create_new_workflow_task": True, "return_new_workflow_task": True}
    for _ in range(18):
        scene.advance(100)
        task = scene.complete(started=task, **more).new_task
    scene.advance(1)

    done = scene.complete(started=task, refused=True, **more)

    assert isinstance(done.failed, NotFound)
    assert done.failed.message == "workflow task heartbeat timeout"
    assert scene.kinds()[-1] == "WorkflowTaskTimedOut"


# ---- failing
def test_only_the_first_failure_is_stored() -> None:
    scene = started()
    fail(scene, scene.poll())
    stored = scene.kinds()
    assert stored[3:] == ["WorkflowTaskFailed"]

    for attempt in (2, 3):
        task = scene.poll()
        assert (task.attempt, task.last_event_id, task.started_event_id) == (attempt, 4, 6)
        virtual = History.FromString(task.virtual_events).events
        assert [(e.event_id, kind(e)) for e in virtual] == [(5, "WorkflowTaskScheduled"), (6, "WorkflowTaskStarted")]
        fail(scene, task)
        assert scene.kinds() == stored

    scene.complete(complete_workflow())
    assert scene.kinds()[4:] == [
        "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted", "WorkflowExecutionCompleted"
    ]  # fmt: skip
    assert scene.history()[4].workflow_task_scheduled_event_attributes.attempt == 4


def test_something_new_makes_a_repeated_task_a_first_attempt() -> None:
    scene = started()
    fail(scene, scene.poll())
    signal(scene)

    task = scene.poll()

    assert (task.attempt, task.virtual_events) == (1, b"")
    assert scene.kinds()[4:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled", "WorkflowTaskStarted"]


def test_something_new_during_a_repeated_task_is_stored_when_that_fails() -> None:
    scene = started()
    fail(scene, scene.poll())
    task = scene.poll()
    signal(scene)

    fail(scene, task)

    assert scene.kinds()[4:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    assert scene.poll().attempt == 1


def test_a_timeout_is_stored_and_the_late_answer_refused() -> None:
    scene = started()
    task = scene.poll()
    scene.advance(10)

    assert scene.wake() == 1

    assert scene.kinds()[3:] == ["WorkflowTaskTimedOut"]
    assert isinstance(complete_error(scene, task, complete_workflow()), NotFound)
    assert scene.poll().attempt == 2


def test_later_attempts_get_more_and_more_time() -> None:
    scene = started()
    for _ in range(3):
        fail(scene, scene.poll())
    scene.poll()
    task = scene.run.workflow_task
    assert task is not None

    assert 14 <= task.start_to_close / 1_000_000 <= 15


def test_five_failures_in_a_row_are_reported_until_a_task_completes() -> None:
    scene = started()
    for _ in range(5):
        fail(scene, scene.poll())
    assert (
        b"cause=WorkflowTaskFailedCauseNonDeterministicError" in scene.run.search_attributes["TemporalReportedProblems"]
    )

    scene.complete()

    assert "TemporalReportedProblems" not in scene.run.search_attributes


def test_a_failure_as_large_as_a_message_ends_the_workflow() -> None:
    scene = started()
    token = decode_token(scene.poll().token, WORKFLOW_TASK)
    request = RespondWorkflowTaskFailedRequest(cause=CAUSE.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE)

    scene.decide(lambda turn: fail_workflow_task(turn, token, request))

    assert scene.kinds()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    assert scene.last().workflow_execution_terminated_event_attributes.reason == "GrpcMessageTooLarge"


# ---- bad commands
def test_a_bad_command_undoes_the_whole_completion() -> None:
    scene = started()

    done = scene.complete(start_timer("t", 60), cancel_timer("nope"), refused=True)

    assert isinstance(done.failed, InvalidArgument)
    assert done.failed.message.startswith("BadCancelTimerAttributes: invalid history builder state for action: ")
    assert scene.kinds()[3:] == ["WorkflowTaskFailed"]
    assert scene.last().workflow_task_failed_event_attributes.failure.message == done.failed.message
    assert not scene.run.timers


def test_a_bad_command_of_a_repeated_task_changes_nothing() -> None:
    scene = started()
    fail(scene, scene.poll())
    task = scene.poll()

    error = complete_error(scene, task, start_timer("t", 60), cancel_timer("nope"))

    assert isinstance(error, InvalidArgument)
    scene.complete(complete_workflow(), started=task)


def test_a_bad_sequence_leaves_the_task_started() -> None:
    scene = started()
    task = scene.poll()

    error = complete_error(scene, task, complete_workflow(), start_timer("t", 1))

    assert error.message == (
        "invalid command sequence: [CompleteWorkflowExecution, StartTimer], command CompleteWorkflowExecution must be "
        "the last command."
    )
    scene.complete(complete_workflow(), started=task)


def test_a_close_that_misses_a_signal_is_refused_and_signals_wait_for_the_next_try() -> None:
    scene = started()
    task = scene.poll()
    signal(scene, "missed")

    done = scene.complete(complete_workflow(), started=task, refused=True)

    assert done.failed.message == "UnhandledCommand"
    assert scene.kinds()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    task = scene.poll()
    assert task.attempt == 1
    error = scene.refused(lambda turn: signal_workflow(turn, signal_name="late"))
    assert isinstance(error, ResourceExhausted)
    scene.complete(marker("not yet"), started=task)
    signal(scene, "taken")


# ---- sticky queues
def sticky() -> Scene:
    scene = started()
    scene.complete(sticky_attributes=STICKY)
    signal(scene)
    return scene


def test_a_sticky_worker_gets_only_what_is_new() -> None:
    scene = sticky()
    queue = scene.last().workflow_task_scheduled_event_attributes.task_queue
    assert (queue.name, queue.kind, queue.normal_name) == ("mine", 2, "orders")

    task = scene.poll()

    assert (task.first_event_id, task.last_event_id) == (4, 7)


def test_a_sticky_task_nobody_takes_goes_to_the_normal_queue_with_all_history() -> None:
    scene = sticky()
    scene.advance(5)

    scene.wake()

    timed_out = scene.history()[-2].workflow_task_timed_out_event_attributes
    assert (timed_out.started_event_id, timed_out.timeout_type) == (0, 2)
    assert scene.last().workflow_task_scheduled_event_attributes.task_queue.name == "orders"
    assert scene.poll().first_event_id == 1
    assert scene.run.sticky_queue == ""


def test_a_sticky_task_without_pollers_is_offered_to_the_normal_queue_at_once() -> None:
    scene = sticky()
    task = scene.run.workflow_task
    assert task is not None

    scene.decide(lambda turn: sticky_unavailable(turn, task.stamp))

    assert scene.run.sticky_queue == "mine"
    answer = scene.poll(queue="orders", sticky=False)
    assert answer.first_event_id == 1
    assert scene.run.sticky_queue == ""
    assert scene.kinds()[-2:] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]


def test_the_sticky_workers_late_poll_does_not_get_the_task_that_was_moved() -> None:
    scene = sticky()
    task = scene.run.workflow_task
    assert task is not None
    scene.decide(lambda turn: sticky_unavailable(turn, task.stamp))

    with pytest.raises(Stale):
        scene.decide(
            lambda turn: start_workflow_task(
                turn, task.scheduled_event_id, task.stamp, Poller(queue="mine", sticky=True)
            )
        )


def test_an_offer_from_before_the_task_was_moved_starts_nothing() -> None:
    scene = sticky()
    task = scene.run.workflow_task
    assert task is not None
    scene.decide(lambda turn: sticky_unavailable(turn, task.stamp))

    with pytest.raises(Stale):
        scene.decide(lambda turn: start_workflow_task(turn, task.scheduled_event_id, task.stamp, Poller()))


def test_a_poll_that_takes_a_normal_queue_for_its_own_gets_the_task_like_any_other() -> None:
    scene = started()

    answer = scene.poll(queue="orders", sticky=True)

    assert answer.first_event_id == 1
    assert scene.kinds()[-1] == "WorkflowTaskStarted"


def test_a_worker_that_keeps_no_cache_gives_the_workflow_back_to_the_normal_queue() -> None:
    scene = sticky()

    scene.complete()
    signal(scene)

    assert scene.last().workflow_task_scheduled_event_attributes.task_queue.name == "orders"
    assert scene.poll().first_event_id == 1


def test_a_failure_on_a_sticky_queue_does_not_count() -> None:
    scene = sticky()

    fail(scene, scene.poll())

    assert scene.kinds()[-2:] == ["WorkflowTaskFailed", "WorkflowTaskScheduled"]
    assert scene.last().workflow_task_scheduled_event_attributes.attempt == 1
    assert scene.last().workflow_task_scheduled_event_attributes.task_queue.name == "orders"


def test_resetting_stickiness_moves_the_waiting_task() -> None:
    scene = sticky()

    scene.decide(reset_sticky)

    task = scene.run.workflow_task
    assert task is not None
    assert (task.queue, task.sticky) == ("orders", False)
    with pytest.raises(Stale):
        scene.decide(
            lambda turn: start_workflow_task(
                turn, task.scheduled_event_id, task.stamp, Poller(queue="mine", sticky=True)
            )
        )


# ---- too much
def test_more_than_may_wait_for_a_task_fails_it() -> None:
    scene = given(limits=replace(Limits(), buffered_events=3))
    scene.start()
    task = scene.poll()

    for _ in range(4):
        signal(scene)

    assert scene.kinds()[3:] == ["WorkflowTaskFailed", *["WorkflowExecutionSignaled"] * 4, "WorkflowTaskScheduled"]
    failed = scene.history()[3].workflow_task_failed_event_attributes
    assert (failed.cause, failed.identity) == (CAUSE.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND, "history-service")
    assert isinstance(complete_error(scene, task), NotFound)


def test_a_history_that_grows_too_long_ends_the_workflow() -> None:
    scene = given(limits=replace(Limits(), history_count=8))
    scene.start()
    for _ in range(6):
        signal(scene)
    assert len(scene.history()) == 8

    signal(scene, "one too many")

    assert scene.kinds()[8:] == ["WorkflowExecutionTerminated"]
    ended = scene.last().workflow_execution_terminated_event_attributes
    assert ended.reason == "Workflow history count exceeds limit."


def test_a_long_history_suggests_to_continue_as_new() -> None:
    scene = given(limits=replace(Limits(), history_count_suggest=3))
    scene.start()

    scene.poll()

    attributes = scene.last().workflow_task_started_event_attributes
    assert attributes.suggest_continue_as_new
    assert list(attributes.suggest_continue_as_new_reasons) == [2]


# ---- what is noted of workers
def test_build_ids_and_reset_points_tell_of_the_workers_that_were_at_work() -> None:
    scene = started()
    scene.complete()
    assert b'["unversioned"]' in scene.run.search_attributes["BuildIds"]
    signal(scene)

    scene.complete(worker_version_stamp={"build_id": "v1"})

    assert b'["unversioned","unversioned:v1"]' in scene.run.search_attributes["BuildIds"]
    assert scene.run.reset_points.count(scene.run.run_id.encode()) == 2
