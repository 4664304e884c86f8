"""Should there be a defect, it costs its own caller an answer and nobody else anything."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.operatorservice.v1 as ops
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import Payload

from perdure.engine.signals import signal_workflow
from perdure.errors import Internal, PerdureError
from tests.api.client import NAMESPACE, complete_workflow, execution, schedule_activity, start_request, start_timer
from tests.support.runtime_world import TestCall, World


def history(workflow_id: str = "order-1") -> ws.GetWorkflowExecutionHistoryRequest:
    return ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=execution(workflow_id))


def decide(world: World, workflow_id: str, decision: Any) -> TestCall:
    call = TestCall(world.methods["SignalWorkflowExecution"], None)
    world.runtime.decide(world.runtime.namespaces.active(NAMESPACE), workflow_id, "", decision, call)
    return call


async def test_a_decision_that_breaks_half_way_leaves_no_trace_and_harms_nobody(world: World) -> None:
    await world.start_workflow()
    before = await world.ask(history())

    def breaks(turn: Any) -> None:
        signal_workflow(turn, signal_name="never")
        turn.settle()  # its event has an ID already
        raise KeyError("a defect")

    world.store.hold()
    other = world.call(start_request("other"))  # in the same batch
    broken = decide(world, "order-1", breaks)
    shown = world.call(history())
    world.store.release()
    await world.settle()

    assert isinstance(broken.error, Internal)
    assert shown.reply.history == before.history == (await world.ask(history())).history
    assert other.reply.run_id
    assert (await world.ask(history("other"))).history.events[0].event_id == 1


async def test_an_answer_that_breaks_keeps_no_other_of_its_batch_from_leaving(world: World) -> None:
    world.store.hold()
    first = world.call(start_request("first"))
    world.runtime.after_commit(lambda: {}["a defect"])
    last = world.call(start_request("last"))
    world.store.release()
    await world.settle()

    assert first.reply.run_id
    assert last.reply.run_id
    await world.start_workflow("later")


async def test_a_refusal_that_breaks_somebody_keeps_no_other_of_its_batch_from_hearing_of_it(world: World) -> None:
    world.store.refusals = 1
    first = world.call(start_request("first"))
    world.runtime.after_commit(lambda: {}["a defect"])
    last = world.call(start_request("last"))
    await world.settle()

    assert first.reply.run_id  # decided again
    assert last.reply.run_id
    await world.start_workflow("later")


async def test_a_run_without_a_stored_form_does_not_stop_the_commits_of_others(world: World) -> None:
    await world.start_workflow()

    def unstorable(turn: Any) -> None:
        turn.run.stamp = 1 << 80  # no integer of any store
        turn.touch()

    other = world.call(start_request("other"))
    spoilt = decide(world, "order-1", unstorable)
    await world.settle()
    assert isinstance(spoilt.error, PerdureError)
    assert other.reply.run_id
    await world.start_workflow("later")
    await world.ask(history())


async def test_an_endless_sticky_timeout_of_a_worker_is_cut_to_what_can_be_stored(world: World) -> None:
    await world.start_workflow()
    poll = world.poll()
    await world.settle()
    completion = ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=poll.reply.task_token)
    completion.sticky_attributes.worker_task_queue.name = "own"
    completion.sticky_attributes.schedule_to_start_timeout.seconds = (1 << 62) - 1
    await world.ask(completion)
    await world.start_workflow("other")


async def test_a_worker_of_a_newer_release_may_fail_its_task_for_reasons_unknown_here(world: World) -> None:
    await world.start_workflow()
    poll = world.poll()
    await world.settle()
    await world.ask(
        ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=poll.reply.task_token, cause=9999)
    )


async def test_a_search_attribute_that_changed_its_type_does_not_stop_runs_that_have_old_values(world: World) -> None:
    request = start_request()
    request.search_attributes.indexed_fields["CustomKeyword"].CopyFrom(Payload(data=b'"red"'))
    await world.ask(request)
    names = ["CustomKeyword"]
    await world.ask(ops.RemoveSearchAttributesRequest(namespace=NAMESPACE, search_attributes=names))
    await world.ask(ops.AddSearchAttributesRequest(namespace=NAMESPACE, search_attributes={"CustomKeyword": 6}))
    world.runtime.executions._loaded.clear()  # so that all its values are written again
    await world.step(complete_workflow())
    await world.start_workflow("other")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("CustomKeyword", b'"\\ud800"'),
        ("CustomDouble", b"NaN"),
        ("CustomDouble", b"Infinity"),
        ("CustomDouble", b"1" + b"0" * 400),
        ("CustomKeyword", b"[" * 2000),
        ("CustomKeyword", b"\xff"),
    ],
)
async def test_values_that_no_list_can_hold_are_refused_in_words(world: World, name: str, data: bytes) -> None:
    request = start_request()
    request.search_attributes.indexed_fields[name].CopyFrom(Payload(data=data))
    call = world.call(request)
    await world.settle()
    assert type(call.error).__name__ == "InvalidArgument", call.error
    str(call.error).encode()
    assert not world.failures
    await world.start_workflow("other")


async def test_a_double_may_be_a_larger_integer_than_the_store_has(world: World) -> None:
    for workflow_id, data in (("small", b"-9223372036854775809"), ("large", b"1" + b"0" * 300)):
        request = start_request(workflow_id)
        request.search_attributes.indexed_fields["CustomDouble"].CopyFrom(Payload(data=data))
        await world.ask(request)
    few = ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE, query="CustomDouble < -9e18")
    assert (await world.ask(few)).count == 1


async def test_a_thousand_deadlines_at_once_are_carried_out_without_nesting(world: World) -> None:
    await world.start_workflow()
    commands = []
    for n in range(400):
        commands += [
            start_timer(f"t{n}", 30),
            schedule_activity(f"a{n}"),
        ]
        commands[-1].schedule_activity_task_command_attributes.schedule_to_start_timeout.seconds = 30
        commands[-1].schedule_activity_task_command_attributes.schedule_to_close_timeout.seconds = 30
    await world.step(*commands)
    await world.pass_time(31)
    reply = await world.ask(ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=execution()))
    assert not reply.pending_activities


async def test_a_retry_in_a_billion_years_is_stored_as_one_in_a_hundred(world: World) -> None:
    await world.start_workflow()
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.retry_policy.maximum_attempts = 5
    await world.step(command)
    poll = world.poll_activity()
    await world.settle()
    failed = ws.RespondActivityTaskFailedRequest(namespace=NAMESPACE, task_token=poll.reply.task_token)
    failed.failure.application_failure_info.next_retry_delay.seconds = 1 << 60
    await world.ask(failed)
    await world.start_workflow("other")


async def test_a_retry_policy_with_an_endless_interval_is_no_defect(world: World) -> None:
    for seconds in (1 << 62, -(1 << 62)):
        request = start_request(f"order{seconds}")
        request.retry_policy.initial_interval.seconds = seconds
        call = world.call(request)
        await world.settle()
        assert call.reply is not None or type(call.error).__name__ == "InvalidArgument", call.error
