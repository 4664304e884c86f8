"""What must hold after every restart. All checks are pure: from a page of the ledger and what was found, to a failure.

The rule for signals. Each that was acknowledged is in the history of exactly one run, once, and a sender's signals come
in the order in which they were sent. There is one exception, which the API has too: a signal whose answer was lost is
sent again with the same request ID, and a run knows the request IDs of its own signals alone. So a signal that was sent
more than once may be in two runs of which one continues the other; in each of them once, and with nothing else of its
sender's between. A run made by a reset knows what it kept and carried over, so there the rule has no exception.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from tests.crash.calls import values
from tests.crash.ledger import Ledger, Ran, Sent
from tests.crash.load import WORKFLOWS
from tests.crash.reading import CLOSES, RESET, Chain, Found, Run, as_history

FAILURES_IN_ORDER = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    RESET,
)
"""No failure; a close that a signal came before; a termination while a task was under way; a reset."""
ASKED_AGAIN = "while in state Admitted"
"""What a worker is told that accepts an update it has from the server that died, when the update's caller has asked the
new server already: its task is failed, as by the reference, and comes again with the update."""
_E = EventType


def check_acknowledged(page: Ledger, found: Found, ran: Iterable[Ran]) -> None:
    """All of `page` is true: every start is listed, and what was touched is in history, once."""
    check_starts(page, found)
    check_ran_once([*ran, *page.handed])
    for chain in found.chains:
        check_chain(page, chain)
    check_outcomes(page, found)


def check_end(page: Ledger, found: Found, ran: Iterable[Ran]) -> None:
    """Everything was read, and everything has ended. Replay is apart, as it takes workers' code."""
    ran = list(ran)
    check_acknowledged(page, found, ran)
    check_schedules(page, found)
    check_standalone(page, found, ran)
    for chain in found.chains:
        check_all_closed(page, chain)
        check_proofs(page, chain, ran)


# ---- lists
def check_starts(page: Ledger, found: Found) -> None:
    for workflow_id, run_id in page.starts.items():
        assert run_id in found.listed.get(workflow_id, ()), f"the acknowledged start of {workflow_id} {run_id} is lost"


def check_schedules(page: Ledger, found: Found) -> None:
    """Each due time gave one run and each trigger another, and none came from nowhere."""
    for plan in page.plans:
        runs = {name: ids for name, ids in found.listed.items() if name.startswith(f"{plan.workflow_id}-")}
        due = set(found.due[plan.schedule_id])
        for workflow_id in due:
            assert workflow_id in runs, f"no run came of {plan.schedule_id}'s due time {workflow_id}"
        count = sum(map(len, runs.values()))
        assert count == len(due) + plan.triggered, (
            f"{plan.schedule_id} has {count} runs of {len(due)} due times and {plan.triggered} triggers: {runs}"
        )


# ---- one workflow ID
def check_chain(page: Ledger, chain: Chain) -> None:
    for run in chain.runs.values():
        check_run(chain.workflow_id, run)
        check_completions(page, chain.workflow_id, run)
    check_links(page, chain)
    check_signals(page, chain)
    check_close(page, chain)
    check_updates(page, chain)
    if chain.tip.workflow_type == "Counts":
        check_cron(chain)


def check_run(workflow_id: str, run: Run) -> None:
    ids = [event.event_id for event in run.events]
    assert ids == list(range(1, len(ids) + 1)), f"{workflow_id} {run.run_id} has event IDs {ids}"
    early = [event.event_id for event in run.events[:-1] if event.event_type in CLOSES]
    assert not early, f"{workflow_id} {run.run_id} goes on after it closed, at {early}"
    for event in run.events:
        failed = event.workflow_task_failed_event_attributes
        in_order = failed.cause in FAILURES_IN_ORDER or ASKED_AGAIN in failed.failure.message
        assert in_order, f"a workflow task of {workflow_id} {run.run_id} failed: {failed}"


def check_links(page: Ledger, chain: Chain) -> None:
    """Each run but the first was started by the end of one other, or by an acknowledged reset of it; by nothing
    else, and once."""
    roots = [run.run_id for run in chain.runs.values() if not run.continues and not run.base]
    assert len(roots) == 1, f"{chain.workflow_id} was started {len(roots)} times: {roots}"
    started = page.starts.get(chain.workflow_id, roots[0])
    assert started == roots[0], f"{chain.workflow_id} was started as {started}, not {roots[0]}"
    for run in chain.runs.values():
        if run.base:
            continue
        if run.continues:
            before = chain.runs.get(run.continues)
            assert before is not None, f"{chain.workflow_id} {run.run_id} continues {run.continues}, which is lost"
            assert before.goes_on_in == run.run_id, (
                f"{chain.workflow_id} {run.continues} goes on in {before.goes_on_in}, not in {run.run_id}"
            )
        assert not run.goes_on_in or run.goes_on_in in chain.runs, (
            f"{chain.workflow_id} {run.run_id} goes on in {run.goes_on_in}, which is lost"
        )
    resets = {base: made for (workflow_id, base), made in page.resets.items() if workflow_id == chain.workflow_id}
    for base, made in resets.items():
        run = chain.runs.get(made)
        assert run is not None, f"the acknowledged reset of {chain.workflow_id} {base} is lost"
        assert run.base == base, f"{chain.workflow_id} {made} was made by a reset of {run.base}, not of {base}"
    bases = Counter(run.base for run in chain.runs.values() if run.base)
    for base, count in bases.items():
        assert count == 1, f"{chain.workflow_id} {base} was reset {count} times"


def check_completions(page: Ledger, workflow_id: str, run: Run) -> None:
    """Each activity completed at most once, and as acknowledged."""
    recorded: dict[str, list[str]] = {}
    for _, activity_id, proof in completed_activities(run):
        recorded.setdefault(activity_id, []).append(proof)
    for activity_id, proofs in recorded.items():
        assert len(proofs) == 1, f"activity {activity_id} of {workflow_id} completed {len(proofs)} times"
    for (acknowledged_id, run_id, activity_id), proof in page.completions.items():
        if (acknowledged_id, run_id) == (workflow_id, run.run_id):
            proofs = recorded.get(activity_id, [])
            assert proofs, f"the completion of activity {activity_id} of {workflow_id} is lost"
            assert proofs == [proof], f"activity {activity_id} of {workflow_id} has another completion's result"


def check_signals(page: Ledger, chain: Chain) -> None:
    heard: dict[str, list[tuple[int, int]]] = {}
    for place, run in enumerate(chain.lineage):
        for event in run.events:
            if event.event_type == _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                sender, number = values(event.workflow_execution_signaled_event_attributes.input)
                heard.setdefault(sender, []).append((number, place))
    for (workflow_id, sender), sent in page.sent.items():
        if workflow_id == chain.workflow_id:
            _check_sender(chain, sender, sent, heard.get(sender, []))


def _check_sender(chain: Chain, sender: str, sent: list[Sent], heard: list[tuple[int, int]]) -> None:
    """`heard` are numbers, each with the place of its run in the lineage."""
    once: list[int] = []
    for at, (number, place) in enumerate(heard):
        if once and number == once[-1]:
            twice = f"{chain.workflow_id} holds {sender}'s signal {number} twice"
            assert place == heard[at - 1][1] + 1, f"{twice}, not in two runs that follow each other: {heard}"
            assert at < 2 or heard[at - 2][0] != number, f"{twice}, and more: {heard}"
            assert sent[number].tries > 1, f"{twice}, though it was sent once"
        else:
            once.append(number)
    assert once == list(range(len(once))), f"{chain.workflow_id} holds {sender}'s signals as {heard}"
    # One more than acknowledged may be there: the one whose answer is outstanding or came since.
    assert len(once) <= len(sent), f"{chain.workflow_id} holds more signals than {sender} sent: {heard}"
    acknowledged = sum(signal.answered for signal in sent)
    assert acknowledged <= len(once) or chain.tip.may_hold_back, (
        f"{chain.workflow_id} lost signals of {sender}: {acknowledged} were acknowledged, it holds {heard}"
    )


def check_close(page: Ledger, chain: Chain) -> None:
    workflow_id, tip = chain.workflow_id, chain.tip
    if workflow_id in page.endings:
        assert tip.status is page.endings[workflow_id].status, f"{workflow_id} was told to have ended otherwise"
    if workflow_id in page.terminations:
        assert tip.status is WorkflowExecutionStatus.TERMINATED, f"the termination of {workflow_id} is lost"
    if workflow_id in page.cancels:
        requests = sum(event.event_type == _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED for event in tip.events)
        assert requests == 1 or (not requests and tip.may_hold_back), (
            f"{workflow_id} holds {requests} cancel requests of one acknowledged"
        )


def check_updates(page: Ledger, chain: Chain) -> None:
    """Each acknowledged update was accepted and completed once; a rejected one left no trace."""
    accepted: Counter[str] = Counter()
    completed: Counter[str] = Counter()
    for run in chain.lineage:
        for event in run.events:
            if event.event_type == _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                accepted[event.workflow_execution_update_accepted_event_attributes.protocol_instance_id] += 1
            elif event.event_type == _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
                completed[event.workflow_execution_update_completed_event_attributes.meta.update_id] += 1
    for workflow_id, update_id in page.rejections:
        assert workflow_id != chain.workflow_id or update_id not in accepted, (
            f"update {update_id} of {workflow_id} was rejected, and is in its history"
        )
    for update_id, count in (accepted + completed).items():
        once = accepted[update_id] == 1 and count <= 2
        assert once, f"update {update_id} of {chain.workflow_id} came twice"
    for update in page.updates:
        assert update.workflow_id != chain.workflow_id or completed[update.update_id], (
            f"the outcome of update {update.update_id} of {chain.workflow_id} is lost"
        )


def check_outcomes(page: Ledger, found: Found) -> None:
    """A later poll of an update gives what was told at first."""
    for update, outcome in found.outcomes.items():
        assert outcome == page.updates[update], f"{update} gave {page.updates[update]!r}, and later {outcome!r}"


def check_cron(chain: Chain) -> None:
    results = [
        values(run.events[-1].workflow_execution_completed_event_attributes.result)[0]
        for run in chain.lineage
        if run.status is WorkflowExecutionStatus.COMPLETED
    ]
    assert results == list(range(1, len(results) + 1)), f"the runs of {chain.workflow_id} counted {results}"


def check_all_closed(page: Ledger, chain: Chain) -> None:
    assert chain.tip.status is not WorkflowExecutionStatus.RUNNING, f"{chain.workflow_id} is still open"
    open_runs = [run.run_id for run in chain.runs.values() if run.status is WorkflowExecutionStatus.RUNNING]
    assert not open_runs, f"{chain.workflow_id} has open runs that it went on from: {open_runs}"
    told = {made for (workflow_id, _), made in page.resets.items() if workflow_id == chain.workflow_id}
    made = {run.run_id for run in chain.runs.values() if run.base}
    assert made == told, f"{chain.workflow_id} was reset to {made}, and clients were told {told}"


# ---- what workers ran
def check_ran_once(ran: Iterable[Ran]) -> None:
    """No attempt of an activity ran twice. Local ones may: their workflow task is what is repeated."""
    seen: dict[tuple[str, str, int, int], Ran] = {}
    for entry in ran:
        if not entry.local:
            key = (entry.run_id, entry.activity_id, entry.attempt, entry.stamp)
            assert key not in seen, f"one attempt ran twice: {entry} and {seen[key]}"
            seen[key] = entry


def check_proofs(page: Ledger, chain: Chain, ran: Iterable[Ran]) -> None:
    """Each recorded result is that of an execution which took place, of the recorded attempt; and nothing ran once
    the server had it."""
    by_proof = {entry.proof: entry for entry in ran if entry.workflow_id == chain.workflow_id}
    last: Counter[tuple[str, str]] = Counter()
    for entry in by_proof.values():
        last[entry.run_id, entry.activity_id] = max(last[entry.run_id, entry.activity_id], entry.stamp)
    for run in chain.runs.values():
        for attempt, activity_id, proof in completed_activities(run):
            if proof in page.proofs:
                continue
            entry = by_proof.get(proof)
            assert entry is not None, f"{chain.workflow_id} holds a result of {activity_id} that no worker computed"
            assert entry.activity_id == activity_id, f"{chain.workflow_id} took {entry} for the result of {activity_id}"
            assert entry.attempt == attempt, f"{chain.workflow_id} took {entry} for attempt {attempt}"
            assert entry.stamp == last[entry.run_id, activity_id], f"{activity_id} ran again after {entry} completed it"
        for proof in local_proofs(run):
            assert proof in by_proof, f"{chain.workflow_id} holds a local activity's result that no worker computed"


def check_standalone(page: Ledger, found: Found, ran: Iterable[Ran]) -> None:
    proofs = {entry.proof: entry for entry in ran if not entry.workflow_id}
    for (activity_id, run_id), told in page.standalone.items():
        now = found.standalone[activity_id, run_id]
        assert told, f"activity {activity_id} never ended"
        assert now == told, f"activity {activity_id} ended as {told}, and later as {now}"
        if told.startswith("result"):
            assert any(
                proof in told and entry.activity_id == activity_id and entry.run_id == run_id
                for proof, entry in proofs.items()
            ), f"no worker computed the result of activity {activity_id}: {told}"


def completed_activities(run: Run) -> Iterable[tuple[int, str, str]]:
    """(attempt, activity ID, proof) of each completion in history."""
    ids: dict[int, str] = {}
    attempts: dict[int, int] = {}
    for event in run.events:
        if event.event_type == _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            ids[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        elif event.event_type == _E.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            attempts[event.event_id] = event.activity_task_started_event_attributes.attempt
        elif event.event_type == _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            [result] = values(completed.result)
            yield attempts[completed.started_event_id], ids[completed.scheduled_event_id], result["proof"]


def local_proofs(run: Run) -> Iterable[str]:
    for event in run.events:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name == "core_local_activity":
            for payload in marker.details["result"].payloads if "result" in marker.details else ():
                if proof := _proof(payload):
                    yield proof


def _proof(payload: Payload) -> str:
    value: Any = json.loads(payload.data)
    return value["proof"] if isinstance(value, dict) else ""


# ---- replay
async def check_replay(found: Found) -> int:
    """Every history is one that its workflow's code would make. Returns how many there are."""
    histories = [as_history(chain.workflow_id, run) for chain in found.chains for run in chain.runs.values()]

    async def each() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflows(each())
    return len(histories)
