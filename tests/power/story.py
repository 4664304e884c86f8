"""Batches as a busy server makes them, and what a store holds after each."""

from __future__ import annotations

from random import Random
from typing import Any

import apsw

from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import Batch, ItemWrite, NamespaceWrite, RunDelete, VisibilityChange
from tests.storage.rows import NAMESPACE, WORKFLOW, current, events, execution, message, run, run_id, task

Contents = dict[str, list[tuple[Any, ...]]]
"""Rows by table."""


class Storyteller:
    """Makes one batch after the other: runs start, move on, close and are deleted; tasks and messages come and go."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._versions: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._tasks: list[int] = []
        self._messages: list[int] = []
        self._numbers = [0, 0, 0]

    def batch(self, number: int) -> Batch:
        chance = self._chance
        batch = Batch(number, meta={"told": b"%d" % number})
        if number % 10 == 1:
            batch.namespaces.append(NamespaceWrite(f"namespace-{number}", f"name-{number}", b"." * 100))
        for _ in range(chance.randint(1, 4)):
            self._start(batch)
        touched = chance.sample(sorted(self._versions), min(len(self._versions), chance.randint(0, 6)))
        for run_no in touched:
            if self._versions[run_no] == 0:
                continue  # started just now
            if chance.random() < 0.1:
                batch.run_deletes.append(RunDelete(NAMESPACE, WORKFLOW, f"order-{run_no}", run_id(run_no), run_no))
                del self._versions[run_no]
            else:
                self._move_on(batch, run_no)
        for run_no, version in self._versions.items():
            self._versions[run_no] = max(version, 1)
        return batch

    def _start(self, batch: Batch) -> None:
        run_no = self._next(0)
        self._versions[run_no] = 0
        last = self._events[run_no] = self._chance.randint(1, 5)
        batch.runs.append(run(run_no, history=events(1, last, self._chance.choice([10, 300, 6000]))))
        batch.currents.append(current(run_no))
        batch.visibility.append(execution(run_no, values=[("Customer", 2, f"c-{run_no % 5}")]))
        self._come_and_go(batch)

    def _move_on(self, batch: Batch, run_no: int) -> None:
        chance = self._chance
        version = self._versions[run_no] = self._versions[run_no] + 1
        first = self._events[run_no] + 1
        last = self._events[run_no] = first + chance.randint(0, 3)
        items = [ItemWrite(1, f"{chance.randint(1, 5)}", chance.choice([None, b"item %d" % version, b"i" * 3000]))]
        batch.runs.append(
            run(run_no, version, core=b"core %d" % version * 50, history=events(first, last, 200), items=items)
        )
        if chance.random() < 0.3:
            close = execution(run_no, status=2, close_time=version, change=VisibilityChange.STATUS, values=None)
            batch.visibility.append(close)
            batch.currents.append(current(run_no, status=2))
        self._come_and_go(batch)

    def _come_and_go(self, batch: Batch) -> None:
        chance = self._chance
        if self._tasks and chance.random() < 0.5:
            batch.done_tasks.append(self._tasks.pop(chance.randrange(len(self._tasks))))
        if self._messages and chance.random() < 0.5:
            batch.delivered.append(self._messages.pop(0))
        if chance.random() < 0.6:
            task_no = self._next(1)
            batch.tasks.append(task(task_no))
            self._tasks.append(task_no)
        if chance.random() < 0.3:
            number = self._next(2)
            batch.outbox.append(message(number))
            self._messages.append(number)

    def _next(self, kind: int) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]


def tell(seed: int, length: int) -> list[Batch]:
    """Batches 1 to `length`."""
    teller = Storyteller(Random(f"story {seed}"))
    return [teller.batch(number) for number in range(1, length + 1)]


async def contents_after_each(batches: list[Batch]) -> list[Contents]:
    """What a store holds after so many of `batches`: of none first."""
    store = SqliteStore(None)
    await store.open()
    after = [contents(store._main)]
    for batch in batches:
        store.submit(batch, _must_land)
        after.append(contents(store._main))
    await store.close()
    return after


def contents(connection: apsw.Connection) -> Contents:
    """All rows but those that wait to be swept: they may go at any time."""
    found: Contents = {}
    tables = [name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")]
    for table in sorted(tables):
        swept = table in ("history", "items", "request_ids")
        where = " where run_no not in (select run_no from forgotten)" if swept else ""
        if table != "forgotten" and not table.startswith("sqlite_"):
            key = [name for _, name, _, _, _, part in connection.execute(f"pragma table_info({table})") if part]
            order = ", ".join(key or ["1", "2"])
            found[table] = connection.execute(f"select * from {table}{where} order by {order}").fetchall()
    return found


def _must_land(outcome: object) -> None:
    assert outcome is None, outcome
