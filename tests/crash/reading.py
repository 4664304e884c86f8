"""What the server says of what happened, read back as any client would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import temporalio.api.update.v1 as up
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as Stage
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory

from tests.crash.calls import NAMESPACE
from tests.crash.ledger import Ledger, Plan, Update
from tests.crash.stories.updates import outcome_text

CLOSES = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: WorkflowExecutionStatus.COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: WorkflowExecutionStatus.CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: WorkflowExecutionStatus.TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: WorkflowExecutionStatus.CONTINUED_AS_NEW,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: WorkflowExecutionStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: WorkflowExecutionStatus.TIMED_OUT,
}
RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
_READS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One run with its history."""

    run_id: str
    events: list[HistoryEvent]

    @property
    def status(self) -> WorkflowExecutionStatus:
        return CLOSES.get(self.events[-1].event_type, WorkflowExecutionStatus.RUNNING)

    @property
    def workflow_type(self) -> str:
        return self.events[0].workflow_execution_started_event_attributes.workflow_type.name

    @property
    def may_hold_back(self) -> bool:
        """A workflow task is under way: what came meanwhile is buffered, and enters history when it ends."""
        return self.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED

    @property
    def continues(self) -> str:
        """The run before it, if its end started this one."""
        return self.events[0].workflow_execution_started_event_attributes.continued_execution_run_id

    @property
    def goes_on_in(self) -> str:
        """The run that its end started."""
        close = self.events[-1]
        attributes = close.WhichOneof("attributes")
        return getattr(getattr(close, attributes), "new_execution_run_id", "") if attributes else ""

    @property
    def base(self) -> str:
        """The run that was reset to make this one."""
        for event in reversed(self.events):
            failed = event.workflow_task_failed_event_attributes
            if failed.cause == RESET and failed.new_run_id == self.run_id:
                return failed.base_run_id
        return ""


@dataclass(frozen=True, slots=True)
class Chain:
    """All runs of one workflow ID."""

    workflow_id: str
    runs: dict[str, Run]

    @property
    def tips(self) -> list[Run]:
        """The runs after which there is none: one, unless something was started twice."""
        passed = {run.continues for run in self.runs.values()} | {run.base for run in self.runs.values()}
        return [run for run in self.runs.values() if run.run_id not in passed]

    @property
    def tip(self) -> Run:
        tips = self.tips
        assert len(tips) == 1, f"{self.workflow_id} has {len(tips)} runs that end it: {[run.run_id for run in tips]}"
        return tips[0]

    @property
    def lineage(self) -> list[Run]:
        """The runs that led to the tip, oldest first. A run that was reset is no part of it: its successor holds what
        was kept."""
        run: Run | None = self.tip
        line: list[Run] = []
        while run is not None:
            line.append(run)
            started_by = self.runs.get(run.base)
            while started_by is not None and started_by.base:
                started_by = self.runs.get(started_by.base)
            run = self.runs.get((started_by or run).continues)
        return line[::-1]


@dataclass
class Found:
    """What was read; each check looks at this and a page of the ledger, and at nothing else."""

    listed: dict[str, list[str]] = field(default_factory=dict)
    """Workflow ID: its run IDs, as list sees them."""
    chains: list[Chain] = field(default_factory=list)
    outcomes: dict[Update, str] = field(default_factory=dict)
    """What a poll of an acknowledged update gave."""
    standalone: dict[tuple[str, str], str] = field(default_factory=dict)
    due: dict[str, list[str]] = field(default_factory=dict)
    """Schedule ID: the workflow IDs its due times give."""


async def read_touched(client: Client, page: Ledger) -> Found:
    """What concerns the workflows that were touched since the page before."""
    found = Found(await _listed(client))
    touched = page.touched & found.listed.keys()
    found.chains = await _chains(client, {workflow_id: found.listed[workflow_id] for workflow_id in touched})
    await _read_outcomes(client, found, (update for update in page.updates if update.workflow_id in touched))
    return found


async def read_everything(client: Client, page: Ledger) -> Found:
    found = Found(await _listed(client))
    found.chains = await _chains(client, found.listed)
    await _read_outcomes(client, found, page.updates)
    for activity_id, run_id in page.standalone:
        poll = ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id=activity_id, run_id=run_id)
        reply = await client.workflow_service.poll_activity_execution(poll)
        found.standalone[activity_id, run_id] = str(reply.outcome) if reply.HasField("outcome") else ""
    for plan in page.plans:
        found.due[plan.schedule_id] = await _due(client, plan)
    return found


async def _listed(client: Client) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    async for execution in client.list_workflows(page_size=1000):
        listed.setdefault(execution.id, []).append(execution.run_id)
    return listed


async def _gather(work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    gate = asyncio.Semaphore(_READS_AT_ONCE)

    async def one(read: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await read()

    await asyncio.gather(*map(one, work))


async def _chains(client: Client, wanted: dict[str, list[str]]) -> list[Chain]:
    chains = [Chain(workflow_id, {}) for workflow_id in wanted]

    async def read(chain: Chain) -> None:
        # A run may have come to its end, and started another, since the list was made.
        unread = list(wanted[chain.workflow_id])
        while unread:
            run_id = unread.pop()
            if run_id and run_id not in chain.runs:
                history = await client.get_workflow_handle(chain.workflow_id, run_id=run_id).fetch_history()
                run = chain.runs[run_id] = Run(run_id, list(history.events))
                unread.append(run.goes_on_in)

    await _gather(lambda chain=chain: read(chain) for chain in chains)  # type: ignore[misc]
    return chains


async def _read_outcomes(client: Client, found: Found, updates: Iterable[Update]) -> None:
    async def read(update: Update) -> None:
        request = ws.PollWorkflowExecutionUpdateRequest(
            namespace=NAMESPACE,
            update_ref=up.UpdateRef(
                workflow_execution=WorkflowExecution(workflow_id=update.workflow_id, run_id=update.run_id),
                update_id=update.update_id,
            ),
            wait_policy=up.WaitPolicy(lifecycle_stage=Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED),
        )
        reply = await client.workflow_service.poll_workflow_execution_update(request)
        found.outcomes[update] = outcome_text(reply.outcome) if reply.HasField("outcome") else ""

    await _gather(lambda update=update: read(update) for update in updates)  # type: ignore[misc]


async def _due(client: Client, plan: Plan) -> list[str]:
    """The workflow IDs that the schedule's due times give, by its own word."""
    question = ws.DescribeScheduleRequest(namespace=NAMESPACE, schedule_id=plan.schedule_id)
    said = await client.workflow_service.describe_schedule(question)
    asked = all_due_times(plan.schedule_id, said)
    times: Iterable[Timestamp] = (await client.workflow_service.list_schedule_matching_times(asked)).start_time
    return [f"{plan.workflow_id}-{at.ToDatetime():%Y-%m-%dT%H:%M:%SZ}" for at in times]


def all_due_times(schedule_id: str, said: ws.DescribeScheduleResponse) -> ws.ListScheduleMatchingTimesRequest:
    """Asks for those from its creation to its end."""
    return ws.ListScheduleMatchingTimesRequest(
        namespace=NAMESPACE,
        schedule_id=schedule_id,
        start_time=said.info.create_time,
        end_time=said.schedule.spec.end_time,
    )


def as_history(workflow_id: str, run: Run) -> WorkflowHistory:
    return WorkflowHistory(workflow_id, run.events)
