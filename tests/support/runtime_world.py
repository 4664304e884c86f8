"""A whole server without a network: handlers called by tests themselves, over a store that does as it is told.

`World` has the real runtime, engine, matching and SQLite store in memory. Its clocks stand still until `pass_time`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.message import Message
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes

from perdure.api.handlers import all_handlers
from perdure.api.registry import Method, build_methods
from perdure.call import PENDING
from perdure.clock import SECOND, SeededEntropy
from perdure.config import Config
from perdure.engine.limits import Limits
from perdure.errors import PerdureError
from perdure.log import Log
from perdure.runtime.runtime import Runtime
from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import Batch, Done, Refused, StoreFailed, Unknown
from tests.api.client import NAMESPACE, QUEUE, execution, queue, start_request


class ManualClock:
    """Time and Monotonic at once; both move only by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0


class ManualTime:
    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> int:
        return 1_700_000_000 * SECOND + int(self._clock.seconds * SECOND)


class ManualMonotonic:
    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.seconds


class TestCall:
    """One caller. `reply` and `error` are what it got; `leave` is its going away."""

    __test__ = False

    def __init__(self, method: Method, deadline: float | None) -> None:
        self.method = method.name
        self._response_class = method.response_class
        self.deadline = deadline
        self.metadata: Mapping[str, str] = MappingProxyType({})
        self.peer = "test"
        self.client_name = ""
        self.reply: Any = None
        self.error: BaseException | None = None
        self.left = False
        self._on_gone: list[Callable[[], None]] = []

    @property
    def answered(self) -> bool:
        return self.reply is not None or self.error is not None

    @property
    def gone(self) -> bool:
        return self.left or self.answered

    def on_gone(self, callback: Callable[[], None]) -> None:
        self._on_gone.append(callback)

    def finish(self, reply: Message | bytes) -> bool:
        if self.gone:
            return False
        self.reply = self._response_class.FromString(reply) if isinstance(reply, bytes) else reply
        self._on_gone.clear()
        return True

    def fail(self, error: PerdureError) -> None:
        if not self.gone:
            self.error = error

    def leave(self) -> None:
        if not self.gone:
            self.left = True
            for callback in self._on_gone:
                callback()


class ObedientStore:
    """The real store, but batches can be held back, refused or lost sight of, and reads can fail or wait."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._held: list[tuple[Batch, Done]] = []
        self.holding = False
        self.refusals = 0
        """How many of the next batches are refused; -1: all."""
        self.unknown: list[bool] = []
        """Of the next batches nobody hears what became of them; True: they landed."""
        self._reads: list[tuple[Any, ...]] | None = None
        self.reads_fail: set[str] = set()
        """Names of reading methods that fail."""
        self.submitted = 0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name == "load_execution" and self._reads is not None:
            reads = self._reads
            return lambda *arguments: reads.append(arguments)
        if name not in self.reads_fail:
            return attribute
        failure = StoreFailed("disk I/O error")

        def fail(*arguments: Any) -> Any:
            if callable(arguments[-1]):
                arguments[-1](failure)
                return None
            raise failure

        return fail

    def submit(self, batch: Batch, done: Done) -> None:
        self.submitted += 1
        if self.holding:
            self._held.append((batch, done))
        else:
            self._write(batch, done)

    def _write(self, batch: Batch, done: Done) -> None:
        loop = asyncio.get_running_loop()
        if self.refusals:
            self.refusals -= 1
            loop.call_soon(done, Refused("disk full"))
        elif self.unknown:
            if self.unknown.pop(0):
                self._store.submit(batch, lambda outcome: None)
            loop.call_soon(done, Unknown("the connection was lost"))
        else:
            self._store.submit(batch, lambda outcome: loop.call_soon(done, outcome) and None)

    def hold(self) -> None:
        """Take batches, and keep them until `release`."""
        self.holding = True

    def release(self) -> None:
        self.holding = False
        held, self._held = self._held, []
        for batch, done in held:
            self._write(batch, done)

    def release_one(self) -> None:
        """Write the first of those that were taken; keep the others, and what comes."""
        self._write(*self._held.pop(0))

    def hold_loads(self) -> None:
        """Executions that are not in memory are not loaded until `release_loads`."""
        self._reads = []

    def release_loads(self) -> None:
        waiting, self._reads = self._reads, None
        for arguments in waiting or ():
            self._store.load_execution(*arguments)


class World:
    def __init__(self, *, limits: Limits | None = None, config: Config | None = None, store: Any = None) -> None:
        self.clock = ManualClock()
        self.store = ObedientStore(store or SqliteStore(None))
        self.failures: list[StoreFailed] = []
        self.runtime = Runtime(
            self.store,  # type: ignore[arg-type] # a Store by delegation
            config or Config(search_attributes={"CustomKeyword": 2, "CustomDouble": 4}),
            ManualTime(self.clock),
            ManualMonotonic(self.clock),
            SeededEntropy(7),
            Log("error", "text"),
            limits=limits,
            failed=self.failures.append,
        )
        self.methods: dict[str, Method] = {}
        self.broken: list[dict[str, Any]] = []
        """What reached the loop's exception handler: callbacks that blew up with nobody to hear of it."""

    async def start(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.broken.append(context))
        await self.store.open()
        await self.runtime.start()
        self.methods = {method.rpc: method for method in build_methods(all_handlers(self.runtime)).values()}

    async def stop(self) -> None:
        self.store.release()
        await self.runtime.stop()
        await self.store.close()

    # ---- calls
    def call(self, request: Message, *, within: float = 10.0) -> TestCall:
        """Call the RPC that takes such a request; the answer may come later."""
        method = self.methods[type(request).__name__.removesuffix("Request")]
        call = TestCall(method, self.clock.seconds + within)
        try:
            reply: Any = method.handler(request, call)
        except Exception as error:
            call.error = error
            return call
        if method.is_async:

            async def later() -> None:
                try:
                    answer = await reply
                    if answer is not PENDING:
                        call.finish(answer)
                except Exception as error:
                    call.error = error

            call.task = asyncio.ensure_future(later())  # type: ignore[attr-defined] # kept alive by the call
        elif reply is not PENDING:
            call.finish(reply)
        return call

    async def ask(self, request: Message, *, within: float = 10.0) -> Any:
        """Call and wait: the reply; raises what the caller would be told."""
        call = self.call(request, within=within)
        await self.settle()
        if call.error is not None:
            raise call.error
        assert call.reply is not None, f"{call.method} is not answered"
        return call.reply

    async def ask_patiently(self, request: Message) -> Any:
        """`ask`, also of a store with threads of its own."""
        call = self.call(request)
        while not call.answered:
            await self.settle()
        if call.error is not None:
            raise call.error
        return call.reply

    async def start_workflow(self, workflow_id: str = "order-1", **fields: Any) -> str:
        run_id: str = (await self.ask(start_request(workflow_id, **fields))).run_id
        return run_id

    def poll(self, *, within: float = 60.0, **fields: Any) -> TestCall:
        fields = {"namespace": NAMESPACE, "task_queue": queue(), "identity": "worker", **fields}
        return self.call(ws.PollWorkflowTaskQueueRequest(**fields), within=within)

    def poll_activity(self, *, within: float = 60.0, **fields: Any) -> TestCall:
        fields = {"namespace": NAMESPACE, "task_queue": queue(), "identity": "worker", **fields}
        return self.call(ws.PollActivityTaskQueueRequest(**fields), within=within)

    def complete(self, task: Any, *commands: Any, **fields: Any) -> TestCall:
        return self.call(
            ws.RespondWorkflowTaskCompletedRequest(
                namespace=NAMESPACE, task_token=task.task_token, commands=commands, identity="worker", **fields
            )
        )

    async def step(self, *commands: Any, **fields: Any) -> Any:
        """Take the next workflow task and answer it with `commands`."""
        poll = self.poll()
        await self.settle()
        assert poll.reply is not None, "no workflow task came"
        done = self.complete(poll.reply, *commands, **fields)
        await self.settle()
        if done.error is not None:
            raise done.error
        return poll.reply

    def forget(self, workflow_id: str) -> None:
        """Have an idle execution leave the cache."""
        executions = self.runtime.executions
        for loaded in executions.all():
            if loaded.key[2] == workflow_id:
                assert loaded.idle, f"{workflow_id} is busy"
                executions.forget(loaded)
                loaded.dead = True

    async def history(self, workflow_id: str = "order-1") -> list[HistoryEvent]:
        request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(workflow_id))
        return list((await self.ask_patiently(request)).history.events)

    # ---- time
    async def settle(self) -> None:
        """Let everything happen that needs no clock."""
        for _ in range(40):
            await asyncio.sleep(0)
        committer = self.runtime.committer
        for _ in range(500):  # commits wait a little for company, and on a busy machine longer
            if (self.store.holding and committer._in_flight is not None) or (
                committer.idle and not committer._gathering.scheduled
            ):
                return
            await asyncio.sleep(0.002)
            for _ in range(10):
                await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """The clocks move; alarms and timers that are due ring."""
        self.clock.seconds += seconds
        self.runtime.alarms._ring()
        self.runtime.wakes.ring()
        await self.settle()


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[World]:
    world = World(**settings)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


# ---- a worker that has a queue of its own
def sticky(seconds: float) -> StickyExecutionAttributes:
    """What such a worker completes a task with; `seconds`: how long its next tasks wait in its own queue."""
    attributes = StickyExecutionAttributes()
    attributes.worker_task_queue.name = "own"
    attributes.schedule_to_start_timeout.FromMilliseconds(round(seconds * 1000))
    return attributes


async def with_sticky_worker(world: World, *commands: Any, seconds: float = 5, **poll: Any) -> TestCall:
    """A workflow that has begun and is in the cache of a worker, whose poll of its own queue is returned."""
    await world.start_workflow()
    own = world.poll(task_queue=queue("own", kind=2, normal_name=QUEUE), **poll)
    await world.step(*commands, sticky_attributes=sticky(seconds))
    return own
