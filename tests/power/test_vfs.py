"""The disk of these tests hears of the same syncs as a real one: those that SQLite makes, when it makes them.

A model that syncs less than SQLite reports losses that cannot be; one that syncs more hides losses.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import apsw
import pytest

from perdure.storage.sqlite.connection import open_file
from tests.power.disk import Disk
from tests.power.vfs import PowerVFS

OPEN_DIRECTORY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))

Count = Callable[[], int]


@pytest.fixture
def real_syncs() -> Iterator[Count]:
    """How many directories SQLite's own VFS has opened, which it does to sync them and for nothing else."""
    vfs = apsw.VFS("real", "")
    original = OPEN_DIRECTORY(vfs.xGetSystemCall("openDirectory") or 0)
    opened: list[bytes] = []

    @OPEN_DIRECTORY
    def open_directory(path: bytes, descriptor: ctypes._Pointer[ctypes.c_int]) -> int:
        opened.append(path)
        return original(path, descriptor)

    vfs.xSetSystemCall("openDirectory", ctypes.cast(open_directory, ctypes.c_void_p).value or 0)
    yield lambda: len(opened)
    vfs.xSetSystemCall("openDirectory", 0)


class CountingDisk(Disk):
    syncs = 0

    def sync_directory(self) -> None:
        self.syncs += 1
        super().sync_directory()


@pytest.mark.skipif(sys.platform == "win32", reason="directories are synced on Unix only")
def test_directories_are_synced_when_sqlite_syncs_them(tmp_path: Path, real_syncs: Count) -> None:
    (tmp_path / "real").mkdir()
    real = directory_syncs(tmp_path / "real" / "perdure.db", None, real_syncs)
    disk = CountingDisk()
    vfs = PowerVFS(tmp_path / "model", disk)
    model = directory_syncs(vfs.folder / "perdure.db", vfs.name, lambda: disk.syncs)

    assert model == real
    assert real["a log that a killed process left"] == 1, "or its name might never be synced"


def directory_syncs(path: Path, vfs: str | None, count: Count) -> dict[str, int]:
    """By what was committed to."""
    syncs: dict[str, int] = {}

    def commit(connection: apsw.Connection, to: str, statement: str) -> None:
        before = count()
        connection.execute(statement)
        syncs[to] = count() - before

    with ExitStack() as both:
        first = both.enter_context(closing(open_file(str(path), {}, vfs)))
        commit(first, "a database without a log", "create table cats (name)")
        commit(first, "a file that becomes one with a log", "pragma journal_mode = wal")
        commit(first, "a new log", "insert into cats values ('Tom')")
        commit(first, "the same log again", "insert into cats values ('Kit')")
        second = both.enter_context(closing(open_file(str(path), {}, vfs)))
        commit(second, "a log that another connection made", "insert into cats values ('Felix')")
    # Closed without a checkpoint: files as after a kill.
    with closing(open_file(str(path), {}, vfs)) as connection:
        commit(connection, "a log that a killed process left", "insert into cats values ('Garfield')")
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    with closing(open_file(str(path), {}, vfs)) as connection:
        commit(connection, "a log made anew", "insert into cats values ('Simba')")
    return syncs
