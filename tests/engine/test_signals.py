"""Signals and cancel requests."""

from __future__ import annotations

from dataclasses import replace

from temporalio.api.common.v1 import WorkflowExecution

from perdure.engine.limits import Limits
from perdure.engine.signals import request_cancel, signal_workflow
from perdure.errors import InvalidArgument, NotFound
from tests.engine.given import Scene, complete_workflow, given, payloads, seconds


def waiting() -> Scene:
    scene = given()
    scene.start()
    scene.complete()
    return scene


def test_a_signal_is_recorded_and_wakes_the_workflow() -> None:
    scene = waiting()

    scene.decide(
        lambda turn: signal_workflow(turn, signal_name="go", input=payloads("x"), identity="me", request_id="r")
    )

    signaled = scene.history()[-2].workflow_execution_signaled_event_attributes
    assert (signaled.signal_name, signaled.identity, signaled.input) == ("go", "me", payloads("x"))
    assert scene.kinds()[-1] == "WorkflowTaskScheduled"


def test_a_repeated_signal_changes_nothing_also_after_the_close() -> None:
    scene = waiting()
    for _ in range(2):
        scene.decide(lambda turn: signal_workflow(turn, signal_name="go", request_id="r"))
    assert scene.run.signal_count == 1
    scene.complete(complete_workflow())

    scene.decide(lambda turn: signal_workflow(turn, signal_name="go", request_id="r"))

    assert scene.kinds()[-1] == "WorkflowExecutionCompleted"


def test_a_signal_under_the_request_id_of_the_start_is_no_repetition() -> None:
    scene = given()
    scene.start(request_id="r")
    scene.complete()

    scene.decide(lambda turn: signal_workflow(turn, signal_name="go", request_id="r"))

    assert scene.run.signal_count == 1


def test_a_closed_workflow_takes_no_signal() -> None:
    scene = waiting()
    scene.decide(lambda turn: signal_workflow(turn, signal_name="go"))
    scene.complete(complete_workflow())

    error = scene.refused(lambda turn: signal_workflow(turn, signal_name="go"))

    assert isinstance(error, NotFound)
    assert error.message == "workflow execution already completed"


def test_a_signal_during_the_start_delay_waits_for_its_end() -> None:
    scene = given()
    scene.start(workflow_start_delay=seconds(10))

    scene.decide(lambda turn: signal_workflow(turn, signal_name="go"))
    assert scene.kinds() == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled"]
    scene.advance(10)
    scene.wake()

    assert scene.kinds()[2:] == ["WorkflowTaskScheduled"]


def test_a_run_takes_so_many_signals_and_no_more() -> None:
    scene = given(limits=replace(Limits(), signals_per_run=2))
    scene.start()
    scene.poll()
    for _ in range(2):  # buffered ones count
        scene.decide(lambda turn: signal_workflow(turn, signal_name="go"))

    error = scene.refused(lambda turn: signal_workflow(turn, signal_name="go"))

    assert isinstance(error, InvalidArgument)
    assert error.message == "exceeded workflow execution limit for signal events"


def test_a_cancel_request_is_recorded_once() -> None:
    scene = waiting()
    sender = WorkflowExecution(workflow_id="boss", run_id="r")

    scene.decide(lambda turn: request_cancel(turn, reason="enough", external=sender, external_initiated_event_id=7))
    scene.decide(lambda turn: request_cancel(turn, reason="again", first_execution_run_id="of another chain"))

    assert scene.kinds()[4:] == ["WorkflowExecutionCancelRequested", "WorkflowTaskScheduled"]
    attributes = scene.history()[4].workflow_execution_cancel_requested_event_attributes
    assert (attributes.cause, attributes.external_initiated_event_id) == ("enough", 7)
    assert attributes.external_workflow_execution == sender


def test_a_cancel_request_shows_at_once_while_its_event_is_buffered() -> None:
    scene = given()
    scene.start()
    scene.poll()

    for _ in range(2):
        scene.decide(lambda turn: request_cancel(turn))

    assert scene.run.cancel_requested
    assert len(scene.run.buffered) == 1
    assert len(scene.history()) == 3


def test_a_cancel_request_ends_the_start_delay() -> None:
    scene = given()
    scene.start(workflow_start_delay=seconds(10))

    scene.decide(lambda turn: request_cancel(turn))

    assert scene.kinds()[1:] == ["WorkflowExecutionCancelRequested", "WorkflowTaskScheduled"]


def test_cancelling_what_is_closed_is_fine_but_another_chain_is_not_found() -> None:
    scene = waiting()
    error = scene.refused(lambda turn: request_cancel(turn, first_execution_run_id="other"))
    assert error.message == "workflow execution not found"
    scene.decide(lambda turn: signal_workflow(turn, signal_name="go"))
    scene.complete(complete_workflow())

    scene.decide(lambda turn: request_cancel(turn, first_execution_run_id="other"))

    assert scene.kinds()[-1] == "WorkflowExecutionCompleted"
