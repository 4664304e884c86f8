"""Whatever durations clients ask for, and however late it is, they are told no moment that their SDKs cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import CalendarSpec, IntervalSpec, Schedule, ScheduleAction, ScheduleSpec
from temporalio.api.workflowservice.v1 import RespondActivityTaskFailedRequest, StartWorkflowExecutionRequest

from perdure.clock import SeededEntropy
from perdure.engine.activities import fail_activity
from perdure.engine.cron import validate
from perdure.engine.describe import describe
from perdure.engine.failures import next_delay
from perdure.engine.limits import Limits
from perdure.engine.schedules.canonical import canonical_spec
from perdure.engine.schedules.checking import check_schedule
from perdure.engine.schedules.spec import compile_spec
from perdure.engine.standalone import operating
from perdure.engine.times import DAY, LAST_MOMENT, MAX_DURATION, SECOND, later, make_legal, set_timestamp, timestamp_us
from perdure.engine.validation import validate_start
from perdure.errors import InvalidArgument
from tests.engine import test_standalone as standalone
from tests.engine.given import NOON, Scene, fail_workflow, given, schedule_activity, start_timer
from tests.engine.test_chains import continue_as_new
from tests.engine.test_children import a_parent_with, start_child
from tests.engine.world import take_activity, token
from tests.support.legal import illegal_times

LONGEST = Duration(seconds=315_576_000_000)
"""Ten thousand years: no Duration may be longer."""
LAST_SECOND = LAST_MOMENT - SECOND
CENTURY = MAX_DURATION // SECOND


def readable(*messages: Message) -> bool:
    assert [wrong for message in messages for wrong in illegal_times(message)] == []
    return True


def all_told(scene: Scene) -> list[Message]:
    told: list[Message] = []
    for run in scene.execution.runs.values():
        told += [*scene.history(run), describe(run, scene.now)]
    return told


def patient() -> RetryPolicy:
    return RetryPolicy(initial_interval=LONGEST, maximum_interval=LONGEST, backoff_coefficient=1)


def start(scene: Scene, **fields: Any) -> None:
    """By a request that was validated."""
    request = StartWorkflowExecutionRequest(namespace="default", workflow_id="order-1", **fields)
    request.workflow_type.name, request.task_queue.name = "Order", "orders"
    validate_start(request, scene.limits, {}, scene.entropy)
    scene.start(**{name: getattr(request, name) for name in fields})


# ---- the longest durations
@pytest.mark.parametrize(
    "field", ["workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout", "workflow_start_delay"]
)
def test_a_workflow_may_be_started_with_the_longest_duration(field: str) -> None:
    scene = given()
    start(scene, **{field: LONGEST})
    assert readable(*all_told(scene))
    assert scene.run.execution_at <= NOON + MAX_DURATION


def test_a_child_has_at_most_a_century() -> None:
    world, parent, child = a_parent_with(start_child(workflow_execution_timeout=LONGEST))
    world.settle()
    initiated = parent.history()[4].start_child_workflow_execution_initiated_event_attributes
    assert initiated.workflow_execution_timeout.seconds == CENTURY
    assert child.run.execution_timeout == MAX_DURATION
    assert readable(*all_told(parent), *all_told(child))


def test_a_run_waits_at_most_a_century_for_the_next_one() -> None:
    scene = given()
    scene.start(retry_policy=patient())
    scene.complete(fail_workflow())
    assert scene.run.attempt == 2
    assert scene.run.backoff_until == NOON + MAX_DURATION
    assert readable(*all_told(scene))


def test_a_retry_that_asks_for_no_delay_waits_at_most_a_century() -> None:
    scene = given()
    run = scene.start(retry_policy=patient())
    scene.history(run)
    failing = fail_workflow()
    info = failing.fail_workflow_execution_command_attributes.failure.application_failure_info
    info.next_retry_delay.SetInParent()
    scene.complete(failing)
    assert readable(*all_told(scene))


def test_a_run_continued_as_new_waits_at_most_a_century() -> None:
    scene = given()
    scene.start()
    scene.complete(continue_as_new(backoff_start_interval=LONGEST))
    assert scene.run.backoff_until == NOON + MAX_DURATION
    assert readable(*all_told(scene))


def test_the_intervals_of_a_retry_policy_are_shown_as_they_are_in_force() -> None:
    scene = given()
    endless = Duration(seconds=(1 << 63) - 1)
    start(scene, retry_policy=RetryPolicy(initial_interval=endless, maximum_interval=endless, maximum_attempts=1))
    policy = RetryPolicy(initial_interval=endless, maximum_interval=endless)
    scene.complete(schedule_activity("a", retry_policy=policy))
    shown = scene.history()[4].activity_task_scheduled_event_attributes.retry_policy
    assert shown.initial_interval.seconds == shown.maximum_interval.seconds == CENTURY
    assert readable(*all_told(scene))


def test_an_activity_asks_to_be_retried_within_a_century() -> None:
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a"))
    task = take_activity(scene, 5)
    request = RespondActivityTaskFailedRequest(failure=Failure(message="no"))
    request.failure.application_failure_info.next_retry_delay.seconds = (1 << 63) - 1
    scene.decide(lambda turn: fail_activity(turn, token(task), request))
    assert scene.run.activities[5].attempt_scheduled_at == NOON + MAX_DURATION
    assert readable(*all_told(scene))


def test_a_standalone_activity_begins_within_a_century() -> None:
    scene = standalone.started(start_delay=315_576_000_000)
    assert scene.record.state.start_delay == MAX_DURATION
    assert readable(scene.shown())
    operating.update_options  # noqa: B018
    scene.decide(
        lambda turn: operating.update_options(
            turn, request_id="", wanted=ActivityOptions(start_delay=LONGEST), paths=["start_delay"]
        )
    )
    assert scene.record.state.start_delay == MAX_DURATION
    assert readable(scene.shown())


@pytest.mark.parametrize("every", ["99999999h", "9" * 400 + "h", "2562048h"])
def test_an_interval_of_more_than_292_years_is_no_cron_schedule(every: str) -> None:
    validate("@every 2562047h")
    with pytest.raises(InvalidArgument, match="invalid CronSchedule"):
        validate(f"@every {every}")


def test_the_last_time_of_a_schedule_is_put_off_by_a_century_at_most() -> None:
    spec = canonical_spec(ScheduleSpec(calendar=[CalendarSpec(year="2100")], jitter=LONGEST))
    assert readable(spec)
    due = compile_spec(spec.SerializeToString()).next_due(NOON, b"seed")
    assert due is not None
    assert due.nominal <= due.actual <= due.nominal + MAX_DURATION


def test_what_a_schedule_says_of_moments_beyond_the_calendar_becomes_its_ends() -> None:
    wanted = ScheduleSpec(
        interval=[IntervalSpec(interval=Duration(seconds=1 << 62), phase=Duration(seconds=5))],
        start_time=Timestamp(seconds=-(1 << 62)),
        end_time=Timestamp(seconds=253_402_300_800),
        jitter=Duration(seconds=1 << 62),
    )
    spec = canonical_spec(wanted)
    assert readable(spec)
    assert timestamp_us(spec.end_time) == LAST_MOMENT
    assert spec.interval[0].phase.seconds == 5


@pytest.mark.parametrize("coefficient", [float("-inf"), -1e308, float("inf"), float("nan")])
def test_the_interval_of_a_policy_that_retries_nothing_is_shown_whatever_it_says(coefficient: float) -> None:
    policy = RetryPolicy(initial_interval=Duration(seconds=5), backoff_coefficient=coefficient, maximum_attempts=1)
    assert all(0 <= next_delay(policy, attempt) <= 500 * SECOND for attempt in range(1, 6))


def test_timeouts_of_a_scheduled_workflow_are_shown_as_they_are_in_force() -> None:
    schedule = Schedule()
    action = schedule.action.start_workflow
    action.workflow_id, action.workflow_type.name, action.task_queue.name = "order", "Order", "orders"
    for name in ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout"):
        getattr(action, name).seconds = (1 << 63) - 1
    checked = check_schedule(schedule, "default", Limits(), {}, SeededEntropy(1))
    kept = ScheduleAction.FromString(checked.action)
    assert kept.start_workflow.workflow_run_timeout.seconds == CENTURY
    assert readable(kept)


# ---- the last second
def test_all_that_a_run_is_told_in_the_last_second_of_the_calendar_can_be_read() -> None:
    scene = given(now=LAST_SECOND)
    scene.start(
        workflow_execution_timeout=7200,
        workflow_run_timeout=3600,
        workflow_start_delay=0,
        retry_policy=RetryPolicy(maximum_attempts=5),
    )
    scene.complete(schedule_activity("a", schedule_to_close_timeout=3600), start_timer("t", 60))
    task = take_activity(scene, 5)
    assert readable(*all_told(scene))
    request = RespondActivityTaskFailedRequest(failure=standalone.boom())
    scene.decide(lambda turn: fail_activity(turn, token(task), request))
    assert readable(*all_told(scene))


@pytest.mark.parametrize(
    "ends",
    [
        lambda scene: scene.complete(fail_workflow()),
        lambda scene: scene.complete(continue_as_new(backoff_start_interval=Duration(seconds=60))),
    ],
    ids=["retried", "continued"],
)
def test_a_run_that_follows_in_the_last_second_can_be_read(ends: Callable[[Any], Any]) -> None:
    scene = given(now=LAST_SECOND)
    scene.start(retry_policy=RetryPolicy(maximum_attempts=5), workflow_run_timeout=3600)
    ends(scene)
    assert len(scene.execution.runs) == 2
    assert scene.run.execution_at == scene.run.run_expires_at == LAST_MOMENT
    assert readable(*all_told(scene))


def test_a_run_that_is_delayed_in_the_last_second_can_be_read() -> None:
    scene = given(now=LAST_SECOND)
    scene.start(workflow_start_delay=60, workflow_run_timeout=60)
    assert readable(*all_told(scene))


def test_a_child_of_the_last_second_can_be_read() -> None:
    world, parent, child = a_parent_with(start_child(workflow_execution_timeout=Duration(seconds=60)))
    for scene in (parent, child):
        scene.now = LAST_SECOND
    world.settle()
    assert child.run.execution_expires_at == LAST_MOMENT // 1000 * 1000
    assert readable(*all_told(child))


def test_a_standalone_activity_of_the_last_second_can_be_read() -> None:
    scene = standalone.Scene(now=LAST_SECOND)
    scene.start(start_delay=60, schedule_to_close_timeout=3600)
    assert readable(scene.shown())
    assert standalone.KIND.row(scene.record).execution_time == LAST_MOMENT


# ---- the helpers
def test_later_ends_with_the_calendar() -> None:
    assert later(NOON, DAY) == NOON + DAY
    assert later(LAST_SECOND, DAY) == LAST_MOMENT
    stamp = Timestamp()
    set_timestamp(stamp, later(LAST_SECOND, DAY))
    assert stamp.ToDatetime().year == 9999


def test_only_what_is_not_legal_is_changed() -> None:
    spec = ScheduleSpec(start_time=Timestamp(seconds=5, nanos=123_456_789), end_time=Timestamp(seconds=5, nanos=-1))
    make_legal(spec, "start_time", "end_time", "jitter")
    assert spec.start_time.nanos == 123_456_789
    assert (spec.end_time.seconds, spec.end_time.nanos) == (4, 999_999_000)
    assert not spec.HasField("jitter")
