from __future__ import annotations

from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueKind, TaskQueueType

from tests.api.client import NAMESPACE, Api, Refused, queue, schedule_activity

WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
ENHANCED = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED


async def describe(api: Api, **fields: Any) -> Any:
    fields = {"namespace": NAMESPACE, "task_queue": queue(), **fields}
    return await api.DescribeTaskQueue(ws.DescribeTaskQueueRequest(**fields))


async def test_a_queue_nobody_named_before_is_empty(api: Api) -> None:
    described = await describe(api, report_stats=True, include_task_queue_status=True)

    assert not described.pollers
    assert described.stats.approximate_backlog_count == 0
    assert described.task_queue_status.backlog_count_hint == 0
    assert described.versioning_info.current_version == "__unversioned__"


async def test_who_polled_is_shown_by_identity_and_kind(api: Api) -> None:
    await api.start()
    await api.poll(identity="ann")

    (poller,) = (await describe(api)).pollers

    assert (poller.identity, poller.rate_per_second) == ("ann", 100_000)
    assert poller.last_access_time.seconds > 0
    assert not (await describe(api, task_queue_type=ACTIVITY)).pollers


async def test_what_waits_is_counted_by_kind_and_priority(api: Api) -> None:
    await api.start("order-1")
    await api.step(schedule_activity("a"), schedule_activity("b"))
    await api.start("order-2")

    workflows = await describe(api, report_stats=True, include_task_queue_status=True)
    activities = await describe(api, report_stats=True, task_queue_type=ACTIVITY)

    assert workflows.stats.approximate_backlog_count == workflows.task_queue_status.backlog_count_hint == 1
    assert activities.stats.approximate_backlog_count == 2
    assert activities.stats_by_priority_key[3].approximate_backlog_count == 2


async def test_the_older_form_groups_by_build_and_kind(api: Api) -> None:
    await api.start()
    await api.poll(identity="ann")

    described = await describe(api, api_mode=ENHANCED, report_pollers=True, report_stats=True)

    kinds = described.versions_info[""].types_info
    assert [poller.identity for poller in kinds[int(WORKFLOW)].pollers] == ["ann"]
    assert not kinds[int(ACTIVITY)].pollers


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task_queue": None}, "taskQueue is not set"),
        (
            {"task_queue": queue("s", kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY), "api_mode": ENHANCED},
            "Enhanced DescribeTaskQueue is not valid for a sticky queue, use api_mode=UNSPECIFIED or a normal queue.",
        ),
    ],
)
async def test_a_queue_that_cannot_be_described_is_refused(api: Api, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        await describe(api, **fields)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)
