"""Each check can fail: it is shown a ledger and histories that do not agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowExecutionStatus

from tests.crash import checks
from tests.crash.calls import payloads
from tests.crash.ledger import Ending, Ledger, Plan, Ran, Sent, Update
from tests.crash.reading import Chain, Found, Run
from tests.crash.stories.kit import Proof

ID = "collect-1"
UPDATE = Update(ID, "one", "book-0")


# ---- forging
def event(kind: str, **fields: Any) -> HistoryEvent:
    """`event("TimerFired", timer_id="1")`."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind)
    made = HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE{snake.upper()}"))
    attributes = getattr(made, f"{snake[1:]}_event_attributes")
    attributes.SetInParent()
    for name, value in fields.items():
        field = getattr(attributes, name)
        if hasattr(field, "CopyFrom"):
            field.CopyFrom(value)
        else:
            setattr(attributes, name, value)
    return made


def run(run_id: str, *events: HistoryEvent, continues: str = "", workflow_type: str = "Collect") -> Run:
    started = event("WorkflowExecutionStarted", continued_execution_run_id=continues)
    started.workflow_execution_started_event_attributes.workflow_type.name = workflow_type
    numbered = [started, *events]
    for number, each in enumerate(numbered):
        each.event_id = number + 1
    return Run(run_id, numbered)


def chain(*runs: Run) -> Chain:
    return Chain(ID, {run.run_id: run for run in runs})


def signal(number: int, sender: str = "ann") -> HistoryEvent:
    return event("WorkflowExecutionSignaled", signal_name="note", input=payloads(sender, number))


def completed(new_run_id: str = "", result: Any = None) -> HistoryEvent:
    return event("WorkflowExecutionCompleted", new_execution_run_id=new_run_id, result=payloads(result))


def continued(new_run_id: str) -> HistoryEvent:
    return event("WorkflowExecutionContinuedAsNew", new_execution_run_id=new_run_id)


def was_reset(base: str, new: str) -> HistoryEvent:
    cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
    return event("WorkflowTaskFailed", cause=cause, base_run_id=base, new_run_id=new)


def activity(proof: str, *, attempt: int = 1, times: int = 1) -> list[HistoryEvent]:
    """Right after the start of a run."""
    return [
        event("ActivityTaskScheduled", activity_id="a"),
        event("ActivityTaskStarted", scheduled_event_id=2, attempt=attempt),
        *(
            event("ActivityTaskCompleted", scheduled_event_id=2, started_event_id=3, result=payloads(Proof(1, proof)))
            for _ in range(times)
        ),
    ]


def accepted(update_id: str) -> HistoryEvent:
    return event("WorkflowExecutionUpdateAccepted", protocol_instance_id=update_id)


def outcome(update_id: str) -> HistoryEvent:
    made = event("WorkflowExecutionUpdateCompleted")
    made.workflow_execution_update_completed_event_attributes.meta.update_id = update_id
    return made


def ran(proof: str = "p", **fields: Any) -> Ran:
    whole = {"workflow_id": ID, "run_id": "one", "activity_id": "a", "attempt": 1, "stamp": 7, "proof": proof}
    return Ran(**{**whole, **fields})


def sent(*tries: int, answered: int | None = None) -> Ledger:
    """Signals of ann's, with how often each was sent, of which the first `answered` were acknowledged."""
    told = len(tries) if answered is None else answered
    return Ledger(sent={(ID, "ann"): [Sent(count, number < told) for number, count in enumerate(tries)]})


STARTED = Ledger(starts={ID: "one"})
TWICE = "twice|came twice"


def fails(match: str, check: Callable[..., None], *arguments: Any) -> None:
    with pytest.raises(AssertionError, match=match):
        check(*arguments)


# ---- lists
def test_a_lost_start_is_found() -> None:
    checks.check_starts(STARTED, Found(listed={ID: ["one", "two"]}))
    fails("start of collect-1 one is lost", checks.check_starts, STARTED, Found(listed={ID: ["two"]}))
    fails("start of collect-1 one is lost", checks.check_starts, STARTED, Found())


def test_a_due_time_without_a_run_or_with_two_is_found() -> None:
    page = Ledger(plans=[Plan("s", "s.run", 1)])

    def found(*listed: str, due: tuple[str, ...] = ("s.run-1", "s.run-2")) -> Found:
        return Found(listed={name: [name] for name in listed}, due={"s": list(due)})

    checks.check_schedules(page, found("s.run-1", "s.run-2", "s.run-by-hand"))
    fails("no run came of s's due time s.run-2", checks.check_schedules, page, found("s.run-1", "s.run-by-hand"))
    fails("has 2 runs of 2 due times and 1 triggers", checks.check_schedules, page, found("s.run-1", "s.run-2"))
    twice = found("s.run-1", "s.run-2", "s.run-by-hand")
    twice.listed["s.run-1"].append("again")
    fails("has 4 runs", checks.check_schedules, page, twice)


# ---- histories and how they hang together
def test_a_gap_in_a_history_is_found() -> None:
    whole = run("one", signal(0), completed())
    checks.check_run(ID, whole)
    del whole.events[1]
    fails("has event IDs", checks.check_run, ID, whole)


def test_an_event_after_the_close_is_found() -> None:
    fails("goes on after it closed", checks.check_run, ID, run("one", completed(), signal(0)))


def test_a_workflow_task_that_failed_for_no_good_reason_is_found() -> None:
    cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
    fails("a workflow task .* failed", checks.check_run, ID, run("one", event("WorkflowTaskFailed", cause=cause)))


def test_runs_that_no_end_leads_to_are_found() -> None:
    checks.check_links(STARTED, chain(run("one", continued("two")), run("two", continues="one")))
    fails("was started 2 times", checks.check_links, STARTED, chain(run("one"), run("two")))
    fails("was started as one, not two", checks.check_links, STARTED, chain(run("two")))
    fails(
        "goes on in three",
        checks.check_links,
        STARTED,
        chain(run("one", continued("three")), run("two", continues="one")),
    )
    fails("goes on in two, which is lost", checks.check_links, STARTED, chain(run("one", continued("two"))))
    lost = chain(run("one"), run("three", continues="two"))
    fails("continues two, which is lost", checks.check_links, STARTED, lost)


def test_a_lost_reset_and_one_carried_out_twice_are_found() -> None:
    page = Ledger(starts={ID: "one"}, resets={(ID, "one"): "two"})
    base = run("one", event("WorkflowExecutionTerminated"))
    checks.check_links(page, chain(base, run("two", was_reset("one", "two"))))
    fails("reset of collect-1 one is lost", checks.check_links, page, chain(base))
    twice = chain(base, run("two", was_reset("one", "two")), run("three", was_reset("one", "three")))
    fails("was reset 2 times", checks.check_links, page, twice)
    fails(
        "was reset to .*two",
        checks.check_all_closed,
        STARTED,
        chain(base, run("two", was_reset("one", "two"), completed())),
    )


def test_an_open_workflow_is_found_at_the_end() -> None:
    checks.check_all_closed(STARTED, chain(run("one", completed())))
    fails("is still open", checks.check_all_closed, STARTED, chain(run("one")))
    fails(
        "open runs that it went on from",
        checks.check_all_closed,
        STARTED,
        chain(run("one"), run("two", completed(), continues="one")),
    )


# ---- signals
def test_a_lost_signal_is_found() -> None:
    checks.check_signals(sent(1, 1), chain(run("one", signal(0), signal(1))))
    fails("lost signals of ann: 2", checks.check_signals, sent(1, 1), chain(run("one", signal(0))))
    fails("lost signals of ann: 1", checks.check_signals, sent(1), chain(run("one")))


def test_a_signal_whose_answer_is_outstanding_may_be_there_or_not() -> None:
    checks.check_signals(sent(1, 3, answered=1), chain(run("one", signal(0))))
    checks.check_signals(sent(1, 3, answered=1), chain(run("one", signal(0), signal(1))))


def test_a_signal_may_be_held_back_only_while_a_task_is_under_way() -> None:
    checks.check_signals(sent(1), chain(run("one", event("WorkflowTaskStarted"))))
    fails("lost", checks.check_signals, sent(1), chain(run("one", event("WorkflowTaskScheduled"))))


def test_signals_out_of_order_and_signals_never_sent_are_found() -> None:
    fails("holds ann's signals as", checks.check_signals, sent(1, 1), chain(run("one", signal(1), signal(0))))
    fails("more signals than ann sent", checks.check_signals, sent(1), chain(run("one", signal(0), signal(1))))


def test_a_signal_in_one_run_twice_is_found_however_often_it_was_sent() -> None:
    fails(TWICE, checks.check_signals, sent(3), chain(run("one", signal(0), signal(0))))


def test_a_signal_may_be_in_two_runs_if_it_was_sent_twice() -> None:
    def over(*later: HistoryEvent) -> Chain:
        return chain(run("one", signal(0), continued("two")), run("two", *later, continues="one"))

    checks.check_signals(sent(2), over(signal(0)))
    fails("though it was sent once", checks.check_signals, sent(1), over(signal(0)))
    fails(TWICE, checks.check_signals, sent(3), over(signal(0), signal(0)))
    three = chain(
        run("one", signal(0), continued("two")),
        run("two", continued("three"), continues="one"),
        run("three", signal(0), continues="two"),
    )
    fails("not in two runs that follow each other", checks.check_signals, sent(2), three)


def test_a_reset_run_stands_for_the_run_that_was_reset() -> None:
    base = run("one", signal(0), event("WorkflowExecutionTerminated"))
    checks.check_signals(sent(1), chain(base, run("two", was_reset("one", "two"), signal(0))))
    fails("lost", checks.check_signals, sent(1), chain(base, run("two", was_reset("one", "two"))))
    twice = chain(base, run("two", was_reset("one", "two"), signal(0), signal(0)))
    fails(TWICE, checks.check_signals, sent(2), twice)


# ---- ends
def test_another_end_than_was_told_is_found() -> None:
    told = Ledger(endings={ID: Ending(WorkflowExecutionStatus.COMPLETED)})
    checks.check_close(told, chain(run("one", completed())))
    fails("told to have ended otherwise", checks.check_close, told, chain(run("one")))


def test_a_lost_termination_is_found() -> None:
    page = Ledger(terminations={ID})
    checks.check_close(page, chain(run("one", event("WorkflowExecutionTerminated"))))
    fails("termination of collect-1 is lost", checks.check_close, page, chain(run("one")))


def test_a_lost_and_a_repeated_cancel_are_found() -> None:
    page, cancel = Ledger(cancels={ID}), event("WorkflowExecutionCancelRequested")
    checks.check_close(page, chain(run("one", cancel)))
    fails("holds 0 cancel requests", checks.check_close, page, chain(run("one")))
    twice = [event("WorkflowExecutionCancelRequested") for _ in range(2)]
    fails("holds 2 cancel requests", checks.check_close, page, chain(run("one", *twice)))


def test_a_cron_run_that_was_left_out_or_came_twice_is_found() -> None:
    def counted(*results: int) -> Chain:
        ids = [f"run-{number}" for number in range(len(results) + 1)]
        runs = [
            run(ids[at], completed(ids[at + 1], result), continues=ids[at - 1] if at else "", workflow_type="Counts")
            for at, result in enumerate(results)
        ]
        return chain(*runs, run(ids[-1], continues=ids[-2], workflow_type="Counts"))

    checks.check_cron(counted(1, 2, 3))
    fails("counted", checks.check_cron, counted(1, 3))
    fails("counted", checks.check_cron, counted(1, 1))


# ---- updates
def test_a_lost_outcome_and_one_that_changed_are_found() -> None:
    page = Ledger(updates={UPDATE: "[1]"})
    checks.check_updates(page, chain(run("one", accepted("book-0"), outcome("book-0"))))
    fails("outcome of update book-0 .* is lost", checks.check_updates, page, chain(run("one", accepted("book-0"))))
    checks.check_outcomes(page, Found(outcomes={UPDATE: "[1]"}))
    fails(r"gave '\[1\]', and later '\[2\]'", checks.check_outcomes, page, Found(outcomes={UPDATE: "[2]"}))
    fails(r"and later ''", checks.check_outcomes, page, Found(outcomes={UPDATE: ""}))


def test_an_update_that_was_taken_twice_is_found() -> None:
    page = Ledger(updates={UPDATE: "[1]"})
    twice = [accepted("book-0"), outcome("book-0"), accepted("book-0"), outcome("book-0")]
    fails(TWICE, checks.check_updates, page, chain(run("one", *twice)))


def test_the_trace_of_a_rejected_update_is_found() -> None:
    page = Ledger(rejections={(ID, "bad-0")})
    checks.check_updates(page, chain(run("one")))
    fails("was rejected, and is in its history", checks.check_updates, page, chain(run("one", accepted("bad-0"))))


# ---- activities
def test_a_lost_another_and_a_repeated_completion_are_found() -> None:
    page = Ledger(completions={(ID, "one", "a"): "p"})
    checks.check_completions(page, ID, run("one", *activity("p")))
    fails("is lost", checks.check_completions, page, ID, run("one", *activity("p", times=0)))
    fails("another completion's result", checks.check_completions, page, ID, run("one", *activity("q")))
    fails("completed 2 times", checks.check_completions, page, ID, run("one", *activity("p", times=2)))


def test_an_attempt_that_ran_twice_is_found() -> None:
    checks.check_ran_once([ran(), ran(attempt=2), ran(stamp=8), ran(run_id="two"), ran(activity_id="b")])
    checks.check_ran_once([ran(local=True), ran(local=True)])
    fails("one attempt ran twice", checks.check_ran_once, [ran("p"), ran("q")])


def test_a_result_that_nobody_computed_is_found() -> None:
    one = chain(run("one", *activity("p")))
    checks.check_proofs(Ledger(), one, [ran("p")])
    checks.check_proofs(Ledger(proofs={"p"}), one, [])
    fails("no worker computed", checks.check_proofs, Ledger(), one, [ran("q")])
    fails("for the result of a", checks.check_proofs, Ledger(), one, [ran("p", activity_id="b")])


def test_a_result_of_another_attempt_is_found() -> None:
    fails("for attempt 2", checks.check_proofs, Ledger(), chain(run("one", *activity("p", attempt=2))), [ran("p")])


def test_an_attempt_after_the_completion_is_found() -> None:
    one = chain(run("one", *activity("p")))
    checks.check_proofs(Ledger(), one, [ran("q", stamp=6), ran("p")])
    fails("ran again after", checks.check_proofs, Ledger(), one, [ran("p"), ran("q", attempt=2, stamp=8)])


def test_a_local_activity_s_result_that_nobody_computed_is_found() -> None:
    marker = event("MarkerRecorded", marker_name="core_local_activity")
    marker.marker_recorded_event_attributes.details["result"].CopyFrom(payloads(Proof(1, "p")))
    checks.check_proofs(Ledger(), chain(run("one", marker)), [ran("p", local=True)])
    fails("local activity's result", checks.check_proofs, Ledger(), chain(run("one", marker)), [])


def test_an_activity_without_a_workflow_that_ends_otherwise_is_found() -> None:
    key = ("standalone-1", "one")
    page = Ledger(standalone={key: 'result "proof p"'})
    entry = ran("p", workflow_id="", activity_id="standalone-1")
    checks.check_standalone(page, Found(standalone={key: 'result "proof p"'}), [entry])
    fails("and later as", checks.check_standalone, page, Found(standalone={key: "failure"}), [entry])
    fails("no worker computed", checks.check_standalone, page, Found(standalone={key: 'result "proof p"'}), [])
    fails("never ended", checks.check_standalone, Ledger(standalone={key: ""}), Found(standalone={key: ""}), [])


# ---- replay
async def test_a_history_that_the_code_would_not_make_is_found() -> None:
    tasks = [
        event("WorkflowTaskScheduled"),
        event("WorkflowTaskStarted", scheduled_event_id=2),
        event("WorkflowTaskCompleted", scheduled_event_id=2, started_event_id=3),
    ]
    timer = event("TimerStarted", timer_id="1", workflow_task_completed_event_id=4)
    one = run("one", *tasks, timer, workflow_type="Board")
    started = one.events[0].workflow_execution_started_event_attributes
    started.input.CopyFrom(payloads(1))
    started.original_execution_run_id = "one"
    started.task_queue.name = "crash"
    for each in one.events:
        each.event_time.seconds = each.event_id

    with pytest.raises(Exception, match=r"[Nn]ondeterminism"):
        await checks.check_replay(Found(chains=[chain(one)]))
