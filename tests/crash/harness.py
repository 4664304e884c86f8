"""One database, one load, many deaths of the server between them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import assert_never

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.crash.checks import check_acknowledged, check_end
from tests.crash.load import Load
from tests.crash.workflows import QUEUE, WORKFLOWS, double
from tests.support.server_process import ServerProcess, dev_server_command, free_port

CRASHING_SERVER = Path(__file__).parents[1] / "support" / "crashing_server.py"
POINTS_OF_A_COMMIT = ("decided", "sealed", "before_commit", "after_commit", "before_delivery")
ACTORS = 8
HANDS = 2
DEATH_WITHIN = 20.0
"""Seconds in which load must bring the server to the named point it dies at."""
RESUMES_WITHIN = 0.8
END_WITHIN = 30.0
"""Seconds in which all that was begun must end once nothing is killed any more."""


@dataclass(frozen=True, slots=True)
class KillAfter:
    """Kill `seconds` after the server was found whole."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KillWhileStarting:
    """Kill `seconds` after launch, ready or not."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KillAt:
    """The server kills itself when it passes `point` the `hit`-th time."""

    point: str
    hit: int


Kill = KillAfter | KillWhileStarting | KillAt


@dataclass(frozen=True, slots=True)
class Endured:
    """What a run amounted to; a run without much load proves little."""

    kills: int
    starts: int
    notes: int
    completions: int
    runs: int


async def endure(kills: Iterable[Kill], database: Path, seed: int) -> Endured:
    """Kill the server under load at each of `kills`, restart it on the same file, hold it to what it acknowledged.

    Raises AssertionError for a broken promise, TimeoutError when something never ends.
    """
    try:
        return await _Endurance(database, seed).run(kills)
    except BaseException as failure:
        failure.add_note(f"to repeat it: PERDURE_CRASH_SEED={seed}; the database is {database}")
        raise


class _Endurance:
    def __init__(self, database: Path, seed: int) -> None:
        self._database = database
        self._seed = seed
        self._port = free_port()
        self._server: ServerProcess | None = None
        self._load: Load
        self._client: Client

    async def run(self, kills: Iterable[Kill]) -> Endured:
        try:
            server = await self._launch_dev_server()
            self._client = await Client.connect(server.address)
            self._load = Load(self._client, self._seed)
            self._load.serving.set()
            worker = Worker(
                self._client,
                task_queue=QUEUE,
                workflows=WORKFLOWS,
                activities=[double],
                workflow_runner=UnsandboxedWorkflowRunner(),
            )
            async with worker, asyncio.TaskGroup() as hands:
                by_hand = [hands.create_task(self._load.complete_by_hand(number)) for number in range(HANDS)]
                async with asyncio.TaskGroup() as actors:
                    acting = [actors.create_task(self._load.act(number)) for number in range(ACTORS)]
                    died = 0
                    for kill in kills:
                        await self._die(kill)
                        died += 1
                        await check_acknowledged(self._client, self._load.ledger.turn_page())
                    self._load.stop()
                    await self._all_end(acting)
                page = self._load.ledger.turn_page()
                runs = await check_end(self._client, page)
                for hand in by_hand:
                    hand.cancel()
        finally:
            await self._kill()
        return Endured(died, len(page.starts), sum(page.notes.values()), len(page.completions), runs)

    async def _die(self, kill: Kill) -> None:
        """Have the server die as `kill` says, and its successor serve."""
        serving = self._load.serving
        match kill:
            case KillAfter(seconds):
                await self._work_resumes()
                await asyncio.sleep(seconds)
                serving.clear()
                await self._kill()
            case KillWhileStarting(seconds):
                serving.clear()
                await self._kill()
                await self._launch_and_kill(seconds)
            case KillAt(point, hit):
                serving.clear()
                await self._kill()
                script = [sys.executable, str(CRASHING_SERVER), str(self._port), str(self._database)]
                server = await self._launch([*script, point, str(hit)])
                serving.set()
                status = await asyncio.to_thread(server.wait, DEATH_WITHIN)
                serving.clear()
                assert status == -signal.SIGKILL, f"the server ended by itself: {server.output()}"
            case _:
                assert_never(kill)
        await self._launch_dev_server()
        serving.set()

    async def _work_resumes(self) -> None:
        """Wait a little for a workflow to end: the worker's polls come back only when their back-off is over."""
        self._load.ended.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._load.ended.wait(), RESUMES_WITHIN)

    async def _launch_dev_server(self) -> ServerProcess:
        return await self._launch(dev_server_command(self._port, database=self._database))

    async def _launch(self, command: list[str]) -> ServerProcess:
        self._server = await asyncio.to_thread(ServerProcess, command, self._port)
        return self._server

    async def _kill(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.kill)

    async def _launch_and_kill(self, seconds: float) -> None:
        command = dev_server_command(self._port, database=self._database)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            await asyncio.sleep(seconds)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def _all_end(self, acting: list[asyncio.Task[None]]) -> None:
        _, waiting = await asyncio.wait(acting, timeout=END_WITHIN)
        if waiting:
            raise TimeoutError("these never ended:\n" + "\n".join(await self._open_workflows()))

    async def _open_workflows(self) -> list[str]:
        """Each open workflow with the end of its history."""
        lines = []
        try:
            async for execution in self._client.list_workflows("ExecutionStatus = 'Running'"):
                history = await self._client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
                events = [str(event).replace("\n", " ")[:300] for event in history.events[-5:]]
                lines += [f"{execution.id} {execution.run_id}", *events]
        except RPCError as error:
            lines.append(f"(cannot be read: {error})")
        return lines


def kills_at_random(seed: int, count: int, *, longest: float = 1.2) -> list[Kill]:
    """`count` kills; every sixth or so hits a server that is still starting."""
    random = Random(seed)
    kills: list[Kill] = []
    for _ in range(count):
        while_starting = random.random() < 1 / 6
        kills.append(
            KillWhileStarting(random.uniform(0.1, 0.6)) if while_starting else KillAfter(random.uniform(0, longest))
        )
    return kills
