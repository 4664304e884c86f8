"""Opening connections, and saying in one line what went wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

import apsw

from perdure.storage.store import StoreFailed

BUSY_MS = 5_000
"""How long a lock held by another program (a backup, an open shell) is waited for, in milliseconds."""

APPLICATION_ID = 0x50455244
"""`PERD`, in the header of every file of ours (SQLite's application_id)."""


def open_file(path: str, pragmas: Mapping[str, str], vfs: str | None = None) -> apsw.Connection:
    """A connection that reads and writes the WAL file at `path`. Checkpoints only when told to, and closes without
    one."""
    connection = apsw.Connection(path, vfs=vfs)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(BUSY_MS)
    connection.pragma("synchronous", "full")
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("cache_size", -32_768)  # KiB, taken only as it fills
    connection.pragma("temp_store", "memory")
    _configure(connection, pragmas)
    return connection


def open_to_read(path: str) -> apsw.Connection:
    """A connection that cannot write. SQLite may still put its two empty work files beside a file that has none."""
    try:
        connection = _to_read(path)
    except apsw.CantOpenError:
        if os.path.exists(path + "-wal"):
            raise
        # Without a log to read, and in a directory that takes no file, the file is all there is, and stays as it is.
        connection = _to_read(f"file:{quote(os.path.abspath(path))}?immutable=1")
    connection.pragma("cache_size", -32_768)
    return connection


def _to_read(path: str) -> apsw.Connection:
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("select count(*) from sqlite_schema").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def open_memory(pragmas: Mapping[str, str]) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    _configure(connection, pragmas)
    return connection


def _configure(connection: apsw.Connection, pragmas: Mapping[str, str]) -> None:
    # A double-quoted string would silently be text where a column was meant.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    for name, value in pragmas.items():
        connection.pragma(name, value)


def check_place(path: str) -> None:
    """Raises StoreFailed when no database can be at `path`."""
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise StoreFailed(f"cannot open database {path}: directory {directory} does not exist; create it first")
    if os.path.isdir(path):
        raise StoreFailed(f"cannot open database {path}: it is a directory; name a file in it")
    if os.path.exists(path):
        if not os.access(path, os.R_OK | os.W_OK):
            raise StoreFailed(f"cannot open database {path}: no permission to read and write it")
    elif not os.access(directory, os.W_OK):
        raise StoreFailed(f"cannot create database {path}: no permission to write to directory {directory}")


def failure(path: str, error: apsw.Error) -> StoreFailed:
    """One line about a database that cannot be used."""
    match error:
        case apsw.NotADBError():
            return StoreFailed(f"{path} is not a SQLite database; choose another file")
        case apsw.CorruptError():
            return StoreFailed(f"database {path} is damaged ({error}); restore a backup")
        case apsw.BusyError() | apsw.LockedError():
            return StoreFailed(f"database {path} is locked by another program; close it and start again")
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return StoreFailed(f"database {path} cannot be written to ({error})")
        case apsw.FullError():
            return StoreFailed(f"database {path} cannot grow: the disk is full")
        case apsw.CantOpenError():
            return StoreFailed(f"cannot open database {path}: {error}")
        case apsw.IOError():
            return StoreFailed(f"database {path}: I/O error ({error}); check the disk, then start again")
        case _:
            return StoreFailed(f"database {path}: {error}")


@contextmanager
def reported(path: str) -> Iterator[None]:
    """Turn a driver's error into StoreFailed."""
    try:
        yield
    except apsw.Error as error:
        raise failure(path, error) from error
