"""Who starts batch jobs, and holds them to what they say they did."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import temporalio.api.batch.v1 as batch
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import BatchOperationState, ResetType

from perdure.engine.execution import BATCH
from tests.api.client import execution, values
from tests.simulation.ledger import Broken
from tests.simulation.plans import Told
from tests.simulation.sender import NO, Sender

_RUNNING = BatchOperationState.BATCH_OPERATION_STATE_RUNNING
_COMPLETED = BatchOperationState.BATCH_OPERATION_STATE_COMPLETED


class Batcher(Sender):
    def __init__(self, simulation: Any, name: str, realm: Any = None) -> None:
        super().__init__(simulation, name, realm)
        self.jobs: dict[str, Any] = {}
        """What each said of itself last."""
        self.signals: set[str] = set()
        self.stopped: set[str] = set()
        self.closes: dict[str, list[tuple[str, str]]] = {}
        self.removes: dict[str, list[tuple[str, str]]] = {}
        """(workflow ID, run ID) that must be closed, or gone, when a job that looks them up has done all of it."""

    async def act(self) -> None:
        acts = (self.signal, self.cancel, self.terminate, self.reset, self.delete, self.look, self.stop)
        act = self.chance.choices(acts, [5, 1, 2, 2, 2, 6, 1])[0]
        with suppress(*NO):
            await act()

    async def _start(self, job_id: str, targets: list[str] | str, **operation: Any) -> None:
        request = ws.StartBatchOperationRequest(
            namespace=self.realm.name,
            job_id=job_id,
            reason="tidy up",
            max_operations_per_second=self.chance.choice([1, 5, 1000]),
            **operation,
        )
        if isinstance(targets, str):
            request.visibility_query = targets
        else:
            request.executions.extend(map(execution, targets))
        await self.insist(request)
        if self.realm.disk.load(BATCH, job_id) is None:
            raise Broken(f"batch job {job_id} was acknowledged and is not on the disk")
        self.jobs[job_id] = ws.DescribeBatchOperationResponse()

    def _some(self) -> list[str]:
        return sorted({self.some_id() for _ in range(self.chance.randint(1, 3))})

    async def signal(self) -> None:
        job_id = self._uuid()
        self.realm.ledger.attempted.add(job_id)
        self.signals.add(job_id)
        targets = self.chance.choice([self._some(), "WorkflowType = 'Plan'", "ExecutionStatus = 'Running'"])
        signal = batch.BatchOperationSignal(signal="note", input=values(job_id), identity=self.name)
        await self._start(job_id, targets, signal_operation=signal)

    async def cancel(self) -> None:
        targets = self.chance.choice([self._some(), "CustomKeyword = 'v1' AND ExecutionStatus = 'Running'"])
        await self._start(self._uuid(), targets, cancellation_operation=batch.BatchOperationCancellation())

    async def terminate(self) -> None:
        targets = self._some()
        self.realm.ledger.terminated.update(targets)
        operation = batch.BatchOperationTermination()
        if self.chance.random() < 0.4:
            await self._start(self._uuid(), targets, termination_operation=operation)
            return
        job_id, query = self._uuid(), _any_of(targets)
        if self.chance.random() < 0.3:  # and the children
            query = f"WorkflowId STARTS_WITH '{targets[0]}'"
            targets = [at for at in self.realm.disk.workflows() if at.startswith(targets[0])]
            self.realm.ledger.terminated.update(targets)
        self.closes[job_id] = self._runs(targets)
        await self._start(job_id, query, termination_operation=operation)

    async def delete(self) -> None:
        targets = [self.some_id()]
        self.realm.ledger.deleted.update(targets)
        operation = batch.BatchOperationDeletion()
        if self.chance.random() < 0.4:
            await self._start(self._uuid(), targets, deletion_operation=operation)
            return
        job_id = self._uuid()
        self.removes[job_id] = self._runs(targets)
        await self._start(job_id, _any_of(targets), deletion_operation=operation)

    async def reset(self) -> None:
        targets = self._some()
        self.realm.ledger.reset.update(targets)
        kind = self.chance.choice([ResetType.RESET_TYPE_FIRST_WORKFLOW_TASK, ResetType.RESET_TYPE_LAST_WORKFLOW_TASK])
        operation = batch.BatchOperationReset(reset_type=kind)
        if self.chance.random() < 0.5:
            await self._start(self._uuid(), targets, reset_operation=operation)
            return
        job_id = self._uuid()
        self.closes[job_id] = self._runs(targets)
        await self._start(job_id, _any_of(targets), reset_operation=operation)

    def _runs(self, targets: list[str]) -> list[tuple[str, str]]:
        """All there are now of these workflows."""
        return [(at, run_id) for at in targets for run_id in self.realm.disk.runs(at)]

    async def look(self, job_id: str = "") -> Any:
        if not self.jobs:
            return None
        job_id = job_id or self.chance.choice(list(self.jobs))
        said = await self.insist(ws.DescribeBatchOperationRequest(namespace=self.realm.name, job_id=job_id))
        before, self.jobs[job_id] = self.jobs[job_id], said
        done = said.complete_operation_count + said.failure_operation_count
        if (
            done > said.total_operation_count
            or said.complete_operation_count < before.complete_operation_count
            or said.failure_operation_count < before.failure_operation_count
        ):
            raise Broken(f"batch job {job_id} said {before}, then {said}")
        if said.state == _COMPLETED and not said.failure_operation_count:
            self._check_done(job_id)
        return said

    def _check_done(self, job_id: str) -> None:
        disk = self.realm.disk
        for workflow_id, run_id in self.closes.pop(job_id, []):
            run, _ = disk.stored(workflow_id, run_id)
            if run is not None and run.running:
                raise Broken(f"batch job {job_id} is done, and {workflow_id} {run_id} is open as it was before")
        for workflow_id, run_id in self.removes.pop(job_id, []):
            if disk.stored(workflow_id, run_id)[0] is not None:
                raise Broken(f"batch job {job_id} is done, and {workflow_id} {run_id} is there as it was before")

    async def stop(self) -> None:
        if self.jobs:
            job_id = self.chance.choice(list(self.jobs))
            self.stopped.add(job_id)
            await self.insist(ws.StopBatchOperationRequest(namespace=self.realm.name, job_id=job_id, reason="enough"))

    async def finish(self) -> None:
        for job_id in self.jobs:
            if job_id in self.realm.ledger.expired:
                continue
            for _ in range(1000):
                said = await self.look(job_id)
                if said.state != _RUNNING:
                    break
                await self.simulation.pass_time(1)
            else:
                raise Broken(f"batch job {job_id} never ends: {said}")
            if job_id in self.stopped:
                continue
            done = said.complete_operation_count + said.failure_operation_count
            if said.state != _COMPLETED or done != said.total_operation_count:
                raise Broken(f"batch job {job_id} ended with {said}")
            if job_id in self.signals:
                self._check_signals(job_id, said.complete_operation_count)

    def _check_signals(self, job_id: str, done: int) -> None:
        ledger, disk = self.realm.ledger, self.realm.disk
        there = sum(
            Told(self.realm.witness.all_signals(workflow_id, run_id)).signals.count(job_id)
            for workflow_id in disk.workflows()
            for run_id in disk.runs(workflow_id)
        )
        if (there > done and not ledger.reset) or (
            there < done and not ledger.deleted | ledger.terminated | ledger.expired
        ):
            raise Broken(f"batch job {job_id} signaled {done}, and {there} were signaled")


def _any_of(workflow_ids: list[str]) -> str:
    names = ", ".join(f"'{workflow_id}'" for workflow_id in workflow_ids)
    return f"WorkflowId IN ({names})"
