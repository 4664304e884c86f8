"""Signals, alone and with a start, over continue-as-new; queries, which see all that was acknowledged before them."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.service import RPCStatusCode

from tests.crash.calls import COMPLETED, NAMESPACE, Calls, Stories, payloads, request_id, values
from tests.crash.stories.kit import ACTIVITY
from tests.crash.stories.steps import double

NOTES = 7
NOTES_PER_RUN = 5
SENDERS = ("ann", "bob")


@workflow.defn
class Collect:
    """Every sender's notes, in the order they came, over as many runs as it takes."""

    def __init__(self) -> None:
        self._new: list[list[Any]] = []
        self._past: list[list[Any]] = []

    @workflow.signal
    def note(self, sender: str, number: int) -> None:
        # Sent again after its answer was lost, a note may come once more in the run that goes on.
        if [sender, number] not in self._past:
            self._new.append([sender, number])

    @workflow.run
    async def run(self, past: list[list[Any]]) -> list[list[Any]]:
        # Signals of the first task come before the arguments are looked at.
        self._past, self._new = past, [note for note in self._new if note not in past]
        total = NOTES * len(SENDERS)
        for handled in range(total - len(past)):
            await workflow.wait_condition(partial(self._has_more_than, handled))
            if handled % 3 == 0:
                await workflow.execute_activity(double, handled, **ACTIVITY)
            if handled + 1 >= NOTES_PER_RUN and len(past) + len(self._new) < total:
                workflow.continue_as_new([*past, *self._new])
        return past + self._new

    def _has_more_than(self, count: int) -> bool:
        return len(self._new) > count


@workflow.defn
class Board:
    """Holds what it is told until it holds as much as it should."""

    def __init__(self) -> None:
        self._held: list[list[Any]] = []

    @workflow.signal
    def note(self, sender: str, number: int) -> None:
        self._held.append([sender, number])

    @workflow.query
    def held(self) -> list[list[Any]]:
        return self._held

    @workflow.run
    async def run(self, count: int) -> list[list[Any]]:
        await workflow.wait_condition(lambda: len(self._held) >= count)
        return self._held


async def collect(calls: Calls, name: str, random: Random) -> None:
    async def send(sender: str, random: Random) -> None:
        for _ in range(NOTES):
            await calls.signal(name, "note", sender, random)
            await asyncio.sleep(random.uniform(0, 0.05))

    await calls.start(name, Collect, random, [])
    async with asyncio.TaskGroup() as senders:
        for sender in SENDERS:
            senders.create_task(send(sender, Random(random.random())))
    heard_all(name, await calls.ending(name), NOTES)


async def queried(calls: Calls, name: str, random: Random) -> None:
    """Each answer holds all notes that were acknowledged before it was asked for."""
    notes = 4
    run_id = await calls.start(name, Board, random, notes)
    for number in range(notes):
        await calls.signal(name, "note", "ann", random)
        request = ws.QueryWorkflowRequest(
            namespace=NAMESPACE,
            execution=WorkflowExecution(workflow_id=name, run_id=run_id),
            query=WorkflowQuery(query_type="held"),
        )
        # A new server says at once that it has seen no worker yet.
        ask = partial(calls.until_answered, calls.rpc.query_workflow, request, but=RPCStatusCode.FAILED_PRECONDITION)
        held = values((await calls.until(ask)).query_result)[0]
        assert held == [["ann", told] for told in range(number + 1)], f"{name} was told {number + 1}, and says {held}"
    await calls.ends(name, COMPLETED, [["ann", number] for number in range(notes)])


async def signalled_with_start(calls: Calls, name: str, random: Random) -> None:
    """Two senders, either of whom may be the one who starts it."""
    notes = 3

    async def send(sender: str, random: Random) -> None:
        for number in range(notes):
            start = calls.start_request(name, Board, random, notes * len(SENDERS))
            request = ws.SignalWithStartWorkflowExecutionRequest(
                namespace=NAMESPACE,
                workflow_id=name,
                workflow_type=start.workflow_type,
                task_queue=start.task_queue,
                workflow_task_timeout=start.workflow_task_timeout,
                input=start.input,
                request_id=request_id(random),
                identity=sender,
                signal_name="note",
                signal_input=payloads(sender, number),
            )
            response = await calls.sending(name, sender, calls.rpc.signal_with_start_workflow_execution, request)
            calls.started(name, response.run_id)

    async with asyncio.TaskGroup() as senders:
        for sender in SENDERS:
            senders.create_task(send(sender, Random(random.random())))
    heard_all(name, await calls.ending(name), notes)


def heard_all(name: str, ending: Any, count: int) -> None:
    assert ending.status is COMPLETED, f"{name} ended with {ending}"
    for sender in SENDERS:
        heard = [number for said, number in ending.result if said == sender]
        assert heard == list(range(count)), f"{name} heard {sender} say {heard}"


STORIES: Stories = {"collect": collect, "queried": queried, "with-start": signalled_with_start}
WORKFLOWS: list[Any] = [Collect, Board]
