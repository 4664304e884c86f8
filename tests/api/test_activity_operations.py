"""Operators' RPCs on activities of workflows: what they say, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.enums.v1 import PendingActivityState

from tests.api.client import NAMESPACE, Api, Refused, execution, schedule_activity

OLD = {"namespace": NAMESPACE, "execution": execution(), "id": "charge", "identity": "ops"}
NEW = {"namespace": NAMESPACE, "workflow_id": "order-1", "activity_id": "charge", "identity": "ops"}


async def scheduled(api: Api) -> None:
    """A workflow that waits for its activity."""
    await api.start()
    await api.step(schedule_activity())


async def pending(api: Api) -> Any:
    return (await api.describe()).pending_activities[0]


async def state(api: Api) -> str:
    return PendingActivityState.Name((await pending(api)).state).removeprefix("PENDING_ACTIVITY_STATE_")


def options(seconds: int) -> ActivityOptions:
    return ActivityOptions(heartbeat_timeout=Duration(seconds=seconds))


MASK = FieldMask(paths=["heartbeat_timeout"])


@pytest.mark.parametrize(
    ("pause", "unpause"),
    [
        ((ws.PauseActivityRequest, OLD), (ws.UnpauseActivityRequest, OLD)),
        ((ws.PauseActivityExecutionRequest, NEW), (ws.UnpauseActivityExecutionRequest, NEW)),
    ],
)
async def test_a_paused_activity_waits_until_it_is_unpaused(api: Api, pause: Any, unpause: Any) -> None:
    await scheduled(api)

    if pause[1] is OLD:
        await api.PauseActivity(pause[0](**pause[1], reason="why"))
    else:
        await api.PauseActivityExecution(pause[0](**pause[1], reason="why"))
    assert await state(api) == "PAUSED"
    assert (await pending(api)).pause_info.manual.reason == "why"
    assert await api.poll_activity(within=2.1) == ws.PollActivityTaskQueueResponse()

    if unpause[1] is OLD:
        await api.UnpauseActivity(unpause[0](**unpause[1]))
    else:
        await api.UnpauseActivityExecution(unpause[0](**unpause[1]))
    assert (await api.poll_activity()).activity_id == "charge"


async def test_a_paused_workflow_activity_is_listed_by_its_type(api: Api) -> None:
    await scheduled(api)
    query = ws.CountWorkflowExecutionsRequest(
        namespace=NAMESPACE, query="TemporalPauseInfo = 'property:activityType=Charge'"
    )
    assert (await api.CountWorkflowExecutions(query)).count == 0

    await api.PauseActivity(ws.PauseActivityRequest(**OLD))

    assert (await api.CountWorkflowExecutions(query)).count == 1


async def test_a_heartbeat_tells_of_pause_and_reset(api: Api) -> None:
    await scheduled(api)
    task = await api.poll_activity()
    beat = ws.RecordActivityTaskHeartbeatRequest(namespace=NAMESPACE, task_token=task.task_token)

    await api.PauseActivity(ws.PauseActivityRequest(**OLD))
    assert (await api.RecordActivityTaskHeartbeat(beat)).activity_paused

    await api.ResetActivity(ws.ResetActivityRequest(**OLD))
    answer = await api.RecordActivityTaskHeartbeat(beat)
    assert (answer.activity_paused, answer.activity_reset) == (False, True)


async def test_a_reset_that_keeps_the_pause(api: Api) -> None:
    await scheduled(api)
    await api.PauseActivityExecution(ws.PauseActivityExecutionRequest(**NEW))

    await api.ResetActivityExecution(ws.ResetActivityExecutionRequest(**NEW, keep_paused=True))

    assert await state(api) == "PAUSED"


async def test_changed_options_are_told_and_shown_and_restored(api: Api) -> None:
    await scheduled(api)

    changed = await api.UpdateActivityOptions(
        ws.UpdateActivityOptionsRequest(**OLD, activity_options=options(7), update_mask=MASK)
    )
    assert changed.activity_options.heartbeat_timeout.seconds == 7
    assert (await pending(api)).activity_options.heartbeat_timeout.seconds == 7

    restored = await api.UpdateActivityExecutionOptions(
        ws.UpdateActivityExecutionOptionsRequest(**NEW, restore_original=True)
    )
    assert restored.activity_options.heartbeat_timeout.seconds == 0


async def test_all_pending_activities_may_be_meant(api: Api) -> None:
    await api.start()
    await api.step(schedule_activity("a"), schedule_activity("b"))
    everything = {"namespace": NAMESPACE, "execution": execution()}
    await api.PauseActivity(ws.PauseActivityRequest(**everything, type="Charge"))

    await api.UpdateActivityOptions(
        ws.UpdateActivityOptionsRequest(**everything, match_all=True, activity_options=options(7), update_mask=MASK)
    )
    await api.UnpauseActivity(ws.UnpauseActivityRequest(**everything, unpause_all=True))
    await api.ResetActivity(ws.ResetActivityRequest(**everything, match_all=True))

    shown = (await api.describe()).pending_activities
    assert [(a.paused, a.activity_options.heartbeat_timeout.seconds) for a in shown] == [(False, 7), (False, 7)]


@pytest.mark.parametrize(
    ("rpc", "fields", "code", "message"),
    [
        ("PauseActivity", {"execution": execution("")}, "INVALID_ARGUMENT", "WorkflowId is not set on request."),
        ("PauseActivity", {"execution": execution(run_id="x")}, "INVALID_ARGUMENT", "Invalid RunId."),
        (
            "ResetActivity",
            {"id": ""},
            "INVALID_ARGUMENT",
            "Either Activity.Id or Activity.Type should be set on request.",
        ),
        ("PauseActivity", {"reason": "r" * 1001}, "INVALID_ARGUMENT", "reason is too long."),
        ("PauseActivity", {"identity": "r" * 1001}, "INVALID_ARGUMENT", "Identity length exceeds limit."),
        ("UnpauseActivity", {"jitter": Duration(seconds=-1)}, "INVALID_ARGUMENT", "invalid Jitter: negative duration"),
        (
            "UnpauseActivity",
            {"id": "other"},
            "NOT_FOUND",
            "Can't find pending activity with such ID. Invalid activityID or activity already completed",
        ),
        ("PauseActivity", {"execution": execution("z")}, "NOT_FOUND", "workflow not found for ID: z"),
        ("PauseActivity", {"namespace": "nowhere"}, "NOT_FOUND", "Namespace nowhere is not found."),
        ("UpdateActivityOptions", {}, "INVALID_ARGUMENT", "ActivityOptions are not provided"),
        ("UpdateActivityOptions", {"activity_options": options(1)}, "INVALID_ARGUMENT", "UpdateMask is not provided"),
        (
            "UpdateActivityOptions",
            {"restore_original": True, "update_mask": MASK},
            "INVALID_ARGUMENT",
            "Both UpdateMask and RestoreOriginal are provided",
        ),
        (
            "UpdateActivityOptions",
            {"activity_options": options(1), "update_mask": FieldMask()},
            "INVALID_ARGUMENT",
            "UpdateMask must specify at least one path",
        ),
        (
            "PauseActivityExecution",
            {"workflow_id": ""},
            "UNIMPLEMENTED",
            "Standalone activity operator commands are disabled",
        ),
        ("PauseActivityExecution", {"activity_id": ""}, "INVALID_ARGUMENT", "activity ID is required"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    api: Api, rpc: str, fields: dict[str, Any], code: str, message: str
) -> None:
    await scheduled(api)
    known = NEW if "Execution" in rpc else OLD

    with pytest.raises(Refused) as refused:
        await getattr(api, rpc)(getattr(ws, f"{rpc}Request")(**{**known, **fields}))

    assert (refused.value.code, refused.value.message) == (code, message)


async def test_a_second_pause_by_another_request_is_refused(api: Api) -> None:
    await scheduled(api)
    await api.PauseActivity(ws.PauseActivityRequest(**OLD, request_id="one"))
    await api.PauseActivity(ws.PauseActivityRequest(**OLD, request_id="one"))

    with pytest.raises(Refused) as refused:
        await api.PauseActivity(ws.PauseActivityRequest(**OLD, request_id="two"))

    assert (refused.value.code, refused.value.message) == ("FAILED_PRECONDITION", "activity is already paused")
