"""Clients of workflows: they start, signal, update, cancel, describe, wait and delete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import temporalio.api.workflowservice.v1 as ws

from perdure.errors import DeadlineExceeded, MultiOperationFailed, NotFound, PerdureError, QueryFailed
from tests.api.client import execution, queue, values
from tests.api.updating import ACCEPTED, COMPLETED, poll_request, update_request
from tests.simulation.plans import invent
from tests.simulation.sender import NO, TRY_AGAIN, Sender


class Client(Sender):
    async def act(self) -> None:
        """One thing at random."""
        acts: Sequence[Any] = (
            self.start,
            self.signal,
            self.signal_with_start,
            self.cancel,
            self.terminate,
            self.describe,
            self.query,
            self.follow,
            self.list,
            self.delete,
            self.update,
            self.update_with_start,
        )
        act = self.chance.choices(acts, [12, 24, 6, 2, 2, 4, 4, 3, 3, 1, 12, 4])[0]
        with suppress(*NO):
            await act()

    async def start(self) -> None:
        request = ws.StartWorkflowExecutionRequest(
            namespace=self.realm.name,
            workflow_id=self.some_id(),
            request_id=self._uuid(),
            identity=self.name,
            workflow_id_reuse_policy=self.chance.choice([1, 1, 1, 2, 3]),
            workflow_id_conflict_policy=self.chance.choice([1, 1, 2, 3]),
        )
        self._fill(request)
        if request.workflow_id_conflict_policy == 3:
            self.realm.ledger.terminated.add(request.workflow_id)
            request.workflow_id_reuse_policy = 1  # type: ignore[assignment] # ALLOW_DUPLICATE
        if self.chance.random() < 0.1:
            request.workflow_start_delay.seconds = self.chance.choice([1, 60])
        elif self.chance.random() < 0.1:
            request.retry_policy.maximum_attempts = 2
            request.retry_policy.initial_interval.seconds = 1
        elif self.chance.random() < 0.05:
            # Not for ever: where time skips, nothing else would happen any more.
            request.workflow_execution_timeout.seconds = self.chance.choice([500, 2000])
            request.workflow_id = f"cron{self.chance.randrange(2)}"
            request.cron_schedule = self.chance.choice(["@every 90s", "*/3 * * * *"])
            self.realm.ledger.terminated.add(request.workflow_id)
        if self.chance.random() < 0.15:
            request.workflow_run_timeout.seconds = self.chance.choice([5, 3600])
            self.realm.ledger.terminated.add(request.workflow_id)
        reply = await self.insist(request)
        self.realm.witness.started(request.workflow_id, reply.run_id)

    def _fill(self, request: Any) -> None:
        request.workflow_type.name = "Plan"
        request.task_queue.CopyFrom(queue(self.some_queue()))
        request.input.CopyFrom(values(invent(self.chance)))
        request.workflow_task_timeout.seconds = 10

    def _note(self) -> str:
        self.sent += 1
        note = f"{self.name}/{self.sent}"
        self.realm.ledger.attempted.add(note)
        return note

    async def signal(self, workflow_id: str = "") -> None:
        workflow_id = workflow_id or self.some_id()
        note = self._note()
        request = ws.SignalWorkflowExecutionRequest(
            namespace=self.realm.name,
            workflow_execution=execution(workflow_id),
            signal_name="note",
            input=values(note),
            request_id=self._uuid(),
        )
        await self.insist(request, note=note)
        self.realm.witness.signaled(workflow_id, note)

    async def signal_with_start(self) -> None:
        workflow_id = self.some_id()
        note = self._note()
        request = ws.SignalWithStartWorkflowExecutionRequest(
            namespace=self.realm.name,
            workflow_id=workflow_id,
            request_id=self._uuid(),
            signal_name="note",
            signal_input=values(note),
        )
        self._fill(request)
        await self.insist(request, note=note)
        self.realm.witness.signaled(workflow_id, note)

    async def cancel(self) -> None:
        await self.insist(
            ws.RequestCancelWorkflowExecutionRequest(
                namespace=self.realm.name, workflow_execution=execution(self.some_id()), request_id=self._uuid()
            )
        )

    async def terminate(self, workflow_id: str = "") -> None:
        workflow_id = workflow_id or self.some_id()
        self.realm.ledger.terminated.add(workflow_id)
        await self.insist(
            ws.TerminateWorkflowExecutionRequest(namespace=self.realm.name, workflow_execution=execution(workflow_id))
        )

    async def delete(self) -> None:
        workflow_id = self.some_id()
        self.realm.ledger.deleted.add(workflow_id)
        await self.insist(
            ws.DeleteWorkflowExecutionRequest(namespace=self.realm.name, workflow_execution=execution(workflow_id))
        )

    def _update(self, workflow_id: str) -> ws.UpdateWorkflowExecutionRequest:
        stage = self.chance.choice([ACCEPTED, COMPLETED])
        request = update_request(self._uuid(), workflow_id=workflow_id, stage=stage)
        request.namespace = self.realm.name
        return request

    async def update(self) -> None:
        request = self._update(self.some_id())
        await self._follow_update(request.workflow_execution.workflow_id, await self._until_accepted(request))

    async def update_with_start(self) -> None:
        workflow_id = self.some_id()
        policy = self.chance.choice([1, 2, 2, 3])
        request = ws.ExecuteMultiOperationRequest(namespace=self.realm.name)
        start = request.operations.add().start_workflow
        start.namespace = self.realm.name
        start.workflow_id = workflow_id
        start.request_id = self._uuid()
        start.workflow_id_conflict_policy = policy
        self._fill(start)
        request.operations.add().update_workflow.CopyFrom(self._update(workflow_id))
        if policy == 3:
            self.realm.ledger.terminated.add(workflow_id)
        try:
            started, updated = (await self._until_accepted(request)).responses
        except MultiOperationFailed:
            return
        self.realm.witness.started(workflow_id, started.start_workflow.run_id)
        await self._follow_update(workflow_id, updated.update_workflow)

    async def _until_accepted(self, request: Any) -> Any:
        """As SDKs do: again until the update is accepted at least."""
        for _ in range(20):
            try:
                reply = await self.insist(request, within=self.chance.choice([5.0, 30.0]))
            except DeadlineExceeded:
                continue
            progress = reply.responses[1].update_workflow if hasattr(reply, "responses") else reply
            if progress.stage >= ACCEPTED:
                return reply
        raise NotFound("nobody takes it")

    async def _follow_update(self, workflow_id: str, progress: Any) -> None:
        ref = progress.update_ref
        run_id = ref.workflow_execution.run_id
        poll = poll_request(ref.update_id, workflow_id=workflow_id, run_id=run_id, stage=COMPLETED)
        poll.namespace = self.realm.name
        for _ in range(self.chance.randint(1, 4)):
            done = progress.stage == COMPLETED
            self.realm.witness.updated(workflow_id, run_id, ref.update_id, progress.outcome if done else None)
            if done:
                return
            progress = await self.insist(poll, within=30.0)

    async def describe(self) -> None:
        reply = await self.insist(
            ws.DescribeWorkflowExecutionRequest(namespace=self.realm.name, execution=execution(self.some_id()))
        )
        self.realm.witness.seen(reply.workflow_execution_info.execution, reply.workflow_execution_info.status)

    async def query(self) -> None:
        request = ws.QueryWorkflowRequest(namespace=self.realm.name, execution=execution(self.some_id()))
        request.query.query_type = "how are you"
        try:
            await self.simulation.network.call(request, within=self.chance.choice([1.0, 30.0]))
        except (*TRY_AGAIN, QueryFailed, PerdureError):
            return  # a query may find no worker in time

    async def follow(self) -> None:
        """Wait for a close, as SDKs wait for results."""
        request = ws.GetWorkflowExecutionHistoryRequest(
            namespace=self.realm.name,
            execution=execution(self.some_id()),
            wait_new_event=True,
            history_event_filter_type=2,  # type: ignore[arg-type] # CLOSE_EVENT
        )
        for _ in range(3):
            reply = await self.insist(request, within=self.chance.choice([1.0, 30.0]))
            if reply.history.events or not reply.next_page_token:
                return
            request.next_page_token = reply.next_page_token

    async def list(self) -> None:
        query = self.chance.choice(["", "ExecutionStatus = 'Running'", "CustomKeyword = 'v1'"])
        reply = await self.insist(ws.ListWorkflowExecutionsRequest(namespace=self.realm.name, query=query, page_size=3))
        for found in reply.executions:
            self.realm.witness.seen(found.execution, found.status)
