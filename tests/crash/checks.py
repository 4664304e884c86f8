"""What must hold after every restart, read back as any client would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from tests.crash.ledger import Ledger
from tests.crash.workflows import NOTES, SENDERS, WORKFLOWS

CLOSES = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: WorkflowExecutionStatus.COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: WorkflowExecutionStatus.CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: WorkflowExecutionStatus.TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: WorkflowExecutionStatus.CONTINUED_AS_NEW,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: WorkflowExecutionStatus.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: WorkflowExecutionStatus.TIMED_OUT,
}
FAILURES_IN_ORDER = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
)
"""No failure; a close that a signal came before; a termination while a task was under way."""
_READS_AT_ONCE = 8


@dataclass
class Chain:
    """The runs of one workflow ID, in order, each with its history."""

    workflow_id: str
    runs: list[WorkflowHistory]

    @property
    def last(self) -> HistoryEvent:
        return self.runs[-1].events[-1]

    @property
    def may_hold_back(self) -> bool:
        """A workflow task is under way: what came meanwhile is buffered, and enters history when it ends."""
        return self.last.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED

    @property
    def status(self) -> WorkflowExecutionStatus:
        return CLOSES.get(self.last.event_type, WorkflowExecutionStatus.RUNNING)


async def check_acknowledged(client: Client, page: Ledger) -> None:
    """All of `page` is true: every start is listed, and what was touched since the page before is in history, once."""
    listed = await _listed(client)
    for workflow_id, run_id in page.starts.items():
        assert run_id in listed.get(workflow_id, ()), f"the acknowledged start of {workflow_id} {run_id} is lost"
    for chain in await _chains(client, page, page.touched & page.starts.keys()):
        _check_chain(chain, page)


async def check_end(client: Client, page: Ledger) -> int:
    """All workflows, children too, have ended rightly and replay. Returns how many runs there are."""
    listed = await _listed(client)
    parents = await _chains(client, page, page.starts.keys())
    roots = {workflow_id: runs[0] for workflow_id, runs in listed.items() if workflow_id not in page.starts}
    chains = parents + await _read_all(client, roots)
    for chain in chains:
        _check_chain(chain, page)
        assert chain.status is not WorkflowExecutionStatus.RUNNING, f"{chain.workflow_id} is still open"
        told = {run.run_id for run in chain.runs}
        assert told == set(listed[chain.workflow_id]), f"{chain.workflow_id} has runs that no history leads to"
    await _replay([run for chain in chains for run in chain.runs])
    return sum(len(chain.runs) for chain in chains)


async def _listed(client: Client) -> dict[str, list[str]]:
    """Workflow ID: its run IDs, as list sees them."""
    listed: dict[str, list[str]] = {}
    async for execution in client.list_workflows(page_size=1000):
        listed.setdefault(execution.id, []).append(execution.run_id)
    return listed


async def _chains(client: Client, page: Ledger, workflow_ids: Iterable[str]) -> list[Chain]:
    return await _read_all(client, {workflow_id: page.starts[workflow_id] for workflow_id in workflow_ids})


async def _read_all(client: Client, first_runs: dict[str, str]) -> list[Chain]:
    gate = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(workflow_id: str, run_id: str) -> Chain:
        chain = Chain(workflow_id, [])
        async with gate:
            while run_id:
                history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
                chain.runs.append(history)
                run_id = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return chain

    return await asyncio.gather(*(read(*first) for first in first_runs.items()))


def _check_chain(chain: Chain, page: Ledger) -> None:
    for run in chain.runs:
        _check_run(chain.workflow_id, run)
        _check_completions(chain.workflow_id, run, page)
    _check_notes(chain, page)
    _check_close(chain, page)


def _check_run(workflow_id: str, run: WorkflowHistory) -> None:
    ids = [event.event_id for event in run.events]
    assert ids == list(range(1, len(ids) + 1)), f"{workflow_id} {run.run_id} has event IDs {ids}"
    early = [event.event_id for event in run.events[:-1] if event.event_type in CLOSES]
    assert not early, f"{workflow_id} {run.run_id} goes on after it closed, at {early}"
    for event in run.events:
        failed = event.workflow_task_failed_event_attributes
        assert failed.cause in FAILURES_IN_ORDER, f"a workflow task of {workflow_id} {run.run_id} failed: {failed}"


def _check_completions(workflow_id: str, run: WorkflowHistory, page: Ledger) -> None:
    activity_ids = {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_id
        for event in run.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }
    recorded: dict[str, list[object]] = {}
    for event in run.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            [result] = DataConverter.default.payload_converter.from_payloads(completed.result.payloads)
            recorded.setdefault(activity_ids[completed.scheduled_event_id], []).append(result)
    for activity_id, results in recorded.items():
        assert len(results) == 1, f"activity {activity_id} of {workflow_id} completed {len(results)} times"
    for (acknowledged_id, run_id, activity_id), proof in page.completions.items():
        if (acknowledged_id, run_id) == (workflow_id, run.run_id):
            [result] = recorded.get(activity_id, [None])
            assert isinstance(result, dict), f"the completion of activity {activity_id} of {workflow_id} is lost"
            assert result["proof"] == proof, f"activity {activity_id} of {workflow_id} has another completion's result"


def _check_notes(chain: Chain, page: Ledger) -> None:
    heard: dict[str, list[int]] = {}
    for run in chain.runs:
        for event in run.events:
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name == "note":
                sender, number = DataConverter.default.payload_converter.from_payloads(signal.input.payloads)
                heard.setdefault(sender, []).append(number)
    for sender in SENDERS:
        numbers = heard.get(sender, [])
        acknowledged = page.notes.get((chain.workflow_id, sender), 0)
        # One more than acknowledged may be there: the one whose answer is outstanding or came since.
        assert numbers == list(range(len(numbers))), f"{chain.workflow_id} holds {sender}'s notes as {numbers}"
        assert len(numbers) <= NOTES, f"{chain.workflow_id} holds more notes than {sender} sent: {numbers}"
        assert acknowledged <= len(numbers) or chain.may_hold_back, (
            f"{chain.workflow_id} lost notes of {sender}: {acknowledged} were acknowledged, it holds {numbers}"
        )


def _check_close(chain: Chain, page: Ledger) -> None:
    workflow_id = chain.workflow_id
    if workflow_id in page.endings:
        assert chain.status is page.endings[workflow_id].status, f"{workflow_id} was told to have ended otherwise"
    if workflow_id in page.terminations:
        assert chain.status is WorkflowExecutionStatus.TERMINATED, f"the termination of {workflow_id} is lost"
    if workflow_id in page.cancels:
        requests = [
            event
            for event in chain.runs[-1].events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        ]
        assert len(requests) == 1 or (not requests and chain.may_hold_back), (
            f"{workflow_id} holds {len(requests)} cancel requests of one acknowledged"
        )


async def _replay(runs: list[WorkflowHistory]) -> None:
    async def histories() -> AsyncIterator[WorkflowHistory]:
        for run in runs:
            yield run

    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflows(histories())
