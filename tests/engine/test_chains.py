"""Run chains: retry, cron and continue-as-new."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Link, Memo, RetryPolicy, SearchAttributes
from temporalio.api.enums.v1 import CommandType, ContinueAsNewInitiator, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.engine import chains, failures
from perdure.engine.needs import Needs
from perdure.engine.signals import signal_workflow
from perdure.engine.state import Run
from perdure.engine.times import SECOND, duration_us, timestamp_us
from tests.engine.given import (
    NOON,
    Scene,
    command,
    complete_workflow,
    fail_workflow,
    given,
    payload,
    payloads,
    seconds,
)


def retrying(attempts: int = 0, initial: float = 2, **fields: Any) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=seconds(initial),
        backoff_coefficient=2.0,
        maximum_interval=seconds(100),
        maximum_attempts=attempts,
        **fields,
    )


def continue_as_new(**fields: Any) -> Command:
    made = command(
        CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, "continue_as_new_workflow_execution", **fields
    )
    return made


def started(scene: Scene, run: Run | None = None) -> Any:
    return scene.history(run)[0].workflow_execution_started_event_attributes


# ---- retry
def test_a_failed_run_is_followed_by_one_that_starts_as_it_did() -> None:
    scene = given()
    first = scene.start(retry_policy=retrying(), input=payloads("in"), identity="client")
    scene.complete(fail_workflow("one"))

    closed = scene.last(first).workflow_execution_failed_event_attributes
    second = scene.run
    assert closed.retry_state == failures.IN_PROGRESS
    assert closed.new_execution_run_id == second.run_id == first.successor_run_id
    assert scene.kinds(second) == ["WorkflowExecutionStarted"]
    attributes = started(scene)
    assert attributes.attempt == 2
    assert attributes.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY
    assert attributes.continued_execution_run_id == attributes.first_execution_run_id == first.run_id
    assert attributes.original_execution_run_id == second.run_id
    assert attributes.continued_failure.message == "one"
    assert attributes.input == payloads("in")
    assert attributes.identity == ""
    assert duration_us(attributes.first_workflow_task_backoff) == 2 * SECOND


def test_the_first_task_of_a_retry_comes_after_the_wait() -> None:
    scene = given()
    scene.start(retry_policy=retrying())
    scene.complete(fail_workflow())
    scene.advance(1.9)
    assert scene.wake() == 0
    scene.advance(0.1)
    scene.wake()

    assert scene.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


def test_runs_of_a_chain_are_at_least_a_second_apart() -> None:
    scene = given()
    scene.start(retry_policy=retrying(initial=0.3))
    scene.advance(0.2)
    scene.complete(fail_workflow())

    assert duration_us(started(scene).first_workflow_task_backoff) == 800_000


@pytest.mark.parametrize(
    ("policy", "failure", "state"),
    [
        (None, fail_workflow(), failures.POLICY_NOT_SET),
        (None, fail_workflow(non_retryable=True), failures.POLICY_NOT_SET),
        (retrying(attempts=1), fail_workflow(), failures.MAXIMUM_ATTEMPTS),
        (retrying(), fail_workflow(non_retryable=True), failures.NON_RETRYABLE),
        (retrying(non_retryable_error_types=["Boom"]), fail_workflow(), failures.NON_RETRYABLE),
        (retrying(initial=90), fail_workflow(), failures.TIMEOUT),
    ],
)
def test_without_a_retry_the_failure_is_the_end(policy: RetryPolicy | None, failure: Command, state: int) -> None:
    scene = given()
    fields = {"retry_policy": policy} if policy else {}
    run = scene.start(workflow_execution_timeout=60, **fields)
    scene.complete(failure)

    assert scene.run is run
    closed = scene.last().workflow_execution_failed_event_attributes
    assert closed.retry_state == state
    assert closed.new_execution_run_id == ""


def test_a_retry_after_a_run_timeout_keeps_the_time_of_the_whole_chain() -> None:
    scene = given()
    first = scene.start(retry_policy=retrying(), workflow_run_timeout=10, workflow_execution_timeout=15)
    scene.advance(10)
    scene.wake()
    assert scene.last(first).workflow_execution_timed_out_event_attributes.retry_state == failures.IN_PROGRESS
    attributes = started(scene)
    assert attributes.continued_failure.message == "workflow timeout"
    assert timestamp_us(attributes.workflow_execution_expiration_time) == NOON + 15 * SECOND

    scene.advance(5)
    scene.wake()
    last = scene.last().workflow_execution_timed_out_event_attributes
    assert last.retry_state == failures.TIMEOUT
    assert last.new_execution_run_id == ""


def test_the_failure_may_ask_for_its_delay_within_the_maximum() -> None:
    scene = given()
    scene.start(retry_policy=retrying())
    late = fail_workflow()
    late.fail_workflow_execution_command_attributes.failure.application_failure_info.next_retry_delay.seconds = 500
    scene.complete(late)

    assert duration_us(started(scene).first_workflow_task_backoff) == 100 * SECOND


def test_the_start_event_is_asked_for_before_anything_is_written() -> None:
    scene = given()
    run = scene.start(retry_policy=retrying())
    scene.poll()
    run.changes.events.clear()  # they are committed now
    request = RespondWorkflowTaskCompletedRequest(commands=[fail_workflow()])

    with pytest.raises(Needs) as needs:
        chains.prepare(scene.turn(), request)
    assert needs.value.event_ids == (1,)
    chains.prepare(scene.turn(), RespondWorkflowTaskCompletedRequest(commands=[complete_workflow()]))


# ---- cron
def test_a_cron_chain_carries_the_last_result_and_the_last_failure() -> None:
    scene = given()
    runs = [scene.start(cron_schedule="@every 10s")]
    assert started(scene).initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
    scene.advance(10)
    scene.wake()
    scene.complete(complete_workflow("first"))
    runs.append(scene.run)
    assert started(scene).last_completion_result == payloads("first")
    assert duration_us(started(scene).first_workflow_task_backoff) == 10 * SECOND
    scene.advance(10)
    scene.wake()
    scene.complete(fail_workflow("second"))
    runs.append(scene.run)

    attributes = started(scene)
    assert attributes.last_completion_result == payloads("first")
    assert attributes.continued_failure.message == "second"
    assert attributes.attempt == 1
    closed = scene.last(runs[1]).workflow_execution_failed_event_attributes
    assert closed.retry_state == failures.POLICY_NOT_SET
    assert [run.successor_run_id for run in runs] == [runs[1].run_id, runs[2].run_id, ""]
    assert {run.first_run_id for run in runs} == {runs[0].run_id}


def test_a_cron_run_without_a_result_passes_on_the_one_before() -> None:
    scene = given()
    scene.start(cron_schedule="@every 10s")
    for result in (["first"], []):
        scene.advance(10)
        scene.wake()
        scene.complete(complete_workflow(*result))

    assert started(scene).last_completion_result == payloads("first")


def test_a_cron_chain_whose_time_is_over_ends() -> None:
    scene = given()
    scene.start(cron_schedule="@every 10s", workflow_execution_timeout=25)
    scene.advance(10)
    scene.wake()
    scene.complete(complete_workflow())
    scene.advance(15)
    scene.wake()

    assert scene.kinds()[-1] == "WorkflowExecutionTimedOut"
    assert scene.last().workflow_execution_timed_out_event_attributes.new_execution_run_id == ""


def test_a_cron_run_with_a_retry_policy_is_retried_first() -> None:
    scene = given()
    scene.start(cron_schedule="@every 10s", retry_policy=retrying(attempts=2))
    for attempt in (1, 2, 1):
        assert started(scene).attempt == attempt
        scene.advance(10)
        scene.wake()
        scene.complete(fail_workflow())


def test_a_cancelled_cron_run_is_the_last() -> None:
    scene = given()
    run = scene.start(cron_schedule="@every 10s")
    scene.advance(10)
    scene.wake()
    scene.complete(command(CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION, "cancel_workflow_execution"))

    assert scene.run is run
    assert run.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED


# ---- continue-as-new
def test_a_continued_run_gets_what_the_command_says_and_inherits_little_else() -> None:
    scene = given()
    first = scene.start(
        memo={"fields": {"m": payload("1")}},
        workflow_run_timeout=30,
        workflow_execution_timeout=100,
        input=payloads("a"),
    )
    scene.complete(continue_as_new(input=payloads("b")))

    closed = scene.last(first).workflow_execution_continued_as_new_event_attributes
    second = scene.run
    assert first.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
    assert closed.new_execution_run_id == second.run_id
    assert (closed.workflow_type.name, closed.task_queue.name) == ("Order", "orders")
    assert duration_us(closed.workflow_run_timeout) == 30 * SECOND
    attributes = started(scene)
    assert attributes.input == payloads("b")
    assert attributes.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
    assert attributes.attempt == 1
    assert not attributes.HasField("memo")
    assert attributes.first_execution_run_id == attributes.continued_execution_run_id == first.run_id
    assert timestamp_us(attributes.workflow_execution_expiration_time) == NOON + 100 * SECOND
    assert duration_us(attributes.first_workflow_task_backoff) == SECOND


def test_a_run_of_more_than_a_second_is_continued_at_once() -> None:
    scene = given()
    scene.start()
    scene.advance(1)
    scene.complete(continue_as_new())

    assert duration_us(started(scene).first_workflow_task_backoff) == 0
    assert started(scene).HasField("workflow_run_timeout")
    assert scene.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


def test_values_without_data_are_left_out_of_what_the_next_run_has() -> None:
    memo, search = Memo(), SearchAttributes()
    for fields in (memo.fields, search.indexed_fields):
        fields["BatcherUser"].data = b'"ann"'
        fields["BatcherNamespace"].data = b""
        fields["BuildIds"].data = b"[]"
    scene = given()
    first = scene.start()
    scene.complete(continue_as_new(memo=memo, search_attributes=search))

    attributes = started(scene)
    assert set(attributes.memo.fields) == set(attributes.search_attributes.indexed_fields) == {"BatcherUser"}
    assert set(scene.run.search_attributes) == {"BatcherUser"}
    closed = scene.last(first).workflow_execution_continued_as_new_event_attributes
    assert set(closed.memo.fields) == set(memo.fields)


def test_links_of_the_start_are_inherited() -> None:
    scene = given()
    link = Link()
    link.workflow_event.namespace = "default"
    scene.start(links=[link])
    scene.complete(continue_as_new())

    event: HistoryEvent = scene.history()[0]
    assert list(event.links) == [link]


def test_a_signal_in_the_task_refuses_to_continue() -> None:
    scene = given()
    run = scene.start()
    task = scene.poll()
    scene.decide(lambda turn: signal_workflow(turn, signal_name="wait"))
    done = scene.complete(continue_as_new(), started=task, refused=True)

    assert done.failed.message == "UnhandledCommand"
    assert scene.run is run
    assert scene.kinds()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
