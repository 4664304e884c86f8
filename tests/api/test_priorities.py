"""Priority and fairness of workflows and activities: who inherits what, and who comes first."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Priority
from temporalio.api.enums.v1 import CommandType

from tests.api.client import NAMESPACE, Api, Refused, schedule_activity

URGENT = Priority(priority_key=2, fairness_key="ann", fairness_weight=2.0)


def activity(activity_id: str, **priority: Any) -> Command:
    command = schedule_activity(activity_id)
    if priority:
        command.schedule_activity_task_command_attributes.priority.CopyFrom(Priority(**priority))
    return command


def child(workflow_id: str, **priority: Any) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.workflow_id = workflow_id
    attributes.workflow_type.name = "Order"
    attributes.task_queue.name = "children"
    attributes.priority.CopyFrom(Priority(**priority))
    return command


async def test_activities_inherit_each_field_that_they_do_not_set(api: Api) -> None:
    await api.start(priority=URGENT)
    await api.step(activity("plain"), activity("own", priority_key=1), activity("other", fairness_key="bob"))

    described = await api.describe()
    first, second, third = [await api.poll_activity() for _ in range(3)]
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in (await api.history()).history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]

    assert described.workflow_execution_info.priority == URGENT
    expected = {
        "plain": URGENT,
        "own": Priority(priority_key=1, fairness_key="ann", fairness_weight=2.0),
        "other": Priority(priority_key=2, fairness_key="bob", fairness_weight=2.0),
    }
    assert {each.activity_id: each.priority for each in described.pending_activities} == expected
    assert {each.activity_id: each.priority for each in (first, second, third)} == expected
    assert first.activity_id == "own"
    assert [each.priority for each in scheduled] == [
        Priority(),
        Priority(priority_key=1),
        Priority(fairness_key="bob"),
    ]


async def test_children_inherit_each_field_that_they_do_not_set(api: Api) -> None:
    await api.start(priority=URGENT)
    await api.step(child("child-1", fairness_key="bob"))

    described = await api.describe("child-1")
    (first, *_) = (await api.history("child-1")).history.events

    merged = Priority(priority_key=2, fairness_key="bob", fairness_weight=2.0)
    assert described.workflow_execution_info.priority == merged
    assert first.workflow_execution_started_event_attributes.priority == merged


async def test_the_next_run_of_a_chain_keeps_the_priority(api: Api) -> None:
    await api.start(priority=URGENT)
    again = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    again.continue_as_new_workflow_execution_command_attributes.workflow_type.name = "Order"
    await api.step(again)

    assert (await api.describe()).workflow_execution_info.priority == URGENT


async def test_waiting_workflows_go_by_priority_then_in_turns_by_fairness_key(api: Api) -> None:
    for number in range(4):
        await api.start(f"a-{number}", priority=Priority(fairness_key="a"))
    await api.start("low", priority=Priority(priority_key=9))
    for number in range(2):
        await api.start(f"b-{number}", priority=Priority(fairness_key="b"))
    await api.start("high", priority=Priority(priority_key=1))

    order = [(await api.poll()).workflow_execution.workflow_id for _ in range(8)]

    assert order == ["high", "a-0", "b-0", "a-1", "b-1", "a-2", "a-3", "low"]


MEANINGLESS = pytest.mark.parametrize(
    ("priority", "message"),
    [
        (Priority(priority_key=-1), "priority key can't be negative"),
        (Priority(fairness_key="k" * 65), "fairness key length exceeds limit"),
        (Priority(fairness_weight=-1.0), "must be greater than zero"),
        (Priority(fairness_weight=float("nan")), "must be greater than zero"),
    ],
)


@MEANINGLESS
async def test_a_priority_that_means_nothing_is_refused(api: Api, priority: Priority, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await api.start(priority=priority)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


@MEANINGLESS
async def test_a_childs_priority_that_means_nothing_fails_the_workflow_task(
    api: Api, priority: Priority, message: str
) -> None:
    await api.start()
    command = child("child")
    command.start_child_workflow_execution_command_attributes.priority.CopyFrom(priority)
    with pytest.raises(Refused) as refused:
        await api.step(command)

    assert refused.value.code == "INVALID_ARGUMENT"
    assert f"invalid Priority on StartChildWorkflowExecutionCommand: {message}. WorkflowId=child" in str(refused.value)
    assert (await api.history()).history.events[-2].HasField("workflow_task_failed_event_attributes")


async def test_backlogs_are_described_by_priority(api: Api) -> None:
    for number, priority in enumerate((1, 1, 5)):
        await api.start(f"order-{number}", priority=Priority(priority_key=priority))

    request = ws.DescribeTaskQueueRequest(namespace=NAMESPACE, report_stats=True)
    request.task_queue.name = "orders"
    described = await api.DescribeTaskQueue(request)

    counts = {key: stats.approximate_backlog_count for key, stats in described.stats_by_priority_key.items()}
    assert counts == {1: 2, 5: 1}
    assert described.stats.approximate_backlog_count == 3
    assert described.stats.tasks_add_rate > 0
