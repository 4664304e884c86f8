"""Servers and workers as processes that can be killed at any moment, and cost no time to start.

They are forked from a process that has imported everything and runs nothing, so a restart takes a tenth of what a new
interpreter needs, and the clients' back-off is still short when the server is up again.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
)

from perdure.engine.tokens import ACTIVITY_TASK, decode_token
from perdure.server import Server, compose_server
from tests.crash.ledger import Ran, RunLog
from tests.crash.load import ACTIVITIES, WORKFLOWS
from tests.crash.stories.kit import PROOF, QUEUE
from tests.support.crashing_server import Trap

READY_WITHIN = 20.0
SETTINGS = {"activity.operatorCommandsEnabled": True}
STICKY_TIMEOUT = timedelta(seconds=1)
"""How long a task waits for a worker that was killed."""


def forks() -> Any:
    """Makes processes. The first one takes as long as the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", __name__, "perdure.api.handlers", "perdure.storage.sqlite"])
    return context


class Forked:
    """A process that says when it is ready; its output goes to `log`."""

    def __init__(self, log: Path, run: Any, *arguments: Any) -> None:
        context = forks()
        self._log = log
        self._ready, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_quietly, args=(log, run, theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        with suppress(EOFError):
            if self._ready.poll(READY_WITHIN) and self._ready.recv():
                return
        self.kill()
        raise RuntimeError(f"the process did not get ready, it ended with {self._process.exitcode}\n{self.output()}")

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def wait(self, within: float) -> int | None:
        """Wait until it has ended by itself; its exit status, None if it has not."""
        self._process.join(within)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._ready.close()

    def output(self) -> str:
        """The end of what it and those before it printed."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


def _quietly(log: Path, run: Any, ready: Connection, *arguments: Any) -> None:
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(run(ready, *arguments))


async def serve(ready: Connection, port: int, database: Path, point: str, hit: int) -> None:
    """A server; once it gets SIGUSR1 it kills itself when it passes `point` the `hit`-th time, if one is named."""
    trap = Trap(point, hit)
    compose = trap.compose if point else compose_server
    async with Server(str(database), port, dynamic_config=SETTINGS, compose=compose) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, trap.arm)
        ready.send(True)
        sys.exit(str(await server.failed()))


async def work(ready: Connection, address: str, ledger: Path) -> None:
    """An official worker of all workflows and activities, until it is killed."""
    client = await _connected(address)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=WORKFLOWS,
        activities=ACTIVITIES,
        interceptors=[Noting(RunLog(ledger))],
        workflow_runner=UnsandboxedWorkflowRunner(),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        identity=ledger.stem,
    )
    async with worker:
        ready.send(True)
        await asyncio.Event().wait()


async def _connected(address: str) -> Client:
    """A client, as soon as there is a server."""
    runtime = quiet_runtime()
    while True:
        try:
            return await Client.connect(address, runtime=runtime)
        except RuntimeError:
            await asyncio.sleep(0.02)


def quiet_runtime() -> Runtime:
    """Without the warnings that are the rule here: each death of the server is seen by each poll."""
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=TelemetryFilter("ERROR", "ERROR"))))


class Noting(Interceptor):
    """Writes each execution of an activity into the worker's ledger before it begins."""

    def __init__(self, log: RunLog) -> None:
        self.log = log

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _NotingInbound(next, self.log)


class _NotingInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, log: RunLog) -> None:
        super().__init__(next)
        self._log = log

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        stamp = 0 if info.is_local else decode_token(info.task_token, ACTIVITY_TASK).stamp
        proof = secrets.token_hex(8)
        PROOF.set(proof)
        run_id = info.workflow_run_id or info.activity_run_id or ""
        self._log.note(Ran(info.workflow_id or "", run_id, info.activity_id, info.attempt, stamp, proof, info.is_local))
        return await self.next.execute_activity(input)
