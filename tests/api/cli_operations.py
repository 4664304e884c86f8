"""`temporal schedule …`, `task-queue …`, `worker …` and `operator …`."""

from __future__ import annotations

from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from temporalio.api.worker.v1 import WorkerHeartbeat

from tests.api.cli import Cli, command
from tests.api.client import NAMESPACE, Refused, values

HOUR = {"seconds": 3600}


# ---- schedules
def schedule(cli: Cli, every: int = 1) -> dict[str, Any]:
    return {
        "spec": {"interval": [{"interval": {"seconds": every * 3600}}]},
        "action": {"start_workflow": {**cli.starting(), "input": values("pear")}},
        "policies": {"overlap_policy": 1, "catchup_window": HOUR},
        "state": {"notes": "made"},
    }


@command("schedule create", "CreateSchedule")
async def create(cli: Cli) -> None:
    answer = await cli(
        "CreateSchedule",
        schedule_id=cli.name,
        schedule=schedule(cli),
        memo={"fields": {"note": values("gift").payloads[0]}},
    )
    assert answer.conflict_token


async def created(cli: Cli) -> None:
    await create(cli)
    cli.called.clear()


@command("schedule describe", "DescribeSchedule")
async def describe(cli: Cli) -> Any:
    await created(cli)
    described = await cli("DescribeSchedule", schedule_id=cli.name)
    assert described.schedule.action.start_workflow.workflow_type.name == "Order"
    assert described.info.future_action_times


@command("schedule list", "ListSchedules")
async def list_schedules(cli: Cli) -> None:
    await created(cli)
    listed = await cli("ListSchedules", maximum_page_size=100)
    assert cli.name in [entry.schedule_id for entry in listed.schedules]


@command("schedule update", "DescribeSchedule", "UpdateSchedule")
async def update(cli: Cli) -> None:
    await created(cli)
    token = (await cli("DescribeSchedule", schedule_id=cli.name)).conflict_token
    await cli("UpdateSchedule", schedule_id=cli.name, schedule=schedule(cli, every=2), conflict_token=token)
    [interval] = (await cli("DescribeSchedule", schedule_id=cli.name)).schedule.spec.interval
    assert interval.interval.seconds == 7200


async def patch(cli: Cli, **patches: Any) -> Any:
    await created(cli)
    await cli("PatchSchedule", schedule_id=cli.name, patch=patches)
    return await cli.others.DescribeSchedule(cli.request("DescribeSchedule", schedule_id=cli.name))


@command("schedule toggle", "PatchSchedule")
async def toggle(cli: Cli) -> None:
    state = (await patch(cli, pause="holiday")).schedule.state
    assert (state.paused, state.notes) == (True, "holiday")


@command("schedule trigger", "PatchSchedule")
async def trigger(cli: Cli) -> None:
    await patch(cli, trigger_immediately={"overlap_policy": 6})
    await cli.work()


@command("schedule backfill", "PatchSchedule")
async def backfill(cli: Cli) -> None:
    noon = {"seconds": 1_772_366_400}
    later = {"seconds": 1_772_366_400 + 1800}
    await patch(cli, backfill_request=[{"start_time": noon, "end_time": later, "overlap_policy": 6}])
    await cli.work()


@command("schedule delete", "DeleteSchedule")
async def delete(cli: Cli) -> None:
    await created(cli)
    await cli("DeleteSchedule", schedule_id=cli.name)


@command("schedule list-matching-times", "ListScheduleMatchingTimes")
async def matching_times(cli: Cli) -> None:
    await created(cli)
    window = {"start_time": {"seconds": 1_772_366_400}, "end_time": {"seconds": 1_772_366_400 + 7200}}
    assert len((await cli("ListScheduleMatchingTimes", schedule_id=cli.name, **window)).start_time) >= 2


# ---- task queues
@command("task-queue describe", "DescribeTaskQueue")
async def task_queue_describe(cli: Cli) -> None:
    described = await cli(
        "DescribeTaskQueue",
        task_queue=cli.queue,
        api_mode=1,
        versions={"unversioned": True, "all_active": True},
        task_queue_types=[1, 2],
        report_stats=True,
        report_pollers=True,
    )
    assert described.versions_info
    for kind in (1, 2):
        legacy = {"task_queue": cli.queue, "task_queue_type": kind}
        await cli("DescribeTaskQueue", **legacy, include_task_queue_status=True, report_stats=True)


@command("task-queue list-partition", "ListTaskQueuePartitions")
async def list_partitions(cli: Cli) -> None:
    partitions = await cli("ListTaskQueuePartitions", task_queue=cli.queue)
    assert partitions.workflow_task_queue_partitions
    assert partitions.activity_task_queue_partitions


@command("task-queue config get", "DescribeTaskQueue")
async def config_get(cli: Cli) -> None:
    await cli("DescribeTaskQueue", task_queue=cli.queue, task_queue_type=2, report_config=True)


@command("task-queue config set", "UpdateTaskQueueConfig", "DescribeTaskQueue")
async def config_set(cli: Cli) -> None:
    await cli(
        "UpdateTaskQueueConfig",
        task_queue=cli.name,
        task_queue_type=2,
        update_queue_rate_limit={"rate_limit": {"requests_per_second": 5}, "reason": "calm"},
    )
    described = await cli("DescribeTaskQueue", task_queue=cli.queue, task_queue_type=2, report_config=True)
    assert described.config.queue_rate_limit.rate_limit.requests_per_second == 5


async def refused(cli: Cli, rpc: str, **fields: Any) -> None:
    """Commands of deprecated features, which servers have switched off."""
    with pytest.raises(Refused) as told:
        await cli(rpc, **fields)
    assert told.value.code == "PERMISSION_DENIED"


@command("task-queue get-build-ids", "GetWorkerBuildIdCompatibility")
async def get_build_ids(cli: Cli) -> None:
    await refused(cli, "GetWorkerBuildIdCompatibility", task_queue=cli.name, max_sets=10)


@command("task-queue update-build-ids", "UpdateWorkerBuildIdCompatibility")
async def update_build_ids(cli: Cli) -> None:
    await refused(
        cli, "UpdateWorkerBuildIdCompatibility", task_queue=cli.name, add_new_build_id_in_new_default_set="1.0"
    )


@command("task-queue get-build-id-reachability", "GetWorkerTaskReachability")
async def reachability(cli: Cli) -> None:
    await refused(cli, "GetWorkerTaskReachability", build_ids=["1.0"], task_queues=[cli.name])


@command("task-queue versioning", "GetWorkerVersioningRules", "UpdateWorkerVersioningRules")
async def versioning(cli: Cli) -> None:
    await refused(cli, "GetWorkerVersioningRules", task_queue=cli.name)
    rule = {"rule": {"target_build_id": "1.0"}}
    await refused(cli, "UpdateWorkerVersioningRules", task_queue=cli.name, insert_assignment_rule=rule)


# ---- workers
async def beat(cli: Cli) -> None:
    heartbeat = WorkerHeartbeat(worker_instance_key=cli.name, worker_identity="ann", task_queue=cli.name)
    await cli.others.RecordWorkerHeartbeat(cli.request("RecordWorkerHeartbeat", worker_heartbeat=[heartbeat]))


@command("worker list", "ListWorkers")
async def list_workers(cli: Cli) -> None:
    await beat(cli)
    listed = await cli("ListWorkers", query=f"TaskQueue = '{cli.name}'")
    assert len(listed.workers) == 1


@command("worker describe", "DescribeWorker")
async def describe_worker(cli: Cli) -> None:
    await beat(cli)
    described = await cli("DescribeWorker", worker_instance_key=cli.name)
    assert described.worker_info.worker_heartbeat.worker_identity == "ann"


# ---- the server
@command("operator namespace create", "RegisterNamespace")
async def namespace_create(cli: Cli) -> None:
    await cli(
        "RegisterNamespace",
        namespace=cli.name,
        description="ours",
        owner_email="ann@example.com",
        workflow_execution_retention_period={"seconds": 72 * 3600},
        data={"team": "orders"},
        history_archival_state=1,
        visibility_archival_state=1,
    )


async def namespace_created(cli: Cli) -> None:
    await namespace_create(cli)
    cli.called.clear()


@command("operator namespace describe", "DescribeNamespace")
async def namespace_describe(cli: Cli) -> None:
    await namespace_created(cli)
    info = (await cli("DescribeNamespace", namespace=cli.name)).namespace_info
    assert (info.description, dict(info.data)) == ("ours", {"team": "orders"})
    by_id = await cli("DescribeNamespace", namespace="", id=info.id)
    assert by_id.namespace_info.name == cli.name


@command("operator namespace list", "ListNamespaces")
async def namespace_list(cli: Cli) -> None:
    listed = await cli("ListNamespaces", page_size=100)
    assert NAMESPACE in [each.namespace_info.name for each in listed.namespaces]


@command("operator namespace update", "DescribeNamespace", "UpdateNamespace")
async def namespace_update(cli: Cli) -> None:
    await namespace_created(cli)
    await cli("DescribeNamespace", namespace=cli.name)
    answer = await cli(
        "UpdateNamespace",
        namespace=cli.name,
        update_info={"description": "theirs", "owner_email": "bob@example.com"},
        config={"workflow_execution_retention_ttl": {"seconds": 96 * 3600}},
        replication_config={"active_cluster_name": "active"},
    )
    assert answer.namespace_info.description == "theirs"


@command("operator namespace delete", "DescribeNamespace", "DeleteNamespace")
async def namespace_delete(cli: Cli) -> None:
    await namespace_created(cli)
    await cli("DescribeNamespace", namespace=cli.name)
    assert (await cli("DeleteNamespace", namespace=cli.name)).deleted_namespace


@command("operator search-attribute create", "ListSearchAttributes", "AddSearchAttributes")
async def search_attribute_create(cli: Cli) -> None:
    assert "CustomKeyword" in (await cli("ListSearchAttributes")).custom_attributes
    await cli("AddSearchAttributes", search_attributes={cli.name.title().replace("-", ""): 2})


@command("operator search-attribute list", "ListSearchAttributes")
async def search_attribute_list(cli: Cli) -> None:
    listed = await cli("ListSearchAttributes")
    assert listed.system_attributes
    assert listed.custom_attributes


@command("operator search-attribute remove", "RemoveSearchAttributes")
async def search_attribute_remove(cli: Cli) -> None:
    await search_attribute_create(cli)
    cli.called.clear()
    await cli("RemoveSearchAttributes", search_attributes=[cli.name.title().replace("-", "")])


@command("operator cluster health")
async def health(cli: Cli) -> None:
    check = cli.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    service = "temporal.api.workflowservice.v1.WorkflowService"
    assert (await check(HealthCheckRequest(service=service))).status == HealthCheckResponse.SERVING


@command("operator cluster system", "GetSystemInfo")
async def system(cli: Cli) -> None:
    info = await cli("GetSystemInfo")
    assert info.server_version
    assert info.capabilities.upsert_memo


@command("operator cluster describe", "GetClusterInfo")
async def cluster(cli: Cli) -> None:
    info = await cli("GetClusterInfo")
    assert all((info.cluster_name, info.persistence_store, info.visibility_store, info.server_version))


@command("operator cluster list", "ListClusters")
async def clusters(cli: Cli) -> None:
    assert len((await cli("ListClusters")).clusters) == 1
