"""Messages between executions that need a row: delivered once, whatever is refused or stopped in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from perdure.engine.execution import WORKFLOW
from perdure.engine.kinds import KINDS
from perdure.engine.messages import SignalExternal
from perdure.storage.sqlite import SqliteStore
from tests.api.client import signal_external
from tests.support.runtime_world import World, running

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
REACHED = EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED
NOWHERE = "00000000-0000-0000-0000-000000000000"
FAILED = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED


async def told(world: World, workflow_id: str, event_type: int) -> int:
    return [event.event_type for event in await world.history(workflow_id)].count(event_type)  # type: ignore[arg-type]


def outbox(world: World) -> list[Any]:
    return list(world.store.load_outbox(0, 10))


async def settle(world: World) -> None:
    """Also with a store that has threads of its own."""
    while not world.runtime.committer.idle:
        await world.settle()
    await world.settle()


async def send_to_one_that_must_be_loaded(world: World, receiver: str = "receiver") -> None:
    """The sender's completion is durable, the message is not decided on: its receiver's load is held."""
    await world.start_workflow("receiver")
    await settle(world)
    await world.step()
    await world.start_workflow("sender")
    task = world.poll()
    await settle(world)
    if receiver == "receiver":
        world.forget(receiver)
    world.store.hold_loads()
    done = world.complete(task.reply, signal_external(receiver))
    await settle(world)
    assert done.reply is not None, done.error


async def sender_of_one_that_must_be_loaded(world: World) -> None:
    """Its first workflow task waits; loads are held."""
    await world.start_workflow("receiver")
    await world.step()
    await world.start_workflow("sender")
    world.forget("receiver")
    world.store.hold_loads()


async def test_a_message_has_a_row_until_its_receiver_has_decided_on_it(world: World) -> None:
    await send_to_one_that_must_be_loaded(world)
    assert len(outbox(world)) == 1

    world.store.release_loads()
    await settle(world)

    assert outbox(world) == []
    assert await told(world, "receiver", SIGNALED) == 1
    assert await told(world, "sender", REACHED) == 1


async def test_what_a_server_that_stopped_left_on_its_way_is_delivered_by_the_next_and_once(tmp_path: Path) -> None:
    file = str(tmp_path / "mail.db")
    async with running(store=SqliteStore(file)) as world:
        await send_to_one_that_must_be_loaded(world)
    for _ in range(2):
        async with running(store=SqliteStore(file)) as world:
            await settle(world)
            assert outbox(world) == []
            assert await told(world, "receiver", SIGNALED) == 1
            assert await told(world, "sender", REACHED) == 1


async def test_a_message_that_changed_nothing_where_it_went_is_delivered_again_when_that_is_refused(
    world: World,
) -> None:
    """Nobody is there, and that is what the sender must hear."""
    await send_to_one_that_must_be_loaded(world, "nobody")
    world.store.refusals = 1

    world.store.release_loads()
    await settle(world)

    assert outbox(world) == []
    assert not world.runtime.mail.on_way
    assert await told(world, "sender", FAILED) == 1


async def test_a_message_does_not_overtake_one_whose_receiver_could_not_be_read(world: World) -> None:
    await world.start_workflow("receiver")
    await world.step()
    await world.start_workflow("sender")
    world.forget("receiver")
    world.store.reads_fail = {"load_execution"}
    await world.step(signal_external("receiver", "first"), force_create_new_workflow_task=True)
    world.store.reads_fail = set()
    await world.step(signal_external("receiver", "second"))

    await world.pass_time(2)

    assert await heard(world) == ["first", "second"]
    assert outbox(world) == []


async def test_a_message_does_not_overtake_one_whose_delivery_was_refused_with_it(world: World) -> None:
    """The sender's second turn is in the batch that delivers the first message: its turn is decided again, and the
    first message delivered again, in which order ever."""
    await sender_of_one_that_must_be_loaded(world)
    await world.step(signal_external("receiver", "first"), force_create_new_workflow_task=True)
    task = world.poll()
    await world.settle()
    world.store.refusals = 1

    done = world.complete(task.reply, signal_external("receiver", "second"))
    world.store.release_loads()
    await world.settle()

    assert done.reply is not None, done.error
    assert world.store.refusals == 0
    assert await heard(world) == ["first", "second"]
    assert outbox(world) == []
    assert not world.runtime.mail.on_way


async def test_a_message_that_is_with_its_receiver_waits_for_an_earlier_one_that_was_refused(world: World) -> None:
    """The second is for a run that must be read, which takes longer than three refusals of the first."""
    await sender_of_one_that_must_be_loaded(world)
    second = signal_external("receiver", "second")
    second.signal_external_workflow_execution_command_attributes.execution.run_id = NOWHERE
    await world.step(signal_external("receiver", "first"), force_create_new_workflow_task=True)
    await world.step(second, force_create_new_workflow_task=True)
    load, held = world.store._store.load_execution, []

    def load_slowly(*arguments: Any) -> None:
        if NOWHERE in arguments:
            held.append(arguments)
        else:
            load(*arguments)

    world.store.load_execution = load_slowly
    world.store.refusals = 3
    world.store.release_loads()
    await world.settle()
    assert world.store.refusals == 0
    world.store.load_execution = load
    for arguments in held:
        load(*arguments)
    await world.settle()
    assert len(world.runtime.mail.on_way) == 2

    await world.pass_time(1)

    results = [event.event_type for event in await world.history("sender") if event.event_type in (REACHED, FAILED)]
    assert results == [REACHED, FAILED]
    assert not world.runtime.mail.on_way


async def test_a_message_that_meets_a_defect_comes_later_and_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = KINDS[WORKFLOW].deliver
    defects = [True]

    def delivers(shared: Any, run: Any, message: Any) -> None:
        deliver(shared, run, message)
        if isinstance(message, SignalExternal) and "first" in str(message.initiated) and defects:
            defects.pop()
            raise KeyError("a defect")

    monkeypatch.setattr(KINDS[WORKFLOW], "deliver", delivers)
    await sender_of_one_that_must_be_loaded(world)
    await world.step(signal_external("receiver", "first"), force_create_new_workflow_task=True)
    await world.step(signal_external("receiver", "second"), force_create_new_workflow_task=True)
    world.store.release_loads()
    await world.settle()
    await world.pass_time(0)
    assert await heard(world) == ["second"]
    assert len(world.runtime.mail.on_way) == 1

    await world.pass_time(60)

    assert await heard(world) == ["second", "first"]
    assert outbox(world) == []
    assert not world.runtime.mail.on_way


async def test_messages_that_all_meet_a_defect_each_come_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = KINDS[WORKFLOW].deliver

    def defect(shared: Any, run: Any, message: Any) -> None:
        raise KeyError("a defect")

    await sender_of_one_that_must_be_loaded(world)
    await world.step(*[signal_external("receiver", f"s-{n}") for n in range(240)])
    monkeypatch.setattr(KINDS[WORKFLOW], "deliver", defect)
    world.store.release_loads()
    await settle(world)
    for _ in range(240):
        await world.pass_time(0)
    assert len(world.runtime.mail.on_way) == 240

    monkeypatch.setattr(KINDS[WORKFLOW], "deliver", deliver)
    await world.pass_time(60)
    await world.pass_time(1)

    assert sorted(await heard(world)) == sorted(f"s-{n}" for n in range(240))


async def heard(world: World) -> list[str]:
    """Names of the signals of the receiver, in order."""
    names = [
        event.workflow_execution_signaled_event_attributes.signal_name for event in await world.history("receiver")
    ]
    return [name for name in names if name]
