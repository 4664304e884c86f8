"""Parents and children: two executions that tell each other what they must know, and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Priority, RetryPolicy
from temporalio.api.enums.v1 import (
    CommandType,
    ParentClosePolicy,
    StartChildWorkflowExecutionFailedCause,
    WorkflowExecutionStatus,
    WorkflowIdReusePolicy,
)
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.closing import terminate
from perdure.engine.messages import ChildClosed, ChildStarted, ParentClosed, StartChild
from perdure.engine.signals import signal_workflow
from perdure.engine.times import SECOND, duration_us
from perdure.errors import NamespaceNotFound
from tests.engine.given import Scene, command, complete_workflow, fail_workflow, payloads, seconds
from tests.engine.world import World

TERMINATED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED


def start_child(
    workflow_id: str = "child", workflow_type: str = "Child", queue: str = "children", **fields: Any
) -> Command:
    made = command(
        CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
        "start_child_workflow_execution",
        workflow_id=workflow_id,
        **fields,
    )
    attributes = made.start_child_workflow_execution_command_attributes
    attributes.workflow_type.name = workflow_type
    attributes.task_queue.name = queue
    return made


def a_parent_with(*commands: Command) -> tuple[World, Scene, Scene]:
    """The world, the parent after its first task, and the scene of `child`; messages are still on their way."""
    world = World()
    parent = world.scene("parent")
    parent.start()
    parent.complete(*commands)
    return world, parent, world.scene("child")


def test_a_child_starts_and_its_result_becomes_an_event_of_the_parent() -> None:
    world, parent, child = a_parent_with(start_child(input=payloads("in")))
    world.settle()

    assert parent.kinds()[4:] == [
        "StartChildWorkflowExecutionInitiated",
        "ChildWorkflowExecutionStarted",
        "WorkflowTaskScheduled",
    ]
    assert child.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    parent.complete()
    child.complete(complete_workflow("out"))
    world.settle()

    assert parent.kinds()[9:] == ["ChildWorkflowExecutionCompleted", "WorkflowTaskScheduled"]
    ended = parent.history()[9].child_workflow_execution_completed_event_attributes
    assert ended.result == payloads("out")
    assert (ended.initiated_event_id, ended.started_event_id) == (5, 6)
    assert ended.workflow_execution.run_id == child.run.run_id
    assert ended.workflow_type.name == "Child"
    assert not parent.run.children


def test_a_child_knows_its_parent_and_the_root_of_the_tree() -> None:
    world, parent, child = a_parent_with(start_child(priority=Priority(priority_key=2)))
    world.settle()
    started = child.history()[0].workflow_execution_started_event_attributes

    assert started.parent_workflow_execution.run_id == parent.run.run_id
    assert started.parent_workflow_execution.workflow_id == "parent"
    assert started.parent_initiated_event_id == 5
    assert started.root_workflow_execution.run_id == parent.run.run_id
    assert started.priority.priority_key == 2
    assert started.identity == ""
    assert duration_us(started.workflow_task_timeout) == 10 * SECOND
    assert child.run.create_request_id == f"{parent.run.run_id}:5:0"

    child.complete(start_child("grandchild"))
    world.settle()
    grandchild = world.scene("grandchild").history()[0].workflow_execution_started_event_attributes
    assert grandchild.root_workflow_execution.workflow_id == "parent"


def test_the_first_task_of_a_child_waits_until_the_parent_knows_of_it() -> None:
    world, _, child = a_parent_with(start_child())
    (start,) = world.messages()
    world.deliver(start)

    assert child.kinds() == ["WorkflowExecutionStarted"]
    assert child.run.awaits_parent
    world.settle()
    assert child.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


def test_a_start_delivered_again_creates_nothing() -> None:
    world, _, child = a_parent_with(start_child())
    (start,) = world.messages()
    world.deliver(start)
    world.deliver(start)
    answers = world.messages()
    assert [type(answer) for answer in answers] == [ChildStarted, ChildStarted]
    for answer in answers:
        world.deliver(answer)
    world.settle()

    assert len(child.execution.runs) == 1
    assert child.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


@pytest.mark.parametrize(
    ("policy", "closed", "refused"),
    [
        ("ALLOW_DUPLICATE", False, True),
        ("ALLOW_DUPLICATE", True, False),
        ("ALLOW_DUPLICATE_FAILED_ONLY", True, True),
        ("REJECT_DUPLICATE", True, True),
    ],
)
def test_an_id_in_use_fails_the_start(policy: str, closed: bool, refused: bool) -> None:
    reuse = WorkflowIdReusePolicy.Value(f"WORKFLOW_ID_REUSE_POLICY_{policy}")
    world = World()
    child = world.scene("child")
    child.start()
    if closed:
        child.complete(complete_workflow())
    parent = world.scene("parent")
    parent.start()
    parent.complete(start_child(workflow_id_reuse_policy=reuse, control="c"))
    world.settle()

    if not refused:
        assert parent.kinds()[5] == "ChildWorkflowExecutionStarted"
        return
    assert parent.kinds()[5:] == ["StartChildWorkflowExecutionFailed", "WorkflowTaskScheduled"]
    failed = parent.history()[5].start_child_workflow_execution_failed_event_attributes
    assert failed.cause == (
        StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
    )
    assert (failed.workflow_id, failed.workflow_type.name, failed.control) == ("child", "Child", "c")
    assert not parent.run.children


def test_the_parent_hears_of_a_retried_child_only_at_the_last_run() -> None:
    policy = RetryPolicy(initial_interval=seconds(1), backoff_coefficient=1, maximum_attempts=2)
    world, parent, child = a_parent_with(start_child(retry_policy=policy))
    world.settle()
    parent.complete()
    child.complete(fail_workflow("one"))
    world.settle()
    assert parent.kinds()[8:] == ["WorkflowTaskCompleted"]
    world.advance(1)
    child.complete(fail_workflow("two"))
    world.settle()

    ended = parent.history()[9].child_workflow_execution_failed_event_attributes
    assert ended.failure.message == "two"
    assert ended.workflow_execution.run_id == child.run.run_id
    started = child.history()[0].workflow_execution_started_event_attributes
    assert started.parent_workflow_execution.workflow_id == "parent"


def test_a_child_that_continues_as_new_is_still_its_parents_child() -> None:
    world, parent, child = a_parent_with(start_child())
    world.settle()
    first = child.run
    child.advance(2)  # or it would have to wait
    child.complete(
        command(CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, "continue_as_new_workflow_execution")
    )
    world.settle()
    assert parent.kinds()[6:] == ["WorkflowTaskScheduled"]

    child.complete(complete_workflow("out"))
    world.settle()

    assert child.run is not first
    ended = parent.last().child_workflow_execution_completed_event_attributes
    assert (ended.result, ended.workflow_execution.run_id) == (payloads("out"), child.run.run_id)


def test_a_start_that_is_told_twice_is_recorded_once() -> None:
    world, parent, _ = a_parent_with(start_child())
    (start,) = world.messages()
    world.deliver(start)
    (started,) = world.messages()

    world.deliver(started)
    world.deliver(started)

    assert parent.kinds().count("ChildWorkflowExecutionStarted") == 1


def test_what_happens_during_a_task_of_the_parent_is_numbered_after_it() -> None:
    world, parent, child = a_parent_with(start_child())
    parent.decide(lambda turn: signal_workflow(turn, signal_name="look"))
    task = parent.poll()
    world.settle()
    child.complete(complete_workflow("out"))
    world.settle()
    assert parent.run.children == {}
    parent.complete(started=task)

    assert parent.kinds()[9:] == [
        "ChildWorkflowExecutionStarted",
        "ChildWorkflowExecutionCompleted",
        "WorkflowTaskScheduled",
    ]
    assert parent.history()[10].child_workflow_execution_completed_event_attributes.started_event_id == 10


def test_a_terminated_child_is_reported_without_failure() -> None:
    world, parent, child = a_parent_with(start_child())
    world.settle()
    child.decide(lambda turn: terminate(turn, "enough"))
    world.settle()

    assert parent.kinds()[7:] == ["ChildWorkflowExecutionTerminated"]


# ---- parent close policy
@pytest.mark.parametrize(
    ("policy", "last"),
    [
        ("TERMINATE", "WorkflowExecutionTerminated"),
        ("REQUEST_CANCEL", "WorkflowTaskScheduled"),
        ("ABANDON", "WorkflowTaskCompleted"),
    ],
)
def test_the_end_of_the_parent_reaches_its_children_by_policy(policy: str, last: str) -> None:
    number = ParentClosePolicy.Value(f"PARENT_CLOSE_POLICY_{policy}")
    world, parent, child = a_parent_with(start_child(parent_close_policy=number))
    world.settle()
    child.complete()
    parent.complete(complete_workflow())
    world.settle()

    assert child.kinds()[-1] == last
    if policy == "TERMINATE":
        ended = child.last().workflow_execution_terminated_event_attributes
        assert (ended.reason, ended.identity) == ("by parent close policy", "history-service")
    if policy == "REQUEST_CANCEL":
        asked = child.history()[-2].workflow_execution_cancel_requested_event_attributes
        assert asked.identity == "history-service"
        assert asked.external_workflow_execution.run_id == parent.run.run_id
    assert parent.kinds()[-1] == "WorkflowExecutionCompleted"


def test_a_workflow_of_that_id_with_another_parent_is_left_alone() -> None:
    world, parent, child = a_parent_with(start_child())
    world.settle()
    parent.complete(complete_workflow())
    (closed,) = world.messages()
    assert isinstance(closed, ParentClosed)
    child.decide(lambda turn: terminate(turn, "by somebody"))
    other = child.start()
    world.deliver(closed)

    assert other.running


def test_the_child_of_the_parents_next_run_does_not_end_with_the_one_before() -> None:
    world, parent, child = a_parent_with(start_child())
    world.settle()
    parent.complete(complete_workflow())
    (closed,) = world.messages()
    assert isinstance(closed, ParentClosed)
    child.decide(lambda turn: terminate(turn, "by somebody"))
    world.messages()
    parent.start()
    parent.complete(start_child())
    world.settle()

    world.deliver(closed)

    assert child.run.running


def test_a_child_started_with_the_close_never_starts() -> None:
    world, parent, child = a_parent_with(start_child(), complete_workflow())

    assert parent.kinds()[4:] == ["StartChildWorkflowExecutionInitiated", "WorkflowExecutionCompleted"]
    assert world.messages() == []
    assert child.execution.current is None


@pytest.mark.parametrize(("policy", "runs"), [("TERMINATE", False), ("ABANDON", True), ("REQUEST_CANCEL", True)])
def test_a_parent_that_closed_before_it_knew_of_its_child_does_not_leave_it_hanging(policy: str, runs: bool) -> None:
    number = ParentClosePolicy.Value(f"PARENT_CLOSE_POLICY_{policy}")
    world, parent, child = a_parent_with(start_child(parent_close_policy=number))
    (start,) = world.messages()
    assert isinstance(start, StartChild)
    parent.decide(lambda turn: terminate(turn, "enough"))
    world.deliver(start)
    world.settle()

    assert child.run.running is runs
    assert runs is ("WorkflowTaskScheduled" in child.kinds())
    assert child.run.cancel_requested is (policy == "REQUEST_CANCEL")


def test_messages_for_a_child_that_is_not_pending_any_more_change_nothing() -> None:
    world, parent, child = a_parent_with(start_child())
    world.settle()
    child.complete(complete_workflow())
    (closed,) = world.messages()
    assert isinstance(closed, ChildClosed)
    world.deliver(closed)
    kinds = parent.kinds()
    world.deliver(closed)
    world.deliver(
        ChildStarted(
            to_namespace_id=parent.namespace_id,
            to_workflow_id="parent",
            to_run_id=parent.run.run_id,
            initiated_event_id=5,
            child_workflow_id="child",
            child_run_id=child.run.run_id,
        )
    )

    assert parent.kinds() == kinds


# ---- the command
def test_an_unknown_namespace_is_an_error_of_the_call_and_the_task_stays_started() -> None:
    world = World()
    parent = world.scene("parent")
    parent.start()
    task = parent.poll()

    with pytest.raises(NamespaceNotFound):
        parent.complete(start_child(namespace="elsewhere"), started=task)
    assert parent.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted"]


@pytest.mark.parametrize(
    ("made", "detail"),
    [
        (
            start_child(workflow_type=""),
            "Required field WorkflowType is not set on StartChildWorkflowExecutionCommand. "
            "WorkflowId=child Namespace=default",
        ),
        (
            start_child(""),
            "Required field WorkflowId is not set on StartChildWorkflowExecutionCommand. "
            "WorkflowType=Child Namespace=default",
        ),
    ],
)
def test_a_child_needs_an_id_and_a_type(made: Command, detail: str) -> None:
    world = World()
    parent = world.scene("parent")
    parent.start()

    assert parent.complete(made, refused=True).failed.message == f"BadStartChildExecutionAttributes: {detail}"


def test_unset_timeouts_and_policies_are_resolved_in_the_initiated_event() -> None:
    _, parent, _ = a_parent_with(start_child(queue="", workflow_execution_timeout=seconds(5)))
    event: HistoryEvent = parent.history()[4]
    initiated = event.start_child_workflow_execution_initiated_event_attributes

    assert initiated.task_queue.name == "orders"
    assert initiated.namespace == "default"
    assert duration_us(initiated.workflow_run_timeout) == 5 * SECOND
    assert duration_us(initiated.workflow_task_timeout) == 5 * SECOND
    assert initiated.parent_close_policy == ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE
    assert initiated.workflow_id_reuse_policy == WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
