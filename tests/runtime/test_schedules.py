"""Schedules over a clock that moves by hand: what starts when, and what becomes of it.

The clock begins at 2023-11-14T22:30:00Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import CommandType

from perdure.errors import FailedPrecondition, NotFound, WorkflowAlreadyStarted
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE, execution
from tests.support.runtime_world import World
from tests.support.schedules import (
    backfill,
    create,
    delete,
    describe,
    listed,
    matching,
    moment,
    patch,
    policy,
    schedule,
    trigger,
    update,
)

HOUR = 3600
BEGIN = 1_700_001_000  # 2023-11-14T22:30:00Z
FIRST = "report-2023-11-14T23:00:00Z"
SECOND = "report-2023-11-15T00:00:00Z"
THIRD = "report-2023-11-15T01:00:00Z"


def complete(result: bytes = b'"done"') -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    attributes = command.complete_workflow_execution_command_attributes
    attributes.result.CopyFrom(Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=result)]))
    return command


def fail(message: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    command.fail_workflow_execution_command_attributes.failure.message = message
    command.fail_workflow_execution_command_attributes.failure.application_failure_info.type = "Boom"
    return command


def continue_as_new() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    command.continue_as_new_workflow_execution_command_attributes.workflow_type.name = "Report"
    return command


async def info(world: World, schedule_id: str = "daily") -> Any:
    return (await world.ask(describe(schedule_id))).info


async def runs(world: World) -> list[str]:
    """IDs of all workflows, oldest first."""
    reply = await world.ask(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    return [found.execution.workflow_id for found in reversed(reply.executions)]


async def history(world: World, workflow_id: str) -> Sequence[Any]:
    request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(workflow_id))
    return (await world.ask(request)).history.events


async def first_event(world: World, workflow_id: str) -> Any:
    return (await history(world, workflow_id))[0].workflow_execution_started_event_attributes


def statuses(info: Any) -> list[tuple[str, int]]:
    return [(a.start_workflow_result.workflow_id, int(a.start_workflow_status)) for a in info.recent_actions]


# ---- due times
async def test_a_workflow_starts_at_each_time_with_the_nominal_time_in_its_id(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    await world.pass_time(HOUR / 2 - 1)
    assert await runs(world) == []

    await world.pass_time(1)
    await world.step(complete())
    await world.pass_time(HOUR)

    assert await runs(world) == [FIRST, SECOND]
    said = await info(world)
    assert said.action_count == 2
    assert statuses(said) == [(FIRST, 2), (SECOND, 1)]
    assert [w.workflow_id for w in said.running_workflows] == [SECOND]
    assert [at.seconds for at in said.future_action_times] == [BEGIN + HOUR // 2 + HOUR * n for n in range(2, 12)]
    assert said.recent_actions[0].schedule_time.seconds == BEGIN + 1800


async def test_the_started_workflow_knows_its_schedule_and_the_results_before_it(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    await world.pass_time(HOUR / 2)
    await world.step(complete(b'"one"'))
    await world.pass_time(HOUR)
    await world.step(fail("two"))
    await world.pass_time(HOUR)

    first, second, third = [await first_event(world, name) for name in (FIRST, SECOND, THIRD)]

    assert first.identity == "temporal-scheduler-default-daily"
    fields = first.search_attributes.indexed_fields
    assert fields["TemporalScheduledById"].data == b'"daily"'
    assert fields["TemporalScheduledStartTime"].data == b'"2023-11-14T23:00:00Z"'
    assert not first.HasField("last_completion_result")
    assert second.last_completion_result.payloads[0].data == b'"one"'
    assert third.last_completion_result.payloads[0].data == b'"one"'
    assert third.continued_failure.message == "two"
    await world.step(complete(b'"three"'))
    await world.pass_time(HOUR)
    fourth = await first_event(world, "report-2023-11-15T02:00:00Z")
    assert fourth.last_completion_result.payloads[0].data == b'"three"'
    assert not fourth.HasField("continued_failure")


async def test_scheduled_workflows_are_found_by_their_schedule(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    await world.pass_time(HOUR / 2)

    found = await world.ask(
        ws.ListWorkflowExecutionsRequest(
            namespace=NAMESPACE,
            query="TemporalScheduledById = 'daily' AND TemporalScheduledStartTime >= '2023-11-14T23:00:00Z'",
        )
    )

    assert [row.execution.workflow_id for row in found.executions] == [FIRST]


async def test_start_and_end_and_jitter(world: World) -> None:
    made = schedule("0 * * * *")
    made.spec.jitter.seconds = 600
    made.spec.end_time.seconds = BEGIN + HOUR
    await world.ask(create(made))
    (at,) = (await info(world)).future_action_times
    delay = at.ToMicroseconds() / 1e6 - (BEGIN + 1800)
    assert 0 < delay < 600

    await world.pass_time(1800 + delay - 0.001)
    assert await runs(world) == []
    await world.pass_time(0.002)

    assert await runs(world) == [FIRST]
    action = (await info(world)).recent_actions[0]
    assert action.schedule_time == at
    await world.pass_time(10 * HOUR)
    assert await runs(world) == [FIRST]


# ---- overlap
async def overlapping(world: World, name: str, times: int = 2) -> Any:
    await world.ask(create(schedule("0 * * * *", overlap=name)))
    await world.pass_time(HOUR / 2)
    for _ in range(times):
        await world.pass_time(HOUR)
    return await info(world)


async def test_skip_drops_what_overlaps(world: World) -> None:
    said = await overlapping(world, "SKIP")

    assert await runs(world) == [FIRST]
    assert (said.overlap_skipped, said.buffer_size) == (2, 0)


async def test_buffer_one_keeps_one(world: World) -> None:
    said = await overlapping(world, "BUFFER_ONE")
    assert (said.overlap_skipped, said.buffer_size) == (1, 1)

    await world.step(complete())

    assert await runs(world) == [FIRST, SECOND]
    said = await info(world)
    assert said.buffer_size == 0
    assert said.recent_actions[-1].actual_time.seconds == BEGIN + 1800 + 2 * HOUR
    assert said.recent_actions[-1].schedule_time.seconds == BEGIN + 1800 + HOUR


async def test_buffer_all_runs_all_one_after_the_other(world: World) -> None:
    said = await overlapping(world, "BUFFER_ALL")
    assert (said.overlap_skipped, said.buffer_size) == (0, 2)

    for expected in ([FIRST, SECOND], [FIRST, SECOND, THIRD]):
        await world.step(complete())
        assert await runs(world) == expected
    assert (await info(world)).buffer_size == 0


async def test_allow_all_starts_at_once_and_tells_none_of_the_other(world: World) -> None:
    said = await overlapping(world, "ALLOW_ALL")

    assert await runs(world) == [FIRST, SECOND, THIRD]
    assert list(said.running_workflows) == []
    await world.step(complete(b'"one"'))
    assert statuses(await info(world)) == [(FIRST, 2), (SECOND, 1), (THIRD, 1)]
    await world.pass_time(HOUR)
    assert not (await first_event(world, "report-2023-11-15T02:00:00Z")).HasField("last_completion_result")


async def test_terminate_other_ends_what_runs_and_takes_its_place(world: World) -> None:
    said = await overlapping(world, "TERMINATE_OTHER", 1)

    assert await runs(world) == [FIRST, SECOND]
    assert statuses(said) == [(FIRST, 5), (SECOND, 1)]
    end = (await history(world, FIRST))[-1].workflow_execution_terminated_event_attributes
    assert (end.reason, end.identity) == ("terminated by schedule overlap policy", "temporal-scheduler-default-daily")


async def test_cancel_other_waits_until_what_runs_has_ended(world: World) -> None:
    said = await overlapping(world, "CANCEL_OTHER")
    assert await runs(world) == [FIRST]
    assert said.buffer_size == 2
    asked = [event for event in await history(world, FIRST) if event.event_type == 20]
    assert len(asked) == 1, "asked once, not at each time"
    request = asked[0].workflow_execution_cancel_requested_event_attributes
    assert request.cause == "cancelled by schedule overlap policy"

    cancelled = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
    cancelled.cancel_workflow_execution_command_attributes.SetInParent()
    await world.step(cancelled)

    assert await runs(world) == [FIRST, THIRD]
    assert statuses(await info(world)) == [(FIRST, 4), (THIRD, 1)]


async def test_who_was_asked_to_cancel_is_terminated_for_an_action_that_wants_so(world: World) -> None:
    await overlapping(world, "CANCEL_OTHER", 1)
    assert statuses(await info(world)) == [(FIRST, 1)]

    await world.ask(trigger(overlap="TERMINATE_OTHER"))

    first, *others = statuses(await info(world))
    assert first == (FIRST, 5)
    assert others


async def test_a_changed_policy_decides_about_what_waits(world: World) -> None:
    await overlapping(world, "BUFFER_ALL")

    await world.ask(update(schedule("0 * * * *", overlap="SKIP")))

    said = await info(world)
    assert (said.buffer_size, said.overlap_skipped) == (0, 2)


async def test_a_buffer_holds_a_thousand(world: World) -> None:
    await world.ask(create(schedule(every=1, overlap="BUFFER_ALL")))
    for _ in range(11):
        await world.pass_time(100)
    await world.pass_time(0)

    said = await info(world)

    assert (said.action_count, said.buffer_size, said.buffer_dropped) == (1, 1000, 99)


# ---- chains of runs
async def test_a_schedule_follows_a_workflow_through_continue_as_new(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    await world.pass_time(HOUR / 2)
    await world.step(continue_as_new())
    await world.pass_time(HOUR)
    said = await info(world)
    assert said.overlap_skipped == 1
    assert [w.workflow_id for w in said.running_workflows] == [FIRST]

    await world.step(complete(b'"at last"'))

    said = await info(world)
    assert statuses(said) == [(FIRST, 2)]
    assert list(said.running_workflows) == []
    await world.pass_time(HOUR)
    assert (await first_event(world, THIRD)).last_completion_result.payloads[0].data == b'"at last"'


async def test_a_schedule_follows_a_workflow_through_its_retries(world: World) -> None:
    made = schedule("0 * * * *")
    made.policies.pause_on_failure = True
    made.action.start_workflow.retry_policy.maximum_attempts = 2
    await world.ask(create(made))
    await world.pass_time(HOUR / 2)
    await world.step(fail("once"))
    assert not (await world.ask(describe())).schedule.state.paused
    await world.pass_time(2)

    await world.step(fail("twice"))

    said = await world.ask(describe())
    assert said.schedule.state.paused
    assert said.schedule.state.notes == f"paused due to workflow failure: {FIRST}: twice"
    assert statuses(said.info) == [(FIRST, 3)]


async def test_a_workflow_that_was_reset_is_still_the_schedules(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    await world.pass_time(HOUR / 2)
    await world.step()
    reset = ws.ResetWorkflowExecutionRequest(
        namespace=NAMESPACE, workflow_execution=execution(FIRST), workflow_task_finish_event_id=4, request_id="reset"
    )
    await world.ask(reset)
    assert [w.workflow_id for w in (await info(world)).running_workflows] == [FIRST]

    await world.step(complete())

    assert statuses(await info(world)) == [(FIRST, 2)]


# ---- pausing
async def test_a_timeout_pauses_too(world: World) -> None:
    made = schedule("0 * * * *")
    made.policies.pause_on_failure = True
    made.action.start_workflow.workflow_run_timeout.seconds = 60
    await world.ask(create(made))
    await world.pass_time(HOUR / 2)
    await world.pass_time(60)

    said = await world.ask(describe())

    assert said.schedule.state.notes == f"paused due to workflow timeout: {FIRST}"
    assert statuses(said.info) == [(FIRST, 7)]


async def test_what_falls_into_a_pause_is_not_made_up_for(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", paused=True, notes="not yet")))
    await world.pass_time(3 * HOUR)
    assert await runs(world) == []
    assert world.runtime.wakes.earliest() is None, "a paused schedule waits for nothing"
    token = (await world.ask(describe())).conflict_token

    await world.ask(patch(unpause="go"))
    said = await world.ask(describe())
    assert (said.schedule.state.paused, said.schedule.state.notes) == (False, "go")
    assert said.conflict_token != token
    await world.pass_time(HOUR / 2)

    assert await runs(world) == ["report-2023-11-15T02:00:00Z"]
    said = await info(world)
    assert said.missed_catchup_window == 0
    await world.ask(patch(pause="stop"))
    await world.pass_time(5 * HOUR)
    assert (await info(world)).action_count == 1


async def test_manual_actions_ignore_the_pause_and_the_limit(world: World) -> None:
    await world.ask(
        create(schedule("0 * * * *", overlap="ALLOW_ALL", paused=True, limited_actions=True, remaining_actions=0))
    )

    await world.ask(trigger())

    assert await runs(world) == ["report-2023-11-14T22:30:00Z"]
    assert (await info(world)).action_count == 1


async def test_limited_actions_run_out(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", overlap="ALLOW_ALL", limited_actions=True, remaining_actions=2)))
    assert len((await info(world)).future_action_times) == 2
    await world.pass_time(HOUR / 2)
    await world.pass_time(HOUR)
    await world.pass_time(HOUR)

    assert await runs(world) == [FIRST, SECOND]
    said = await world.ask(describe())
    assert said.schedule.state.remaining_actions == 0
    assert list(said.info.future_action_times) == []


# ---- catching up
async def test_a_server_that_was_down_makes_up_for_what_lies_within_the_window(tmp_path: Path) -> None:
    world = World(store=SqliteStore(str(tmp_path / "schedules.db")))
    await world.start()
    made = schedule("0 * * * *", overlap="ALLOW_ALL")
    made.policies.catchup_window.seconds = 2 * HOUR
    created = world.call(create(made))
    await world.runtime.committer.drain()
    assert created.reply is not None
    await world.stop()

    world = World(store=SqliteStore(str(tmp_path / "schedules.db")))
    world.clock.seconds += 5.75 * HOUR
    await world.start()
    await world.pass_time(0)
    await world.runtime.committer.drain()

    said = await info(world)
    assert [name for name, _ in statuses(said)] == ["report-2023-11-15T03:00:00Z", "report-2023-11-15T04:00:00Z"]
    assert (said.missed_catchup_window, said.action_count) == (4, 2)
    await world.stop()


async def test_a_long_absence_is_made_up_for_in_portions(world: World) -> None:
    await world.ask(create(schedule(every=10, overlap="ALLOW_ALL")))
    await world.ask(create(schedule(every=1, workflow_id="tick"), "ticks", request_id="t"))
    await world.pass_time(1000)  # all at once
    assert 0 < (await info(world)).action_count <= 100
    for _ in range(30):
        await world.pass_time(0)
        await world.runtime.committer.drain()

    assert (await info(world)).action_count == 100
    ticks = await info(world, "ticks")
    assert (ticks.action_count, ticks.overlap_skipped) == (1, 999)


# ---- triggers and backfills
async def test_a_trigger_may_have_a_policy_of_its_own_and_comes_once(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", paused=True)))
    await world.ask(trigger(request_id="one"))
    await world.ask(trigger(request_id="one"))
    assert (await info(world)).overlap_skipped == 0
    await world.ask(trigger())
    assert (await info(world)).overlap_skipped == 1
    await world.pass_time(1)
    await world.ask(trigger(overlap="BUFFER_ONE"))
    assert (await info(world)).buffer_size == 1

    await world.step(complete())

    assert await runs(world) == ["report-2023-11-14T22:30:00Z", "report-2023-11-14T22:30:01Z"]


async def test_actions_of_the_same_second_share_an_id_but_not_their_fate(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", paused=True)))
    await world.ask(trigger())
    await world.step(complete())
    await world.ask(trigger())
    await world.step(fail("again"))

    said = await info(world)

    assert [int(action.start_workflow_status) for action in said.recent_actions] == [2, 3]
    assert len({action.start_workflow_result.run_id for action in said.recent_actions}) == 2


async def test_an_action_whose_workflow_is_there_already_counts_as_done(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", overlap="BUFFER_ALL")))
    await world.start_workflow(FIRST)

    await world.pass_time(HOUR / 2)

    said = await info(world)
    assert (said.action_count, list(said.running_workflows), list(said.recent_actions)) == (0, [], [])
    await world.pass_time(HOUR)
    assert (await info(world)).action_count == 1


async def test_a_backfill_runs_the_past_both_ends_included(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", paused=True)))

    await world.ask(backfill(BEGIN - 1800 - 24 * HOUR, BEGIN - 1800, "ALLOW_ALL"))
    for _ in range(4):
        await world.pass_time(0)

    found = await runs(world)
    assert len(found) == 25
    assert min(found) == "report-2023-11-13T22:00:00Z"
    assert max(found) == "report-2023-11-14T22:00:00Z"
    assert (await info(world)).action_count == 25


async def test_a_backfill_waits_for_its_turn_run_by_run(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", paused=True)))
    await world.ask(backfill(BEGIN - 3 * HOUR, BEGIN, "BUFFER_ALL"))
    await world.pass_time(0)
    assert (await info(world)).buffer_size == 2

    for _ in range(3):
        await world.step(complete())

    said = await info(world)
    assert (said.action_count, said.buffer_size) == (3, 0)


async def test_a_schedule_may_begin_with_a_patch(world: World) -> None:
    request = create(schedule("0 * * * *"))
    request.initial_patch.trigger_immediately.SetInParent()
    await world.ask(request)

    assert await runs(world) == ["report-2023-11-14T22:30:00Z"]


# ---- changes
async def test_an_update_replaces_all_and_a_stale_token_is_refused(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", notes="as it was")))
    before = await world.ask(describe())
    changed = schedule("30 * * * *", workflow_id="other", overlap="ALLOW_ALL")

    await world.ask(update(changed, conflict_token=before.conflict_token))

    after = await world.ask(describe())
    assert after.schedule.state.notes == ""
    assert after.schedule.action.start_workflow.workflow_id == "other"
    assert after.info.HasField("update_time")
    with pytest.raises(FailedPrecondition, match="mismatched conflict token"):
        await world.ask(update(changed, conflict_token=before.conflict_token))
    await world.pass_time(HOUR)
    assert await runs(world) == ["other-2023-11-14T23:30:00Z"]


async def test_an_update_does_not_bring_back_the_past(world: World) -> None:
    await world.ask(create(schedule("0 0 1 1 *")))
    await world.pass_time(3 * HOUR)

    await world.ask(update(schedule(every=60)))

    assert await runs(world) == []
    await world.pass_time(60)
    assert len(await runs(world)) == 1


async def test_deleting_leaves_the_workflows_alone_and_frees_the_id(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    await world.pass_time(HOUR / 2)

    await world.ask(delete())

    with pytest.raises(NotFound, match=r"^schedule not found$"):
        await world.ask(describe())
    for request in (patch(pause="x"), update(schedule("0 * * * *")), delete()):
        with pytest.raises(NotFound, match=r"^workflow execution already completed$"):
            await world.ask(request)
    assert list((await world.ask(listed())).schedules) == []
    await world.step(complete())
    await world.pass_time(HOUR)
    assert await runs(world) == [FIRST]
    await world.ask(create(schedule("0 * * * *"), request_id="again"))
    assert (await info(world)).action_count == 0


async def test_a_schedule_with_nothing_left_to_do_is_forgotten_after_a_week(world: World) -> None:
    made = schedule("0 * * * *", limited_actions=True, remaining_actions=1)
    await world.ask(create(made))
    await world.pass_time(HOUR)
    await world.step(complete())
    assert world.runtime.wakes.earliest() is None, "nothing keeps time from standing still"
    await world.pass_time(7 * 24 * HOUR - 1)
    assert len((await world.ask(listed())).schedules) == 1

    await world.pass_time(1)

    assert list((await world.ask(listed())).schedules) == []
    assert (await world.ask(ws.CountSchedulesRequest(namespace=NAMESPACE))).count == 0
    with pytest.raises(NotFound, match="schedule not found"):
        await world.ask(describe())
    await world.ask(create(made, request_id="again"))


async def test_the_same_request_creates_once(world: World) -> None:
    first = await world.ask(create(schedule("0 * * * *")))
    again = await world.ask(create(schedule("0 * * * *")))
    assert first.conflict_token == again.conflict_token
    assert len(first.conflict_token) == 8
    with pytest.raises(WorkflowAlreadyStarted, match='schedule "daily" is already registered'):
        await world.ask(create(schedule("0 * * * *"), request_id="other"))


async def test_a_schedule_without_an_action_does_nothing(world: World) -> None:
    made = schedule("0 * * * *")
    made.ClearField("action")
    await world.ask(create(made))
    await world.ask(trigger())
    await world.pass_time(HOUR)

    said = await world.ask(describe())

    assert not said.schedule.HasField("action")
    assert (said.info.action_count, said.info.buffer_size) == (0, 0)


async def test_matching_times_and_what_is_wrong_with_a_schedule(world: World) -> None:
    made = schedule("0 * * * *")
    await world.ask(create(made))
    found = await world.ask(matching(BEGIN - 1800, BEGIN + 3 * HOUR))
    assert [at.seconds - BEGIN for at in found.start_time] == [1800 + n * HOUR for n in range(3)]
    made.spec.exclude_structured_calendar.add()
    for field, last in (("second", 59), ("minute", 59), ("hour", 23), ("day_of_month", 31), ("month", 12)):
        getattr(made.spec.exclude_structured_calendar[0], field).add(start=int(last in (31, 12)), end=last)
    made.spec.exclude_structured_calendar[0].day_of_week.add(end=6)
    await world.ask(update(made))

    assert list((await world.ask(matching(BEGIN, BEGIN + 3 * HOUR))).start_time) == []
    assert (await info(world)).invalid_schedule_error == (
        "the schedule calendar specification has too many exclusions. Please modify the specification."
    )


async def test_a_refused_commit_starts_nothing_twice(world: World) -> None:
    await world.ask(create(schedule("0 * * * *", overlap="ALLOW_ALL")))
    world.store.refusals = 1

    await world.pass_time(HOUR / 2)
    await world.pass_time(60)
    await world.runtime.committer.drain()

    assert await runs(world) == [FIRST]
    assert (await info(world)).action_count == 1


async def test_a_trigger_with_a_time_of_its_own(world: World) -> None:
    await world.ask(create(schedule("0 * * * *")))
    request = trigger()
    request.patch.trigger_immediately.scheduled_time.CopyFrom(moment(BEGIN - 24 * HOUR))
    request.patch.trigger_immediately.overlap_policy = policy("ALLOW_ALL")

    await world.ask(request)

    assert await runs(world) == ["report-2023-11-13T22:30:00Z"]
