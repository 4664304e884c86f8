"""Calls as (method, bytes): delayed, delivered twice, cut before they arrive or after they were answered."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from perdure.api.registry import Method
from perdure.call import PENDING
from perdure.errors import PerdureError, Unavailable
from perdure.storage.store import StoreFailed

PATIENT = {
    "PollWorkflowExecutionUpdate",
    "PollActivityExecution",
    "DescribeActivityExecution",
    "UpdateWorkflowExecution",
    "ExecuteMultiOperation",
    "QueryWorkflow",
    "GetWorkflowExecutionHistory",
}
"""Calls that wait for something to happen. All others are answered at once, or as soon as the disk did its part."""


class Lost(Exception):
    """The caller does not know whether its call was served."""


class Call:
    """One delivery of one call to one process."""

    def __init__(self, method: Method, deadline: float, answered: Callable[[bytes | BaseException], None]) -> None:
        self.method = method.name
        self.deadline: float | None = deadline
        self.metadata: Mapping[str, str] = MappingProxyType({})
        self.peer = "simulated"
        self.client_name = ""
        self._answered = answered
        self._over = False
        self._on_gone: list[Callable[[], None]] = []

    @property
    def gone(self) -> bool:
        return self._over

    def on_gone(self, callback: Callable[[], None]) -> None:
        self._on_gone.append(callback)

    def finish(self, reply: Message | bytes) -> bool:
        if self._over:
            return False
        self._over = True
        self._answered(reply if isinstance(reply, bytes) else reply.SerializeToString())
        return True

    def fail(self, error: PerdureError) -> None:
        if not self._over:
            self._over = True
            self._answered(error)

    def leave(self) -> None:
        if not self._over:
            self._over = True
            for callback in self._on_gone:
                callback()


class Network:
    """`faults` 0 to 1: how often something goes wrong."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.faults = 0.0
        self.methods: dict[str, Method] = {}
        """The table of the process that serves now."""
        self._up = asyncio.Event()
        self.served = 0
        self.trace = hashlib.sha256()
        """Of all that was asked and answered, and when: the same seed tells the same story."""
        self.forgotten: list[Call] = []
        """What a living process did not answer in time, although nothing had to happen first."""
        self._under_way: dict[Call, asyncio.Future[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, methods: dict[str, Method]) -> None:
        """A process serves."""
        self.methods = methods
        self._up.set()

    def cut_all(self) -> None:
        """The process died: who waited for it learns that."""
        self.methods = {}
        self._up.clear()
        waiting, self._under_way = self._under_way, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Lost("the server died"))
                future.exception()  # its caller may have given up at this very moment
        for task in self._tasks:
            task.cancel()

    @property
    def waiting(self) -> list[Call]:
        return list(self._under_way)

    async def call(self, request: Message, within: float = 10.0) -> Any:
        """The reply. Raises Lost, TimeoutError, or the PerdureError that the server answered."""
        loop = asyncio.get_running_loop()
        await self._delay()
        if not self._up.is_set():
            # Nobody knocks all the time: that would be most of what a simulation does.
            await self._up.wait()
            await asyncio.sleep(self._chance.random() * 0.2)
            raise Lost("never arrived")
        if self._chance.random() < self.faults / 3:
            raise Lost("never arrived")
        rpc = type(request).__name__.removesuffix("Request")
        method = self.methods[rpc]
        blob = request.SerializeToString(deterministic=True)
        if self._chance.random() < self.faults / 3:
            self._deliver(method, blob, loop.time() + within, loop.create_future())
        future: asyncio.Future[bytes] = loop.create_future()
        call = self._deliver(method, blob, loop.time() + within, future)
        leaves = self._chance.random() < self.faults / 6
        try:
            reply = await asyncio.wait_for(future, self._chance.random() * 0.01 if leaves else within)
        except TimeoutError:
            call.leave()
            if not leaves and rpc not in PATIENT:
                self.forgotten.append(call)
            raise Lost("gave up") from None
        finally:
            self._under_way.pop(call, None)
        if self._chance.random() < self.faults / 6:
            raise Lost("the answer was lost")
        await self._delay()
        return method.response_class.FromString(reply)

    def _note(self, method: Method, what: Message | BaseException) -> None:
        blob = what.SerializeToString(deterministic=True) if isinstance(what, Message) else repr(what).encode()
        self.trace.update(f"{asyncio.get_running_loop().time()} {method.name} ".encode() + blob)

    async def _delay(self) -> None:
        if self._chance.random() < 0.5:
            await asyncio.sleep(self._chance.random() * 0.003)

    def _deliver(self, method: Method, blob: bytes, deadline: float, future: asyncio.Future[bytes]) -> Call:
        def answered(reply: bytes | BaseException) -> None:
            self.served += 1
            self._note(method, method.response_class.FromString(reply) if isinstance(reply, bytes) else reply)
            self._under_way.pop(call, None)
            if future.done():
                return
            if isinstance(reply, bytes):
                future.set_result(reply)
            else:
                future.set_exception(reply)
                future.exception()  # nobody may wait for a copy's answer

        request = method.request_class.FromString(blob)
        self._note(method, request)
        call = Call(method, deadline, answered)
        self._under_way[call] = future
        try:
            reply: Any = method.handler(request, call)
        except PerdureError as error:
            call.fail(error)
            return call
        except StoreFailed as failure:  # as the transport tells it
            call.fail(Unavailable(str(failure)))
            return call
        if method.is_async:

            async def later() -> None:
                try:
                    answer = await reply
                    if answer is not PENDING:
                        call.finish(answer)
                except PerdureError as error:
                    call.fail(error)

            task = asyncio.ensure_future(later())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: reply.close())  # cut before it began, it would be thrown away unheard
        elif reply is not PENDING:
            call.finish(reply)
        return call
