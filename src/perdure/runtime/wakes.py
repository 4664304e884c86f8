"""The timer loop: which runs are due, by one `wake_at` a run.

Only the nearest wakes are in memory. The store is read up to a point, a page at a time, and further when nothing up to
there is left and its time has come: so neither a million runs asleep nor a million overdue after a long stop take
memory. A heap entry holds if `armed` still says so: every write of a run re-arms it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from perdure.clock import SECOND, Time
from perdure.runtime.executions import Key
from perdure.runtime.inputs import RETRY_SECONDS
from perdure.runtime.slices import PAUSE_SECONDS, TURNS, Slices
from perdure.storage.store import Store, StoreFailed

WINDOW = 60 * SECOND
PAGE = 1000
NEVER = 1 << 62
LOOK_SECONDS = 2.0
"""The clock is looked at so often, whatever it is waited for: it goes on while a machine sleeps, and the event loop's
does not."""


class Wakes:
    """`wake(key, run_id)` is called for each run when it is due. `hold(at)` hears before which moment nothing is due: a
    clock that can skip does not run past it until `ring` carried out what was due then."""

    def __init__(
        self,
        store: Store,
        time: Time,
        wake: Callable[[Key, str], None],
        hold: Callable[[int], None] | None = None,
        slices: Slices | None = None,
        settled: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._store = store
        self._time = time
        self._wake = wake
        self._hold = hold
        self._slices = slices
        """None: all that is due is woken in one go."""
        self._settled = settled
        """Calls back when all that was decided so far can be read."""
        self._settled_to = 0
        self._heap: list[tuple[int, int, str, Key]] = []
        """(wake time, order of arming, run ID, execution)"""
        self._count = 0
        self._armed: dict[str, int] = {}
        """Run ID to the wake time that holds, for those in memory."""
        self._read_to = (0, 0)
        """(wake time, run number): of what was stored when it was read, all up to there is in memory, or was woken."""
        self._turns = 0
        self._handle: asyncio.Handle | None = None
        self._handle_for = 0
        self._running = False
        self._paused = False

    def start(self) -> None:
        self._running = True
        self._settled_to = self._time.now() + WINDOW
        self._load(self._settled_to)
        self._schedule()

    def stop(self) -> None:
        self._running = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def pause(self) -> None:
        """The clock stands still: nothing rings by itself."""
        self._paused = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def resume(self) -> None:
        self._paused = False
        if self._running:
            self._schedule()

    def arm(self, key: Key, run_id: str, wake_at: int) -> None:
        """The run's earliest deadline is now `wake_at` (0: none)."""
        near = wake_at - 2 * WINDOW
        if not wake_at or (near > self._read_to[0] and near > self._time.now()):
            # The next read may reach that far, and not find what is being written.
            self._armed.pop(run_id, None)
            return
        if self._armed.get(run_id) == wake_at:
            return
        self._armed[run_id] = wake_at
        self._push(wake_at, run_id, key)
        if self._running and (self._handle is None or wake_at < self._handle_for):
            self._schedule()

    def earliest(self) -> int | None:
        """The next moment at which something is due, looked up in the store if need be."""
        known = self._first()
        if known <= self._read_to[0]:
            return known
        for stored in self._store.due_runs(self._read_to, known - 1, 1):
            return stored.wake_at
        return None if known == NEVER else known

    def ring(self) -> None:
        """The clock jumped: wake all runs that are due now, earliest first, before this returns (beyond a page: right
        after)."""
        if self._running:
            self._ring()

    def more(self) -> bool:
        """Whether what is due besides may be decided at once: a slice is not over, or there are none."""
        return self._slices is None or self._slices.more()

    def _push(self, wake_at: int, run_id: str, key: Key) -> None:
        self._count += 1
        heapq.heappush(self._heap, (wake_at, self._count, run_id, key))

    def _first(self) -> int:
        """The earliest wake in memory; NEVER when there is none."""
        heap = self._heap
        while heap and self._armed.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def _load(self, until: int) -> None:
        """Bring the next page of wakes up to `until` from the store."""
        if until > max(self._read_to[0], self._settled_to) + 2 * WINDOW and self._settled is not None:
            # The clock went so far at once that what was too far away for memory may be due before it is written.
            self._settled_to = until
            before = self._read_to
            self._settled(lambda: self._look_again(before))
        due = self._store.due_runs(self._read_to, until, PAGE)
        for run in due:
            if run.run_id not in self._armed:
                self._armed[run.run_id] = run.wake_at
                self._push(run.wake_at, run.run_id, (run.namespace_id, run.kind, run.execution_id))
        self._read_to = (due[-1].wake_at, due[-1].run_no) if len(due) == PAGE else (until, NEVER)

    def _look_again(self, before: tuple[int, int]) -> None:
        self._read_to = min(self._read_to, before)
        if self._running:
            self._schedule()

    def _schedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        now = self._time.now()
        due = min(self._first(), self._read_to[0])
        self._handle_for = due
        if self._hold is not None:
            self._hold(due)
        if self._paused:
            return
        delay = min(max(0, due - now) / SECOND, LOOK_SECONDS)
        if delay or self._slices is None:
            self._handle = asyncio.get_running_loop().call_later(delay, self._ring)
        else:
            self._turns = TURNS
            self._let_others()

    def _let_others(self) -> None:
        """More is due: others have some turns of the loop first."""
        loop = asyncio.get_running_loop()
        assert self._slices is not None
        if self._turns:
            self._turns -= 1
            self._handle = loop.call_soon(self._let_others)
        elif self._slices.room():
            self._ring()
        else:
            self._handle = loop.call_later(PAUSE_SECONDS, self._let_others)

    def _ring(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        now = self._time.now()
        if now >= self._read_to[0] < self._first():
            try:
                self._load(now + WINDOW)
            except StoreFailed:
                # What is in memory fires; the window is read again, and again, as nobody else will.
                self._handle = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._ring)
                self._handle_for = now
                self._fire(now)
                raise
        self._fire(min(now, self._read_to[0]))  # others may be due before what lies beyond
        if self._running:
            self._schedule()

    def _fire(self, until: int) -> None:
        slices = self._slices
        if slices is not None:
            slices.begin()
        fired = 0
        while fired < PAGE and (slices is None or slices.more()):
            if self._first() > until:
                break
            _, _, run_id, key = heapq.heappop(self._heap)
            del self._armed[run_id]
            self._wake(key, run_id)
            fired += 1
        if slices is not None:
            slices.end()
