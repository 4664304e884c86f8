"""The writer thread of a file, and the thread that checkpoints for it.

One connection writes, batch after batch, in the order they were handed over; each is a transaction of its own with one
fsync. Its rows are put in on the event loop when nothing else is under way, and only the commit, which waits for the
disk, is the thread's: SQLite gives up the interpreter's lock at every row, and winning it back from a busy event loop
costs three times as much as the row. What is handed over while the thread is at work is written by the thread whole.

Moving the log's pages into the database costs several fsyncs more, so another thread does it on its own
connection while batches keep landing: the writer's only part is to say how long the log has become.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

import apsw

from perdure.storage.sqlite.batch import Points, Transaction, commit, fill, write
from perdure.storage.sqlite.connection import BUSY_MS, failure
from perdure.storage.sqlite.sweep import sweep
from perdure.storage.store import Done, Refused, StoreFailed

CHECKPOINT_PAGES = 1_000
"""Pages written to the log after which a checkpoint is worth its fsyncs."""

LONG_LOG_PAGES = 8 * CHECKPOINT_PAGES
"""Beyond this the writer itself copies the last stretch, between two batches. Under a load without any pause the log is
never at rest when the other thread reaches its end, so it would not start over and the file would grow for ever."""

Swept = Callable[[int | StoreFailed], None]
Work = tuple[Transaction, Done] | tuple[None, Done] | tuple[int, Swept] | None
"""A batch, the commit of one whose rows are in, a sweep of so many rows, or the end."""


class Locked(Refused):
    """Another program holds the database's lock."""


def attempt(
    connection: apsw.Connection, path: str, transaction: Transaction, points: Points | None
) -> Refused | StoreFailed | None:
    """Write one batch. None, Refused (nothing was written, the store goes on) or StoreFailed (it cannot)."""
    return outcome_of(lambda: write(connection, transaction, points), path, transaction)


def outcome_of(
    attempted: Callable[[], None], path: str, transaction: Transaction | None
) -> Refused | StoreFailed | None:
    """What came of a piece of writing."""
    try:
        attempted()
    except (Refused, StoreFailed) as refusal:
        return refusal
    except apsw.FullError:
        return Refused("disk full: nothing can be written until there is space again")
    except apsw.ConstraintError as error:
        if error.extendedresult == apsw.SQLITE_CONSTRAINT_NOTNULL:  # type: ignore[attr-defined]  # not in the stubs
            # What is no number is null to SQLite.
            return Refused(f"a value cannot be stored ({error})")
        rows = [] if transaction is None else transaction.updates + transaction.inserts
        return Refused(f"a row is there already ({error})", [row[0] for row in rows])
    except (apsw.BusyError, apsw.LockedError):
        return Locked("the database is locked by another program")
    except apsw.Error as error:
        return failure(path, error)
    except (OverflowError, UnicodeError, TypeError, ValueError) as error:
        # A value that no column can hold; the rows before it were rolled back.
        return Refused(f"a value cannot be stored ({error})")
    return None


class Writer:
    """Owns the write connection and the checkpoint connection of a file, each on its own thread."""

    def __init__(
        self,
        path: str,
        connection: apsw.Connection,
        checkpoint_connection: apsw.Connection,
        loop: asyncio.AbstractEventLoop,
        points: Points | None,
    ) -> None:
        self._path = path
        self._connection = connection
        self._loop = loop
        self._points = points
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._failed: StoreFailed | None = None
        self._under_way = 0
        """What was handed over and not reported: while there is any, the connection is the thread's."""
        self._checkpoints = Checkpointer(checkpoint_connection, path, self._fail)
        self._thread = threading.Thread(target=self._run, name="perdure-writer", daemon=True)
        self._thread.start()

    def submit(self, transaction: Transaction, done: Done) -> None:
        self._under_way += 1
        if self._under_way > 1 or self._failed is not None:
            self._queue.put((transaction, self._counted(done)))
            return
        # On the loop nobody may wait for a lock that another program holds: the thread does.
        self._connection.set_busy_timeout(0)
        try:
            outcome = self._guarded(lambda: fill(self._connection, transaction), transaction)
        finally:
            self._connection.set_busy_timeout(BUSY_MS)
        if outcome is None:
            self._queue.put((None, self._counted(done)))
        elif isinstance(outcome, Locked):
            self._queue.put((transaction, self._counted(done)))
        else:
            self._loop.call_soon(self._counted(done), outcome)

    def sweep(self, budget_rows: int, done: Swept) -> None:
        self._under_way += 1
        self._queue.put((budget_rows, self._counted(done)))

    def _counted(self, done: Callable[[Any], None]) -> Callable[[Any], None]:
        def finished(outcome: Any) -> None:
            self._under_way -= 1
            done(outcome)

        return finished

    @property
    def failed(self) -> bool:
        return self._failed is not None

    def stop(self) -> None:
        """Finish what was submitted and end both threads. Blocks; to be called off the event loop."""
        self._queue.put(None)
        self._thread.join()
        self._checkpoints.stop()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            outcome: object
            if self._failed is not None:
                outcome = self._failed
            elif isinstance(work[0], int):
                outcome = self._sweep(work[0])
            else:
                outcome = self._write(work[0])
            self._checkpoints.log_grew(self._pages_written())
            if self._checkpoints.log_is_long:
                self._checkpoints.catch_up(self._connection)
            try:
                self._loop.call_soon_threadsafe(cast("Callable[[object], None]", work[1]), outcome)
            except RuntimeError:
                return  # The loop is closed: nobody is left to answer, and nothing unanswered was promised.

    def _write(self, transaction: Transaction | None) -> Refused | StoreFailed | None:
        if transaction is None:
            return self._guarded(lambda: commit(self._connection, self._points), None)
        return self._guarded(lambda: write(self._connection, transaction, self._points), transaction)

    def _guarded(self, attempted: Callable[[], None], transaction: Transaction | None) -> Refused | StoreFailed | None:
        outcome: Refused | StoreFailed | None
        try:
            outcome = outcome_of(attempted, self._path, transaction)
        except Exception as error:  # A defect of ours must end the server, not leave callers waiting on a dead thread.
            outcome = StoreFailed(f"database {self._path}: {type(error).__name__}: {error}")
        if isinstance(outcome, StoreFailed):
            self._failed = outcome
        return outcome

    def _sweep(self, budget_rows: int) -> int | StoreFailed:
        try:
            return sweep(self._connection, budget_rows)
        except (apsw.FullError, apsw.BusyError):
            return 0  # Idle work: it is asked for again.
        except apsw.Error as error:
            self._failed = failure(self._path, error)
            return self._failed

    def _pages_written(self) -> int:
        """Pages that went to the log since the last call. (SQLite's hook for this is called inside the commit, which
        then has to win the interpreter's lock once more.)"""
        return self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)[0]

    def _fail(self, error: StoreFailed) -> None:
        self._failed = error


class Checkpointer:
    """Copies the log into the database. After an error there is no second try: SQLite counts pages as copied that only
    the sync which failed would have brought to the disk, and with the rest copied it would give up the log."""

    def __init__(self, connection: apsw.Connection, path: str, fail: Callable[[StoreFailed], None]) -> None:
        self._connection = connection
        self._path = path
        self._fail = fail
        self._pages = 0
        self.log_is_long = False
        self._at_work = threading.Lock()
        self._wanted = threading.Event()
        # There may be a log that a killed server left. This one may be killed too before it has written enough.
        self._wanted.set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="perdure-checkpoints", daemon=True)
        self._thread.start()

    def log_grew(self, pages: int) -> None:
        """Called after every commit, on the writer's thread."""
        self._pages += pages
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            self._wanted.set()

    def catch_up(self, connection: apsw.Connection) -> None:
        """Called on the writer's thread, between two batches. All but the newest pages are in the database already;
        with those there too, the next commit starts the log over."""
        self.log_is_long = False
        if self._at_work.acquire(blocking=False):
            try:
                if not self._stopping:
                    self._copy(connection)
            finally:
                self._at_work.release()

    def stop(self) -> None:
        self._stopping = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            with self._at_work:
                if self._stopping:
                    return
                self.log_is_long = self._copy(self._connection) > LONG_LOG_PAGES

    def _copy(self, connection: apsw.Connection) -> int:
        """How many pages the log has."""
        try:
            pages, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.BusyError, apsw.LockedError, apsw.FullError):
            return 0  # Nothing is lost, the log keeps it; tried again when the log has grown.
        except apsw.Error as error:
            self._stopping = True
            self._fail(failure(self._path, error))
            return 0
        return int(pages)
