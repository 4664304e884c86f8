"""Who resets workflows, at any point of any run that it knows of."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType

from tests.api.client import execution
from tests.simulation.sender import NO, Sender

_ENDS_OF_TASKS: Final = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
}
_SIGNALS: Final = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL
_UPDATES: Final = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE


class Resetter(Sender):
    async def act(self) -> None:
        with suppress(*NO):
            await self.reset()

    async def reset(self) -> None:
        workflow_id = self.some_id()
        known = [run_id for at, run_id in self.realm.ledger.starts if at == workflow_id]
        run_id = self.chance.choice(known) if known and self.chance.random() < 0.3 else ""
        read = ws.GetWorkflowExecutionHistoryRequest(
            namespace=self.realm.name, execution=execution(workflow_id, run_id)
        )
        events = (await self.insist(read)).history.events
        points = [event.event_id for event in events if event.event_type in _ENDS_OF_TASKS]
        request = ws.ResetWorkflowExecutionRequest(
            namespace=self.realm.name,
            workflow_execution=execution(workflow_id, run_id),
            reason="redo",
            request_id=self._uuid(),
            workflow_task_finish_event_id=self.chance.randint(1, len(events) + 1),
        )
        if points and self.chance.random() < 0.9:
            request.workflow_task_finish_event_id = self.chance.choice(points)
        carried = self.chance.random() < 0.8
        if not carried:
            request.reset_reapply_exclude_types.extend(
                self.chance.choice([[_SIGNALS], [_UPDATES], [_SIGNALS, _UPDATES]])
            )
        self.realm.ledger.reset.add(workflow_id)
        new = (await self.insist(request)).run_id
        self.realm.witness.reset(workflow_id, request.workflow_task_finish_event_id, new, carried)
