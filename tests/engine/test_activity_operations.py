"""What operators do to pending activities leaves no trace in the history, and tasks handed out before are dead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import Payload, RetryPolicy
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)

from perdure.engine.activities import (
    complete_activity,
    fail_activity,
    record_heartbeat,
    start_activity_task,
)
from perdure.engine.activity_operations import Target, pause_activities, reset_activities, unpause_activities
from perdure.engine.activity_options import mask_paths, restore_options, update_options
from perdure.engine.codec import decode, encode_core
from perdure.engine.describe import describe
from perdure.engine.stale import Stale
from perdure.engine.times import SECOND, duration_us, timestamp_us
from perdure.engine.workflow_tasks import Poller
from perdure.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.engine.given import NOON, Scene, given, payloads, schedule_activity, seconds
from tests.engine.world import answer, take_activity, token

A, B = 5, 6
ALL = Target()


def waiting(**fields: Any) -> Scene:
    """A run with activities `a` (event 5, type Charge) and `b` (event 6, type Ship), given to matching."""
    scene = given()
    scene.start()
    scene.complete(schedule_activity("a", **fields), schedule_activity("b", activity_type="Ship"))
    scene.effects.clear()
    return scene


def pause(scene: Scene, target: Target = Target("a"), request_id: str = "r") -> None:
    scene.decide(lambda turn: pause_activities(turn, target, identity="ops", reason="why", request_id=request_id))


def unpause(scene: Scene, target: Target = Target("a"), **how: Any) -> None:
    scene.decide(lambda turn: unpause_activities(turn, target, **how))


def reset(scene: Scene, target: Target = Target("a"), **how: Any) -> None:
    scene.decide(lambda turn: reset_activities(turn, target, **how))


def update(scene: Scene, options: ActivityOptions, *paths: str, target: Target = Target("a")) -> ActivityOptions:
    return scene.decide(lambda turn: update_options(turn, target, options, mask_paths(paths)))


def fail(scene: Scene, started: Any, **fields: Any) -> None:
    failure = Failure(message="boom")
    failure.application_failure_info.type = "Boom"
    request = RespondActivityTaskFailedRequest(failure=failure, identity="worker-1", **fields)
    scene.decide(lambda turn: fail_activity(turn, token(started), request))


def complete(scene: Scene, started: Any) -> None:
    request = RespondActivityTaskCompletedRequest(identity="worker-1")
    scene.decide(lambda turn: complete_activity(turn, token(started), request))


def beat(scene: Scene, started: Any, *details: str) -> Any:
    request = RecordActivityTaskHeartbeatRequest(identity="worker-1", details=payloads(*details))
    return scene.decide(lambda turn: record_heartbeat(turn, token(started), request))


def shown(scene: Scene, activity_id: str = "a") -> Any:
    pending = describe(scene.run, scene.now).pending_activities
    return next(activity for activity in pending if activity.activity_id == activity_id)


def state(scene: Scene) -> str:
    return PendingActivityState.Name(shown(scene).state).removeprefix("PENDING_ACTIVITY_STATE_")


def pause_attribute(scene: Scene) -> Any:
    value = scene.run.search_attributes.get("TemporalPauseInfo")
    return None if value is None else json.loads(Payload.FromString(value).data)


# ---- pause
def test_a_paused_activity_is_not_given_out_and_its_old_task_is_dead() -> None:
    scene = waiting()
    stamp = scene.run.activities[A].stamp
    events = scene.kinds()

    pause(scene)

    with pytest.raises(Stale):
        scene.decide(lambda turn: start_activity_task(turn, A, stamp, Poller(identity="w")))
    with pytest.raises(Stale):
        take_activity(scene, A)
    assert state(scene) == "PAUSED"
    assert scene.kinds() == events


def test_describe_tells_who_paused_an_activity_and_why() -> None:
    scene = waiting()
    scene.advance(3)

    pause(scene)

    info = shown(scene)
    assert info.paused
    assert timestamp_us(info.pause_info.pause_time) == NOON + 3 * SECOND
    assert (info.pause_info.manual.identity, info.pause_info.manual.reason) == ("ops", "why")
    assert not info.HasField("next_attempt_schedule_time")


def test_a_running_attempt_goes_on_and_learns_of_the_pause_by_its_heartbeat() -> None:
    scene = waiting()
    started = take_activity(scene, A)

    pause(scene)

    assert state(scene) == "PAUSE_REQUESTED"
    assert beat(scene, started).paused
    complete(scene, started)
    assert scene.kinds()[-2:] == ["ActivityTaskCompleted", "WorkflowTaskScheduled"]


def test_a_paused_attempt_that_fails_waits_beyond_its_last_attempt() -> None:
    scene = waiting(retry_policy=RetryPolicy(maximum_attempts=1))
    started = take_activity(scene, A)
    pause(scene)

    fail(scene, started)
    scene.advance(3600)
    scene.wake()

    assert state(scene) == "PAUSED"
    assert shown(scene).attempt == 2
    assert scene.offered_activities() == []


def test_no_timeout_fires_while_an_activity_is_paused_but_its_time_goes_on() -> None:
    scene = waiting(schedule_to_close_timeout=60)
    pause(scene)

    scene.advance(120)
    scene.wake()
    assert "ActivityTaskTimedOut" not in scene.kinds()
    unpause(scene)
    scene.wake()

    assert "ActivityTaskTimedOut" in scene.kinds()


def test_the_same_request_pauses_once_and_another_is_refused() -> None:
    scene = waiting()
    pause(scene, request_id="one")

    pause(scene, request_id="one")
    error = scene.refused(lambda turn: pause_activities(turn, Target("a"), identity="", reason="", request_id="two"))

    assert isinstance(error, FailedPrecondition)
    assert error.message == "activity is already paused"


def test_one_that_is_paused_already_refuses_the_pause_of_all() -> None:
    scene = waiting()
    pause(scene, request_id="one")

    scene.refused(lambda turn: pause_activities(turn, ALL, identity="", reason="", request_id="two"))

    assert not scene.run.activities[B].paused


def test_paused_types_are_in_a_search_attribute_while_they_are_paused() -> None:
    scene = waiting()
    pause(scene, ALL)
    assert pause_attribute(scene) == ["property:activityType=Charge", "property:activityType=Ship"]

    unpause(scene, Target(activity_type="Ship"))
    assert pause_attribute(scene) == ["property:activityType=Charge"]

    unpause(scene)
    assert pause_attribute(scene) is None


def test_a_paused_activity_that_closes_is_found_no_more() -> None:
    scene = waiting()
    started = take_activity(scene, A)
    pause(scene)

    complete(scene, started)

    assert pause_attribute(scene) is None


def test_what_is_paused_stays_so_when_it_is_stored() -> None:
    scene = waiting()
    pause(scene)

    loaded = decode(encode_core(scene.run, 1 << 20), [])

    assert loaded.activities == scene.run.activities


# ---- unpause
def test_an_unpaused_activity_is_given_out_at_once() -> None:
    scene = waiting()
    pause(scene)
    scene.advance(50)

    unpause(scene)

    assert scene.offered_activities() == [A]
    assert timestamp_us(answer(take_activity(scene, A)).current_attempt_scheduled_time) == NOON + 50 * SECOND


def test_jitter_spreads_what_is_unpaused() -> None:
    scene = waiting()
    pause(scene, ALL)

    unpause(scene, ALL, jitter=100 * SECOND)

    assert scene.offered_activities() == []
    due = {activity.attempt_scheduled_at for activity in scene.run.activities.values()}
    assert len(due) == 2
    assert all(NOON < at < NOON + 100 * SECOND for at in due)
    scene.advance(100)
    scene.wake()
    assert sorted(scene.offered_activities()) == [A, B]


def test_unpausing_may_count_attempts_anew_and_forget_the_heartbeat() -> None:
    scene = waiting()
    started = take_activity(scene, A)
    beat(scene, started, "half")
    pause(scene)
    fail(scene, started)

    unpause(scene, reset_attempts=True, reset_heartbeat=True)

    task = answer(take_activity(scene, A))
    assert task.attempt == 1
    assert not task.HasField("heartbeat_details")


def test_unpausing_what_is_not_paused_changes_nothing() -> None:
    scene = waiting()
    before = encode_core(scene.run, 1 << 20)

    unpause(scene, ALL)

    assert encode_core(scene.run, 1 << 20) == before


# ---- reset
def test_a_reset_ends_the_wait_for_the_next_attempt_and_counts_from_one() -> None:
    scene = waiting(retry_policy=RetryPolicy(initial_interval=seconds(1000)))
    fail(scene, take_activity(scene, A))

    reset(scene)

    assert scene.offered_activities() == [A]
    assert answer(take_activity(scene, A)).attempt == 1


def test_a_reset_running_attempt_hears_of_it_and_may_end_well() -> None:
    scene = waiting()
    fail(scene, take_activity(scene, A))
    scene.advance(1)
    scene.wake()
    started = take_activity(scene, A)

    reset(scene)

    assert beat(scene, started).reset
    complete(scene, started)
    assert "ActivityTaskCompleted" in scene.kinds()


def test_a_reset_running_attempt_that_fails_is_followed_by_a_first_one() -> None:
    scene = waiting(retry_policy=RetryPolicy(maximum_attempts=1))
    started = take_activity(scene, A)
    beat(scene, started, "half")

    reset(scene, reset_heartbeat=True)
    fail(scene, started)
    scene.advance(1)
    scene.wake()

    task = answer(take_activity(scene, A))
    assert task.attempt == 1
    assert not task.HasField("heartbeat_details")
    assert not beat(scene, take_activity_of(scene)).reset


def take_activity_of(scene: Scene) -> Any:
    """The started attempt of `a`, as its worker knows it."""
    from types import SimpleNamespace

    from perdure.engine.activities import token_of

    return SimpleNamespace(token=token_of(scene.run, scene.run.activities[A]).encode())


def test_a_reset_unpauses_unless_it_is_told_not_to() -> None:
    scene = waiting()
    pause(scene, ALL)

    reset(scene, keep_paused=True)
    reset(scene, Target("b"))

    assert state(scene) == "PAUSED"
    assert scene.offered_activities() == [B]
    assert pause_attribute(scene) == ["property:activityType=Charge"]


def test_a_reset_may_restore_the_original_options() -> None:
    scene = waiting(start_to_close_timeout=10)
    update(scene, ActivityOptions(start_to_close_timeout=seconds(99)), "start_to_close_timeout")

    reset(scene, restore_original_options=True)

    assert duration_us(shown(scene).activity_options.start_to_close_timeout) == 10 * SECOND


# ---- options
def test_only_the_named_options_change() -> None:
    scene = waiting(start_to_close_timeout=10, heartbeat_timeout=2)
    wanted = ActivityOptions(start_to_close_timeout=seconds(30), heartbeat_timeout=seconds(5))
    wanted.task_queue.name = "others"

    now = update(scene, wanted, "startToCloseTimeout", "taskQueue.name")

    assert duration_us(now.start_to_close_timeout) == 30 * SECOND
    assert duration_us(now.heartbeat_timeout) == 2 * SECOND
    assert now.task_queue.name == "others"
    assert scene.offered_activities() == [A]


def test_the_task_of_an_activity_whose_options_changed_is_dead() -> None:
    scene = waiting()
    stamp = scene.run.activities[A].stamp

    update(scene, ActivityOptions(heartbeat_timeout=seconds(5)), "heartbeat_timeout")

    with pytest.raises(Stale):
        scene.decide(lambda turn: start_activity_task(turn, A, stamp, Poller(identity="w")))


def test_a_new_retry_policy_moves_the_next_attempt() -> None:
    scene = waiting(retry_policy=RetryPolicy(initial_interval=seconds(1000)))
    scene.advance(1)
    fail(scene, take_activity(scene, A))
    options = ActivityOptions(retry_policy=RetryPolicy(initial_interval=seconds(7), maximum_attempts=9))

    now = update(scene, options, "retry_policy.initial_interval", "retry_policy.maximum_attempts")

    assert now.retry_policy.maximum_attempts == 9
    assert timestamp_us(shown(scene).next_attempt_schedule_time) == NOON + 8 * SECOND
    scene.advance(7)
    scene.wake()
    task = answer(take_activity(scene, A))
    assert (task.attempt, task.retry_policy.maximum_attempts) == (2, 9)


def test_a_running_attempt_lives_by_its_new_timeouts() -> None:
    scene = waiting(start_to_close_timeout=10, retry_policy=RetryPolicy(maximum_attempts=1))
    started = take_activity(scene, A)

    update(scene, ActivityOptions(start_to_close_timeout=seconds(60)), "start_to_close_timeout")
    scene.advance(30)
    scene.wake()

    complete(scene, started)


def test_original_options_are_restored() -> None:
    scene = waiting(start_to_close_timeout=10)
    update(scene, ActivityOptions(heartbeat_timeout=seconds(1)), "heartbeat_timeout")

    now = scene.decide(lambda turn: restore_options(turn, Target("a")))

    assert not duration_us(now.heartbeat_timeout)


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        (
            ActivityOptions(),
            "start_to_close_timeout",
            "a valid StartToClose or ScheduleToCloseTimeout is not set on ScheduleActivityTaskCommand. "
            "ActivityId=a ActivityType=Charge",
        ),
        (
            ActivityOptions(heartbeat_timeout=seconds(-1)),
            "heartbeat_timeout",
            "invalid HeartbeatTimeout: negative duration",
        ),
        (ActivityOptions(), "task_queue.name", "missing task queue name"),
        (
            ActivityOptions(retry_policy=RetryPolicy(maximum_attempts=-1)),
            "retry_policy.maximum_attempts",
            "MaximumAttempts cannot be negative on retry policy.",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(options: ActivityOptions, path: str, message: str) -> None:
    scene = waiting()

    error = scene.refused(lambda turn: update_options(turn, Target("a"), options, [path]))

    assert isinstance(error, InvalidArgument)
    assert error.message == message


def test_a_path_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match='unsupported update_mask path: "colour"'):
        mask_paths(["heartbeat_timeout", "colour"])


# ---- which
@pytest.mark.parametrize("target", [Target("z"), Target(activity_type="Z")])
def test_what_is_not_pending_is_not_found(target: Target) -> None:
    scene = waiting()

    error = scene.refused(lambda turn: unpause_activities(turn, target))

    assert isinstance(error, NotFound)
    assert error.message == "Can't find pending activity with such ID. Invalid activityID or activity already completed"


def test_a_closed_run_is_not_operated_on() -> None:
    from perdure.engine.closing import terminate

    scene = waiting()
    scene.decide(lambda turn: terminate(turn, "enough"))

    error = scene.refused(lambda turn: reset_activities(turn, ALL))

    assert error.message == "workflow execution already completed"
