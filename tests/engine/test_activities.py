"""Activities: attempts start without a trace, and close with the whole story of the last one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)

from perdure.engine import failures
from perdure.engine.activities import (
    cancel_activity,
    complete_activity,
    fail_activity,
    record_heartbeat,
    reissue_activity_task,
    start_activity_task,
)
from perdure.engine.activity_commands import normalised
from perdure.engine.limits import Limits
from perdure.engine.stale import Stale
from perdure.engine.times import SECOND, duration_us, timestamp_us
from perdure.engine.workflow_tasks import Poller
from perdure.errors import InvalidArgument, NotFound
from tests.engine.given import (
    NOON,
    Scene,
    command,
    complete_workflow,
    given,
    payloads,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.engine.world import answer, take_activity, token

GONE = "invalid activityID or activity already timed out or invoking workflow is completed"


def with_activity(**fields: Any) -> Scene:
    """A run whose activity `a` was scheduled as event 5."""
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a", **fields))
    return scene


def policy(initial: float = 1, attempts: int = 0, coefficient: float = 2.0, never: tuple[str, ...] = ()) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=seconds(initial),
        backoff_coefficient=coefficient,
        maximum_attempts=attempts,
        non_retryable_error_types=never,
    )


def boom(message: str = "boom", non_retryable: bool = False, delay: float | None = None) -> Failure:
    failure = Failure(message=message)
    failure.application_failure_info.type = "Boom"
    failure.application_failure_info.non_retryable = non_retryable
    if delay is not None:
        failure.application_failure_info.next_retry_delay.CopyFrom(seconds(delay))
    return failure


def fail(scene: Scene, started: Any, failure: Failure | None = None, **fields: Any) -> list[Failure]:
    request = RespondActivityTaskFailedRequest(failure=failure or boom(), identity="worker-1", **fields)
    return scene.decide(lambda turn: fail_activity(turn, token(started), request))


def complete(scene: Scene, started: Any, *result: str) -> None:
    request = RespondActivityTaskCompletedRequest(identity="worker-1")
    if result:
        request.result.CopyFrom(payloads(*result))
    scene.decide(lambda turn: complete_activity(turn, token(started), request))


def beat(scene: Scene, started: Any, *details: str) -> Any:
    request = RecordActivityTaskHeartbeatRequest(identity="worker-1", details=payloads(*details))
    return scene.decide(lambda turn: record_heartbeat(turn, token(started), request))


def cancel(scheduled_event_id: int) -> Command:
    return command(
        CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK,
        "request_cancel_activity_task",
        scheduled_event_id=scheduled_event_id,
    )


def tell(scene: Scene) -> None:
    """Something happens that gives the workflow a task."""
    from perdure.engine.signals import signal_workflow

    scene.decide(lambda turn: signal_workflow(turn, signal_name="look"))


# ---- starting and closing
def test_the_start_of_an_attempt_is_written_only_with_its_end() -> None:
    scene = with_activity()
    started = take_activity(scene, 5)
    assert scene.kinds()[5:] == []

    scene.advance(3)
    complete(scene, started, "done")

    assert scene.kinds()[5:] == ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled"]
    start, end, _ = scene.history()[5:]
    assert timestamp_us(start.event_time) == NOON
    assert timestamp_us(end.event_time) == NOON + 3 * SECOND
    assert end.activity_task_completed_event_attributes.started_event_id == start.event_id
    assert not scene.run.activities


def test_a_poller_gets_all_an_attempt_needs() -> None:
    scene = with_activity(start_to_close_timeout=10, input=payloads("order"))
    scene.advance(1)

    task = answer(take_activity(scene, 5))

    assert task.activity_id == "a"
    assert task.activity_type.name == "Charge"
    assert task.workflow_type.name == "Order"
    assert task.workflow_namespace == "default"
    assert task.input == payloads("order")
    assert task.attempt == 1
    assert timestamp_us(task.scheduled_time) == timestamp_us(task.current_attempt_scheduled_time) == NOON
    assert timestamp_us(task.started_time) == NOON + SECOND
    assert duration_us(task.start_to_close_timeout) == 10 * SECOND
    assert duration_us(task.retry_policy.maximum_interval) == 100 * SECOND


def test_a_large_input_is_read_back_from_the_history() -> None:
    scene = with_activity(input=payloads("x" * 5000))
    assert scene.run.activities[5].answer == b""

    assert answer(take_activity(scene, 5)).input == payloads("x" * 5000)


def test_a_task_is_given_out_once() -> None:
    scene = with_activity()
    stamp = scene.run.activities[5].stamp
    take_activity(scene, 5)

    with pytest.raises(Stale):
        scene.decide(lambda turn: start_activity_task(turn, 5, stamp, Poller()))


def test_a_poll_that_went_away_makes_the_token_worthless_and_the_attempt_waits_again() -> None:
    scene = with_activity()
    lost = take_activity(scene, 5)

    assert scene.decide(lambda turn: reissue_activity_task(turn, token(lost)))

    assert scene.offered_activities() == [5, 5]
    assert (
        scene.refused(lambda turn: complete_activity(turn, token(lost), RespondActivityTaskCompletedRequest())).message
        == GONE
    )
    again = take_activity(scene, 5)
    assert answer(again).attempt == 1
    complete(scene, again)
    assert "ActivityTaskCompleted" in scene.kinds()


def test_completion_while_a_task_runs_is_buffered_and_numbered_later() -> None:
    scene = with_activity()
    activity = take_activity(scene, 5)
    tell(scene)
    task = scene.poll()

    complete(scene, activity)
    assert scene.kinds()[8:] == []
    assert not scene.run.activities
    scene.complete(started=task)

    assert scene.kinds()[8:] == [
        "WorkflowTaskCompleted",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
    ]
    assert scene.history()[10].activity_task_completed_event_attributes.started_event_id == 10


def test_by_id_an_activity_that_nobody_took_can_be_completed() -> None:
    scene = with_activity()
    request = RespondActivityTaskCompletedByIdRequest(activity_id="a", identity="operator")

    scene.decide(lambda turn: complete_activity(turn, "a", request))

    start = scene.history()[5].activity_task_started_event_attributes
    assert (start.identity, start.request_id, start.attempt) == ("operator", "", 1)


def test_an_unknown_activity_id_is_refused_by_name() -> None:
    scene = with_activity()
    request = RespondActivityTaskCompletedByIdRequest(activity_id="b")
    error = scene.refused(lambda turn: complete_activity(turn, "b", request))

    assert isinstance(error, NotFound)
    assert error.message == (
        "cannot find pending activity with ActivityID b, check workflow execution history for more details"
    )


def test_nothing_is_taken_for_a_closed_run() -> None:
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a"), force_create_new_workflow_task=True)
    started = take_activity(scene, 5)
    scene.complete(complete_workflow())

    error = scene.refused(lambda turn: complete_activity(turn, token(started), RespondActivityTaskCompletedRequest()))
    assert error.message == "workflow execution already completed"


def test_an_oversized_result_fails_the_activity() -> None:
    scene = given(limits=Limits(blob_size=50))
    scene.start()
    scene.complete(schedule_activity("a"))
    complete(scene, take_activity(scene, 5), "x" * 100)

    failed = scene.history()[6].activity_task_failed_event_attributes
    assert failed.failure.message == "Complete result exceeds size limit."
    assert failed.failure.server_failure_info.non_retryable
    assert failed.retry_state == failures.NON_RETRYABLE


# ---- retries
def test_a_failed_attempt_is_followed_by_another_without_an_event() -> None:
    scene = with_activity(retry_policy=policy(initial=2), start_to_close_timeout=5)
    fail(scene, take_activity(scene, 5), boom("first"))
    assert scene.kinds()[5:] == []
    assert scene.run.activities[5].attempt == 2
    assert scene.offered_activities() == [5]

    scene.advance(2)
    assert scene.wake() == 1
    assert scene.offered_activities() == [5, 5]
    second = take_activity(scene, 5)
    assert answer(second).attempt == 2
    assert timestamp_us(answer(second).current_attempt_scheduled_time) == NOON + 2 * SECOND
    complete(scene, second)

    start = scene.history()[5].activity_task_started_event_attributes
    assert start.attempt == 2
    assert start.last_failure.message == "first"


def test_the_token_of_an_earlier_attempt_is_dead() -> None:
    scene = with_activity(retry_policy=policy(initial=1))
    first = take_activity(scene, 5)
    fail(scene, first)
    scene.advance(1)
    scene.wake()
    take_activity(scene, 5)

    assert (
        scene.refused(lambda turn: complete_activity(turn, token(first), RespondActivityTaskCompletedRequest())).message
        == GONE
    )


@pytest.mark.parametrize(
    ("fields", "failure", "state"),
    [
        ({"retry_policy": policy(attempts=1)}, boom(), failures.MAXIMUM_ATTEMPTS),
        ({}, boom(non_retryable=True), failures.NON_RETRYABLE),
        ({"retry_policy": policy(never=("Boom",))}, boom(), failures.NON_RETRYABLE),
        ({"schedule_to_close_timeout": 10, "retry_policy": policy(initial=11)}, boom(), failures.TIMEOUT),
        ({}, boom(delay=0), failures.TIMEOUT),
    ],
)
def test_when_no_attempt_may_follow_the_failure_is_final(fields: dict[str, Any], failure: Failure, state: int) -> None:
    scene = with_activity(**{"start_to_close_timeout": 5, **fields})
    fail(scene, take_activity(scene, 5), failure)

    assert scene.kinds()[5:] == ["ActivityTaskStarted", "ActivityTaskFailed", "WorkflowTaskScheduled"]
    assert scene.history()[6].activity_task_failed_event_attributes.retry_state == state


def test_the_failure_may_ask_for_its_own_delay_beyond_the_maximum() -> None:
    scene = with_activity(retry_policy=policy(initial=1))
    fail(scene, take_activity(scene, 5), boom(delay=500))

    assert scene.run.activities[5].attempt_scheduled_at == NOON + 500 * SECOND


@pytest.mark.parametrize(("over", "last"), [(0, "ActivityTaskCompleted"), (1, "ActivityTaskFailed")])
def test_a_result_may_be_as_large_as_the_limit_to_the_byte(over: int, last: str) -> None:
    scene = given(limits=Limits(blob_size=payloads("x" * 50).ByteSize()))
    scene.start()
    scene.complete(schedule_activity("a"))

    complete(scene, take_activity(scene, 5), "x" * (50 + over))

    assert scene.kinds()[6] == last


def test_a_failure_must_be_an_application_failure() -> None:
    scene = with_activity()
    started = take_activity(scene, 5)
    request = RespondActivityTaskFailedRequest(failure=Failure(message="?"))
    error = scene.refused(lambda turn: fail_activity(turn, token(started), request))

    assert error.message == "Failure must have ApplicationFailureInfo."


def test_a_long_failure_is_kept_cut_for_the_next_attempt() -> None:
    scene = with_activity()
    fail(scene, take_activity(scene, 5), boom("m" * 10_000))

    kept = Failure.FromString(scene.run.activities[5].last_failure)
    assert kept.message == "Failure exceeds size limit."
    assert kept.cause.application_failure_info.type == "Boom"
    assert 3000 < kept.ByteSize() < 4300


def test_hundreds_of_retries_leave_no_trace_in_the_list_of_deadlines() -> None:
    scene = with_activity(retry_policy=policy(initial=1, coefficient=1), start_to_close_timeout=5)
    for _ in range(300):
        fail(scene, take_activity(scene, 5))
        scene.advance(1)
        scene.wake()

    assert scene.run.activities[5].attempt == 301
    assert len(scene.run.deadlines) < 10


# ---- timeouts
def test_an_attempt_out_of_time_is_retried_and_the_last_one_tells_of_the_one_before() -> None:
    scene = with_activity(start_to_close_timeout=1, retry_policy=policy(initial=1, attempts=2))
    take_activity(scene, 5)
    scene.advance(1)
    scene.wake()
    scene.advance(1)
    scene.wake()
    take_activity(scene, 5)
    scene.advance(1)
    scene.wake()

    assert scene.kinds()[5:] == ["ActivityTaskStarted", "ActivityTaskTimedOut", "WorkflowTaskScheduled"]
    ended = scene.history()[6].activity_task_timed_out_event_attributes
    assert ended.retry_state == failures.MAXIMUM_ATTEMPTS
    assert ended.failure.message == ended.failure.cause.message == "activity StartToClose timeout"
    assert ended.failure.source == "Server"
    assert scene.history()[5].activity_task_started_event_attributes.last_failure.message


def test_an_activity_nobody_takes_with_schedule_to_close_alone_times_out_as_schedule_to_start() -> None:
    scene = with_activity(schedule_to_close_timeout=5)
    scene.advance(5)
    scene.wake()

    ended = scene.history()[5].activity_task_timed_out_event_attributes
    assert ended.failure.timeout_failure_info.timeout_type == failures.SCHEDULE_TO_START
    assert ended.retry_state == failures.TIMEOUT
    assert ended.started_event_id == 0


def test_a_started_activity_out_of_all_time_says_there_was_none_for_another_try() -> None:
    scene = with_activity(schedule_to_close_timeout=5, start_to_close_timeout=5)
    scene.advance(1)
    take_activity(scene, 5)
    scene.advance(4)
    scene.wake()

    ended = scene.history()[6].activity_task_timed_out_event_attributes
    assert ended.failure.message.startswith("Not enough time to schedule next retry before activity ScheduleToClose")
    assert ended.failure.timeout_failure_info.timeout_type == failures.SCHEDULE_TO_CLOSE


def test_heartbeats_keep_an_attempt_alive_and_its_last_details_are_told() -> None:
    scene = with_activity(start_to_close_timeout=60, heartbeat_timeout=2, retry_policy=policy(initial=1, attempts=2))
    first = take_activity(scene, 5)
    scene.advance(1.5)
    beat(scene, first, "half")
    scene.advance(1.5)
    assert scene.wake() == 0
    scene.advance(0.5)
    assert scene.wake() == 1
    assert scene.run.activities[5].attempt == 2
    scene.advance(1)
    scene.wake()
    second = take_activity(scene, 5)
    assert answer(second).heartbeat_details == payloads("half")
    scene.advance(2)
    scene.wake()

    start = scene.history()[5].activity_task_started_event_attributes
    failure = scene.history()[6].activity_task_timed_out_event_attributes.failure
    assert failure.message == "activity Heartbeat timeout"
    assert failure.timeout_failure_info.last_heartbeat_details == payloads("half")
    assert not start.last_failure.timeout_failure_info.HasField("last_heartbeat_details")


def test_a_heartbeat_of_the_attempt_before_does_not_count_against_the_next_one() -> None:
    scene = with_activity(start_to_close_timeout=60, heartbeat_timeout=2, retry_policy=policy(initial=10))
    beat(scene, take_activity(scene, 5))
    scene.advance(2)
    scene.wake()
    scene.advance(10)
    scene.wake()
    take_activity(scene, 5)

    scene.advance(1.9)
    assert scene.wake() == 0
    scene.advance(0.1)
    assert scene.wake() == 1
    assert scene.run.activities[5].attempt == 3


def test_each_attempt_has_its_own_time_to_be_taken() -> None:
    scene = with_activity(
        start_to_close_timeout=60, schedule_to_start_timeout=5, retry_policy=policy(initial=30, attempts=2)
    )
    scene.advance(4)
    fail(scene, take_activity(scene, 5))
    scene.advance(30)
    assert scene.wake() == 1  # given out again

    scene.advance(4.9)
    assert scene.wake() == 0
    scene.advance(0.1)
    assert scene.wake() == 1

    ended = scene.history()[5].activity_task_timed_out_event_attributes
    assert ended.failure.timeout_failure_info.timeout_type == failures.SCHEDULE_TO_START


def test_a_timeout_is_not_retried_when_its_kind_is_named_as_final() -> None:
    final = policy(never=("TemporalTimeout:StartToClose",))
    scene = with_activity(start_to_close_timeout=1, heartbeat_timeout=5, retry_policy=final)
    take_activity(scene, 5)
    scene.advance(1)
    scene.wake()

    ended = scene.history()[6].activity_task_timed_out_event_attributes
    assert ended.retry_state == failures.NON_RETRYABLE


@pytest.mark.parametrize(("maximum", "delays"), [(5, [1, 5, 5]), (0, [1, 10, 100, 100])])
def test_the_wait_grows_to_its_maximum_or_a_hundred_times_the_first(maximum: float, delays: list[float]) -> None:
    growing = policy(initial=1, coefficient=10)
    if maximum:
        growing.maximum_interval.CopyFrom(seconds(maximum))
    scene = with_activity(start_to_close_timeout=1000, retry_policy=growing)

    for delay in delays:
        fail(scene, take_activity(scene, 5))
        assert scene.run.activities[5].attempt_scheduled_at == scene.now + delay * SECOND
        scene.advance(delay)
        scene.wake()


# ---- cancellation
def test_an_unstarted_activity_is_cancelled_at_once() -> None:
    scene = with_activity()
    tell(scene)
    scene.complete(cancel(5), identity="decider")

    assert scene.kinds()[8:] == [
        "WorkflowTaskCompleted",
        "ActivityTaskCancelRequested",
        "ActivityTaskCanceled",
        "WorkflowTaskScheduled",
    ]
    ended = scene.history()[10].activity_task_canceled_event_attributes
    assert ended.details.payloads[0].data == b'"ACTIVITY_ID_NOT_STARTED"'
    assert ended.latest_cancel_requested_event_id == 10
    assert ended.identity == "decider"


def test_an_activity_that_is_scheduled_and_cancelled_in_one_go_is_offered_to_nobody() -> None:
    scene = given()
    scene.start()

    scene.complete(schedule_activity("a"), schedule_activity("b"), cancel(5))

    assert scene.offered_activities() == [6]
    assert "ActivityTaskCanceled" in scene.kinds()


def test_an_id_is_used_again_only_when_its_activity_has_closed() -> None:
    scene = with_activity()
    tell(scene)
    task = scene.poll()
    done = scene.complete(schedule_activity("a"), started=task, refused=True)
    assert done.failed.message.startswith("ScheduleActivityDuplicateId: ")
    scene.decide(lambda turn: complete_activity(turn, "a", RespondActivityTaskCompletedByIdRequest()))

    scene.complete(schedule_activity("a"))

    assert list(scene.run.activity_ids) == ["a"]


def test_a_run_has_so_many_pending_activities_and_no_more() -> None:
    scene = given(limits=replace(Limits(), pending_activities=2))
    scene.start()
    three = [schedule_activity(name) for name in "abc"]
    done = scene.complete(*three, refused=True)
    assert done.failed.message == (
        "PendingActivitiesLimitExceeded: the number of pending activities, 2, has reached the per-workflow limit of 2"
    )

    scene.complete(*three[:2])

    assert len(scene.run.activities) == 2


def test_a_started_activity_learns_of_its_cancellation_by_a_heartbeat() -> None:
    scene = with_activity()
    started = take_activity(scene, 5)
    assert not beat(scene, started).cancel_requested
    tell(scene)
    scene.complete(cancel(5))
    assert beat(scene, started).cancel_requested

    request = RespondActivityTaskCanceledRequest(details=payloads("stopped"), identity="worker-1")
    scene.decide(lambda turn: cancel_activity(turn, token(started), request))

    ended = scene.history()[11].activity_task_canceled_event_attributes
    assert ended.latest_cancel_requested_event_id == 10
    assert ended.started_event_id == 11


def test_cancellation_that_nobody_asked_for_is_refused() -> None:
    scene = with_activity()
    started = take_activity(scene, 5)
    error = scene.refused(lambda turn: cancel_activity(turn, token(started), RespondActivityTaskCanceledRequest()))

    assert isinstance(error, InvalidArgument)
    assert error.message == "unable to mark activity as canceled without activity being request canceled first"


def test_failing_after_a_cancel_request_is_not_retried() -> None:
    scene = with_activity()
    started = take_activity(scene, 5)
    tell(scene)
    scene.complete(cancel(5))
    fail(scene, started)

    assert scene.history()[-2].activity_task_failed_event_attributes.retry_state == failures.CANCEL_REQUESTED


def test_an_activity_whose_end_is_buffered_can_still_be_asked_to_cancel() -> None:
    scene = with_activity()
    started = take_activity(scene, 5)
    tell(scene)
    task = scene.poll()
    complete(scene, started)

    scene.complete(cancel(5), started=task)

    assert scene.kinds()[9:] == [
        "ActivityTaskCancelRequested",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
    ]


def test_cancel_and_close_in_one_task_leaves_no_end_of_the_activity() -> None:
    scene = with_activity()
    tell(scene)
    scene.complete(cancel(5), complete_workflow())

    assert scene.kinds()[9:] == ["ActivityTaskCancelRequested", "WorkflowExecutionCompleted"]


# ---- scheduling
def test_an_activity_scheduled_with_the_close_is_never_offered() -> None:
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a"), complete_workflow())

    assert scene.kinds()[4:] == ["ActivityTaskScheduled", "WorkflowExecutionCompleted"]
    assert scene.offered_activities() == []


def test_an_eager_activity_goes_back_with_the_answer_and_not_to_the_queue() -> None:
    scene = given()
    scene.start()
    done = scene.complete(schedule_activity("a", request_eager_execution=True, input=payloads("x" * 3000)))

    (eager,) = done.eager_activities
    assert answer(eager).activity_id == "a"
    assert scene.offered_activities() == []
    complete(scene, eager)
    assert scene.history()[5].activity_task_started_event_attributes.identity == "worker-1"


def test_an_id_may_be_used_again_once_its_activity_is_closed() -> None:
    scene = with_activity()
    complete(scene, take_activity(scene, 5))
    scene.complete(schedule_activity("a"))

    assert scene.run.activity_ids == {"a": 11}


@pytest.mark.parametrize(
    ("given_timeouts", "run_timeout", "expected"),
    [
        ((10, 0, 0, 0), 0, (10, 10, 10, 0)),
        ((10, 20, 30, 40), 0, (10, 10, 10, 10)),
        ((0, 0, 5, 3), 0, (0, 0, 5, 3)),
        ((0, 0, 5, 9), 60, (60, 60, 5, 5)),
        ((0, 4, 90, 0), 60, (60, 4, 60, 0)),
        ((90, 0, 5, 0), 60, (60, 60, 5, 0)),
    ],
)
def test_timeouts_are_completed_from_each_other_and_capped_by_the_run(
    given_timeouts: tuple[int, int, int, int], run_timeout: int, expected: tuple[int, int, int, int]
) -> None:
    assert normalised(*given_timeouts, run_timeout) == expected


def test_a_timer_beside_an_activity_is_not_disturbed_by_its_deadlines() -> None:
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a", start_to_close_timeout=10), start_timer("t", 3))
    take_activity(scene, 5)
    scene.advance(3)
    scene.wake()

    assert scene.kinds()[6:] == ["TimerFired", "WorkflowTaskScheduled"]
