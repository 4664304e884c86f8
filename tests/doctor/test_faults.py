"""One thing is broken in a sound file, and that is what the doctor says, of that execution."""

# ruff: noqa: E501 - one case a line: a table of what is cut and what is found
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import msgpack
from temporalio.api.history.v1 import History

from perdure.doctor import Finding, examine
from perdure.engine import messages
from perdure.engine.framing import frame
from perdure.engine.standalone.state import OUTCOME, START
from tests.doctor.patient import Knife, knife


def faults(patient: Path, cut: Callable[[Knife], object]) -> list[Finding]:
    with knife(patient) as blade:
        cut(blade)
    return examine(str(patient)).faults


def rewrite_history(blade: Knife, workflow_id: str, change: Callable[[Any], object]) -> None:
    """Change the events of the first batch of a history, in place."""
    run_no = blade.run_no(workflow_id)
    [(blob,)] = blade.sql("select blob from history where run_no = ? and first_event_id = 1", run_no)
    history = History.FromString(blob)
    change(history.events)
    changed = b"".join(map(frame, history.events))
    blade.sql("update history set blob = ? where run_no = ? and first_event_id = 1", changed, run_no)


def of_run(table: str, workflow_id: str, change: str = "", *, where: str = "true") -> Callable[[Knife], object]:
    """Change (or delete) the rows of the current run in `table`."""
    verb = f"update {table} set {change}" if change else f"delete from {table}"
    return lambda blade: blade.sql(f"{verb} where run_no = ? and {where}", blade.run_no(workflow_id))


def insert(table: str, workflow_id: str, values: str, *bindings: Any) -> Callable[[Knife], object]:
    """A row of the current run; its number is the first value."""
    return lambda blade: blade.sql(f"insert into {table} values (?, {values})", blade.run_no(workflow_id), *bindings)


def copy_task(**changes: str) -> Callable[[Knife], object]:
    """One more row like that of the activity task of `busy`, with some columns changed."""

    def cut(blade: Knife) -> None:
        names = [row[1] for row in blade.sql("pragma table_info(tasks)")]
        selected = ", ".join(changes.get(name, name) for name in names)
        blade.sql(f"insert into tasks select {selected} from tasks where queue = 'charging'")

    return cut


def edit(execution_id: str, change: Callable[[Any], object]) -> Callable[[Knife], object]:
    return lambda blade: blade.edit(execution_id, change)


def sql(statement: str, *values: Any) -> Callable[[Knife], object]:
    return lambda blade: blade.sql(statement, *values)


def schema(statements: str) -> Callable[[Knife], object]:
    return lambda blade: blade.connection.execute(statements)


def put(name: str, value: Any) -> Callable[[Any], object]:
    return lambda run: setattr(run, name, value)


def put_state(name: str, value: Any) -> Callable[[Any], object]:
    return lambda record: setattr(record.state, name, value)


def pending(name: str, **changes: Any) -> Callable[[Any], object]:
    """Change the first pending thing of that sort."""

    def change(run: Any) -> None:
        items = getattr(run, name)
        key = next(iter(items))
        items[key] = items[key].replace(**changes)

    return change


def forget(name: str) -> Callable[[Any], object]:
    return lambda run: getattr(run, name).clear()


def drop_message(kind: type[messages.Message]) -> Callable[[Knife], object]:
    def cut(blade: Knife) -> None:
        for number, blob in blade.sql("select message_no, blob from outbox"):
            if isinstance(messages.decode(blob), kind):
                blade.sql("delete from outbox where message_no = ?", number)

    return cut


def send(blade: Knife, message: messages.Message) -> None:
    """Put a message into the outbox."""
    blade.sql("update marks set message_no = message_no + 1")
    blade.sql(
        "insert into outbox values ((select message_no from marks), '', ?, '', ?)", message.TO, messages.encode(message)
    )


def repeat_message(blade: Knife) -> None:
    blade.sql("update marks set message_no = message_no + 1")
    blade.sql(
        "insert into outbox select (select message_no from marks), namespace_id, kind, execution_id, blob from outbox"
        " where execution_id = 'sender-child'"
    )


def two_open_runs(blade: Knife) -> None:
    """The pointer goes back to the run that continued as another one."""
    [(first, run_no)] = blade.sql(
        "select run_id, run_no from runs where execution_id = 'chain' order by run_no limit 1"
    )
    blade.sql("update current set run_id = ?, run_no = ?, status = 6 where execution_id = 'chain'", first, run_no)


def unnumbered(events: Any) -> None:
    events[1].event_id = 7


def other_type(events: Any) -> None:
    events[0].workflow_execution_started_event_attributes.workflow_type.name = "Ordew"


CASES = [
    # ---- history
    ("its first events are gone", of_run("history", "busy", where="first_event_id = 1"), "history-gap", "busy"),
    ("its history is gone", of_run("history", "delayed"), "history-end", "delayed"),
    ("its events are no events", of_run("history", "delayed", "blob = x'0aff'"), "history-unreadable", "delayed"),
    ("an event has another number", lambda blade: rewrite_history(blade, "busy", unnumbered), "history-batch", "busy"),
    ("a piece of history says it holds more", of_run("history", "delayed", "last_event_id = 2"), "history-batch", "delayed"),
    ("its history has grown", edit("busy", put("history_size", 1)), "history-size", "busy"),
    ("it is said to be open", edit("closed", put("status", 1)), "history-close", "closed"),
    ("it is said to be closed", edit("delayed", put("status", 2)), "history-close", "delayed"),
    ("a request is noted with an event that is not there", of_run("request_ids", "closed", "event_id = 99"), "request-id", "closed"),
    ("a request is noted with an event of another sort", of_run("request_ids", "closed", "event_id = 1"), "request-id", "closed"),
    # ---- the state that history leads to
    ("its type is another one", lambda blade: rewrite_history(blade, "heard", other_type), "state", "heard"),
    ("a timer is forgotten", edit("busy", forget("timers")), "state", "busy"),
    ("a timer is due at another time", edit("busy", pending("timers", due=1 << 60)), "state", "busy"),
    ("an activity is forgotten", edit("busy", forget("activities")), "state", "busy"),
    ("an activity was asked to cancel", edit("busy", pending("activities", cancel_requested=True)), "state", "busy"),
    ("a child has another run", edit("busy", pending("children", run_id="another")), "state", "busy"),
    ("a signal to another workflow is forgotten", edit("sender", forget("signals")), "state", "sender"),
    ("a cancel request is forgotten", edit("sender", forget("cancels")), "state", "sender"),
    ("the workflow task is forgotten", edit("heard", put("workflow_task", None)), "state", "heard"),
    ("the buffer is forgotten, and its number kept", edit("heard", put("signal_count", 1)), "state", "heard"),
    ("the start delay is over", edit("delayed", put("backoff_until", 1)), "state", "delayed"),
    ("it was asked to cancel", edit("busy", put("cancel_requested", True)), "state", "busy"),
    ("its attempt is another one", edit("busy", put("attempt", 2)), "state", "busy"),
    ("it has another parent", edit("busy-child", put("parent", None)), "state", "busy-child"),
    ("its search attributes are forgotten", edit("busy", put("search_attributes", {})), "state", "busy"),
    ("events wait for a workflow task that is not there", edit("busy", put("buffered", [b""])), "buffer", "busy"),
    # ---- pointers and chains
    ("its pointer is gone", sql("delete from current where execution_id = 'busy'"), "current", "busy"),
    ("its pointer leads nowhere", sql("update current set run_no = 9999 where execution_id = 'closed'"), "current", "closed"),
    ("its pointer has another status", sql("update current set status = 1 where execution_id = 'closed'"), "current", "closed"),
    ("its pointer has another request", sql("update current set create_request_id = 'x' where execution_id = 'busy'"), "current", "busy"),
    ("its pointer leads to the run before", two_open_runs, "chain", "chain"),
    ("its successor is of another chain", edit("chain", put("first_run_id", "another")), "chain", "chain"),
    ("its state names another run", edit("busy", put("run_id", "another")), "key", "busy"),
    ("its things lie in rows and in its core", insert("items", "busy", "2, 't', ?", msgpack.encode(["t", 5, 1])), "items", "busy"),
    # ---- waking and tasks
    ("nobody will wake it", of_run("runs", "delayed", "wake_at = null"), "wake", "delayed"),
    ("it is woken too late", of_run("runs", "busy", "wake_at = wake_at + 1"), "wake", "busy"),
    ("it is closed, and woken", of_run("runs", "closed", "wake_at = 1"), "wake", "closed"),
    ("a schedule is not woken", of_run("runs", "hourly", "wake_at = null"), "wake", "hourly"),
    ("nobody was ever told of it", edit("delayed", put("backoff_until", 0)), "first-task", "delayed"),
    ("an activity's task has no row", sql("delete from tasks where queue = 'charging'"), "task-lost", "busy"),
    ("a workflow task has no row", sql("delete from tasks where execution_id = 'busy-child'"), "task-lost", "busy-child"),
    ("a standalone activity's task has no row", sql("delete from tasks where execution_id = 'lone'"), "task-lost", "lone"),
    ("a task's row is in another queue", sql("update tasks set queue = 'x' where queue = 'charging'"), "task", "busy"),
    ("a task has two rows", copy_task(task_no="task_no - 1000"), "task-twice", "busy"),
    ("a stamp will be given again", edit("busy", put("stamp", 1)), "stamp", "busy"),
    ("two activities have one stamp", edit("busy", lambda run: [setattr(one, "stamp", 1) for one in run.activities.values()]), "stamp", "busy"),
    ("a standalone activity's stamp will be given again", edit("lone", put_state("stamp", 0)), "stamp", "lone"),
    # ---- messages, parents, children
    ("the start of its child is lost", drop_message(messages.StartChild), "child-start", "sender"),
    ("its signal is lost", drop_message(messages.SignalExternal), "external", "sender"),
    ("its cancel request is lost", drop_message(messages.CancelExternal), "external", "sender"),
    ("a message is under way twice", repeat_message, "message-twice", ""),
    ("a message cannot be read", sql("update outbox set blob = x'c1'"), "message-unreadable", ""),
    ("a message is addressed to another one", sql("update outbox set execution_id = 'x' where execution_id = 'sender-child'"), "message-address", ""),
    ("a message comes from nowhere", edit("sender", forget("children")), "message-sender", ""),
    ("its child is gone", sql("delete from current where execution_id = 'busy-child'"), "child-closed", "busy"),
    ("its parent, large as it is, does not know it", of_run("items", "large", where="sort = 3"), "child-unknown", "large-child"),
    ("its parent will not tell it to begin", edit("busy-child", put("awaits_parent", True)), "child-waits", "busy-child"),
    # ---- lists
    ("no list shows it", of_run("executions", "busy"), "visibility", "busy"),
    ("lists show another status", of_run("executions", "closed", "status = 1"), "visibility", "closed"),
    ("lists show another memo", of_run("executions", "closed", "memo = x''"), "visibility", "closed"),
    ("lists show another length", of_run("executions", "closed", "history_length = 1"), "visibility", "closed"),
    ("no filter finds it", of_run("search_values", "closed", where="value = 'red'"), "search-values", "closed"),
    ("a word of it is not found", of_run("search_values", "closed", where="value = 'large'"), "search-values", "closed"),
    ("a filter finds it wrongly", insert("search_values", "busy", "'CustomKeyword', 'blue'"), "search-values", "busy"),
    # ---- schedules, batch jobs, standalone activities
    ("what a schedule waits for is gone", edit("hourly", lambda record: record.state.running[0].__setitem__(2, "another")), "schedule-running", "hourly"),
    ("a schedule's start is lost", edit("hourly", put_state("starting", [[9, 1, 1, "report-x", "", 1, True]])), "schedule-start", "hourly"),
    ("starts wait for nothing", edit("resting", put_state("buffer", [[1, 1, 0, False]])), "schedule-buffer", "resting"),
    ("a backfill waits for nothing", edit("resting", put_state("backfills", [[1, 2, 0]])), "schedule-backfill", "resting"),
    ("a schedule is not shown as paused", edit("resting", put_state("paused", False)), "schedule-paused", "resting"),
    ("a schedule's times are no times", edit("resting", put_state("spec", b"\xff")), "schedule-spec", "resting"),
    ("a target is counted twice", edit("job", put_state("complete", 7)), "batch-count", "job"),
    ("a target is lost on its way", edit("job", lambda record: (put_state("next_sent", 2)(record), put_state("under_way", 1)(record))), "batch-target", "job"),
    ("an answered target is under way", lambda blade: send(blade, messages.BatchOperation(from_run_id=blade.run_id("job"), number=9)), "batch-target", "job"),
    ("a start that a schedule does not know is under way", lambda blade: send(blade, messages.StartScheduled(from_run_id=blade.run_id("hourly"), number=9)), "schedule-start", "hourly"),
    ("a job stands still", edit("job", put_state("due", 0)), "batch-stuck", "job"),
    ("a closed activity has no outcome", edit("finished", lambda record: record.items.pop((OUTCOME, ""))), "activity-outcome", "finished"),
    ("an open activity has an outcome", edit("lone", lambda record: record.items.update({(OUTCOME, ""): b""})), "activity-outcome", "lone"),
    ("an activity has no input", edit("lone", lambda record: record.items.pop((START, ""))), "activity-start", "lone"),
    ("a schedule has a history", insert("history", "hourly", "1, 1, x''"), "history", "hourly"),
    # ---- the file
    ("its state cannot be read", of_run("runs", "busy", "core = x'c1'"), "unreadable", "busy"),
    ("its state is of a newer release", of_run("runs", "busy", "core = x'9163'"), "unreadable", "busy"),
    ("it is of no kind", of_run("runs", "closed", "kind = 77"), "unreadable", "closed"),
    ("an index is gone", schema("drop index executions_by_queue"), "schema", ""),
    ("a trigger is another one", schema("drop trigger count_started; create trigger count_started after insert on runs begin select 1; end"), "schema", ""),
    ("a table is not ours", schema("create table songs (title)"), "schema", ""),
    ("history belongs to no run", sql("insert into history values (9999, 1, 1, x'')"), "orphan", ""),
    ("values belong to no run", sql("insert into search_values values (9999, 'CustomKeyword', 'x')"), "orphan", ""),
    ("a run is deleted and there", sql("insert into forgotten select run_no from current where execution_id = 'busy'"), "forgotten", "busy"),
    ("tasks belong to no namespace", copy_task(task_no="task_no - 1000", namespace_id="'gone'", run_id="'gone'"), "orphan-namespace", ""),
    ("counts are wrong", sql("update execution_counts set total = total + 1 where status = 2"), "counts", ""),
    ("numbers would be given again", sql("update marks set run_no = 1"), "marks", ""),
    ("a namespace cannot be read", sql("update namespaces set blob = x'c1' where name = 'default'"), "namespace-unreadable", ""),
    ("settings of a queue cannot be read", sql("update queues set config = x'ff'"), "queue-unreadable", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cut", "check", "execution_id"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_is_broken_is_what_is_said(
    patient: Path, cut: Callable[[Knife], object], check: str, execution_id: str
) -> None:
    found = faults(patient, cut)

    assert [fault for fault in found if (fault.check, fault.execution_id) == (check, execution_id)], found
    assert {fault.execution_id for fault in found} <= {execution_id, "", *_RELATIVES.get(execution_id, ())}
    for fault in found:
        assert fault.wrong
        assert fault.advice
        assert "\n" not in str(fault)


_RELATIVES = {"busy": ("busy-child",), "busy-child": ("busy",), "large-child": ("large",), "": ("sender",)}
"""Who else may have something to say when a thing that two share is broken."""


def test_a_reset_run_whose_child_ended_before_is_worth_a_remark(patient: Path) -> None:
    """It was reset to before that end, which another run was told of."""
    with knife(patient) as blade:
        blade.edit("busy", put("ancestors", ["another"]))
        blade.sql("delete from current where execution_id = 'busy-child'")

    findings = examine(str(patient))

    assert [remark.check for remark in findings.remarks] == ["child-closed"]
    assert "remark: namespace 'default', workflow 'busy'" in str(findings)
    assert {fault.execution_id for fault in findings.faults} == {"busy-child"}


def test_a_finding_names_the_run_and_says_what_to_do(patient: Path) -> None:
    [finding] = faults(patient, of_run("runs", "delayed", "wake_at = null"))

    assert (finding.namespace, finding.kind, finding.execution_id) == ("default", "workflow", "delayed")
    assert len(finding.run_id) == 36
    assert str(finding).startswith(f"namespace 'default', workflow 'delayed', run {finding.run_id}: something is due")


def test_rows_of_tasks_that_nobody_wants_are_counted_and_are_no_fault(patient: Path) -> None:
    with knife(patient) as blade:
        blade.sql("update marks set task_no = 100000")
        blade.sql(
            "insert into tasks select 50000 + task_no, namespace_id, queue, kind, priority, fairness_key, execution_id,"
            " run_id, scheduled_event_id, attempt, stamp + 1000, created, 0, 1 from tasks"
        )

    findings = examine(str(patient))

    assert findings.faults == []
    assert findings.stale_tasks >= findings.tasks // 2
