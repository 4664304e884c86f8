"""Signals and cancel requests between workflows."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import CommandType, SignalExternalWorkflowExecutionFailedCause

from perdure.engine.limits import Limits
from perdure.engine.signals import signal_workflow
from tests.engine.given import Scene, command, complete_workflow, payloads
from tests.engine.test_children import start_child
from tests.engine.world import World


def signal(workflow_id: str, name: str = "hey", **fields: Any) -> Command:
    return command(
        CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
        "signal_external_workflow_execution",
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=fields.pop("run_id", "")),
        signal_name=name,
        **fields,
    )


def cancel(workflow_id: str, **fields: Any) -> Command:
    return command(
        CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
        "request_cancel_external_workflow_execution",
        workflow_id=workflow_id,
        **fields,
    )


def two_workflows() -> tuple[World, Scene, Scene]:
    world = World()
    sender, target = world.scene("sender"), world.scene("target")
    target.start()
    sender.start()
    return world, sender, target


def test_a_signal_reaches_its_target_and_the_sender_hears_of_it() -> None:
    world, sender, target = two_workflows()
    sender.complete(signal("target", input=payloads("x"), control="c"))
    world.settle()

    assert target.kinds()[2:] == ["WorkflowExecutionSignaled"]
    taken = target.history()[2].workflow_execution_signaled_event_attributes
    assert (taken.signal_name, taken.identity) == ("hey", "history-service")
    assert taken.external_workflow_execution.run_id == sender.run.run_id
    assert taken.input == payloads("x")
    assert sender.kinds()[5:] == ["ExternalWorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    heard = sender.history()[5].external_workflow_execution_signaled_event_attributes
    assert (heard.initiated_event_id, heard.control) == (5, "c")
    assert heard.workflow_execution == WorkflowExecution(workflow_id="target")
    assert not sender.run.signals


@pytest.mark.parametrize("who", ["none", "sender", "closed"])
def test_a_signal_to_nobody_to_oneself_or_to_a_closed_workflow_is_not_found(who: str) -> None:
    world, sender, _ = two_workflows()
    world.scene("closed").start()
    world.scene("closed").complete(complete_workflow())
    sender.complete(signal(who))
    world.settle()

    assert sender.kinds()[5:] == ["SignalExternalWorkflowExecutionFailed", "WorkflowTaskScheduled"]


def test_a_signal_for_children_only_reaches_no_one_elses_child() -> None:
    world, sender, target = two_workflows()
    sender.complete(signal("target", child_workflow_only=True))
    world.settle()

    assert sender.kinds()[5] == "SignalExternalWorkflowExecutionFailed"
    assert len(target.kinds()) == 2


def test_a_signal_reaches_ones_own_child() -> None:
    world, sender, _ = two_workflows()
    sender.complete(start_child("mine"))
    world.settle()
    sender.complete(signal("mine", child_workflow_only=True))
    world.settle()

    assert "WorkflowExecutionSignaled" in world.scene("mine").kinds()


def test_a_target_with_too_many_signals_says_so() -> None:
    world, sender, target = two_workflows()
    target.limits = Limits(signals_per_run=1)
    target.decide(lambda turn: signal_workflow(turn, signal_name="one"))
    sender.complete(signal("target"))
    world.settle()

    failed = sender.history()[5].signal_external_workflow_execution_failed_event_attributes
    assert failed.cause == (
        SignalExternalWorkflowExecutionFailedCause.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED
    )


def test_a_workflow_about_to_close_takes_a_message_all_the_same() -> None:
    world, sender, target = two_workflows()
    task = target.poll()
    target.decide(lambda turn: signal_workflow(turn, signal_name="first"))
    target.complete(complete_workflow(), started=task, refused=True)
    target.poll()
    sender.complete(signal("target"))
    world.settle()

    assert sender.kinds()[5] == "ExternalWorkflowExecutionSignaled"


def test_a_result_that_is_told_twice_during_a_task_is_recorded_once() -> None:
    world, sender, _ = two_workflows()
    sender.complete(signal("target"), force_create_new_workflow_task=True)
    (sent,) = world.messages()
    world.deliver(sent)
    (result,) = world.messages()
    task = sender.poll()

    world.deliver(result)
    world.deliver(result)
    sender.complete(started=task)

    assert sender.kinds().count("ExternalWorkflowExecutionSignaled") == 1


def test_the_result_is_nobodys_when_the_sender_closed() -> None:
    world, sender, target = two_workflows()
    sender.complete(signal("target"), force_create_new_workflow_task=True)
    sender.complete(complete_workflow())
    world.settle()

    assert target.kinds()[2:] == ["WorkflowExecutionSignaled"]
    assert sender.kinds()[-1] == "WorkflowExecutionCompleted"


def test_a_signal_sent_with_the_close_does_not_leave() -> None:
    world, sender, _ = two_workflows()
    sender.complete(signal("target"), complete_workflow())

    assert world.messages() == []


def test_a_cancel_request_reaches_its_target() -> None:
    world, sender, target = two_workflows()
    target.complete()
    sender.complete(cancel("target", reason="why"))
    world.settle()

    assert target.kinds()[4:] == ["WorkflowExecutionCancelRequested", "WorkflowTaskScheduled"]
    asked = target.history()[4].workflow_execution_cancel_requested_event_attributes
    assert (asked.cause, asked.identity, asked.external_initiated_event_id) == ("why", "history-service", 5)
    assert sender.kinds()[5:] == ["ExternalWorkflowExecutionCancelRequested", "WorkflowTaskScheduled"]
    assert not sender.run.cancels


def test_cancelling_what_is_closed_or_was_asked_before_is_a_success() -> None:
    world, sender, target = two_workflows()
    sender.complete(cancel("target"), cancel("target"))
    world.settle()
    target.complete(complete_workflow())
    sender.complete(cancel("target"))
    world.settle()

    assert sender.kinds().count("ExternalWorkflowExecutionCancelRequested") == 3
    assert target.kinds().count("WorkflowExecutionCancelRequested") == 1


@pytest.mark.parametrize("who", ["none", "sender"])
def test_cancelling_nobody_or_oneself_is_not_found(who: str) -> None:
    world, sender, _ = two_workflows()
    sender.complete(cancel(who))
    world.settle()

    assert sender.kinds()[5:] == ["RequestCancelExternalWorkflowExecutionFailed", "WorkflowTaskScheduled"]


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (
            [signal("")],
            "BadSignalWorkflowExecutionAttributes: WorkflowId is not set on SignalExternalWorkflowExecutionCommand. "
            "Namespace= RunId= SignalName=hey",
        ),
        (
            [cancel("")],
            "BadRequestCancelExternalWorkflowExecutionAttributes: "
            "WorkflowId is not set on RequestCancelExternalWorkflowExecutionCommand. Namespace= RunId=",
        ),
        (
            [start_child("c"), cancel("c")],
            "BadRequestCancelExternalWorkflowExecutionAttributes: "
            "Start and RequestCancel for child workflow is not allowed in same workflow task. "
            "WorkflowId=c RunId= Namespace=",
        ),
    ],
)
def test_bad_requests_to_others_are_named(commands: list[Command], message: str) -> None:
    _, sender, _ = two_workflows()

    assert sender.complete(*commands, refused=True).failed.message == message
    assert not sender.run.children
