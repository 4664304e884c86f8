"""Timers: started, fired, cancelled, and taken back while nobody saw them fire."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import CommandType

from perdure.engine.apply import INSTANT
from perdure.engine.signals import signal_workflow
from perdure.engine.times import SECOND
from perdure.errors import InvalidArgument
from tests.engine.given import NOON, cancel_timer, command, complete_workflow, given, start_timer


def test_a_timer_fires_when_it_is_due_and_the_workflow_hears_of_it() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 5))
    scene.advance(4.999)
    assert scene.wake() == 0
    scene.advance(0.001)
    assert scene.wake() == 1

    assert scene.kinds()[5:] == ["TimerFired", "WorkflowTaskScheduled"]
    assert scene.history()[5].timer_fired_event_attributes.started_event_id == 5
    assert not scene.run.timers


def test_a_timer_without_duration_is_due_soon() -> None:
    scene = given()
    scene.start()
    scene.complete(command(CommandType.COMMAND_TYPE_START_TIMER, "start_timer", timer_id="t"))

    assert not scene.history()[4].timer_started_event_attributes.HasField("start_to_fire_timeout")
    assert scene.run.timers["t"].due == NOON + INSTANT
    scene.advance(0.5)
    assert scene.wake() == 1


def test_a_running_timer_can_be_cancelled_and_its_id_used_again_in_one_task() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60), force_create_new_workflow_task=True)
    scene.complete(cancel_timer("t"), start_timer("t", 1), identity="decider")

    assert scene.kinds()[8:] == ["TimerCanceled", "TimerStarted"]
    cancelled = scene.history()[8].timer_canceled_event_attributes
    assert (cancelled.started_event_id, cancelled.identity) == (5, "decider")
    assert scene.run.timers["t"].due == NOON + SECOND


def test_cancelling_takes_back_a_firing_that_the_worker_could_not_see() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 5), start_timer("u", 5))
    scene.decide(lambda turn: signal_workflow(turn, signal_name="look"))
    task = scene.poll()
    scene.advance(5)
    scene.wake()
    scene.complete(cancel_timer("t"), started=task)

    assert scene.kinds()[9:] == ["WorkflowTaskCompleted", "TimerCanceled", "TimerFired", "WorkflowTaskScheduled"]
    assert scene.history()[11].timer_fired_event_attributes.timer_id == "u"


def test_taking_back_the_only_firing_lets_the_workflow_close() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 5))
    scene.decide(lambda turn: signal_workflow(turn, signal_name="look"))
    task = scene.poll()
    scene.advance(5)
    scene.wake()
    scene.complete(cancel_timer("t"), complete_workflow(), started=task)

    assert scene.kinds()[8:] == ["WorkflowTaskCompleted", "TimerCanceled", "WorkflowExecutionCompleted"]


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ([start_timer("", 1)], "BadStartTimerAttributes: TimerId is not set on StartTimerCommand."),
        (
            [start_timer("t", -1)],
            "BadStartTimerAttributes: An invalid StartToFireTimeout is set on StartTimerCommand: negative duration. "
            "TimerId=t",
        ),
        (
            [start_timer("t", 1), start_timer("t", 1)],
            "StartTimerDuplicateId: invalid history builder state for action: add-timer-started-event, TimerID: t",
        ),
        ([cancel_timer("")], "BadCancelTimerAttributes: TimerId is not set on CancelTimerCommand."),
        (
            [cancel_timer("t")],
            "BadCancelTimerAttributes: invalid history builder state for action: add-timer-canceled-event, TimerID: t",
        ),
    ],
)
def test_bad_timer_commands_are_named(commands: list, message: str) -> None:
    scene = given()
    scene.start()
    done = scene.complete(*commands, refused=True)

    assert isinstance(done.failed, InvalidArgument)
    assert done.failed.message == message
    assert scene.kinds()[3:] == ["WorkflowTaskFailed"]
    assert not scene.run.timers
