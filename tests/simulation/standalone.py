"""Who starts activities that no workflow schedules, waits for them, and meddles with them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.field_mask_pb2 import FieldMask

from perdure.errors import PerdureError
from tests.api.client import queue, values
from tests.simulation.ledger import Broken
from tests.simulation.sender import NO, Sender

_LONG_POLL = 25.0


class ActivityClient(Sender):
    async def act(self) -> None:
        acts = (self.start, self.result, self.describe, self.cancel, self.terminate, self.delete, self.operate)
        act = self.chance.choices(acts, [8, 4, 2, 1, 1, 1, 4])[0]
        with suppress(*NO):
            await act()

    def some_id(self) -> str:
        return f"a{self.chance.randrange(3)}"

    async def start(self) -> None:
        chance = self.chance
        name = self.some_queue()
        request = ws.StartActivityExecutionRequest(
            namespace=self.realm.name,
            activity_id=self.some_id(),
            request_id=self._uuid(),
            id_reuse_policy=chance.choice([1, 1, 2, 3]),
            id_conflict_policy=chance.choice([1, 2]),
            task_queue=queue(name),
            input=values(self.name, name),
        )
        request.activity_type.name = "Charge"
        request.start_to_close_timeout.seconds = 20
        request.schedule_to_close_timeout.seconds = 3600
        request.heartbeat_timeout.seconds = 5
        request.retry_policy.maximum_attempts = chance.choice([1, 2, 0])
        request.retry_policy.initial_interval.seconds = 1
        if chance.random() < 0.2:
            request.start_delay.seconds = chance.choice([1, 60])
        reply = await self.insist(request)
        self.realm.witness.activity_started(request.activity_id, reply.run_id)
        if chance.random() < 0.5:
            await self.result(request.activity_id, reply.run_id)

    async def result(self, activity_id: str = "", run_id: str = "") -> Any:
        """As SDKs wait for a result."""
        request = ws.PollActivityExecutionRequest(
            namespace=self.realm.name, activity_id=activity_id or self.some_id(), run_id=run_id
        )
        reply = await self.insist(request, within=_LONG_POLL)
        if reply.HasField("outcome"):
            self.realm.witness.activity_ended(request.activity_id, reply.run_id, reply.outcome)
        return reply

    async def describe(self) -> None:
        request = ws.DescribeActivityExecutionRequest(namespace=self.realm.name, activity_id=self.some_id())
        for _ in range(2):
            reply = await self.insist(request, within=_LONG_POLL)
            request.run_id = reply.info.run_id or request.run_id
            request.long_poll_token = reply.long_poll_token

    async def cancel(self) -> None:
        await self.insist(
            ws.RequestCancelActivityExecutionRequest(
                namespace=self.realm.name, activity_id=self.some_id(), request_id=self._uuid()
            )
        )

    async def terminate(self) -> None:
        await self.insist(
            ws.TerminateActivityExecutionRequest(
                namespace=self.realm.name, activity_id=self.some_id(), request_id=self._uuid()
            )
        )

    async def delete(self) -> None:
        activity_id = self.some_id()
        self.realm.ledger.deleted.add(activity_id)
        await self.insist(ws.DeleteActivityExecutionRequest(namespace=self.realm.name, activity_id=activity_id))

    async def operate(self) -> None:
        await self.insist(operation(self.chance, self._uuid(), self.realm.name, activity_id=self.some_id()))

    async def finish(self) -> None:
        for number in range(3):
            activity_id = f"a{number}"
            named: Any = {"namespace": self.realm.name, "activity_id": activity_id}
            with suppress(*NO):
                await self.insist(ws.UnpauseActivityExecutionRequest(**named))
            with suppress(PerdureError):
                for _ in range(600):
                    if (await self.result(activity_id)).HasField("outcome"):
                        break
                else:
                    raise Broken(f"activity {activity_id} never ends")


def operation(chance: Any, request_id: str, namespace: str, **which: Any) -> Any:
    """What operators do to an activity, at random."""
    named: Any = {"namespace": namespace, "identity": "ops", **which}
    fate = chance.random()
    if fate < 0.35:
        return ws.PauseActivityExecutionRequest(**named, request_id=request_id)
    if fate < 0.65:
        return ws.UnpauseActivityExecutionRequest(**named, request_id=request_id)
    if fate < 0.85:
        return ws.ResetActivityExecutionRequest(
            **named, reset_heartbeat=chance.random() < 0.3, keep_paused=chance.random() < 0.3
        )
    request = ws.UpdateActivityExecutionOptionsRequest(**named, update_mask=FieldMask(paths=["heartbeat_timeout"]))
    request.activity_options.heartbeat_timeout.seconds = chance.choice([2, 5, 15])
    return request
