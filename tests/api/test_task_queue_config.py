"""Rate limits and fairness weights of queues, as operators set them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.wrappers_pb2 import DoubleValue
from temporalio.api.common.v1 import Priority
from temporalio.api.enums.v1 import DescribeTaskQueueMode, RateLimitSource, TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit, TaskQueueMetadata

from perdure import Server
from tests.api.client import NAMESPACE, QUEUE, Api, Refused, queue, schedule_activity

WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
ENHANCED = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED
Update = ws.UpdateTaskQueueConfigRequest.RateLimitUpdate


def limit(per_second: float, reason: str = "") -> Any:
    return Update(rate_limit=RateLimit(requests_per_second=per_second), reason=reason)


async def configure(api: Api, **fields: Any) -> Any:
    fields = {
        "namespace": NAMESPACE,
        "task_queue": QUEUE,
        "task_queue_type": ACTIVITY,
        "identity": "operator",
        **fields,
    }
    return (await api.UpdateTaskQueueConfig(ws.UpdateTaskQueueConfigRequest(**fields))).config


async def describe(api: Api, **fields: Any) -> Any:
    fields = {"namespace": NAMESPACE, "task_queue": queue(), "task_queue_type": ACTIVITY, **fields}
    return await api.DescribeTaskQueue(ws.DescribeTaskQueueRequest(**fields))


async def test_settings_are_shown_with_who_set_them_and_why(api: Api) -> None:
    config = await configure(
        api,
        update_queue_rate_limit=limit(5, "slow provider"),
        update_fairness_key_rate_limit_default=limit(1),
        set_fairness_weight_overrides={"ann": 2.5, "bob": 0.5},
    )
    await configure(api, unset_fairness_weight_overrides=["bob"])

    described = await describe(api, report_config=True)

    assert config.queue_rate_limit.rate_limit.requests_per_second == 5
    assert config.queue_rate_limit.metadata.reason == "slow provider"
    assert config.queue_rate_limit.metadata.update_identity == "operator"
    assert config.queue_rate_limit.metadata.update_time.seconds > 0
    assert described.config.queue_rate_limit == config.queue_rate_limit
    assert described.config.fairness_keys_rate_limit_default == config.fairness_keys_rate_limit_default
    assert dict(described.config.fairness_weight_overrides) == {"ann": 2.5}
    assert described.effective_rate_limit.requests_per_second == 5
    assert described.effective_rate_limit.rate_limit_source == RateLimitSource.RATE_LIMIT_SOURCE_API


async def test_an_update_without_a_limit_takes_it_away(api: Api) -> None:
    await configure(api, update_queue_rate_limit=limit(0))

    config = await configure(api, update_queue_rate_limit=Update(reason="all well"))

    assert not config.queue_rate_limit.HasField("rate_limit")
    assert config.queue_rate_limit.metadata.reason == "all well"
    described = await describe(api)
    assert described.effective_rate_limit.requests_per_second == 100_000
    assert described.effective_rate_limit.rate_limit_source == RateLimitSource.RATE_LIMIT_SOURCE_SYSTEM


async def test_a_rate_of_zero_holds_all_activities_back_until_it_is_taken_away(api: Api) -> None:
    await configure(api, update_queue_rate_limit=limit(0))
    await api.start()
    await api.step(schedule_activity("a"), schedule_activity("b"))
    poll = asyncio.ensure_future(api.poll_activity())
    await api.parked(queue(), kind=ACTIVITY)

    described = await describe(api, report_stats=True)
    assert described.stats.approximate_backlog_count == 2
    assert described.stats.rate_limiting_active
    assert not poll.done()

    await configure(api, update_queue_rate_limit=Update())

    assert (await poll).activity_id == "a"


async def test_the_rate_of_the_latest_poll_is_shown_and_overruled_by_settings(api: Api) -> None:
    await api.start()
    await api.step(schedule_activity("a"), schedule_activity("b"))
    slow = TaskQueueMetadata(max_tasks_per_second=DoubleValue(value=0.001))

    first = await api.poll_activity(task_queue_metadata=slow)
    waiting = asyncio.ensure_future(api.poll_activity(identity="next"))
    while len((await describe(api)).pollers) < 2:
        pass

    described = await describe(api, report_stats=True)
    assert first.activity_id == "a"
    assert described.effective_rate_limit.rate_limit_source == RateLimitSource.RATE_LIMIT_SOURCE_WORKER
    assert described.stats.rate_limiting_active
    assert {poller.rate_per_second for poller in described.pollers} == {0.001, 100_000}

    await configure(api, update_queue_rate_limit=limit(1_000))
    assert (await waiting).activity_id == "b"


async def test_each_fairness_key_is_held_to_its_own_rate(api: Api) -> None:
    await configure(api, update_fairness_key_rate_limit_default=limit(0.001))
    await api.start()
    commands = []
    for activity_id, key in (("a-1", "a"), ("a-2", "a"), ("b-1", "b"), ("plain", "")):
        command = schedule_activity(activity_id)
        command.schedule_activity_task_command_attributes.priority.fairness_key = key
        commands.append(command)
    await api.step(*commands)

    passed = {(await api.poll_activity()).activity_id for _ in range(3)}
    waiting = asyncio.ensure_future(api.poll_activity(identity="next"))
    while len((await describe(api)).pollers) < 2:
        pass
    described = await describe(api, report_stats=True)
    await configure(api, update_fairness_key_rate_limit_default=Update())

    assert passed == {"a-1", "b-1", "plain"}
    assert described.stats.approximate_backlog_count == 1
    assert described.stats.rate_limiting_active
    assert (await waiting).activity_id == "a-2"


async def test_settings_hold_after_a_restart(tmp_path: Path) -> None:
    database = tmp_path / "perdure.db"
    for started_again in (False, True):
        async with (
            Server(str(database)) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            api = Api(channel)
            if not started_again:
                await configure(api, update_queue_rate_limit=limit(3))
                continue
            described = await describe(api, report_config=True)
            assert described.config.queue_rate_limit.rate_limit.requests_per_second == 3
            assert described.effective_rate_limit.requests_per_second == 3


async def test_a_weight_set_for_a_key_goes_before_that_of_tasks(api: Api) -> None:
    await configure(api, task_queue_type=WORKFLOW, set_fairness_weight_overrides={"a": 3.0})
    for number in range(6):
        await api.start(f"a-{number}", priority=Priority(fairness_key="a"))
        await api.start(f"b-{number}", priority=Priority(fairness_key="b", fairness_weight=1.0))

    order = [(await api.poll()).workflow_execution.workflow_id[0] for _ in range(8)]

    assert order.count("a") == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task_queue": ""}, "missing task queue name"),
        (
            {"task_queue_type": WORKFLOW, "update_queue_rate_limit": limit(1)},
            "Setting rate limit on workflow task queues is not allowed.",
        ),
        (
            {"task_queue_type": WORKFLOW, "update_fairness_key_rate_limit_default": limit(1)},
            "Setting fairness key rate limit on workflow task queues is not allowed.",
        ),
        (
            {"update_queue_rate_limit": limit(-1)},
            "RequestsPerSecond for UpdateQueueRateLimit rate limit must be non-negative.",
        ),
        (
            {"update_fairness_key_rate_limit_default": limit(float("nan"))},
            "RequestsPerSecond for UpdateFairnessKeyRateLimitDefault rate limit must be non-negative.",
        ),
        (
            {"update_queue_rate_limit": limit(1, "r" * 1001)},
            "UpdateQueueRateLimit.Reason field too long (max 1000 characters).",
        ),
        ({"identity": "i" * 1001}, "Identity field too long (max 1000 characters)."),
        (
            {"set_fairness_weight_overrides": {f"key-{number}": 1.0 for number in range(1001)}},
            "too many fairness weight overrides in request: got 1001, maximum 1000",
        ),
        ({"set_fairness_weight_overrides": {"": 1.0}}, "fairness weight override key must not be empty"),
        ({"unset_fairness_weight_overrides": ["k" * 65]}, "fairness key length exceeds limit"),
        (
            {"set_fairness_weight_overrides": {"ann": 0.0}},
            'fairness weight override for key "ann" must be greater than zero',
        ),
        (
            {"set_fairness_weight_overrides": {"ann": 1.0}, "unset_fairness_weight_overrides": ["ann"]},
            'fairness weight override key "ann" present in both set and unset lists',
        ),
    ],
)
async def test_settings_that_make_no_sense_are_refused(api: Api, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as refused:
        await configure(api, **fields)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)


async def test_a_queue_is_one_partition(api: Api) -> None:
    listed = await api.ListTaskQueuePartitions(
        ws.ListTaskQueuePartitionsRequest(namespace=NAMESPACE, task_queue=queue())
    )

    assert [partition.key for partition in listed.activity_task_queue_partitions] == [QUEUE]
    assert [partition.key for partition in listed.workflow_task_queue_partitions] == [QUEUE]


async def test_other_partitions_are_empty_and_have_no_stats(api: Api) -> None:
    assert not (await describe(api, task_queue=queue("/_sys/orders/1"))).pollers

    for fields, message in (
        ({"report_stats": True}, "DescribeTaskQueue stats are only supported for the root partition"),
        (
            {"api_mode": ENHANCED},
            "Enhanced DescribeTaskQueue is not valid for non-root queue partitions, "
            "use api_mode=UNSPECIFIED or a normal queue root name.",
        ),
    ):
        with pytest.raises(Refused) as refused:
            await describe(api, task_queue=queue("/_sys/orders/1"), **fields)
        assert refused.value.message == message
    with pytest.raises(Refused) as refused:
        await describe(api, task_queue=queue("/_sys/orders"))
    assert refused.value.message == "invalid task queue partition name /_sys/orders"


async def test_the_build_that_is_no_version_is_reachable_and_named_ones_are_not(api: Api) -> None:
    selection = {"build_ids": ["v1"], "unversioned": True}

    described = await describe(api, api_mode=ENHANCED, report_task_reachability=True, versions=selection)

    assert {build: version.task_reachability for build, version in described.versions_info.items()} == {"": 1, "v1": 3}
    with pytest.raises(Refused) as refused:
        await describe(
            api, api_mode=ENHANCED, report_task_reachability=True, versions={"build_ids": [str(n) for n in range(6)]}
        )
    assert refused.value.message == "Too many build ids queried at once with ReportTaskReachability==true, limit: 5"
