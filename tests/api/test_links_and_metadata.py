"""Links are kept where they were given; summaries and details are shown where people look for them."""

from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.common.v1 import Link, Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import UserMetadata

from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    execution,
    schedule_activity,
    start_request,
    start_timer,
)
from tests.skipping.commands import start_child

JOB = Link(batch_job=Link.BatchJob(job_id="job"))


def event_link(**fields: Any) -> Link:
    fields = {"namespace": "default", "workflow_id": "caller", "run_id": "r", **fields}
    return Link(workflow_event=Link.WorkflowEvent(**fields))


def metadata(summary: str) -> UserMetadata:
    return UserMetadata(summary=Payload(data=f'"{summary}"'.encode(), metadata={"encoding": b"json/plain"}))


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (Link(), "unsupported link variant"),
        (Link(batch_job=Link.BatchJob()), "batch job link must not have an empty job ID"),
        (event_link(namespace=""), "workflow event link must not have an empty namespace field"),
        (event_link(workflow_id=""), "workflow event link must not have an empty workflow ID field"),
        (event_link(run_id=""), "workflow event link must not have an empty run ID field"),
        (
            event_link(event_ref=Link.WorkflowEvent.EventReference(event_id=7)),
            "workflow event link ref cannot have an unspecified event type and a non-zero event ID",
        ),
        (Link(activity=Link.Activity(namespace="n")), "activity link must not have an empty activity ID field"),
        (
            Link(nexus_operation=Link.NexusOperation(operation_id="o")),
            "nexus operation link must not have an empty namespace field",
        ),
        (Link(workflow=Link.Workflow(namespace="n")), "workflow link must not have an empty workflow ID field"),
        (event_link(workflow_id="x" * 4000), "link exceeds allowed size of 4000, got 4018"),
    ],
)
async def test_a_link_that_points_nowhere_is_refused(api: Api, link: Link, text: str) -> None:
    request = start_request()
    request.links.append(link)

    with pytest.raises(Refused) as refused:
        await api.StartWorkflowExecution(request)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", text)


async def test_links_are_on_the_events_that_they_were_given_with(api: Api) -> None:
    request = start_request()
    request.links.append(JOB)
    await api.StartWorkflowExecution(request)
    await api.signal(links=[event_link()])
    await api.RequestCancelWorkflowExecution(
        ws.RequestCancelWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(), links=[JOB])
    )
    await api.TerminateWorkflowExecution(
        ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution(), links=[JOB])
    )

    events = (await api.history()).history.events

    linked = {EventType.Name(event.event_type)[11:]: list(event.links) for event in events if event.links}
    assert linked == {
        "WORKFLOW_EXECUTION_STARTED": [JOB],
        "WORKFLOW_EXECUTION_SIGNALED": [event_link()],
        "WORKFLOW_EXECUTION_CANCEL_REQUESTED": [JOB],
        "WORKFLOW_EXECUTION_TERMINATED": [JOB],
    }


async def test_replies_link_to_what_came_of_the_request(api: Api) -> None:
    started = await api.StartWorkflowExecution(start_request())
    signalled = await api.signal(request_id="r2")

    link = signalled.link.workflow_event
    assert link.run_id == started.run_id
    assert link.request_id_ref.request_id == "r2"
    assert link.request_id_ref.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    assert started.link.workflow_event.event_ref.event_id == 1


async def test_metadata_is_shown_of_the_workflow_and_on_the_events_of_its_commands(api: Api) -> None:
    request = start_request(user_metadata=metadata("an order"))
    await api.StartWorkflowExecution(request)
    commands = [start_timer(), schedule_activity(), start_child("child")]
    for command, summary in zip(commands, ("wait", "charge", "ship"), strict=True):
        command.user_metadata.CopyFrom(metadata(summary))
    await api.step(*commands)
    while not (await api.describe()).pending_children[0].run_id:
        pass

    events = (await api.history()).history.events
    child = (await api.history("child")).history.events[0]

    assert (await api.describe()).execution_config.user_metadata == metadata("an order")
    shown = [event.user_metadata for event in events if event.HasField("user_metadata")]
    assert shown == [metadata(summary) for summary in ("an order", "wait", "charge", "ship")]
    assert child.user_metadata == metadata("ship")
    assert (await api.describe("child")).execution_config.user_metadata == metadata("ship")
