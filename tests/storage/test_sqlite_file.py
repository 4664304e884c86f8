"""What only a file can get right or wrong: opening, crashing, filling up."""

# ruff: noqa: ASYNC240 - the tests look at their own small files while nothing else runs

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import apsw
import pytest
from msgspec.structs import astuple

from perdure.storage.sqlite import SqliteStore
from perdure.storage.sqlite.batch import EXECUTION_COLUMNS
from perdure.storage.sqlite.batch import SQL as WRITES
from perdure.storage.sqlite.connection import APPLICATION_ID
from perdure.storage.sqlite.migrate import migrations
from perdure.storage.store import Refused, StoreFailed
from perdure.visibility.parser import parse
from tests.storage.rows import (
    NAMESPACE,
    batch,
    current,
    events,
    execution,
    loaded,
    outcome,
    outcomes,
    run,
    task,
    written,
)


async def opened(path: str, **options: object) -> SqliteStore:
    store = SqliteStore(path, **options)  # type: ignore[arg-type]
    await store.open()
    return store


async def refusal(path: str) -> str:
    store = SqliteStore(path)
    with pytest.raises(StoreFailed) as failure:
        await store.open()
    line = str(failure.value)
    assert "\n" not in line
    return line


async def test_what_was_written_is_there_after_close_and_open(path: str) -> None:
    store = await opened(path)
    await written(store, runs=[run(1, history=events(1, 3))], currents=[current(1)], meta={"skew": b"7"})
    marks = store.high_water()
    await store.close()

    store = await opened(path)

    assert (await loaded(store, 1)).current == current(1)
    assert store.load_meta() == {"skew": b"7"}
    assert store.high_water() == marks
    await store.close()


async def test_close_finishes_what_was_submitted(path: str) -> None:
    store = await opened(path)
    got: list[object] = []
    for number in range(1, 50):
        store.submit(batch(runs=[run(number)]), got.append)
    await store.close()
    await asyncio.sleep(0)

    assert got == [None] * 49


CRASH = """
import asyncio, os, signal, sys
from perdure.storage.sqlite import SqliteStore
from perdure.storage.sqlite.batch import EXECUTION_COLUMNS
from perdure.storage.sqlite.batch import SQL as WRITES
from perdure.storage.sqlite.connection import APPLICATION_ID
from perdure.storage.sqlite.migrate import migrations
from perdure.visibility.parser import parse
from tests.storage.rows import NAMESPACE, batch, current, run, written

async def main(path, point):
    hits = 0
    def points(name):
        nonlocal hits
        hits += name == point
        if hits == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    store = SqliteStore(path, points=points)
    await store.open()
    for version in range(1, 9):
        await written(store, runs=[run(1, version)], currents=[current(1)])
        print(version, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("point", "survives"), [("before_commit", 2), ("after_commit", 3)])
async def test_a_killed_server_keeps_what_it_committed_and_nothing_else(path: str, point: str, survives: int) -> None:
    crashed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASH, path, point, cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE
    )
    output, _ = await crashed.communicate()
    assert output.split() == [b"1", b"2"], "acknowledged before the kill"

    store = await opened(path)

    stored = (await loaded(store, 1)).run
    assert stored is not None
    assert stored.version == survives
    assert store.high_water()[0] == survives
    await store.close()


async def test_a_second_server_is_refused_and_told_who_has_the_file(path: str) -> None:
    store = await opened(path)

    line = await refusal(path)

    assert f"in use by another server (process {os.getpid()})" in line
    await store.close()
    await (await opened(path)).close()


async def test_a_damaged_file_is_refused(path: str) -> None:
    Path(path).write_bytes(b"this is not a database" * 1000)

    assert "is not a SQLite database" in await refusal(path)


async def test_a_file_cut_short_is_refused(path: str) -> None:
    await (await opened(path)).close()
    Path(path).write_bytes(Path(path).read_bytes()[: 3 * 4096])

    assert "damaged" in await refusal(path)


async def test_the_database_of_another_program_is_refused_and_left_alone(path: str) -> None:
    other = apsw.Connection(path)
    other.execute("create table theirs (x)")
    other.close()
    theirs = Path(path).read_bytes()

    assert "another program" in await refusal(path)
    assert Path(path).read_bytes() == theirs, "not even its journal mode is ours to choose"


async def test_a_newer_format_is_refused_with_both_numbers(path: str) -> None:
    await (await opened(path)).close()
    newer = apsw.Connection(path)
    newer.execute("update meta set value = cast('99' as blob) where name = 'format'")
    newer.execute("update meta set value = cast('9.1' as blob) where name = 'written_by'")
    newer.close()

    line = await refusal(path)

    assert "format 99" in line
    assert "perdure 9.1" in line
    assert "upgrade" in line


async def test_places_that_cannot_hold_a_database_are_named(tmp_path: Path) -> None:
    assert "does not exist" in await refusal(str(tmp_path / "missing" / "perdure.db"))
    assert "is a directory" in await refusal(str(tmp_path))
    assert "cannot" in await refusal("/proc/perdure.db")


async def test_a_database_locked_by_another_program_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await opened(path)).close()
    monkeypatch.setattr("perdure.storage.sqlite.connection.BUSY_MS", 10)
    other = apsw.Connection(path)
    other.execute("pragma locking_mode = exclusive; begin exclusive").fetchall()

    assert "locked by another program" in await refusal(path)
    other.close()


async def test_a_full_disk_refuses_batches_until_there_is_space(path: str) -> None:
    store = await opened(path, pragmas={"max_page_count": "80"})
    large = [run(1, history=events(1, 3, size=400_000))]

    refused, small = await outcomes(store, batch(runs=large), batch(runs=[run(2)], currents=[current(2)]))

    assert isinstance(refused, Refused)
    assert "disk full" in refused.reason
    assert small is None
    assert (await loaded(store, 2)).run is not None
    assert (await loaded(store, 1, run(1).run_id)).run is None
    await store.close()


async def test_a_value_that_no_column_can_hold_refuses_its_batch_and_no_other(path: str) -> None:
    store = await opened(path)
    too_late = run(1)
    too_late.wake_at = 1 << 70

    refused, fine = await outcomes(store, batch(runs=[too_late]), batch(runs=[run(2)], currents=[current(2)]))

    assert isinstance(refused, Refused)
    assert "cannot be stored" in refused.reason
    assert fine is None
    await store.close()


async def test_no_number_where_one_must_be_is_not_taken_for_a_row_that_is_there(path: str) -> None:
    """SQLite stores what is no number as null."""
    store = await opened(path)

    refused = await outcome(store, batch(tasks=[task(1, fairness_weight=float("nan"))]))

    assert isinstance(refused, Refused)
    assert refused.reason.startswith("a value cannot be stored")
    assert not refused.run_nos
    await store.close()


async def test_a_store_that_failed_takes_no_more_batches(path: str) -> None:
    def points(name: str) -> None:
        raise apsw.IOError("disk I/O error")

    store = await opened(path, points=points)

    first, second = await outcomes(store, batch(runs=[run(1)]), batch(runs=[run(2)]))

    assert isinstance(first, StoreFailed)
    assert "I/O error" in str(first)
    assert isinstance(second, StoreFailed)
    await store.close()


async def test_the_log_does_not_grow_for_ever_under_load(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.storage.sqlite.writer.CHECKPOINT_PAGES", 20)
    monkeypatch.setattr("perdure.storage.sqlite.writer.LONG_LOG_PAGES", 100)
    store = await opened(path)

    results = await outcomes(
        store, *(batch(runs=[run(n)], visibility=[execution(n)], currents=[current(n)]) for n in range(1, 1500))
    )

    assert set(results) == {None}
    # Some 15,000 pages were written. How many wait at a time depends on when the checkpointing thread gets a processor.
    assert Path(path + "-wal").stat().st_size < 4000 * 4120
    await store.close()


async def test_a_log_that_a_killed_server_left_is_carried_over_at_once(path: str, tmp_path: Path) -> None:
    """A server that is killed again and again writes little each time; the log must not grow through all its lives."""
    store = await opened(path)
    assert set(await outcomes(store, *(batch(runs=[run(n, core=b"x" * 4000)]) for n in range(1, 100)))) == {None}
    left = str(tmp_path / "left.db")
    for suffix in ("", "-wal"):
        shutil.copy(path + suffix, left + suffix)
    await store.close()
    assert Path(left).stat().st_size < 99 * 4096, "all is in the log"

    store = await opened(left)

    async with asyncio.timeout(10):
        while Path(left).stat().st_size < 99 * 4096:
            await asyncio.sleep(0.005)
    await store.close()


async def test_a_closed_database_is_one_file_and_its_lock(path: str) -> None:
    store = await opened(path)
    assert await outcome(store, batch(runs=[run(1)])) is None
    await store.close()

    assert {file.name for file in Path(path).parent.iterdir()} == {"perdure.db", "perdure.db.lock"}


async def test_a_database_of_format_1_is_brought_to_the_newest(path: str) -> None:
    number, script = migrations()[0]
    assert number == 1
    old = apsw.Connection(path)
    old.pragma("journal_mode", "wal")
    old.execute(script)
    old.execute("insert into meta values ('format', cast('1' as blob))")
    old.pragma("application_id", APPLICATION_ID)
    old.execute(WRITES["insert_execution"], astuple(execution(1))[:EXECUTION_COLUMNS])
    old.close()

    store = await opened(path)

    await written(store, visibility=[execution(2)])
    rows, _ = await store.list_executions(NAMESPACE, parse("WorkflowType = 'Order'", {}), 9, b"")
    assert [row.run_no for row in rows] == [2, 1]
    await store.close()
    assert (
        apsw.Connection(path).execute("select value from meta where name = 'format'").get == b"%d" % migrations()[-1][0]
    )
