"""One server a database: a lock file beside it, held for as long as the process lives.

The operating system drops the lock with the process, so a crash leaves nothing to clean up. The file stays, since
removing it would let two servers lock two files of one name.
"""

from __future__ import annotations

import os
import sys

from perdure.storage.store import StoreFailed


class LockFile:
    def __init__(self, database: str) -> None:
        self._database = database
        # Through the real path, so that two names of one file share one lock.
        self._path = os.path.realpath(database) + ".lock"
        self._fd: int | None = None

    def take(self) -> None:
        """Raises StoreFailed when another process holds the lock, or the file cannot be written."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise StoreFailed(
                f"cannot write {self._path}: {error.strerror}; the server needs a directory it may write to"
            ) from None
        if not _try_lock(fd):
            pid = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StoreFailed(
                f"database {self._database} is in use by another server (process {pid}); stop it or choose another file"
            )
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _try_lock(fd: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte far behind the text, because a locked byte cannot be read there.
            os.lseek(fd, 1 << 20, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            os.lseek(fd, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
