"""The connection was lost in COMMIT: nobody is told anything until it is known what became of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from tests.api.client import signal_request
from tests.support.runtime_world import World

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


@pytest.mark.parametrize("landed", [True, False])
async def test_a_signal_is_there_once_whether_its_lost_commit_landed_or_not(world: World, landed: bool) -> None:
    await world.start_workflow()
    finds_out = world.store.landed
    asked: list[Callable[[], None]] = []

    def later(batch_no: int, done: Any) -> None:
        asked.append(lambda: finds_out(batch_no, done))

    world.store.landed = later  # type: ignore[attr-defined] # in place of the one it delegates to
    world.store.unknown = [landed]
    first = world.call(signal_request(name="first", identity="client"))
    await world.settle()
    second = world.call(signal_request(name="second", identity="client"))
    written = world.store.submitted
    await world.settle()
    assert len(asked) == 1
    assert world.store.submitted == written, "nothing else is written until that is known"
    assert not first.answered
    assert not second.answered

    asked[0]()
    await world.settle()

    assert first.reply is not None, first.error
    assert second.reply is not None, second.error
    names = [event.workflow_execution_signaled_event_attributes.signal_name for event in await world.history()]
    assert [name for name in names if name] == ["first", "second"]
