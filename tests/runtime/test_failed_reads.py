"""A read that fails costs those who asked for it an answer, and nobody a task or an execution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.clock import SkippingTime
from perdure.config import Config
from perdure.errors import Unavailable
from perdure.runtime.start_tasks import StartTask
from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import StoreFailed
from tests.api.client import (
    NAMESPACE,
    QUEUE,
    schedule_activity,
    signal_request,
    start_request,
    start_timer,
)
from tests.runtime.test_mail import settle
from tests.runtime.test_refused_batches import lose_the_answer_of_an_activity
from tests.support import runtime_world
from tests.support.runtime_world import World, running, with_sticky_worker

NOWHERE = "00000000-0000-0000-0000-000000000000"


def rows(world: World, kind: int = 1) -> list[Any]:
    """Stored tasks of the queue."""
    namespace = world.runtime.namespaces.active(NAMESPACE)
    return list(world.store.load_tasks(namespace.id, QUEUE, kind, (0, 0, 0), 10))


async def gets_a_task(world: World, poll: Any) -> bool:
    for _ in range(3):
        await world.pass_time(5)
    return poll.reply is not None and bool(poll.reply.task_token)


# ---- of tasks in the store
async def test_a_task_whose_place_in_line_cannot_be_read_is_scheduled_when_it_can(world: World) -> None:
    world.store.reads_fail = {"task_passes"}
    start = world.call(start_request())
    world.store.reads_fail = set()
    await world.settle()

    assert start.reply.run_id, "decided again"
    assert await gets_a_task(world, world.poll())


async def test_who_starts_a_workflow_hears_that_the_store_cannot_be_read(world: World) -> None:
    world.store.reads_fail = {"task_passes"}
    start = world.call(start_request())
    await world.settle()
    world.store.reads_fail = set()

    assert isinstance(start.error, Unavailable)
    assert "disk I/O error" in start.error.message
    await world.start_workflow()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_queue_that_could_not_be_read_is_read_again(tmp_path: Path, restarted: bool) -> None:
    file = str(tmp_path / "tasks.db")
    async with running(store=SqliteStore(file)) as world:
        await world.ask_patiently(start_request())
        if not restarted:
            await _read_again(world)
    if restarted:
        async with running(store=SqliteStore(file)) as world:
            await _read_again(world)


async def _read_again(world: World) -> None:
    world.store.reads_fail = {"load_tasks"}
    poll = world.poll()
    await settle(world)
    assert not poll.answered, "it waits: its task may come"
    world.store.reads_fail = set()

    await world.pass_time(1)
    await settle(world)

    assert poll.reply.task_token
    assert not world.runtime.matching.rows.reads


async def test_inputs_behind_one_whose_task_has_no_place_in_line_are_answered(world: World) -> None:
    await world.start_workflow()
    await world.step()
    _forget_queues(world)
    world.forget("order-1")
    world.store.hold_loads()
    signals = [world.call(signal_request(name="a")), world.call(signal_request(name="b"))]
    world.store.reads_fail = {"task_passes"}
    world.store.release_loads()
    world.store.reads_fail = set()
    await world.settle()
    signals.append(world.call(signal_request(name="c")))
    await world.settle()

    assert [signal.error for signal in signals] == [None, None, None]
    assert all(signal.answered for signal in signals)


async def test_an_execution_goes_on_when_a_start_that_has_to_wait_cannot_have_a_row(world: World) -> None:
    """A large input is read back for the start, which needs a row meanwhile."""
    await world.start_workflow()
    command = schedule_activity()
    attributes = command.schedule_activity_task_command_attributes
    attributes.start_to_close_timeout.seconds = 30
    attributes.ClearField("schedule_to_close_timeout")
    attributes.retry_policy.initial_interval.seconds = 1000
    attributes.retry_policy.maximum_interval.seconds = 1000
    attributes.retry_policy.maximum_attempts = 5
    attributes.input.payloads.add(data=b"x" * 200_000)
    await world.step(command)
    first = world.poll_activity()
    await world.settle()
    failed = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=first.reply.task_token)
    failed.failure.application_failure_info.SetInParent()
    await world.ask(failed)
    await world.pass_time(980)
    _forget_queues(world)
    world.forget("order-1")
    poll = world.poll_activity()
    await world.settle()

    world.store.reads_fail = {"task_passes"}
    await world.pass_time(21)
    world.store.reads_fail = set()
    await world.settle()

    await world.ask(signal_request())
    if not await gets_a_task(world, poll):
        assert await gets_a_task(world, world.poll_activity())
    assert not world.runtime.decisions.waiting_inputs


def _forget_queues(world: World) -> None:
    """As the housekeeping does with those that nobody uses."""
    world.runtime.matching.expire(world.clock.seconds + 400)
    assert not world.runtime.matching._queues


# ---- of what is to be started
async def test_a_start_that_met_a_defect_in_the_batch_of_its_task_does_not_come_back_beside_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What scheduled the task is decided again and offers it."""
    await world.start_workflow()
    await world.step()
    decide, defects = StartTask.decide, [True]

    def decides(self: StartTask, turn: Any) -> Any:
        if defects:
            defects.pop()
            raise KeyError("a defect")
        return decide(self, turn)

    monkeypatch.setattr(StartTask, "decide", decides)
    poll = world.poll()
    await world.settle()
    await world.ask(signal_request())
    assert poll.error is not None
    assert len(rows(world)) == 1

    await world.pass_time(61)

    assert len(rows(world)) == 1


async def test_an_activitys_start_that_could_not_read_does_not_come_back_beside_one_that_was_changed(
    world: World,
) -> None:
    await world.start_workflow()
    await world.step(schedule_activity("a"))
    world.forget("order-1")
    world.store.reads_fail = {"load_execution"}
    unread = world.poll_activity()
    await world.settle()
    assert isinstance(unread.error, Unavailable)
    world.store.reads_fail = set()
    change = ws.UpdateActivityOptionsRequest(namespace=NAMESPACE, identity="ops", id="a")
    change.execution.workflow_id = "order-1"
    change.activity_options.priority.priority_key = 1
    change.update_mask.paths.append("priority.priority_key")
    await world.ask(change)
    assert [row.priority for row in rows(world, 2)] == [1, 3]

    await world.pass_time(2)

    assert [row.priority for row in rows(world, 2)] == [1]


async def test_a_start_that_could_not_read_does_not_come_back_when_the_row_of_its_task_was_refused(
    world: World,
) -> None:
    await world.start_workflow()
    await world.step()
    world.forget("order-1")
    world.poll()
    await world.settle()
    world.store.hold_loads()
    signaled = world.call(signal_request())
    other = signal_request()
    other.workflow_execution.run_id = NOWHERE
    world.call(other)  # its read, which the start has to wait for, fails
    load = world.store._store.load_execution

    def load_execution(*arguments: Any) -> None:
        if NOWHERE in arguments:
            arguments[-1](StoreFailed("disk I/O error"))
        else:
            load(*arguments)

    world.store.refusals = 1
    held, world.store._reads = world.store._reads or [], None
    world.store.load_execution = load_execution
    for arguments in held:
        load_execution(*arguments)
    await world.settle()
    world.store.load_execution = load
    assert signaled.error is None
    assert len(rows(world)) == 1

    await world.pass_time(2)

    assert len(rows(world)) == 1


async def test_a_task_that_was_lost_with_its_answer_waits_until_its_run_can_be_read(world: World) -> None:
    gone = world.poll()
    await world.settle()
    world.store.hold()
    world.call(start_request())
    await world.settle()
    gone.leave()
    world.store.release()
    await world.settle()
    world.forget("order-1")
    world.store.reads_fail = {"load_execution"}
    unread = world.poll()
    await world.settle()
    assert isinstance(unread.error, Unavailable)
    world.store.reads_fail = set()

    poll = world.poll()
    await world.pass_time(2)

    assert poll.reply.task_token


async def test_an_activity_that_was_lost_with_its_answer_is_given_out_when_its_run_can_be_read(world: World) -> None:
    await lose_the_answer_of_an_activity(world)
    issue = world.runtime.dispatch._issue_again

    def issue_again(start: Any) -> None:
        """By now it has left the cache, as any idle execution may."""
        for loaded in world.runtime.executions.all():
            world.runtime.executions.forget(loaded)
            loaded.dead = True
        world.store.reads_fail = {"load_execution"}
        try:
            issue(start)
        finally:
            world.store.reads_fail = set()

    world.runtime.dispatch._issue_again = issue_again  # type: ignore[method-assign]
    await world.settle()

    assert await gets_a_task(world, world.poll_activity())


async def test_a_task_of_a_stopped_worker_is_not_lost_when_its_run_cannot_be_read(world: World) -> None:
    (await with_sticky_worker(world, seconds=3600)).leave()
    await world.ask(signal_request())
    world.forget("order-1")
    world.store.reads_fail = {"load_execution"}
    await world.ask(ws.ShutdownWorkerRequest(namespace=NAMESPACE, sticky_task_queue="own", identity="worker"))
    world.store.reads_fail = set()

    assert await gets_a_task(world, world.poll())


# ---- of when something is due
async def test_time_skips_on_after_a_read_of_what_is_due_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = runtime_world.ManualTime
    monkeypatch.setattr(runtime_world, "ManualTime", lambda clock: SkippingTime(real(clock)))
    async with running(config=Config(time_skipping=True, time_locked=False)) as world:
        await world.start_workflow()
        task = world.poll()
        await world.settle()
        world.store.reads_fail = {"due_runs"}
        world.complete(task.reply, start_timer(seconds=7200))
        await world.settle()
        world.store.reads_fail = set()

        assert await gets_a_task(world, world.poll())
