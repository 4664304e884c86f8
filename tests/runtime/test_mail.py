"""Messages between executions that need a row: delivered once, whatever is refused or stopped in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType

from perdure.storage.sqlite import SqliteStore
from tests.api.client import signal_external
from tests.support.runtime_world import World, running

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
REACHED = EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED
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

    names = [
        event.workflow_execution_signaled_event_attributes.signal_name for event in await world.history("receiver")
    ]
    assert [name for name in names if name] == ["first", "second"]
    assert outbox(world) == []
