"""`TimeSkippingEnvironment`: the SDK's WorkflowEnvironment on a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHandle,
    WorkflowHistoryEventAsyncIterator,
    WorkflowHistoryEventFilterType,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from perdure.testing.server import PATIENCE, TimeSkippingServer


class TimeSkippingEnvironment(WorkflowEnvironment):
    """A client of a server whose time skips: all of it while the result of any workflow is awaited, and by `sleep`.

    Made by `start` in asyncio code and by `open` elsewhere. As in the SDK's own environment, the clock is one for the
    whole server, and `assert` failures fail the workflow.
    """

    def __init__(self, server: TimeSkippingServer, client: Client, *, owns_server: bool = False) -> None:
        """For a `client` of `server`. `owns_server`: it stops with this environment."""
        # from_client: the public way to the SDK's interceptor for assertions in workflows
        super().__init__(_intercepted(WorkflowEnvironment.from_client(client).client, _Skipping(self)))
        self.server = server
        self._owns_server = owns_server
        self._auto = True

    # ---- life
    @classmethod
    async def start(
        cls,
        *,
        namespace: str = "default",
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        dynamic_config: Mapping[str, Any] | None = None,
        start_time: datetime | None = None,
        **client_options: Any,
    ) -> Self:
        """A fresh server and a client of it. `client_options` are those of `Client.connect`, such as `data_converter`;
        the rest is the server's, see `TimeSkippingServer`."""
        server = TimeSkippingServer(
            namespaces=[namespace],
            search_attributes=search_attributes,
            dynamic_config=dynamic_config,
            start_time=start_time,
        )
        await asyncio.wrap_future(server.begin())
        try:
            client = await Client.connect(server.address, namespace=namespace, **client_options)
        except BaseException:
            await _stop(server)
            raise
        return cls(server, client, owns_server=True)

    @classmethod
    def open(
        cls,
        *,
        namespace: str = "default",
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        dynamic_config: Mapping[str, Any] | None = None,
        start_time: datetime | None = None,
        **client_options: Any,
    ) -> Self:
        """`start` for code without an event loop; goes with `close`, or `with`."""
        server = TimeSkippingServer(
            namespaces=[namespace],
            search_attributes=search_attributes,
            dynamic_config=dynamic_config,
            start_time=start_time,
        )
        server.start()
        try:
            environment = cls.on(server, namespace=namespace, **client_options)
        except BaseException:
            server.stop()
            raise
        environment._owns_server = True
        return environment

    @classmethod
    def on(cls, server: TimeSkippingServer, **client_options: Any) -> Self:
        """An environment on a server that runs already, and that outlives it. Needs no event loop."""
        return cls(server, server.run(Client.connect(server.address, **client_options)))

    async def shutdown(self) -> None:
        if self._owns_server:
            await _stop(self.server)

    def close(self) -> None:
        """`shutdown` for code without an event loop."""
        if self._owns_server:
            self.server.stop()

    async def __aenter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ---- time
    @property
    def supports_time_skipping_v1(self) -> bool:
        """One clock for the whole server, as the SDK's `start_time_skipping` has it."""
        return True

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        return self.server.now()

    async def sleep(self, duration: timedelta | float) -> None:
        """Move time forward by hand, through all that is due on the way; also when it is frozen.

        Raises TimeoutError, naming what is in the way, after 30 s of real time.
        """
        advance = self.server.begin_advance(duration)
        try:
            await self._patiently(advance.ended, f"sleep {advance.duration}")
        finally:
            self.server.call_off(advance)

    def freeze(self) -> None:
        """Stop the clock: from now on nothing but `sleep` moves it."""
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        with self.server.frozen():
            yield

    @contextmanager
    def auto_time_skipping_disabled(self) -> Iterator[None]:
        """Within the block, awaiting a result does not make time skip."""
        before, self._auto = self._auto, False
        try:
            yield
        finally:
            self._auto = before

    @asynccontextmanager
    async def time_skipping_unlocked(self, wanted: str = "finish what ran with time unlocked") -> AsyncIterator[None]:
        """Within the block, time skips whenever all wait for time: for what takes virtual time but is no result, such
        as an update."""
        if not self._auto:
            yield
            return
        self.server.unlock()
        try:
            yield
        except BaseException as error:
            if _gives_up(error):
                error.add_note(self.server.give_up(wanted))
            raise
        finally:
            self.server.lock()

    # ---- what it waits for
    async def wait_until_idle(self, *, patience: timedelta = PATIENCE) -> None:
        """Return when no task waits or runs: workflows wait for time, or for a message from outside.

        Raises TimeoutError, naming what is still to do, when it takes longer than `patience` of real time.
        """
        await self._patiently(self.server.begin_idle(), "become idle", patience)

    def explain(self) -> str:
        """What keeps time from skipping, and what each open workflow waits for: for somebody whose test hangs."""
        return self.server.explain()

    async def _patiently(self, future: Future[None], what: str, patience: timedelta = PATIENCE) -> None:
        try:
            async with asyncio.timeout(self.server.seconds_left(patience)):
                await asyncio.wrap_future(future)
        except TimeoutError:
            raise self.server.too_long(what, patience) from None
        except asyncio.CancelledError as cancelled:
            cancelled.add_note(self.server.give_up(what))
            raise


class _Skipping(Interceptor):
    def __init__(self, environment: TimeSkippingEnvironment) -> None:
        self._environment = environment

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _SkippingOutbound(next, self._environment)


class _SkippingOutbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, environment: TimeSkippingEnvironment) -> None:
        super().__init__(next)
        self._environment = environment

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        """Waiting for the event that closes a run is what `WorkflowHandle.result` does, of whatever handle."""
        events = super().fetch_workflow_history_events(input)
        if input.wait_new_event and input.event_filter_type == WorkflowHistoryEventFilterType.CLOSE_EVENT:
            fetch = events.fetch_next_page

            async def fetch_unlocked(*, page_size: int | None = None) -> None:
                environment = self._environment
                async with (
                    asyncio.timeout(environment.server.seconds_left()),
                    environment.time_skipping_unlocked(f"get the result of workflow {input.id!r}"),
                ):
                    await fetch(page_size=page_size)

            # On the object that the SDK made, whose class we would else have to imitate.
            events.fetch_next_page = fetch_unlocked  # type: ignore[method-assign]
        return events


def _gives_up(error: BaseException) -> bool:
    """Whether it says that somebody did not want to wait any longer, which raises the question for what."""
    if isinstance(error, RPCError):
        return error.status in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)
    return isinstance(error, asyncio.CancelledError | TimeoutError)


def _intercepted(client: Client, interceptor: Interceptor) -> Client:
    config = client.config()
    config["interceptors"] = [*config["interceptors"], interceptor]
    return Client(**config)


async def _stop(server: TimeSkippingServer) -> None:
    # Stopping goes on when its caller is cancelled.
    await asyncio.shield(asyncio.wrap_future(server.end()))
    server.join()
