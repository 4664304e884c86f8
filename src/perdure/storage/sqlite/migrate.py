"""From an empty or older file to the present format, one numbered script at a time.

A format number is the number of the last script that ran: `migrations/001_initial.sql` makes format 1. Each script and
its number land in one transaction, so an interrupted upgrade continues where it stopped.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import apsw

from perdure.storage.sqlite.connection import APPLICATION_ID
from perdure.storage.store import StoreFailed


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """(number, script), ascending."""
    folder = files(__package__).joinpath("migrations")
    scripts = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple((int(name[:3]), script) for name, script in scripts)


def format_of(connection: apsw.Connection, path: str, release: str) -> int:
    """The format of the file, 0 for an empty one. Raises StoreFailed for one that is not ours or newer than we are.
    Changes nothing: a file that is refused stays as it is."""
    if connection.execute("select count(*) from sqlite_schema").get == 0:
        return 0
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreFailed(f"{path} is the database of another program; choose another file")
    row = connection.execute("select value from meta where name = 'format'").get
    if row is None:
        raise StoreFailed(f"database {path} is damaged (it has no format number); restore a backup")
    present = int(bytes(row))
    newest = migrations()[-1][0]
    if present > newest:
        row = connection.execute("select value from meta where name = 'written_by'").get
        writer = bytes(row).decode() if row else "a later release"
        raise StoreFailed(
            f"database {path} has format {present}, written by perdure {writer}; "
            f"this release ({release}) reads up to format {newest}: upgrade perdure"
        )
    return present


def migrate(connection: apsw.Connection, present: int, release: str) -> None:
    """Bring the database from format `present` to the newest."""
    for number, script in migrations():
        if number > present:
            with connection:
                connection.execute(script)
                _put(connection, "format", str(number))
                _put(connection, "written_by", release)
                connection.pragma("application_id", APPLICATION_ID)
    if present == migrations()[-1][0]:
        with connection:
            _put(connection, "written_by", release)


def _put(connection: apsw.Connection, name: str, value: str) -> None:
    connection.execute("insert or replace into meta (name, value) values (?, ?)", (name, value.encode()))
