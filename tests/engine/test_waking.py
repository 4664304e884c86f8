"""Deadlines: the earliest first, each in its turn, and none that does not hold any more."""

from __future__ import annotations

from perdure.engine.codec import decode, encode_core
from perdure.engine.signals import signal_workflow
from perdure.engine.times import SECOND
from perdure.engine.waking import TIMERS_AT_ONCE, next_deadline, wake
from tests.engine.given import NOON, cancel_timer, given, schedule_activity, seconds, start_timer


def test_a_run_wakes_at_the_earliest_of_its_deadlines() -> None:
    scene = given()
    scene.start(workflow_run_timeout=seconds(300))
    assert next_deadline(scene.run) == NOON + 300 * SECOND
    scene.complete(
        start_timer("late", 60), start_timer("soon", 5), schedule_activity("a", schedule_to_close_timeout=30)
    )

    assert next_deadline(scene.run) == NOON + 5 * SECOND


def test_a_deadline_that_vanished_is_not_due() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("soon", 5), start_timer("late", 60), force_create_new_workflow_task=True)
    scene.complete(cancel_timer("soon"))

    assert next_deadline(scene.run) == NOON + 60 * SECOND
    scene.advance(5)
    assert not scene.decide(wake)


def test_timers_due_together_are_told_in_one_task_in_order() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("b", 5), start_timer("a", 5), start_timer("c", 4))
    scene.advance(5)

    assert scene.decide(wake)

    assert scene.kinds()[7:] == ["TimerFired", "TimerFired", "TimerFired", "WorkflowTaskScheduled"]
    fired = [event.timer_fired_event_attributes.timer_id for event in scene.history()[7:10]]
    assert fired == ["c", "b", "a"]
    assert not scene.decide(wake)


def test_a_great_many_timers_fire_in_several_turns_and_one_task_follows_the_last() -> None:
    many = 2 * TIMERS_AT_ONCE + 1
    scene = given()
    scene.start()
    scene.complete(*(start_timer(str(number), 5) for number in range(many)))
    scene.advance(5)

    turns = [scene.decide(wake) for _ in range(4)]

    assert turns == [True, True, True, False]
    assert scene.kinds()[-many - 1 :] == [*["TimerFired"] * many, "WorkflowTaskScheduled"]


def test_between_these_turns_the_run_is_due_also_when_it_is_loaded_again() -> None:
    scene = given()
    scene.start()
    scene.complete(*(start_timer(str(number), 5) for number in range(TIMERS_AT_ONCE + 1)))
    scene.advance(5)
    scene.decide(wake)
    assert scene.run.workflow_task is None

    assert next_deadline(decode(encode_core(scene.run, 1 << 20), [])) == NOON + 5 * SECOND


def test_too_many_timers_for_a_task_under_way_fail_it_once() -> None:
    many = 4 * TIMERS_AT_ONCE
    scene = given()
    scene.start()
    scene.complete(*(start_timer(str(number), 5) for number in range(many)))
    scene.decide(lambda turn: signal_workflow(turn, signal_name="look"))
    scene.poll()
    scene.advance(5)

    while scene.decide(wake):
        pass

    assert scene.kinds()[-many - 2 :] == ["WorkflowTaskFailed", *["TimerFired"] * many, "WorkflowTaskScheduled"]


def test_what_is_due_at_the_end_of_the_runs_own_time_comes_to_pass_before_it() -> None:
    scene = given()
    scene.start(workflow_run_timeout=seconds(5))
    scene.complete(start_timer("last", 5))
    scene.advance(5)

    scene.wake()

    assert scene.kinds()[5:] == ["TimerFired", "WorkflowTaskScheduled", "WorkflowExecutionTimedOut"]


def test_activities_out_of_time_together_are_told_in_one_task() -> None:
    scene = given()
    scene.start()
    scene.complete(*(schedule_activity(name, schedule_to_close_timeout=5) for name in "abc"))
    scene.advance(5)

    assert scene.decide(wake)

    assert scene.kinds()[7:] == [*["ActivityTaskTimedOut"] * 3, "WorkflowTaskScheduled"]


def test_what_else_is_due_comes_to_pass_before_the_run_is_out_of_time() -> None:
    scene = given()
    scene.start(workflow_run_timeout=seconds(5))
    scene.complete(start_timer("t", 5))
    scene.advance(5)

    assert scene.wake() == 2

    assert scene.kinds()[-3:] == ["TimerFired", "WorkflowTaskScheduled", "WorkflowExecutionTimedOut"]


def test_a_loaded_run_wakes_as_the_stored_one_would_have() -> None:
    scene = given()
    scene.start(workflow_run_timeout=seconds(300))
    scene.complete(
        start_timer("t", 60), schedule_activity("a", start_to_close_timeout=10, schedule_to_start_timeout=40)
    )

    loaded = decode(encode_core(scene.run, 1 << 20), [])

    assert next_deadline(loaded) == next_deadline(scene.run) == NOON + 40 * SECOND


def test_a_timer_whose_id_was_used_before_fires_in_its_own_order() -> None:
    scene = given()
    scene.start()
    scene.complete(start_timer("a", 3), force_create_new_workflow_task=True)
    scene.complete(cancel_timer("a"), start_timer("b", 9), start_timer("a", 9))
    scene.advance(9)

    assert scene.decide(wake)

    fired = [event.timer_fired_event_attributes.timer_id for event in scene.history()[-3:-1]]
    assert fired == ["b", "a"]
