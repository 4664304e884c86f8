"""Runs that end other than by their own will."""

from __future__ import annotations

from perdure.engine.closing import terminate
from perdure.engine.codec import decode, encode_core
from perdure.engine.describe import describe
from perdure.engine.effects import Closed
from perdure.engine.signals import signal_workflow
from perdure.engine.waking import next_deadline
from perdure.errors import NotFound
from tests.engine.given import Scene, given, payloads, schedule_activity, seconds, start_timer


def busy() -> Scene:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60), schedule_activity("a"))
    return scene


def test_termination_ends_a_run_at_once_and_nothing_of_it_is_due_any_more() -> None:
    scene = busy()

    scene.decide(lambda turn: terminate(turn, "why", payloads("x"), "me"))

    ended = scene.last().workflow_execution_terminated_event_attributes
    assert (ended.reason, ended.details, ended.identity) == ("why", payloads("x"), "me")
    assert scene.run.workflow_task is None
    assert next_deadline(scene.run) == 0
    scene.advance(1000)
    assert scene.wake() == 0
    assert scene.execution.current is not None
    assert scene.execution.current.status == scene.run.status == 5
    assert any(isinstance(effect, Closed) for effect in scene.effects)


def test_a_closed_run_still_lists_the_activities_it_left_behind() -> None:
    scene = busy()

    scene.decide(lambda turn: terminate(turn, "why"))

    described = describe(decode(encode_core(scene.run, 1 << 20), []), scene.now)
    assert [activity.activity_id for activity in described.pending_activities] == ["a"]
    assert not described.HasField("pending_workflow_task")


def test_a_started_task_is_failed_and_what_waited_for_it_appears_before_the_end() -> None:
    scene = given()
    scene.start()
    scene.poll()
    scene.decide(lambda turn: signal_workflow(turn, signal_name="go"))

    scene.decide(lambda turn: terminate(turn, "why"))

    assert scene.kinds()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowExecutionTerminated"]
    assert not scene.history()[3].workflow_task_failed_event_attributes.HasField("failure")


def test_a_waiting_task_leaves_no_event_when_the_run_is_terminated() -> None:
    scene = given()
    scene.start()

    scene.decide(lambda turn: terminate(turn, "why"))

    assert scene.kinds()[2:] == ["WorkflowExecutionTerminated"]


def test_a_closed_run_cannot_be_terminated_nor_can_one_of_another_chain() -> None:
    scene = busy()
    error = scene.refused(lambda turn: terminate(turn, "why", first_execution_run_id="other"))
    assert error.message == "workflow execution not found"
    scene.decide(lambda turn: terminate(turn, "why"))

    error = scene.refused(lambda turn: terminate(turn, "again"))

    assert isinstance(error, NotFound)
    assert error.message == "workflow execution already completed"


def test_a_run_out_of_time_is_closed_for_good_without_retry_policy() -> None:
    scene = given()
    scene.start(workflow_run_timeout=seconds(30))
    scene.poll()
    scene.advance(30)

    scene.wake()

    assert scene.kinds()[-1] == "WorkflowExecutionTimedOut"
    attributes = scene.last().workflow_execution_timed_out_event_attributes
    assert (attributes.retry_state, attributes.new_execution_run_id) == (5, "")


def test_a_run_out_of_time_is_retried_when_its_policy_says_so() -> None:
    scene = given()
    first = scene.start(workflow_run_timeout=seconds(30), retry_policy={"initial_interval": seconds(2)})
    scene.advance(30)

    scene.wake()

    attributes = scene.last(first).workflow_execution_timed_out_event_attributes
    assert attributes.new_execution_run_id == scene.run.run_id != first.run_id
    started = scene.history()[0].workflow_execution_started_event_attributes
    assert (started.attempt, started.first_workflow_task_backoff.seconds) == (2, 2)
    assert started.continued_failure.message == "workflow timeout"


def test_a_chain_out_of_time_ends_for_good() -> None:
    scene = given()
    scene.start(workflow_execution_timeout=seconds(30), retry_policy={"initial_interval": seconds(2)})
    scene.advance(30)

    scene.wake()

    attributes = scene.last().workflow_execution_timed_out_event_attributes
    assert (attributes.retry_state, attributes.new_execution_run_id) == (3, "")
