"""Clients that keep the server busy with every story there is, and outlive its deaths."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedRequest,
)
from temporalio.service import RPCStatusCode

from perdure.engine.tokens import ACTIVITY_TASK, decode_token
from tests.crash.calls import NAMESPACE, Calls, payloads, request_id, values
from tests.crash.ledger import Ran
from tests.crash.stories import chains, families, holds, jobs, messages, steps, updates
from tests.crash.stories.kit import BY_HAND_QUEUE, Proof

POLL_TIMEOUT = timedelta(seconds=20)
_CHAPTERS: tuple[Any, ...] = (steps, messages, families, chains, updates, holds, jobs)
STORIES = {name: story for chapter in _CHAPTERS for name, story in chapter.STORIES.items()}
WORKFLOWS = [workflow for chapter in _CHAPTERS for workflow in chapter.WORKFLOWS]
ACTIVITIES = [*steps.ACTIVITIES, *holds.ACTIVITIES]


class Load:
    """Actors go through one story after the other, from start to result, until `stop`."""

    def __init__(self, calls: Calls, seed: int) -> None:
        self.told: dict[str, int] = dict.fromkeys(STORIES, 0)
        """How often each story came to its end."""
        self._calls = calls
        self._seed = seed
        self._stopping = asyncio.Event()
        self._shuffle = Random(f"{seed}:deck")
        self._deck: list[str] = []
        self._ids = 0

    def stop(self) -> None:
        """Finish what is begun, begin nothing."""
        self._stopping.set()

    async def act(self) -> None:
        while not self._stopping.is_set():
            if not self._deck:
                self._deck = list(STORIES)
                self._shuffle.shuffle(self._deck)
            story = self._deck.pop()
            self._ids += 1
            name = f"{story}-{self._ids}"
            try:
                await STORIES[story](self._calls, name, Random(f"{self._seed}:{name}"))
            except BaseException as failure:
                failure.add_note(f"in the story {name}")
                raise
            self.told[story] += 1

    # ---- activities completed by hand
    async def complete_by_hand(self, worker: int) -> None:
        """Poll and complete activities, by token and by ID in turn, until cancelled."""
        random = Random(f"{self._seed}:by-hand:{worker}")
        poll = PollActivityTaskQueueRequest(
            namespace=NAMESPACE,
            task_queue=TaskQueue(name=BY_HAND_QUEUE, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            identity=f"by-hand-{worker}",
        )
        while True:
            task = await self._calls.until_answered(self._calls.rpc.poll_activity_task_queue, poll, POLL_TIMEOUT)
            if task.task_token:
                await self._complete(task, random)

    async def _complete(self, task: PollActivityTaskQueueResponse, random: Random) -> None:
        calls, execution = self._calls, task.workflow_execution
        [number] = values(task.input)
        proof = request_id(random)
        calls.ledger.proofs.add(proof)
        stamp = decode_token(task.task_token, ACTIVITY_TASK).stamp
        ran = Ran(execution.workflow_id, execution.run_id, task.activity_id, task.attempt, stamp, proof)
        calls.ledger.handed.append(ran)
        result = payloads(Proof(2 * number, proof))
        if random.random() < 0.5:
            answer = await calls.until_answered(
                calls.rpc.respond_activity_task_completed,
                RespondActivityTaskCompletedRequest(
                    namespace=NAMESPACE, task_token=task.task_token, result=result, identity="by-hand"
                ),
                but=RPCStatusCode.NOT_FOUND,
            )
        else:
            answer = await calls.until_answered(
                calls.rpc.respond_activity_task_completed_by_id,
                RespondActivityTaskCompletedByIdRequest(
                    namespace=NAMESPACE,
                    workflow_id=execution.workflow_id,
                    run_id=execution.run_id,
                    activity_id=task.activity_id,
                    result=result,
                    identity="by-hand",
                ),
                but=RPCStatusCode.NOT_FOUND,
            )
        if answer is None:
            return  # Timed out meanwhile, closed, or completed by a call whose answer was lost: not acknowledged.
        calls.ledger.completions[execution.workflow_id, execution.run_id, task.activity_id] = proof
        calls.ledger.touched.add(execution.workflow_id)
