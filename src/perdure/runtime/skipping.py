"""Time skipping: when nobody has anything to do but wait, the clock jumps to what is waited for.

There is one rule. Time may skip when there is no hard owner (`owners.py`) and `explicit` plus the number of soft owners
is at most zero; then it jumps to the earliest deadline of any run, or to the end of the earliest sleep. It does so in
one place (`_look`), after a last check, and everything that is due at that moment happens before time moves again. At
all other times it runs at the wall's pace: while somebody is busy, while it is locked, and while there is nothing to
jump to. What is due after `SkippingTime.LAST` is nothing to jump to: SDKs cannot read the moments after the year 9999.

`explicit` is what clients ask for by the TestService: locks, less the sleeps that unlock for their length. A sleep
called from inside an activity so outweighs that activity, and time skips past it. `UnlockTimeSkipping` only ever takes
back a lock: several waits at once each unlock and lock, and the surplus unlocks are remembered, so that time stays
unlocked until the last of them ends and none of them skips past somebody's activity.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.call import Reply, Waiter
from perdure.clock import SECOND, SkippingTime
from perdure.config import ConfigError
from perdure.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, PerdureError
from perdure.runtime.alarms import Alarm
from perdure.runtime.inputs import RETRY_SECONDS
from perdure.runtime.owners import Owners
from perdure.storage.store import StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.executions import Key
    from perdure.runtime.runtime import Runtime

OFFSET = "time_offset"
"""Name of the stored fact: microseconds that the database's time is ahead of the wall."""

PATIENCE_SECONDS = 0.25
"""How long an unlock that finds nothing to release waits for a lock: two waits for results that are there already may
cross."""

ANSWER_MARGIN_SECONDS = 0.5
"""A sleep that its caller gives up on is told why so long before."""

_CENTURY = 36_500 * 86_400 * SECOND
_END = "9000-01-01T00:00:00Z"
"""`SkippingTime.LAST`, for people."""

COMPLAIN_SECONDS = 10.0
"""When somebody wants time to skip and nothing has moved for so long, the log says what is in the way."""


class Sleep:
    """Somebody who waits for a moment of virtual time. `opens`: time is unlocked for them; `outweighs`: by the
    counter."""

    __slots__ = ("due", "ended", "opens", "outweighs")

    def __init__(self, due: int, ended: Callable[[], object]) -> None:
        self.due = due
        self.ended: Callable[[], object] | None = ended
        self.opens = False
        self.outweighs = False


class Skipper:
    """The only one who moves `time`. `locks` is how many locks there are at the start.

    For helpers that live in the same process: `sleep`, `freeze` and `thaw`, `when_idle`, `explain`, `jumps`.
    """

    def __init__(self, runtime: Runtime, time: SkippingTime, *, locks: int, stored: bool) -> None:
        self._runtime = runtime
        self.time = time
        self.owners = Owners(runtime)
        self.jumps = 0
        """How often time has jumped."""
        self._stored = stored
        self._locks = locks
        self._surplus = 0
        """Unlocks that found no lock while somebody may have waited for a result; each swallows a lock."""
        self._outweighing = 0
        """Sleeps under way that count as an unlock."""
        self._opening = 0
        self._parked: deque[Callable[[], bool]] = deque()
        self._sleeps: list[tuple[int, int, Sleep]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._looking = False
        self._closed = False
        self._watchers: list[Callable[[], None]] = []
        self._complaint: Alarm | None = None
        self._told_of_end = False

    # ---- life
    def resume(self, offset: bytes | None) -> None:
        """Take up the offset stored under `OFFSET`, before anything is stamped. Raises ConfigError when it is one of an
        earlier version, which skipped to the end of the calendar."""
        if offset is not None:
            self.time.resume(int(offset))
            if self.time.now() > SkippingTime.LAST + _CENTURY:  # the wall's pace alone leads beyond LAST, but not there
                raise ConfigError(
                    "the time of this database is near the end of the year 9999, and clients cannot be told of what "
                    "follows (start with another file)"
                )

    def start(self) -> None:
        """The runtime is up."""
        self.owners.load()
        self.poke()

    def close(self) -> None:
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    # ---- what the runtime tells
    def sealed(self, key: Key, run: Any) -> None:
        """The run is about to be written, or is found to be, in this state."""
        self.owners.observe(key, run)

    def forget(self, run_id: str) -> None:
        """The run was deleted."""
        self.owners.forget(run_id)
        self.poke()

    def hold(self, owner: object, why: Callable[[], str]) -> None:
        """A hard owner that no run's state shows, such as a query put to a worker."""
        self.owners.hold(owner, why)

    def release(self, owner: object) -> None:
        self.owners.release(owner)
        self.poke()

    def poke(self) -> None:
        """Something that kept time from skipping may have gone: look, once this round is over."""
        if not self._looking and not self._closed:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    # ---- the counter
    @property
    def explicit(self) -> int:
        """Locks less unlocking sleeps: below zero, as many soft owners are outweighed."""
        return self._locks - self._outweighing

    def lock(self) -> None:
        """One lock more, unless it belongs to an unlock that released none."""
        if self._surplus:
            self._surplus -= 1
        else:
            self._locks += 1
        while self._parked and self._parked[0]():
            self._parked.popleft()

    def unlock(self, waiter: Waiter, reply: Reply) -> None:
        """One lock less. Fails with FailedPrecondition, having changed nothing, when nothing is locked, nobody is busy
        and no workflow is open whose result somebody may await at the same time."""

        def take() -> bool:
            if self._locks:
                self._locks -= 1
            elif self._busy() or self._anything_open():
                self._surplus += 1
            else:
                return False
            waiter.finish(reply)
            self._complain_later()
            self.poke()
            return True

        self._try(take, waiter.fail, "UnlockTimeSkipping")

    def _busy(self) -> bool:
        return self.explicit + self.owners.soft + self.owners.hard > 0

    def _anything_open(self) -> bool:
        return bool(self._runtime.store.open_executions(("", 0, ""), 1))

    def _try(self, take: Callable[[], bool], fail: Callable[[PerdureError], None], rpc: str) -> None:
        if not self._parked and take():
            return

        def refuse() -> None:
            if take in self._parked:
                self._parked.remove(take)
                fail(
                    FailedPrecondition(
                        f"{rpc}: time skipping is unlocked already and nothing is busy, there is no lock to release; "
                        "every unlock needs a LockTimeSkipping before it (a server starts with one lock, or with none "
                        "when it was started with --enable-time-skipping)"
                    )
                )

        self._parked.append(take)
        self._runtime.alarms.after(PATIENCE_SECONDS, refuse)

    # ---- sleeps
    def sleep(self, duration: int, ended: Callable[[], object]) -> Sleep:
        """Have `ended` called (durably) when virtual time is `duration` microseconds later; at once if that is no
        time. Raises as `sleep_until`."""
        return self.sleep_until(self.time.now() + duration, ended)

    def sleep_until(self, due: int, ended: Callable[[], object]) -> Sleep:
        """Raises InvalidArgument for a moment that time does not skip to."""
        _check(due)
        sleep = Sleep(due, ended)
        self._add(sleep)
        return sleep

    def sleep_unlocked(self, duration: int, waiter: Waiter, ended: Callable[[], object]) -> Callable[[], None]:
        """`sleep`, with one lock less until just before `ended` is called. Returns what calls it off. Fails `waiter`
        like `unlock`, and with InvalidArgument when it is longer than time can skip."""
        sleep = Sleep(0, ended)

        def take() -> bool:
            if sleep.ended is None:  # called off while it waited
                return True
            due = self.time.now() + duration
            try:
                _check(due)
            except InvalidArgument as error:
                waiter.fail(error)
                return True
            if self._busy():
                self._outweighing += 1
                sleep.outweighs = True
            elif not self._anything_open():
                return False
            self._opening += 1
            sleep.opens = True
            sleep.due = due
            self._add(sleep)
            self._complain_later()
            return True

        self._try(take, waiter.fail, "UnlockTimeSkippingWithSleep")
        return lambda: self.wake(sleep)

    def wake(self, sleep: Sleep) -> None:
        """Call a sleep off: it ends without a word, and leaves the counter as it was."""
        if sleep.ended is not None:
            self._end(sleep)
            self.poke()

    def deadline_passed(self, due: int) -> DeadlineExceeded:
        """For one who waited for `due` in vain: what is in the way."""
        left = max(0, due - self.time.now()) / SECOND
        return DeadlineExceeded(f"{left:.3f} s of virtual time are left to sleep: " + "; ".join(self.explain()))

    def _add(self, sleep: Sleep) -> None:
        self._count += 1
        heapq.heappush(self._sleeps, (sleep.due, self._count, sleep))
        self.poke()

    def _end(self, sleep: Sleep) -> None:
        sleep.ended = None
        if sleep.outweighs:
            self._outweighing -= 1
            sleep.outweighs = False
        if sleep.opens:
            self._opening -= 1
            sleep.opens = False

    def _next_sleep(self) -> int | None:
        sleeps = self._sleeps
        while sleeps and sleeps[0][2].ended is None:
            heapq.heappop(sleeps)
        return sleeps[0][0] if sleeps else None

    def _end_sleeps(self) -> None:
        """End those whose time has come, and see to it that the next is ended in time even if time never skips."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        now = self.time.now()
        while (due := self._next_sleep()) is not None and due <= now:
            sleep = heapq.heappop(self._sleeps)[2]
            ended = sleep.ended
            self._end(sleep)  # the lock is back before anybody hears of it
            if ended is not None:
                # The jump that ended it must be durable: what was told must not be undone by a restart.
                self._runtime.after_commit(ended)
            self.poke()
        if due is not None and not self.time.frozen and not self._closed:
            # A millisecond at least: time may be held just short of `due`, until what is due before has happened.
            delay = max(0.001, (due - now) / SECOND)
            self._handle = asyncio.get_running_loop().call_later(delay, self._end_sleeps)

    # ---- by hand
    def freeze(self) -> None:
        """Stop the clock: from now on only `sleep_unlocked` moves it."""
        self.time.freeze()
        self._runtime.wakes.pause()

    def thaw(self) -> None:
        """Let it run, and skip, again."""
        self.time.thaw()
        self._keep_offset()
        self._runtime.wakes.resume()
        self.poke()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once when there is no owner, hard or soft: all workflows wait for time or for a message from
        outside."""
        self._watchers.append(callback)
        self.poke()

    # ---- the one place where time jumps
    @property
    def may_skip(self) -> bool:
        return (
            self.explicit + self.owners.soft <= 0
            and not self.owners.hard
            and (not self.time.frozen or self._opening > 0)
        )

    def _look(self) -> None:
        self._looking = False
        if self._closed:
            return
        if self._watchers and not self.owners.hard and not self.owners.soft:
            watchers, self._watchers = self._watchers, []
            for idle in watchers:
                idle()
        try:
            if self.may_skip:
                due = self._earliest()
                if due is not None and (due <= SkippingTime.LAST or due <= self.time.now()):
                    self._skip_to(due)
                elif due is not None:
                    self._tell_of_end()
        except StoreFailed as failure:
            self._runtime.log.error("what is due next cannot be read, will retry", reason=str(failure))
            self._runtime.alarms.after(RETRY_SECONDS, self.poke)
        finally:
            self._end_sleeps()

    def _earliest(self) -> int | None:
        wake = self._runtime.wakes.earliest()
        sleep = self._next_sleep()
        if wake is None or sleep is None:
            return sleep if wake is None else wake
        return min(wake, sleep)

    def _skip_to(self, due: int) -> None:
        """Jump, and have all runs decide what is due then, in one go: it joins one batch with the new offset."""
        if due > self.time.now():
            self.time.jump(due)
            self.jumps += 1
            self._keep_offset()
            self._runtime.removal.soon()
        self._runtime.wakes.ring()
        if self._runtime.committer.idle:
            self.poke()  # nothing came of it: the next

    def _keep_offset(self) -> None:
        if self._stored:
            self._runtime.committer.put_meta(OFFSET, b"%d" % self.time.offset)

    # ---- explaining
    def explain(self) -> list[str]:
        """What keeps time from skipping now, a line each: locks, tasks, activities, messages, queries. When nothing
        does, the one line says whether there is anything to skip to."""
        reasons = []
        if self.explicit > 0:
            number = "1 lock is" if self.explicit == 1 else f"{self.explicit} locks are"
            reasons.append(f"time is locked: {number} held (UnlockTimeSkipping releases one)")
        if self.time.frozen and not self._opening:
            reasons.append("time is frozen")
        reasons += self.owners.reasons(soft_too=self.explicit + self.owners.soft > 0)
        if reasons:
            return reasons
        due = self._earliest()
        if due is None:
            return ["nothing to skip to: no timer, retry, timeout or sleep is pending"]
        if due > SkippingTime.LAST:
            return [f"nothing to skip to: all that is pending is due after {_END}, and time does not skip beyond that"]
        return [f"nothing: time skips {max(0, due - self.time.now()) / SECOND:.3f} s ahead at once"]

    def _tell_of_end(self) -> None:
        if not self._told_of_end:
            self._told_of_end = True
            self._runtime.log.warning("time skips no further", because=self.explain()[0])

    def _complain_later(self) -> None:
        """Somebody wants time to skip: if it has not by and by, write down why."""
        if self._complaint is not None:
            self._complaint.cancel()
        jumps = self.jumps

        def complain() -> None:
            wanted = self._opening > 0 or self._locks == 0
            if wanted and self.jumps == jumps and not self.may_skip and not self._closed:
                self._runtime.log.warning("time does not skip", because="; ".join(self.explain()))

        self._complaint = self._runtime.alarms.after(COMPLAIN_SECONDS, complain)


def _check(due: int) -> None:
    if due > SkippingTime.LAST:
        raise InvalidArgument(f"cannot sleep beyond {_END}: time does not skip further")
