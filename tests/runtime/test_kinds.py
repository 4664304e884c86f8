"""Executions that are no workflows live in the same runtime: stored, woken, listed, reached by messages, one turn an
input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.call import PENDING
from perdure.clock import SECOND
from perdure.engine import kinds, messages
from perdure.engine.items import Fields
from perdure.engine.kind import RecordKind
from perdure.engine.record import Record, RecordTurn, create_record
from perdure.errors import NotFound
from perdure.runtime.deletion import forget
from perdure.runtime.inputs import Outcome
from perdure.storage.sqlite import SqliteStore
from tests.api.client import NAMESPACE
from tests.support.runtime_world import World, running

METRONOME = 90


class Beats(Fields):
    every: int = 0
    due: int = 0
    beats: int = 0


class Nudge(messages.Message):
    KIND = 190
    TO = METRONOME


class Metronome(RecordKind):
    name = "metronome"
    state = Beats
    division = "TestMetronome"
    type_name = "metronome"

    def next_deadline(self, run: Record) -> int:
        return int(run.state.due) if run.running else 0

    def wake(self, shared: Any, run: Record) -> bool:
        if not run.running or run.state.due > shared.now:
            return False
        turn = RecordTurn(shared, run)
        run.state.beats += 1
        run.state.due += run.state.every
        turn.put_item(1, f"beat-{run.state.beats}", b"x" * 500)
        if run.state.beats % 2 == 0:
            turn.send(Nudge(to_namespace_id=run.namespace_id, to_workflow_id=run.execution_id + "-echo"))
        return True

    def deliver(self, shared: Any, run: Record | None, message: messages.Message) -> None:
        if run is not None:
            run.state.beats += 100
            RecordTurn(shared, run).touch()


@pytest.fixture(autouse=True)
def metronomes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, METRONOME, Metronome())
    monkeypatch.setitem(messages._BY_KIND, Nudge.KIND, Nudge)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "kinds.db")


class Answer:
    def __init__(self) -> None:
        self.reply: Any = None
        self.error: Any = None

    def finish(self, reply: Any) -> bool:
        self.reply = reply
        return True

    def fail(self, error: Any) -> None:
        self.error = error


def namespace_id(world: World) -> str:
    namespace = world.runtime.namespaces.find("default")
    assert namespace is not None
    return namespace.id


async def decide(world: World, decide: Any, name: str = "m") -> Answer:
    answer = Answer()
    world.runtime.decide_record(namespace_id(world), METRONOME, name, "", decide, answer)
    await world.settle()
    await world.runtime.committer.drain()
    await world.settle()
    return answer


async def start(world: World, name: str = "m", every: int = 10 * SECOND) -> None:
    def create(shared: Any, record: Record | None) -> Outcome:
        assert record is None
        create_record(shared, Beats(every=every, due=shared.now + every), shared.entropy.uuid(), "request-1")
        return Outcome(b"started")

    assert (await decide(world, create, name)).reply == b"started"


async def beats(world: World, name: str = "m") -> int:
    answer = await decide(world, lambda shared, record: Outcome(b"%d" % record.state.beats), name)
    return int(answer.reply)


async def test_a_record_is_woken_again_and_again_and_survives_a_restart(file: str) -> None:
    async with running(store=SqliteStore(file)) as world:
        await start(world)
        for _ in range(3):
            await world.pass_time(10)
            await world.runtime.committer.drain()
        assert await beats(world) == 3
        later = world.clock.seconds + 1000
    world = World(store=SqliteStore(file))
    world.clock.seconds = later
    await world.start()
    await world.pass_time(0)
    await world.runtime.committer.drain()
    assert await beats(world) == 103, "what was missed is made up for, one turn a beat"
    loaded = world.runtime.executions.peek((namespace_id(world), METRONOME, "m"))
    assert loaded is not None
    (record,) = loaded.execution.runs.values()
    assert len(record.items) == 103
    assert record.spilled, "items that outgrow the core have rows"
    await world.stop()


async def test_messages_reach_the_kind_that_their_class_names(world: World) -> None:
    await start(world)
    await start(world, "m-echo", every=10_000 * SECOND)
    for _ in range(4):
        await world.pass_time(10)
    assert await beats(world, "m-echo") == 200


async def test_records_are_listed_under_their_division_alone(world: World) -> None:
    await start(world)
    every = await world.ask(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE))
    theirs = await world.ask(
        ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query="TemporalNamespaceDivision = 'TestMetronome'")
    )
    assert list(every.executions) == []
    assert [(found.execution.workflow_id, found.type.name) for found in theirs.executions] == [("m", "metronome")]


async def test_a_closed_record_is_due_no_more_and_its_id_may_be_used_again(world: World) -> None:
    await start(world)

    def close(shared: Any, record: Record) -> Outcome:
        RecordTurn(shared, record).close(2)
        return Outcome(b"closed")

    assert (await decide(world, close)).reply == b"closed"
    await world.pass_time(100)
    assert await beats(world) == 0

    def again(shared: Any, record: Record) -> Outcome:
        assert not record.running
        create_record(shared, Beats(every=SECOND, due=shared.now + SECOND), shared.entropy.uuid(), "request-2")
        return Outcome(b"started")

    await decide(world, again)
    await world.pass_time(1)
    assert await beats(world) == 1


async def test_a_refusal_reaches_the_caller_and_nothing_is_written(world: World) -> None:
    def refuse(shared: Any, record: Record | None) -> Outcome:
        raise NotFound("no such metronome")

    before = world.store.submitted
    answer = await decide(world, refuse)
    assert answer.error.message == "no such metronome"
    assert world.store.submitted == before


async def test_a_record_that_is_deleted_is_gone(world: World) -> None:
    await start(world)
    answer = Answer()

    def remove(shared: Any, record: Record) -> Outcome:
        key = (record.namespace_id, METRONOME, record.execution_id)
        return Outcome(PENDING, committed=lambda: forget(world.runtime, key, record, answer, b"gone"))

    await decide(world, remove)
    assert answer.reply == b"gone"
    await world.pass_time(50)
    assert (await decide(world, lambda shared, record: Outcome(b"%d" % (record is None)))).reply == b"1"


def test_numbers_of_kinds_are_distinct() -> None:
    def names() -> Iterator[str]:
        for kind in kinds.KINDS.values():
            yield kind.name

    assert len(set(names())) == len(kinds.KINDS)
