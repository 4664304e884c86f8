"""The TestService: clients lock and unlock time skipping, sleep in virtual time and ask what time it is.

One clock and one counter for the whole server; the rules are `runtime/skipping.py`'s. Source:
temporal/api/testservice/v1/request_response.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from temporalio.api.testservice.v1 import (
    GetCurrentTimeResponse,
    LockTimeSkippingRequest,
    LockTimeSkippingResponse,
    SleepRequest,
    SleepResponse,
    SleepUntilRequest,
    UnlockTimeSkippingRequest,
    UnlockTimeSkippingResponse,
)

from perdure.api.answers import after_commit
from perdure.api.call import PENDING, Call, Pending, Reply
from perdure.api.registry import TEST_SERVICE
from perdure.engine.times import duration_us, set_timestamp, timestamp_us
from perdure.runtime.skipping import ANSWER_MARGIN_SECONDS

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime
    from perdure.runtime.skipping import Skipper

_SLEPT = SleepResponse()
_LOCKED = LockTimeSkippingResponse()
_UNLOCKED = UnlockTimeSkippingResponse()


class TestServiceHandlers:
    __test__ = False  # pytest takes the name for a test's
    service = TEST_SERVICE

    def __init__(self, skipper: Skipper, runtime: Runtime) -> None:
        self._skipper = skipper
        self._runtime = runtime

    def LockTimeSkipping(self, request: LockTimeSkippingRequest, call: Call) -> Reply:
        self._skipper.lock()
        return _LOCKED

    def UnlockTimeSkipping(self, request: UnlockTimeSkippingRequest, call: Call) -> Pending:
        self._skipper.unlock(call, _UNLOCKED)
        return PENDING

    def Sleep(self, request: SleepRequest, call: Call) -> Reply | Pending:
        return self._sleep(self._skipper.time.now() + duration_us(request.duration), call)

    def SleepUntil(self, request: SleepUntilRequest, call: Call) -> Reply | Pending:
        return self._sleep(timestamp_us(request.timestamp), call)

    def UnlockTimeSkippingWithSleep(self, request: SleepRequest, call: Call) -> Pending:
        duration = duration_us(request.duration)
        due = self._skipper.time.now() + duration
        wake = self._skipper.sleep_unlocked(duration, call, lambda: call.finish(_SLEPT))
        self._watch_over(call, due, wake)
        return PENDING

    def GetCurrentTime(self, request: Empty, call: Call) -> Pending:
        response = GetCurrentTimeResponse()
        set_timestamp(response.time, self._skipper.time.now() // 1000 * 1000)
        return after_commit(self._runtime, call, response)

    def _sleep(self, due: int, call: Call) -> Reply | Pending:
        """Until a moment in the past: over at once."""
        if due <= self._skipper.time.now():
            return _SLEPT
        skipper = self._skipper
        sleep = skipper.sleep_until(due, lambda: call.finish(_SLEPT))
        self._watch_over(call, due, lambda: skipper.wake(sleep))
        return PENDING

    def _watch_over(self, call: Call, due: int, wake: Callable[[], None]) -> None:
        """A caller who leaves takes the sleep along; one who is about to give up hears what kept time from skipping."""
        call.on_gone(wake)
        deadline = call.deadline
        if deadline is None:
            return
        now = self._runtime.monotonic.now()

        def give_up() -> None:
            if not call.gone:
                call.fail(self._skipper.deadline_passed(due))
                wake()

        margin = min(ANSWER_MARGIN_SECONDS, max(0.0, deadline - now) / 2)
        self._runtime.alarms.at(deadline - margin, give_up)
