"""Commands: in order, all of them or none, and bad ones by name."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo, Payload, SearchAttributes
from temporalio.api.enums.v1 import CommandType, IndexedValueType, WorkflowTaskFailedCause
from temporalio.api.sdk.v1 import UserMetadata

from perdure.engine.limits import Limits
from perdure.engine.signals import signal_workflow
from perdure.errors import InvalidArgument
from tests.engine.given import (
    Scene,
    command,
    complete_workflow,
    fail_workflow,
    given,
    marker,
    payload,
    payloads,
    schedule_activity,
    start_timer,
)

INT = IndexedValueType.INDEXED_VALUE_TYPE_INT


def upsert(**values: str) -> Command:
    fields = {name: Payload(metadata={"encoding": b"json/plain"}, data=data.encode()) for name, data in values.items()}
    return command(
        CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        "upsert_workflow_search_attributes",
        search_attributes=SearchAttributes(indexed_fields=fields),
    )


def modify(**values: str) -> Command:
    return command(
        CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES,
        "modify_workflow_properties",
        upserted_memo=Memo(fields={name: payload(text) for name, text in values.items()}),
    )


def protocol_message(message_id: str) -> Command:
    return command(CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE, "protocol_message", message_id=message_id)


def running(**fields: Any) -> Scene:
    scene = given(**fields)
    scene.start()
    return scene


# ---- sequence
def test_nothing_may_follow_a_close() -> None:
    scene = running()
    task = scene.poll()

    with pytest.raises(InvalidArgument) as refused:
        scene.complete(complete_workflow(), start_timer("t", 1), started=task)
    assert refused.value.message == (
        "invalid command sequence: [CompleteWorkflowExecution, StartTimer], "
        "command CompleteWorkflowExecution must be the last command."
    )
    assert scene.kinds()[-1] == "WorkflowTaskStarted"


def test_an_unknown_command_is_refused_and_the_task_stays_started() -> None:
    scene = running()
    task = scene.poll()

    with pytest.raises(InvalidArgument) as refused:
        scene.complete(Command(), started=task)
    assert refused.value.message == "unknown command type: Unspecified"
    assert scene.kinds()[-1] == "WorkflowTaskStarted"


# ---- all or none
def test_a_bad_command_undoes_those_before_it() -> None:
    scene = running()
    good = [marker("m"), start_timer("t", 5), schedule_activity("a"), upsert_memo("x")]
    done = scene.complete(*good, start_timer("", 1), refused=True, identity="decider")

    assert done.failed.message == "BadStartTimerAttributes: TimerId is not set on StartTimerCommand."
    assert scene.kinds()[3:] == ["WorkflowTaskFailed"]
    failed = scene.last().workflow_task_failed_event_attributes
    assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES
    assert failed.failure.message == done.failed.message
    assert failed.identity == "decider"
    assert not scene.run.timers
    assert not scene.run.activities
    assert scene.run.memo == b""
    assert scene.offered_activities() == []


def upsert_memo(text: str) -> Command:
    return modify(note=text)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            schedule_activity("a", start_to_close_timeout=0),
            "BadScheduleActivityAttributes: a valid StartToClose or ScheduleToCloseTimeout is not set on "
            "ScheduleActivityTaskCommand. ActivityId=a ActivityType=Charge",
        ),
        (schedule_activity(""), "BadScheduleActivityAttributes: activityId is not set"),
        (schedule_activity("a", activity_type=""), "BadScheduleActivityAttributes: activityType is not set"),
        (schedule_activity("a", queue=""), "BadScheduleActivityAttributes: missing task queue name"),
        (
            schedule_activity("a", start_to_close_timeout=-1),
            "BadScheduleActivityAttributes: invalid StartToCloseTimeout: negative duration",
        ),
        (
            command(CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK),
            "BadScheduleActivityAttributes: ScheduleActivityTaskCommandAttributes is not set on "
            "ScheduleActivityTaskCommand.",
        ),
        (marker(""), "BadRecordMarkerAttributes: MarkerName is not set on RecordMarkerCommand."),
        (
            command(CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION, "fail_workflow_execution"),
            "BadFailWorkflowExecutionAttributes: Failure is not set on FailWorkflowExecutionCommand.",
        ),
        (
            upsert(NoSuch="1"),
            "BadSearchAttributes: Namespace default has no mapping defined for search attribute NoSuch",
        ),
        (
            upsert(CustomInt='"no"'),
            "BadSearchAttributes: invalid value for search attribute CustomInt of type Int: no",
        ),
        (
            command(CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, "upsert_workflow_search_attributes"),
            "BadSearchAttributes: SearchAttributes is not set on UpsertWorkflowSearchAttributesCommand.",
        ),
        (
            command(CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES, "modify_workflow_properties"),
            "BadModifyWorkflowPropertiesAttributes: UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.",
        ),
        (
            protocol_message("nope"),
            "BadUpdateWorkflowExecutionMessage: ProtocolMessageCommand referenced absent message ID nope",
        ),
        (
            protocol_message(""),
            "BadUpdateWorkflowExecutionMessage: MessageID is not set on ProtocolMessageCommand.",
        ),
    ],
)
def test_bad_commands_are_named(made: Command, message: str) -> None:
    scene = running(search_attribute_types={"CustomInt": INT})
    done = scene.complete(made, refused=True)

    assert isinstance(done.failed, InvalidArgument)
    assert done.failed.message == message
    assert scene.kinds()[3:] == ["WorkflowTaskFailed"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            schedule_activity("a", input=payloads("x" * 200)),
            "BadScheduleActivityAttributes: ScheduleActivityTaskCommandAttributes.Input exceeds size limit.",
        ),
        (
            complete_workflow("x" * 200),
            "BadScheduleActivityAttributes: CompleteWorkflowExecutionCommandAttributes.Result exceeds size limit.",
        ),
        (
            fail_workflow("x" * 200),
            "BadFailWorkflowExecutionAttributes: FailWorkflowExecutionCommandAttributes.Failure exceeds size limit.",
        ),
    ],
)
def test_what_is_too_large_ends_the_workflow(made: Command, message: str) -> None:
    scene = running(limits=Limits(blob_size=100))
    scene.complete(made, refused=True)

    assert scene.kinds()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    assert scene.last().workflow_execution_terminated_event_attributes.reason == message


def test_pending_activities_are_limited() -> None:
    scene = running(limits=Limits(pending_activities=2))
    done = scene.complete(*(schedule_activity(str(n)) for n in range(3)), refused=True)

    assert done.failed.message == (
        "PendingActivitiesLimitExceeded: the number of pending activities, 2, has reached the per-workflow limit of 2"
    )


# ---- closing
def test_a_close_that_missed_a_signal_is_refused_and_the_attempt_starts_over() -> None:
    scene = running()
    task = scene.poll()
    scene.decide(lambda turn: signal_workflow(turn, signal_name="late"))
    done = scene.complete(complete_workflow(), started=task, refused=True)

    assert done.failed.message == "UnhandledCommand"
    assert scene.kinds()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    assert scene.last().workflow_task_scheduled_event_attributes.attempt == 1


def test_commands_before_a_close_leave_their_events() -> None:
    scene = running()
    scene.complete(start_timer("t", 5), marker("m"), complete_workflow("done"))

    assert scene.kinds()[3:] == [
        "WorkflowTaskCompleted",
        "TimerStarted",
        "MarkerRecorded",
        "WorkflowExecutionCompleted",
    ]
    closed = scene.last().workflow_execution_completed_event_attributes
    assert closed.result == payloads("done")
    assert closed.workflow_task_completed_event_id == 4
    assert not scene.run.running


# ---- what a workflow notes about itself
def test_upserted_attributes_and_memo_are_merged() -> None:
    scene = running(search_attribute_types={"CustomInt": INT})
    scene.complete(upsert(CustomInt="1"), modify(a="1", b="2"), force_create_new_workflow_task=True)
    scene.complete(upsert(CustomInt="2"), modify(b="3"))

    assert Payload.FromString(scene.run.search_attributes["CustomInt"]).data == b"2"
    assert Payload.FromString(scene.run.search_attributes["CustomInt"]).metadata["type"] == b"Int"
    memo = Memo.FromString(scene.run.memo)
    assert {name: value.data for name, value in memo.fields.items()} == {"a": b'"1"', "b": b'"3"'}


def test_a_command_hands_its_user_metadata_to_its_event() -> None:
    scene = running()
    timer = start_timer("t", 5)
    timer.user_metadata.CopyFrom(UserMetadata(summary=payload("reminder")))
    scene.complete(timer)

    assert scene.last().user_metadata.summary == payload("reminder")
