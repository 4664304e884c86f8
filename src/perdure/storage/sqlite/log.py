"""The log that an unclean end leaves behind: written again before anybody believes it.

A sync that failed ends the process (docs/decisions/0019). What it was to write may then be in the system's cache
and not on the disk, marked clean: the next process reads it as committed, puts its own commits behind it, syncs those,
and a loss of power takes the middle of the log, with all that was acknowledged after it. So the bytes are written once
more, the same to the same places, and synced. A log that was closed in order is gone and costs nothing.

The pages of the database itself need no such care: a checkpoint whose sync failed leaves the log as it is, and the next
one begins with the log's first page.
"""

from __future__ import annotations

import os

import apsw

CHUNK = 1 << 16
"""SQLite's files take less than 128 KiB at a time."""


def write_again(connection: apsw.Connection, vfs: str | None) -> None:
    """Make durable all that reads of `connection` may find in its log. Raises apsw's errors."""
    path = connection.filename_wal
    if not path or not os.path.exists(path) or not os.path.getsize(path):
        return
    # The lock of a writer: whoever else has the file open can neither add to the log nor start it over meanwhile.
    connection.execute("begin immediate")
    try:
        log = apsw.VFSFile(vfs or "", path, [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
        try:
            for offset in range(0, size := log.xFileSize(), CHUNK):
                log.xWrite(log.xRead(min(CHUNK, size - offset), offset), offset)
            log.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            log.xClose()
    finally:
        connection.execute("rollback")
