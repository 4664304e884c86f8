"""One database, one load, many deaths of the server and its workers between them."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import assert_never

from temporalio.client import Client
from temporalio.service import RetryConfig, RPCError

from tests.crash.calls import Calls
from tests.crash.checks import check_acknowledged, check_end, check_replay
from tests.crash.examining import check_copy, check_last_file, copied
from tests.crash.ledger import all_ran
from tests.crash.load import Load
from tests.crash.processes import SETTINGS, Forked, quiet_runtime, serve, work
from tests.crash.reading import read_everything, read_touched
from tests.support.server_process import ServerProcess, dev_server_command, free_port

POINTS_OF_A_COMMIT = ("decided", "sealed", "before_commit", "after_commit", "before_delivery")
ACTORS = 16
HANDS = 2
WORKERS = 2
DEATH_WITHIN = 60.0
"""Seconds in which load must bring the server to the named point it dies at."""
RESUMES_WITHIN = 0.6
EXAMINED_EVERY = 5
"""Deaths of the server after which its file is examined as it is."""
END_WITHIN = 40.0
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


@dataclass(frozen=True, slots=True)
class KillWorker:
    """Kill a worker, and start another in its place."""

    number: int


Kill = KillAfter | KillWhileStarting | KillAt | KillWorker


@dataclass(slots=True)
class Endured:
    """What a run amounted to; a run without much load proves little."""

    kills: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    signals: int = 0
    completions: int = 0
    updates: int = 0
    ran: int = 0
    runs: int = 0
    seconds: float = 0


async def endure(
    kills: Iterable[Kill], directory: Path, seed: int, *, report: Callable[[str], None] | None = None
) -> Endured:
    """Kill under load at each of `kills`, restart on the same file, hold the server to what it acknowledged.

    `report` hears every ten seconds how far it is.
    Raises AssertionError for a broken promise, TimeoutError when something never ends.
    """
    try:
        return await _Endurance(directory, seed, report).run(kills)
    except BaseException as failure:
        failure.add_note(f"to repeat it: PERDURE_CRASH_SEED={seed}; database, ledgers and logs are in {directory}")
        raise


class _Endurance:
    def __init__(self, directory: Path, seed: int, report: Callable[[str], None] | None) -> None:
        self._directory = directory
        self._database = directory / "perdure.db"
        self._seed = seed
        self._report = report
        self._began = self._reported = time.monotonic()
        self._port = free_port()
        self._server: Forked | ServerProcess | None = None
        self._workers: list[Forked] = []
        self._hired = 0
        self._load: Load
        self._calls: Calls
        self._client: Client
        self._endured = Endured()
        self._deaths = 0
        self._actors: asyncio.TaskGroup
        self._examinations: list[asyncio.Task[None]] = []

    async def run(self, kills: Iterable[Kill]) -> Endured:
        try:
            # The first server and the last are started as users start them.
            await self._launch_dev_server()
            self._client = await Client.connect(
                f"127.0.0.1:{self._port}",
                runtime=quiet_runtime(),
                retry_config=RetryConfig(initial_interval_millis=20, max_interval_millis=200),
            )
            self._calls = Calls(self._client, self._directory)
            self._load = Load(self._calls, self._seed)
            self._calls.serving.set()
            for number in range(WORKERS):
                await self._hire(number)
                await asyncio.to_thread(self._workers[number].wait_until_ready)
            async with asyncio.TaskGroup() as hands:
                by_hand = [hands.create_task(self._load.complete_by_hand(number)) for number in range(HANDS)]
                async with asyncio.TaskGroup() as actors:
                    self._actors = actors
                    acting = [actors.create_task(self._load.act()) for _ in range(ACTORS)]
                    for kill in kills:
                        await self._die(kill)
                        name = kill.point if isinstance(kill, KillAt) else type(kill).__name__
                        self._endured.kills[name] = self._endured.kills.get(name, 0) + 1
                        self._tell_progress()
                    await self._restart(dev=True)
                    self._load.stop()
                    self._tell("nothing is killed or begun any more, all must end")
                    await self._all_end(acting)
                    for examination in self._examinations:
                        await examination
                await self._check_end()
                for hand in by_hand:
                    hand.cancel()
            await self._kill()
            await check_last_file(self._database)
        finally:
            await self._kill()
            for worker in self._workers:
                await asyncio.to_thread(worker.kill)
        self._endured.seconds = round(time.monotonic() - self._began, 1)
        return self._endured

    # ---- deaths
    async def _die(self, kill: Kill) -> None:
        """Have it die as `kill` says, its successor serve, and what was acknowledged be there."""
        match kill:
            case KillWorker(number):
                await asyncio.to_thread(self._workers[number % WORKERS].kill)
                await self._hire(number % WORKERS)
                return
            case KillAfter(seconds):
                await self._work_resumes()
                await asyncio.sleep(seconds)
                await self._restart()
            case KillWhileStarting(seconds):
                self._calls.serving.clear()
                await self._kill()
                starting = await self._fork_server()
                await asyncio.sleep(seconds)
                await asyncio.to_thread(starting.kill)
                await self._restart()
            case KillAt(point, hit):
                await self._restart(point, hit)
                assert isinstance(self._server, Forked)
                self._server.send_signal(signal.SIGUSR1)
                status = await asyncio.to_thread(self._server.wait, DEATH_WITHIN)
                self._calls.serving.clear()
                assert status == -signal.SIGKILL, f"the server ended with {status}: {self._server.output()}"
            case _:
                assert_never(kill)

    async def _restart(self, point: str = "", hit: int = 0, *, dev: bool = False) -> None:
        """Kill the server if it lives, have another serve the same file, and look whether all is there."""
        self._calls.serving.clear()
        await self._kill()
        self._deaths += 1
        if self._deaths % EXAMINED_EVERY == 0:
            copy = await asyncio.to_thread(copied, self._database, self._deaths)
            self._examinations.append(self._actors.create_task(check_copy(copy)))
        if dev:
            await self._launch_dev_server()
        else:
            server = self._server = await self._fork_server(point, hit)
            await asyncio.to_thread(server.wait_until_ready)
        page = self._calls.ledger.turn_page()
        check_acknowledged(page, await read_touched(self._client, page), all_ran(self._directory))
        self._calls.serving.set()

    async def _work_resumes(self) -> None:
        """Wait a little for a workflow to end: the worker's polls come back only when their back-off is over."""
        self._calls.ended.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._calls.ended.wait(), RESUMES_WITHIN)

    # ---- processes
    async def _hire(self, number: int) -> None:
        """A worker in that place, which works once it finds a server."""
        self._hired += 1
        ledger = self._directory / f"worker-{self._hired}.ran"
        log = self._directory / "workers.log"
        worker = await asyncio.to_thread(Forked, log, work, f"127.0.0.1:{self._port}", ledger)
        self._workers[number : number + 1] = [worker]

    async def _launch_dev_server(self) -> None:
        settings = [f"--dynamic-config-value={name}={json.dumps(value)}" for name, value in SETTINGS.items()]
        command = dev_server_command(self._port, *settings, database=self._database)
        self._server = await asyncio.to_thread(ServerProcess, command, self._port)

    async def _fork_server(self, point: str = "", hit: int = 0) -> Forked:
        log = self._directory / "server.log"
        return await asyncio.to_thread(Forked, log, serve, self._port, self._database, point, hit)

    async def _kill(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.kill)

    # ---- the end
    async def _all_end(self, acting: list[asyncio.Task[None]]) -> None:
        _, waiting = await asyncio.wait(acting, timeout=END_WITHIN)
        if waiting:
            raise TimeoutError("these never ended:\n" + "\n".join(await self._open_workflows()))

    async def _open_workflows(self) -> list[str]:
        """Each open workflow with the end of its history, and its activities."""
        lines = []
        try:
            async for execution in self._client.list_workflows("ExecutionStatus = 'Running'"):
                handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
                events = (await handle.fetch_history()).events[-5:]
                pending = (await handle.describe()).raw_description.pending_activities
                ends = [str(message).replace("\n", " ")[:800] for message in (*events, *pending)]
                lines += [f"{execution.id} {execution.run_id}", *ends]
        except RPCError as error:
            lines.append(f"(cannot be read: {error})")
        return lines

    async def _check_end(self) -> None:
        page = self._calls.ledger.turn_page()
        self._tell("all has ended, and is read back")
        found = await read_everything(self._client, page)
        ran = list(all_ran(self._directory))
        check_end(page, found, ran)
        self._tell(f"all {len(found.chains)} workflows are as they should be, and are replayed")
        endured = self._endured
        endured.runs = await check_replay(found)
        endured.told = self._load.told
        endured.starts = len(page.starts)
        endured.signals = sum(signal.answered for sent in page.sent.values() for signal in sent)
        endured.completions = len(page.completions)
        endured.updates = len(page.updates)
        endured.ran = len(ran)

    def _tell_progress(self) -> None:
        if time.monotonic() - self._reported >= 10:
            kills, stories = sum(self._endured.kills.values()), sum(self._load.told.values())
            self._tell(f"{kills} kills, {stories} stories told to their end")

    def _tell(self, line: str) -> None:
        self._reported = time.monotonic()
        if self._report is not None:
            self._report(f"{self._reported - self._began:5.0f} s: {line}")


def kills_at_random(seed: int, count: int, *, longest: float = 0.6) -> list[Kill]:
    """`count` kills of the server; every sixth or so hits one that is still starting. A worker dies now and then."""
    random = Random(seed)
    kills: list[Kill] = []
    for number in range(count):
        while_starting = random.random() < 1 / 6
        kills.append(
            KillWhileStarting(random.uniform(0, 0.15)) if while_starting else KillAfter(random.uniform(0, longest))
        )
        if number % 6 == 5:
            kills.append(KillWorker(random.randrange(WORKERS)))
    return kills
