"""A paused workflow gives nothing to workers; what they hold may end, and all that happens is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.workflowservice.v1 import RespondActivityTaskCompletedRequest

from perdure.engine.activities import complete_activity
from perdure.engine.apply import fold
from perdure.engine.closing import terminate
from perdure.engine.codec import decode, encode_core
from perdure.engine.describe import describe
from perdure.engine.pausing import pause_workflow, unpause_workflow
from perdure.engine.signals import request_cancel, signal_workflow
from perdure.engine.stale import Stale
from perdure.engine.times import SECOND, timestamp_us
from perdure.errors import FailedPrecondition, NotFound
from tests.engine.given import NOON, Scene, complete_workflow, given, schedule_activity, start_timer
from tests.engine.world import take_activity, token

PAUSED = 8


def pause(scene: Scene, request_id: str = "r") -> None:
    scene.decide(lambda turn: pause_workflow(turn, identity="ops", reason="why", request_id=request_id))


def unpause(scene: Scene) -> None:
    scene.decide(lambda turn: unpause_workflow(turn, identity="ops", reason="enough", request_id="u"))


def signal(scene: Scene, **how: Any) -> None:
    scene.decide(lambda turn: signal_workflow(turn, signal_name="look", **how))


def started() -> Scene:
    scene = given()
    scene.start()
    return scene


def idle(*commands: Any) -> Scene:
    """A workflow that waits for what `commands` asked for."""
    scene = started()
    scene.complete(*commands)
    scene.effects.clear()
    return scene


def test_a_task_that_nobody_took_fails_before_the_pause() -> None:
    scene = started()
    stale = scene.run.workflow_task

    pause(scene)

    assert scene.kinds() == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskFailed",
        "WorkflowExecutionPaused",
    ]
    failed, paused = scene.history()[2:]
    attributes = failed.workflow_task_failed_event_attributes
    assert WorkflowTaskFailedCause.Name(attributes.cause).endswith("WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED")
    assert attributes.identity == "history-service"
    assert paused.worker_may_ignore
    assert paused.workflow_execution_paused_event_attributes.reason == "why"
    assert stale is not None
    assert scene.run.workflow_task is None


def test_a_paused_workflow_is_shown_as_such() -> None:
    scene = idle(start_timer("t", 60))
    scene.advance(5)

    pause(scene)

    shown = describe(scene.run, scene.now)
    assert shown.workflow_execution_info.status == PAUSED
    info = shown.workflow_extended_info.pause_info
    assert (info.identity, info.reason, timestamp_us(info.paused_time)) == ("ops", "why", NOON + 5 * SECOND)
    attribute = Payload.FromString(scene.run.search_attributes["TemporalPauseInfo"])
    assert json.loads(attribute.data) == ["Workflow:order-1", "Reason:why"]
    assert scene.run.changes.status


def test_signals_and_timers_are_recorded_without_a_task_until_it_goes_on() -> None:
    scene = idle(start_timer("t", 60))
    pause(scene)

    signal(scene)
    scene.advance(60)
    scene.wake()
    scene.decide(lambda turn: request_cancel(turn))

    assert scene.kinds()[-3:] == ["WorkflowExecutionSignaled", "TimerFired", "WorkflowExecutionCancelRequested"]
    unpause(scene)
    assert scene.kinds()[-2:] == ["WorkflowExecutionUnpaused", "WorkflowTaskScheduled"]
    assert scene.offered_workflow_tasks() == 1
    assert "TemporalPauseInfo" not in scene.run.search_attributes


def test_a_started_task_may_end_and_the_pause_comes_after_it() -> None:
    scene = started()
    task = scene.poll()

    pause(scene)
    assert scene.run.paused
    assert scene.kinds()[-1] == "WorkflowTaskStarted"
    scene.complete(schedule_activity("a"), started=task)

    assert scene.kinds()[-3:] == ["WorkflowTaskCompleted", "ActivityTaskScheduled", "WorkflowExecutionPaused"]
    with pytest.raises(Stale):
        take_activity(scene, 5)
    scene.effects.clear()
    unpause(scene)
    assert scene.offered_activities() == [5]


def test_no_eager_activity_is_given_while_paused() -> None:
    scene = started()
    task = scene.poll()
    pause(scene)
    command = schedule_activity("a")
    command.schedule_activity_task_command_attributes.request_eager_execution = True

    assert scene.complete(command, started=task).eager_activities == []


def test_a_started_task_that_times_out_has_no_follower_until_unpaused() -> None:
    scene = started()
    scene.poll()
    pause(scene)

    scene.advance(10)
    scene.wake()
    assert scene.kinds()[-2:] == ["WorkflowTaskTimedOut", "WorkflowExecutionPaused"]
    unpause(scene)

    assert scene.kinds()[-2:] == ["WorkflowExecutionUnpaused", "WorkflowTaskScheduled"]


def test_waiting_activities_are_held_and_running_ones_may_end() -> None:
    scene = idle(schedule_activity("a"), schedule_activity("b"))
    running = take_activity(scene, 5)
    pause(scene)

    with pytest.raises(Stale):
        take_activity(scene, 6)
    request = RespondActivityTaskCompletedRequest(identity="w")
    scene.decide(lambda turn: complete_activity(turn, token(running), request))
    assert scene.kinds()[-1] == "ActivityTaskCompleted"

    unpause(scene)
    assert scene.offered_activities() == [6]


def test_timeouts_hold_while_paused() -> None:
    scene = given()
    scene.start(workflow_run_timeout=30)
    scene.complete(schedule_activity("a", schedule_to_close_timeout=10))
    pause(scene)

    scene.advance(10)
    scene.wake()
    assert scene.kinds()[-1] == "ActivityTaskTimedOut"
    scene.advance(20)
    scene.wake()
    assert scene.kinds()[-1] == "WorkflowExecutionTimedOut"


def test_a_paused_workflow_can_be_terminated() -> None:
    scene = idle(start_timer("t", 60))
    pause(scene)

    scene.decide(lambda turn: terminate(turn, "enough"))

    assert scene.kinds()[-1] == "WorkflowExecutionTerminated"
    assert "TemporalPauseInfo" not in scene.run.search_attributes


def test_a_back_off_that_ends_while_paused_ends_once() -> None:
    scene = given()
    scene.start(workflow_start_delay=60)
    pause(scene)

    scene.advance(60)
    assert scene.wake() == 1
    assert scene.kinds()[-1] == "WorkflowExecutionPaused"
    unpause(scene)

    assert scene.kinds()[-1] == "WorkflowTaskScheduled"


def test_an_unpaused_workflow_still_waits_for_the_end_of_its_back_off() -> None:
    scene = given()
    scene.start(workflow_start_delay=60)
    pause(scene)
    unpause(scene)
    assert scene.kinds()[-1] == "WorkflowExecutionUnpaused"

    scene.advance(60)
    scene.wake()
    assert scene.kinds()[-1] == "WorkflowTaskScheduled"


def test_a_task_cannot_be_forced_while_paused() -> None:
    scene = started()
    task = scene.poll()
    pause(scene)

    with pytest.raises(
        FailedPrecondition, match="Workflow is paused and force create new workflow task is not allowed"
    ):
        scene.complete(started=task, force_create_new_workflow_task=True)


def test_a_completion_that_knows_nothing_of_the_pause_is_asked_again_when_it_is_over() -> None:
    scene = started()
    task = scene.poll()
    pause(scene)

    scene.complete(complete_workflow(), started=task, refused=True)
    assert scene.kinds()[-2:] == ["WorkflowTaskFailed", "WorkflowExecutionPaused"]
    unpause(scene)
    scene.complete(complete_workflow())

    assert scene.kinds()[-1] == "WorkflowExecutionCompleted"


def test_the_same_request_pauses_once_and_another_is_refused() -> None:
    scene = idle(start_timer("t", 60))
    pause(scene, "one")
    pause(scene, "one")

    error = scene.refused(lambda turn: pause_workflow(turn, identity="", reason="", request_id="two"))

    assert (type(error), error.message) == (FailedPrecondition, "workflow is already paused.")


def test_what_is_not_paused_cannot_be_unpaused() -> None:
    scene = idle(start_timer("t", 60))

    error = scene.refused(lambda turn: unpause_workflow(turn, identity="", reason="", request_id=""))

    assert (type(error), error.message) == (FailedPrecondition, "workflow is not paused.")


@pytest.mark.parametrize("operation", [pause_workflow, unpause_workflow])
def test_a_closed_workflow_is_neither(operation: Any) -> None:
    scene = idle(start_timer("t", 60))
    scene.decide(lambda turn: terminate(turn, "enough"))

    error = scene.refused(lambda turn: operation(turn, identity="", reason="", request_id=""))

    assert isinstance(error, NotFound)


def test_a_pause_survives_storage_and_is_folded_from_history() -> None:
    scene = idle(start_timer("t", 60))
    pause(scene)

    loaded = decode(encode_core(scene.run, 1 << 20), [])
    folded = fold(scene.history())

    assert loaded.paused
    assert loaded.pause_info == scene.run.pause_info == folded.pause_info
    assert folded.status == PAUSED
