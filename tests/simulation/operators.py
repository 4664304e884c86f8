"""Who meddles with workflows that are under way: their activities, their options, their sticky queues; pauses them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.field_mask_pb2 import FieldMask

from tests.api.client import execution, queue
from tests.simulation.sender import NO, Sender
from tests.simulation.standalone import operation


class Operator(Sender):
    async def act(self) -> None:
        acts = (self.activity, self.pause, self.unpause, self.options, self.sticky, self.shut_down, self.queues)
        act = self.chance.choices(acts, [6, 1, 3, 1, 2, 1, 1])[0]
        with suppress(*NO):
            await act()

    async def _describe(self, workflow_id: str) -> Any:
        return await self.insist(
            ws.DescribeWorkflowExecutionRequest(namespace=self.realm.name, execution=execution(workflow_id))
        )

    async def activity(self) -> None:
        workflow_id = self.some_id()
        pending = (await self._describe(workflow_id)).pending_activities
        if pending:
            activity_id = self.chance.choice([each.activity_id for each in pending])
            request = operation(
                self.chance, self._uuid(), self.realm.name, workflow_id=workflow_id, activity_id=activity_id
            )
            await self.insist(request)

    async def pause(self) -> None:
        await self.insist(
            ws.PauseWorkflowExecutionRequest(
                namespace=self.realm.name, workflow_id=self.some_id(), request_id=self._uuid(), identity="ops"
            )
        )

    async def unpause(self, workflow_id: str = "") -> None:
        await self.insist(
            ws.UnpauseWorkflowExecutionRequest(
                namespace=self.realm.name,
                workflow_id=workflow_id or self.some_id(),
                request_id=self._uuid(),
                identity="ops",
            )
        )

    async def options(self) -> None:
        request = ws.UpdateWorkflowExecutionOptionsRequest(
            namespace=self.realm.name,
            workflow_execution=execution(self.some_id()),
            update_mask=FieldMask(paths=["priority"]),
        )
        request.workflow_execution_options.priority.priority_key = self.chance.randint(1, 5)
        await self.insist(request)

    async def sticky(self) -> None:
        await self.insist(
            ws.ResetStickyTaskQueueRequest(namespace=self.realm.name, execution=execution(self.some_id()))
        )

    async def shut_down(self) -> None:
        """A worker says that it goes; another one of its name comes."""
        name = f"{self.realm.name}-worker-{self.chance.randint(1, 2)}"
        await self.insist(
            ws.ShutdownWorkerRequest(namespace=self.realm.name, identity=name, sticky_task_queue=f"sticky-{name}")
        )

    async def queues(self) -> None:
        await self.insist(
            ws.DescribeTaskQueueRequest(
                namespace=self.realm.name,
                task_queue=queue(self.some_queue()),
                task_queue_type=self.chance.choice([1, 2]),
                report_stats=True,
            )
        )

    async def finish(self) -> None:
        """Nothing stays paused."""
        for at in await self.simulation.list(self.realm, "ExecutionStatus IN ('Running', 'Paused')"):
            with suppress(*NO):
                await self.unpause(at.workflow_id)
            with suppress(*NO):
                for pending in (await self._describe(at.workflow_id)).pending_activities:
                    await self.insist(
                        ws.UnpauseActivityExecutionRequest(
                            namespace=self.realm.name, workflow_id=at.workflow_id, activity_id=pending.activity_id
                        )
                    )
