"""Lists and counts that take their time: nobody else waits for them, and they do not take for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import apsw
import pytest

from perdure.errors import QueryTooSlow
from perdure.storage.sqlite import SqliteStore, readers
from perdure.visibility.parser import parse
from tests.storage.rows import NAMESPACE, execution, written

EVERYTHING = parse("", {})
NOWHERE = parse("HistoryLength > 1000000", {})


class Ticking:
    """A clock that goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        self.seconds += 1
        return self.seconds


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: object) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None if request.param == "memory" else f"{tmp_path}/perdure.db", monotonic=Ticking())
    await store.open()
    yield store
    await store.close()


def endless(connection: apsw.Connection) -> int:
    sql = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    return int(connection.execute(sql).get)


async def test_a_filter_that_takes_too_long_is_stopped_and_told_how_to_ask_better(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(store, visibility=[execution(number) for number in range(1, 500)])
    monkeypatch.setattr(readers, "STEPS", 100)

    with pytest.raises(QueryTooSlow, match="took longer than 5 s and was stopped: make it narrower"):
        await store.list_executions(NAMESPACE, NOWHERE, 10, b"")
    with pytest.raises(QueryTooSlow):
        await store.count_executions(NAMESPACE, NOWHERE)

    assert await store.count_executions(NAMESPACE, EVERYTHING) == [(None, 499)]


async def test_what_is_asked_in_time_is_answered(store: SqliteStore) -> None:
    await written(store, visibility=[execution(1)])

    assert await store.list_executions(NAMESPACE, NOWHERE, 10, b"") == ([], b"")


async def open_file(tmp_path: object) -> SqliteStore:
    store = SqliteStore(f"{tmp_path}/perdure.db")
    await store.open()
    return store


async def test_the_event_loop_and_other_questions_go_on_while_one_is_answered(tmp_path: object) -> None:
    store = await open_file(tmp_path)
    under_way, enough = threading.Event(), threading.Event()

    def slow(connection: apsw.Connection) -> str:
        under_way.set()
        assert enough.wait(10)
        return "slow"

    asked = asyncio.create_task(store._ask(slow))
    await asyncio.to_thread(under_way.wait, 10)
    await written(store, visibility=[execution(1)])
    assert await store.count_executions(NAMESPACE, EVERYTHING) == [(None, 1)]
    enough.set()

    assert await asked == "slow"
    await store.close()


async def test_a_question_is_stopped_when_its_caller_has_gone(tmp_path: object) -> None:
    store = await open_file(tmp_path)
    stopped = threading.Event()

    def noticing(connection: apsw.Connection) -> int:
        try:
            return endless(connection)
        except apsw.InterruptError:
            stopped.set()
            raise

    for _ in range(2 * readers.AT_A_TIME):
        stopped.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await store._ask(noticing)
        assert await asyncio.to_thread(stopped.wait, 10)

    await store.close()


async def test_a_store_that_closes_waits_for_no_question(tmp_path: object) -> None:
    store = await open_file(tmp_path)
    asked = asyncio.create_task(store._ask(endless))
    await asyncio.sleep(0)

    await store.close()

    with pytest.raises(Exception, match="shutting down"):
        await asked
