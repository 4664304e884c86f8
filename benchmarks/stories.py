"""Databases full of runs: the engine decides one of each sort, and what it committed is written again under other IDs.

A *story* is what the runtime submitted to its store for one run, commit by commit. It is decided in this process, by a
whole server in memory whose clock stands still at a chosen moment. `fill` then writes it as often as wanted through the
store protocol: the same inserts and updates in the same order, each time with a workflow ID, a run ID and a request ID
of its own, which have the length of the story's and so take their places in the encoded state and the events.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from msgspec.structs import replace
from temporalio.api.command.v1 import Command

from benchmarks.messages import activity_command, timer_command
from perdure.storage.sqlite import SqliteStore
from perdure.storage.store import (
    Batch,
    CurrentWrite,
    Done,
    NamespaceWrite,
    Refused,
    RunWrite,
    Store,
    StoreFailed,
    VisibilityWrite,
)
from tests.api.client import NAMESPACE, complete_workflow, start_request
from tests.api.client import queue as task_queue
from tests.support.runtime_world import World

SECOND = 1_000_000
AT_ONCE = 250
"""Runs decided together: they share commits, and a story does not care."""
A_BATCH = 4_000
ID_LENGTH = 24


@dataclass(frozen=True)
class Step:
    """One commit of a run."""

    run: RunWrite
    current: CurrentWrite | None
    visibility: VisibilityWrite | None


@dataclass(frozen=True)
class Story:
    workflow_id: str
    run_id: str
    request_id: str
    steps: list[Step]


class Teller:
    """Decides stories. All of them are about the namespace `default`, whose row is among `namespaces`."""

    def __init__(self, namespaces: list[NamespaceWrite]) -> None:
        self._given = namespaces
        self._submitted: list[Batch] = []
        self._world = World()
        self._number = 0

    async def open(self) -> None:
        world, store = self._world, self._world.store
        await store.open()
        if self._given:
            landed = asyncio.get_running_loop().create_future()
            store._store.submit(Batch(1, namespaces=self._given), landed.set_result)
            await landed
        write = store._store.submit

        def submit(batch: Batch, done: Done) -> None:
            self._submitted.append(batch)
            write(batch, done)

        async def open_already() -> None:
            """The world opens its store when it starts; another opening would be of another database."""

        store._store.submit = submit
        store.open = open_already
        await world.start()

    async def close(self) -> None:
        await self._world.stop()

    @property
    def namespaces(self) -> list[NamespaceWrite]:
        found: list[NamespaceWrite] = self._world.store.load_namespaces()
        return found

    def at(self, moment: int) -> None:
        """The clock stands at `moment`, microseconds since 1970."""
        self._world.clock.seconds += (moment - self._world.runtime.time.now()) / SECOND

    async def asleep(self, timers: Sequence[int], queue: str) -> list[Story]:
        """A run for each of `timers`, microseconds: started, its first task completed with a timer of that length."""
        stories: list[Story] = []
        for first in range(0, len(timers), AT_ONCE):
            some = timers[first : first + AT_ONCE]
            tasks = await self._tasks(len(some), queue)
            for task, length in zip(tasks, some, strict=True):
                self._world.complete(task, _timer("wait", length))
            await self._world.settle()
            stories += self._told()
        return stories

    async def asleep_in_many(self, timers: int, length: int, queue: str) -> Story:
        """One run with so many timers, all due at the same moment."""
        a_task = 1000
        (task,) = await self._tasks(1, queue)
        for first in range(0, timers, a_task):
            commands = [_timer(f"wait-{n}", length) for n in range(first, min(first + a_task, timers))]
            poll = self._poll(queue)
            self._world.complete(task, *commands, force_create_new_workflow_task=first + a_task < timers)
            await self._world.settle()
            task = poll.reply
            poll.leave()
        (story,) = self._told()
        return story

    async def closed(self, queue: str) -> Story:
        """One run of a workflow with one activity, from start to end."""
        world = self._world
        (task,) = await self._tasks(1, queue)
        activity = world.poll_activity(task_queue=task_queue(queue))
        world.complete(task, activity_command("1", queue))
        await world.settle()
        poll = self._poll(queue)
        world.call(ws.RespondActivityTaskCompletedRequest(namespace=NAMESPACE, task_token=activity.reply.task_token))
        await world.settle()
        world.complete(poll.reply, complete_workflow())
        await world.settle()
        (story,) = self._told()
        return story

    async def _tasks(self, count: int, queue: str) -> list[Any]:
        """So many runs with their first tasks started. Whoever polls is there before, as with workers that keep up."""
        polls = [self._poll(queue) for _ in range(count)]
        starts = []
        for _ in range(count):
            self._number += 1
            request = start_request(f"{'story-' + str(self._number):~<{ID_LENGTH}}")
            request.task_queue.name = queue
            request.request_id = f"{self._number:036d}"
            starts.append(self._world.call(request))
        await self._world.settle()
        for start in starts:
            assert start.reply is not None, start.error
        return [poll.reply for poll in polls]

    def _poll(self, queue: str) -> Any:
        return self._world.poll(task_queue=task_queue(queue))

    def _told(self) -> list[Story]:
        """What was committed since the last time, by run."""
        steps: dict[int, list[Step]] = {}
        for batch in self._submitted:
            currents = {write.run_no: write for write in batch.currents}
            rows = {write.run_no: write for write in batch.visibility}
            for run in batch.runs:
                steps.setdefault(run.run_no, []).append(Step(run, currents.get(run.run_no), rows.get(run.run_no)))
        self._submitted.clear()
        stories = []
        for told in steps.values():
            current = told[0].current
            assert current is not None, "a story begins with the start"
            stories.append(Story(told[0].run.execution_id, current.run_id, current.create_request_id, told))
        return stories


def _timer(timer_id: str, length: int) -> Command:
    """`length` in microseconds."""
    command = timer_command(timer_id, length // SECOND)
    command.start_timer_command_attributes.start_to_fire_timeout.nanos = length % SECOND * 1000
    return command


@asynccontextmanager
async def telling(namespaces: list[NamespaceWrite]) -> AsyncIterator[Teller]:
    teller = Teller(namespaces)
    await teller.open()
    try:
        yield teller
    finally:
        await teller.close()


# ---- writing them
@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """The file's store, without waits for the disk: what is measured comes later."""
    store = SqliteStore(str(path), pragmas={"synchronous": "off", "cache_size": "-1000000"})
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def submitted(store: Store, batch: Batch) -> None:
    landed: asyncio.Future[Refused | StoreFailed | None] = asyncio.get_running_loop().create_future()
    store.submit(batch, landed.set_result)  # type: ignore[arg-type] # its outcome is never unknown
    if (outcome := await landed) is not None:
        raise outcome


async def fill(
    store: Store, stories: Iterable[Story], namespaces: list[NamespaceWrite], prefix: str, say: Callable[[int], None]
) -> str:
    """Write each of `stories` as a run of its own, `prefix` and its number as workflow ID. The last workflow ID."""
    batch_no, run_no, _, _ = store.high_water()
    known = {row.namespace_id for row in store.load_namespaces()}
    batch_no += 1
    await submitted(store, Batch(batch_no, namespaces=[row for row in namespaces if row.namespace_id not in known]))
    dice = random.Random(run_no)
    source = iter(stories)
    written, workflow_id = 0, ""
    while some := list(islice(source, A_BATCH)):
        news = []
        for story in some:
            run_no += 1
            bits = dice.getrandbits(128)
            run_id = f"{bits >> 96:08x}-{bits >> 80 & 0xFFFF:04x}-4{bits >> 64 & 0xFFF:03x}-8{bits >> 48 & 0xFFF:03x}"
            run_id += f"-{bits & 0xFFFFFFFFFFFF:012x}"
            workflow_id = f"{prefix + str(run_no):~<{ID_LENGTH}}"
            news.append((story, run_no, workflow_id, run_id))
        for number in range(max(len(story.steps) for story in some)):
            batch_no += 1
            batch = Batch(batch_no)
            for story, new_no, new_id, new_run_id in news:
                if number < len(story.steps):
                    _add(batch, story, story.steps[number], new_no, new_id, new_run_id)
            await submitted(store, batch)
        written += len(some)
        say(written)
    return workflow_id


def _add(batch: Batch, story: Story, step: Step, run_no: int, workflow_id: str, run_id: str) -> None:
    old_ids = story.workflow_id.encode(), story.run_id.encode(), story.request_id.encode()
    new_ids = workflow_id.encode(), run_id.encode(), run_id.encode()  # a request ID looks like a run ID

    def stamped(blob: bytes) -> bytes:
        for old, new in zip(old_ids, new_ids, strict=True):
            blob = blob.replace(old, new)
        return blob

    run = step.run
    history = run.history
    batch.runs.append(
        RunWrite(
            run_no,
            run.version,
            stamped(run.core),
            run.wake_at,
            run.namespace_id,
            run.kind,
            workflow_id,
            run_id,
            run.slot,
            None if history is None else replace(history, blob=stamped(history.blob)),
            run.items,
            run.request_ids,
        )
    )
    if (current := step.current) is not None:
        batch.currents.append(
            CurrentWrite(
                current.namespace_id,
                current.kind,
                workflow_id,
                run_id,
                run_no,
                current.status,
                run_id,
                run_id,
                current.start_time,
            )
        )
    if (row := step.visibility) is not None:
        batch.visibility.append(
            replace(
                row,
                run_no=run_no,
                run_id=run_id,
                workflow_id=workflow_id,
                root_workflow_id=workflow_id,
                root_run_id=run_id,
            )
        )


def progress(total: int, what: str) -> Callable[[int], None]:
    """A bar on standard error: a line that is drawn again on a terminal, else a line now and then."""
    began = time.monotonic()
    shown = began
    terminal = sys.stderr.isatty()

    def say(done: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < (0.2 if terminal else 5) and done < total:
            return
        shown = now
        full = 30 * done // max(total, 1)
        text = f"  [{'#' * full}{'.' * (30 - full)}] {done:,} of {total:,} {what}, {done / (now - began + 1e-9):,.0f}/s"
        print(text, end="\r" if terminal and done < total else "\n", file=sys.stderr, flush=True)

    return say
