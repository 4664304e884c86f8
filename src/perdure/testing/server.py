"""A server whose time skips, on a thread of its own, for the tests of the process it runs in.

Its event loop is not the test's: so it serves tests that have a loop each, or none, and goes on while a test blocks
its loop. That costs less than a millisecond a server (see docs/testing.md).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from google.protobuf.empty_pb2 import Empty
from temporalio.common import SearchAttributeKey

from perdure.call import Reply
from perdure.clock import SkippingTime, SystemMonotonic, WallTime
from perdure.config import Config, DynamicConfig, namespaces_with_default
from perdure.errors import InvalidArgument, PerdureError
from perdure.runtime.skipping import Skipper
from perdure.server import Parts, Server, Surroundings, compose_server
from perdure.testing.waiting import waits

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

PATIENCE = timedelta(seconds=30)
"""Of real time, for `advance` and `wait_until_idle`: what takes longer is held up, and an error says by what."""

ANSWER_SECONDS = 10.0
"""For questions that the server's thread answers without waiting for anything."""

DRAIN_SECONDS = 2.0
"""What calls under way get when the server stops; workers have left by then."""


class TimeSkippingServer:
    """A whole server in memory, with a clock of its own. Time is locked (runs at the wall's pace) until somebody awaits
    a result, or moves it.

    All methods may be called from any thread. `start_time` is the virtual time at the start (default: now).
    """

    def __init__(
        self,
        *,
        namespaces: Sequence[str] = (),
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        dynamic_config: Mapping[str, Any] | None = None,
        start_time: datetime | None = None,
        port: int = 0,
    ) -> None:
        self._config = Config(
            port=port,
            namespaces=namespaces_with_default(namespaces),
            search_attributes={key.name: int(key.indexed_value_type) for key in search_attributes},
            dynamic=DynamicConfig(dynamic_config or {}),
            time_skipping=True,
            drain_grace=DRAIN_SECONDS,
        )
        self._time = SkippingTime(None if start_time is None else _WallFrom(start_time))
        self.address = ""
        """Where clients connect, such as `127.0.0.1:41234`."""
        self.given_up: deque[str] = deque(maxlen=5)
        """The last waits that did not come to their end, each with what was in the way at that moment."""
        self.deadline: float | None = None
        """When the test is about to be ended, in seconds of `SystemMonotonic`: waits give up by then, and say why. The
        pytest plugin sets it."""
        self._monotonic = SystemMonotonic()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        """Set while the server takes questions."""
        self._stopping = asyncio.Event()
        self._ended: Future[None] = Future()
        self._parts: Parts | None = None
        self._unlocking: Unlocking | None = None

    # ---- life
    def begin(self) -> Future[None]:
        """Start; done when calls are answered, or failed with what `Server.start` raises."""
        if self._thread is not None:
            raise RuntimeError("a TimeSkippingServer starts once")
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="perdure", daemon=True)
        self._thread.start()
        return started

    def end(self) -> Future[None]:
        """Stop; done when nothing is left but a thread about to return. Failed with what kept it from stopping well."""
        if self._thread is None and not self._ended.done():
            self._ended.set_result(None)
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
        return self._ended

    def start(self) -> None:
        self.begin().result()

    def stop(self) -> None:
        """Also ends well when the server was stopped before, or never started."""
        self.end().result()
        self.join()

    def join(self) -> None:
        """Wait for the thread, after `end` is done."""
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._loop is not None

    def _run(self, started: Future[None]) -> None:
        failure: BaseException | None = None
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve(started))
        except BaseException as error:
            # A thread has nobody to raise to: those who wait for its start or its end are told.
            failure = error
        if not started.done():
            started.set_exception(failure or RuntimeError("the server was stopped while it started"))
            failure = None
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    async def _serve(self, started: Future[None]) -> None:
        async with Server(config=self._config, time=self._time, compose=self._compose) as server:
            if not started.set_running_or_notify_cancel():
                return  # whoever started it has left
            assert server.skipper is not None, "the configuration asks for time skipping"
            self._unlocking = Unlocking(server.skipper)
            self.address = server.address
            with self._lock:
                self._loop = asyncio.get_running_loop()
            started.set_result(None)
            await self._stopping.wait()
            with self._lock:
                self._loop = None
        # Clients may be kept for long, and they know this object: it must not keep the server's memory and sockets.
        self._parts = self._unlocking = None

    def _compose(self, surroundings: Surroundings) -> Parts:
        self._parts = compose_server(surroundings)
        return self._parts

    # ---- time
    def now(self) -> datetime:
        """Virtual time, in whole milliseconds as in events."""
        at = self._ask(lambda skipper: skipper.time.now())
        return EPOCH + (at // 1000 * 1000) * MICROSECOND

    def advance(self, duration: timedelta | float, *, patience: timedelta = PATIENCE) -> None:
        """Move time forward, through all that is due on the way; also when it is locked or frozen.

        Raises TimeoutError, naming what is in the way, when it takes longer than `patience` of real time.
        """
        sleep = self.begin_advance(duration)
        try:
            sleep.ended.result(self.seconds_left(patience))
        except TimeoutError:
            raise self.too_long(f"advance {sleep.duration}", patience) from None
        finally:
            self.call_off(sleep)

    def begin_advance(self, duration: timedelta | float) -> Advance:
        """Raises ValueError for a negative duration. `ended` does for one that goes beyond the year 9000."""
        duration = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        if duration < timedelta():
            raise ValueError(f"time cannot go back: {duration}")
        advance = Advance(duration)
        self._post(advance.begin)
        return advance

    def call_off(self, advance: Advance) -> None:
        """Whoever wanted the move has left; nothing changes if it has been made."""
        with suppress(NotRunning):
            self._post(lambda _: advance.call_off())

    def freeze(self) -> None:
        """Stop the clock: from now on nothing but `advance` moves it."""
        self._ask(Skipper.freeze)

    def thaw(self) -> None:
        self._ask(Skipper.thaw)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def unlock(self) -> None:
        """Let time skip until `lock` is called as often."""
        self._post(lambda _: self._unlocker.enter())

    def lock(self) -> None:
        with suppress(NotRunning):  # it may be stopped while somebody waits
            self._post(lambda _: self._unlocker.leave())

    # ---- what it waits for
    def wait_until_idle(self, *, patience: timedelta = PATIENCE) -> None:
        """Return when no task waits or runs: workflows wait for time, or for a message from outside.

        Raises TimeoutError, naming what is still to do, when it takes longer than `patience` of real time.
        """
        try:
            self.begin_idle().result(self.seconds_left(patience))
        except TimeoutError:
            raise self.too_long("become idle", patience) from None

    def begin_idle(self) -> Future[None]:
        idle: Future[None] = Future()
        self._post(lambda skipper: skipper.when_idle(lambda: _resolve(idle)))
        return idle

    def explain(self) -> str:
        """What keeps time from skipping, and what each open workflow waits for: for somebody whose test hangs."""

        def explain(skipper: Skipper) -> str:
            assert self._parts is not None, "set before the loop is"
            lines = ["in the way of skipping time:", *(f"  {line}" for line in skipper.explain())]
            lines += ["open workflows:", *(f"  {line}" for line in waits(self._parts.runtime, skipper.time.now()))]
            return "\n".join(lines)

        return self._ask(explain)

    def give_up(self, what: str) -> str:
        """Somebody stops waiting for `what`: note, and return, what was in the way."""
        try:
            view = self.explain()
        except NotRunning as error:
            view = str(error)
        text = f"gave up to {what}; what the server waited for:\n{indented(view)}"
        self.given_up.append(text)
        return text

    def too_long(self, what: str, patience: timedelta) -> TimeoutError:
        return TimeoutError(f"waited up to {patience.total_seconds():g} s of real time; {self.give_up(what)}")

    def seconds_left(self, patience: timedelta | None = None) -> float | None:
        """How long to wait, in real seconds; None when there is no limit."""
        limits = [] if patience is None else [patience.total_seconds()]
        if self.deadline is not None:
            limits.append(max(0.0, self.deadline - self._monotonic.now()))
        return min(limits, default=None)

    # ---- from other threads to the server's
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await `coroutine` on the server's loop, for those who have none of their own."""
        with self._lock:
            if self._loop is None:
                coroutine.close()
                raise NotRunning
            result = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return result.result()

    def _post(self, action: Callable[[Skipper], object]) -> None:
        with self._lock:
            if self._loop is None:
                raise NotRunning
            self._loop.call_soon_threadsafe(action, self._unlocker.skipper)

    @property
    def _unlocker(self) -> Unlocking:
        assert self._unlocking is not None, "set before the loop is"
        return self._unlocking

    def _ask(self, question: Callable[[Skipper], T]) -> T:
        answer: Future[T] = Future()

        def reply(skipper: Skipper) -> None:
            try:
                answer.set_result(question(skipper))
            except BaseException as error:
                answer.set_exception(error)

        self._post(reply)
        return answer.result(ANSWER_SECONDS)


class NotRunning(RuntimeError):
    def __init__(self) -> None:
        super().__init__("the server is not running")


class Unlocking:
    """Lets time skip while anybody wants it to. However many do, the server's counter sees one unlock and one lock, so
    that waits for several results need not know of each other. Lives on the server's thread."""

    def __init__(self, skipper: Skipper) -> None:
        self.skipper = skipper
        self._wanted = 0
        self._asked = False
        self._holds = False

    def enter(self) -> None:
        self._wanted += 1
        if not self._holds and not self._asked:
            self._asked = True
            self.skipper.unlock(self, Empty())

    def leave(self) -> None:
        self._wanted -= 1
        if not self._wanted and self._holds:
            self._holds = False
            self.skipper.lock()

    def finish(self, reply: Reply) -> bool:
        self._asked = False
        self._holds = True
        if not self._wanted:
            self._holds = False
            self.skipper.lock()
        return True

    def fail(self, error: PerdureError) -> None:
        """There was no lock to take back: the test unlocked time by itself, and there is none to return later."""
        self._asked = False


class Advance:
    """One move of the clock. `ended` resolves when it has been made."""

    def __init__(self, duration: timedelta) -> None:
        self.duration = duration
        self.ended: Future[None] = Future()
        self._over = False
        self._skipper: Skipper | None = None
        self._wake: Callable[[], None] | None = None

    def begin(self, skipper: Skipper) -> None:
        self._skipper = skipper
        self._wake = skipper.sleep_unlocked(self.duration // MICROSECOND, self, self._end)

    def call_off(self) -> None:
        if self._wake is not None and not self._over:
            self._wake()

    def finish(self, reply: Reply) -> bool:
        return True

    def fail(self, error: PerdureError) -> None:
        """There was no lock to take back for the while: time skips anyhow. Unless it cannot go that far."""
        assert self._skipper is not None
        skipper = self._skipper
        try:
            if isinstance(error, InvalidArgument):
                raise error
            sleep = skipper.sleep(self.duration // MICROSECOND, self._end)
        except InvalidArgument as too_far:
            self._over = True
            if self.ended.set_running_or_notify_cancel():
                self.ended.set_exception(ValueError(too_far.message))
            return
        self._wake = lambda: skipper.wake(sleep)

    def _end(self) -> None:
        self._over = True
        _resolve(self.ended)


class _WallFrom:
    """The wall's pace, from another moment."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start_time must name its time zone, such as tzinfo=datetime.UTC")
        self._wall = WallTime()
        if (start - EPOCH) // MICROSECOND > SkippingTime.LAST:
            raise ValueError("start_time must not be after the year 9000 began: time does not skip beyond that")
        self._ahead = (start - EPOCH) // MICROSECOND - self._wall.now()

    def now(self) -> int:
        return self._wall.now() + self._ahead


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _resolve(future: Future[None]) -> None:
    """Unless whoever waited for it has left."""
    if future.set_running_or_notify_cancel():
        future.set_result(None)
