from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import EventType, HistoryEventFilterType
from temporalio.api.history.v1 import History

from perdure.api.history import _as_continued
from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    execution,
    kinds,
    start_request,
    start_timer,
)

CLOSE = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
FIRST = ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]


async def pages(api: Api, **fields: Any) -> list[list[int]]:
    """Event IDs of all pages."""
    found, token = [], b""
    while True:
        page = await api.history(next_page_token=token, **fields)
        found.append([event.event_id for event in page.history.events])
        token = page.next_page_token
        if not token:
            return found


# ---- what is there
async def test_a_history_is_read_to_its_end(api: Api) -> None:
    await api.start()

    read = await api.history()

    assert kinds(read.history) == FIRST
    assert not read.next_page_token


async def test_pages_follow_one_another_without_gaps(api: Api) -> None:
    await api.start()
    await api.step(start_timer("a"), start_timer("b"))
    await api.signal()

    found = await pages(api, maximum_page_size=3)

    assert [event_id for page in found for event_id in page] == list(range(1, 9))
    assert max(len(page) for page in found) == 3


async def test_a_token_pins_the_run_although_another_one_is_current(api: Api) -> None:
    first = await api.start()
    page = await api.history(maximum_page_size=1)
    await api.step(complete_workflow())
    await api.start()

    rest = await api.history(next_page_token=page.next_page_token)

    assert rest.history.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
    assert (await api.history(run_id=first)).history.events[0].event_id == 1


@pytest.mark.parametrize("token", [b"garbage", b"\x93\x01\x02\x03", b"\x95\x01\x01\x01\x01\x01"])
async def test_a_token_that_is_none_is_refused(api: Api, token: bytes) -> None:
    await api.start()

    with pytest.raises(Refused) as refused:
        await api.history(next_page_token=token)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", "Invalid NextPageToken.")


async def test_a_token_of_another_run_is_refused(api: Api) -> None:
    await api.start()
    page = await api.history(maximum_page_size=1)

    with pytest.raises(Refused) as refused:
        await api.history(run_id="11111111-2222-4333-8444-555555555555", next_page_token=page.next_page_token)

    assert refused.value.message == "RunId in the request does not match the NextPageToken."


# ---- waiting
async def test_a_reader_who_waits_sees_new_events_when_they_come(api: Api) -> None:
    await api.start()
    page = await api.history(wait_new_event=True)
    waiting = asyncio.ensure_future(api.history(wait_new_event=True, next_page_token=page.next_page_token))

    await api.signal()

    assert kinds((await waiting).history) == ["WORKFLOW_EXECUTION_SIGNALED"]
    assert (await waiting).next_page_token


async def test_a_reader_who_waits_in_vain_keeps_its_token(api: Api) -> None:
    await api.start()
    page = await api.history(wait_new_event=True)

    # A second before the deadline the server gives up.
    empty = await api.history(wait_new_event=True, next_page_token=page.next_page_token, within=1.2)

    assert not empty.history.events
    assert empty.next_page_token == page.next_page_token


async def test_a_closed_run_is_not_waited_for(api: Api) -> None:
    await api.start()
    await api.step(complete_workflow())

    read = await api.history(wait_new_event=True)

    assert kinds(read.history)[-1] == "WORKFLOW_EXECUTION_COMPLETED"
    assert not read.next_page_token


async def test_who_waits_for_the_close_gets_the_close_event_alone(api: Api) -> None:
    await api.start()
    waiting = asyncio.ensure_future(api.history(wait_new_event=True, history_event_filter_type=CLOSE))
    await api.signal()

    await api.step(complete_workflow("done"))

    assert kinds((await waiting).history) == ["WORKFLOW_EXECUTION_COMPLETED"]
    assert not (await waiting).next_page_token


async def test_who_waits_for_the_close_in_vain_may_ask_again(api: Api) -> None:
    await api.start()

    empty = await api.history(wait_new_event=True, history_event_filter_type=CLOSE, within=1.2)

    assert not empty.history.events
    assert empty.next_page_token


async def test_the_close_event_of_a_closed_run_comes_at_once(api: Api) -> None:
    await api.start()
    await api.step(complete_workflow())

    read = await api.history(history_event_filter_type=CLOSE)

    assert [event.event_id for event in read.history.events] == [5]


# ---- tasks that history does not hold
async def fail_task(api: Api) -> None:
    task = await api.poll()
    await api.RespondWorkflowTaskFailed(
        ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, cause=1)
    )


async def test_a_second_attempt_is_shown_though_it_is_not_stored(api: Api) -> None:
    await api.start()
    await fail_task(api)

    shown = kinds((await api.history()).history)

    assert shown == [*FIRST, "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_FAILED", "WORKFLOW_TASK_SCHEDULED"]


@pytest.mark.parametrize("client", ["temporal-cli", "temporal-ui"])
async def test_the_cli_and_the_dashboard_see_what_is_stored(api: Api, client: str) -> None:
    await api.start()
    await fail_task(api)
    api.metadata = (("client-name", client),)

    assert kinds((await api.history()).history)[-1] == "WORKFLOW_TASK_FAILED"


# ---- for clients that do not follow runs
def closed(**new_run: str) -> bytes:
    history = History()
    event = history.events.add(event_id=9, event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
    event.workflow_execution_failed_event_attributes.failure.message = "boom"
    event.workflow_execution_failed_event_attributes.new_execution_run_id = new_run.get("run_id", "")
    return history.SerializeToString()


def test_a_failure_that_was_retried_looks_like_continue_as_new_to_old_clients() -> None:
    (event,) = History.FromString(_as_continued(closed(run_id="next"))).events

    continued = event.workflow_execution_continued_as_new_event_attributes
    assert (event.event_id, event.event_type) == (
        9,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    )
    assert (continued.new_execution_run_id, continued.failure.message) == ("next", "boom")


def test_a_failure_that_was_not_retried_is_what_it_is() -> None:
    assert _as_continued(closed()) == closed()


# ---- backwards
async def reverse(api: Api, **fields: Any) -> Any:
    return await api.GetWorkflowExecutionHistoryReverse(
        ws.GetWorkflowExecutionHistoryReverseRequest(namespace=NAMESPACE, execution=execution(), **fields)
    )


async def test_a_history_is_read_backwards_in_pages(api: Api) -> None:
    await api.start()
    await api.step(start_timer("a"), start_timer("b"))
    await api.signal()

    found, token = [], b""
    while True:
        page = await reverse(api, maximum_page_size=3, next_page_token=token)
        found.append([event.event_id for event in page.history.events])
        token = page.next_page_token
        if not token:
            break

    assert found == [[8, 7, 6], [5, 4, 3], [2, 1]]


async def test_backwards_no_run_is_no_run(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        await reverse(api)

    assert refused.value.message == "workflow not found for ID: order-1"


async def test_two_waiting_readers_are_both_woken(api: Api) -> None:
    await api.StartWorkflowExecution(start_request())
    page = await api.history(wait_new_event=True)
    readers = [
        asyncio.ensure_future(api.history(wait_new_event=True, next_page_token=page.next_page_token)) for _ in range(2)
    ]

    await api.signal()

    assert [len((await reader).history.events) for reader in readers] == [1, 1]
