"""What the reference's time-skipping test server lacks or does otherwise than a real server, and ours must not.

`GAPS` names every known one with the test that holds ours to it (here, or in another module beside this one), or the
reason why there is none yet. All tests run on a server whose time is unlocked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import grpc
import grpc.aio
import pytest
import temporalio.api.operatorservice.v1 as op
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import Link, Memo, Payload, RetryPolicy
from temporalio.api.enums.v1 import EventType, ParentClosePolicy
from temporalio.api.worker.v1 import WorkerHeartbeat

from perdure import Server
from tests.api.client import (
    NAMESPACE,
    Api,
    Refused,
    complete_workflow,
    execution,
    kinds,
    queue,
    schedule_activity,
    start_request,
    start_timer,
    values,
)
from tests.api.updating import poll_request, stage_of, update_request
from tests.engine.updating import accept, place, respond
from tests.skipping.clock import DAY, HOUR, Clock, about, duration
from tests.skipping.commands import (
    at,
    cancel_external,
    complete_activity,
    continue_as_new,
    fail_activity,
    fail_workflow,
    start_child,
    the,
    upsert,
)
from tests.support import schedules


class NotYet(str):
    """Why a gap has no test: the feature is not there."""


OPERATOR_COMMANDS = NotYet("reset, pause and changes of options are not there yet")
VERSIONING = NotYet("worker versioning and deployments are not there yet")
NEXUS = NotYet("Nexus is not there yet")

GAPS: dict[str, str] = {
    # RPCs that it does not answer
    "Create/Describe/Update/Patch/Delete/List/CountSchedules, ListScheduleMatchingTimes": (
        "test_a_schedule_is_kept_and_listed"
    ),
    "List/Count/ScanWorkflowExecutions": "test_lists_and_counts_take_filters",
    "ListArchivedWorkflowExecutions": NotYet("archival is not there yet"),
    "GetWorkflowExecutionHistoryReverse": "test_a_history_is_read_backwards",
    "ResetWorkflowExecution": "test_a_reset_run_skips_to_its_timers",
    "ResetStickyTaskQueue, DeleteWorkflowExecution": "test_a_run_is_deleted_and_its_stickiness_reset",
    "UpdateWorkflowExecutionOptions, Pause/UnpauseWorkflowExecution": (
        "test_a_paused_workflow_holds_no_time_and_its_options_change"
    ),
    "Register/Update/Deprecate/ListNamespaces": "test_namespaces_are_registered_updated_listed_and_deprecated",
    "GetClusterInfo, GetSearchAttributes, DescribeTaskQueue": "test_cluster_search_attributes_and_queues_are_described",
    "ListTaskQueuePartitions, UpdateTaskQueueConfig": NotYet("partitions and queue settings are not there yet"),
    "Pause/Unpause/ResetActivity, UpdateActivityOptions": "test_a_paused_activity_holds_no_time_and_goes_on_when_told",
    "standalone activities": "test_standalone.test_time_skips_what_standalone_activities_wait_for",
    "standalone Nexus operations": NEXUS,
    "batch operations": "test_a_batch_job_skips_from_one_handful_to_the_next",
    "build-ID compatibility, versioning rules, reachability": VERSIONING,
    "deployments": VERSIONING,
    "RecordWorkerHeartbeat, ListWorkers, DescribeWorker": "test_workers_that_beat_are_listed_and_described",
    "CountWorkers, FetchWorkerConfig, UpdateWorkerConfig": NotYet("worker configuration is not there yet"),
    "workflow rules": NotYet("workflow rules are not there yet"),
    "ListSearchAttributes": "test_search_attributes_are_listed_by_the_operator",
    "DeleteNamespace": "test_a_namespace_is_deleted",
    "remote clusters": NotYet("replication is not there yet"),
    "server reflection": "test_reflection_names_all_services",
    # what it does otherwise
    "GetSystemInfo: capabilities only": "test_the_server_tells_its_version_and_all_it_can",
    "DescribeNamespace: any name exists": "test_a_namespace_nobody_registered_is_not_found",
    "history: paging ignored": "test_histories_come_in_pages",
    "history: waiting for new events skips those there are": "test_who_waits_for_new_events_gets_those_there_are_first",
    "history: diagnostics for an unknown run": "test_an_unknown_run_is_not_found_in_few_words",
    "poll: a task for a poller that left is lost": "test_a_task_for_a_poller_that_left_goes_to_the_next",
    "pollers: no order among equals": "test_tasks_come_in_the_order_of_their_priority_then_age",
    "poll: outdated task gives an empty answer": "test_a_poll_passes_over_outdated_tasks",
    "sticky queue: no timeout": "test_a_sticky_task_nobody_takes_falls_back_to_the_normal_queue",
    "sticky queue: queries hang": "test_a_query_of_a_worker_that_left_is_answered_by_another",
    "ShutdownWorker: no effect": "test_a_worker_that_shuts_down_has_its_polls_answered",
    "RespondWorkflowTaskCompleted: no inline task": "test_a_completion_is_answered_with_the_next_task",
    "RespondWorkflowTaskCompleted: no eager activities": "test_a_completion_is_answered_with_eager_activities",
    "workflow task failures: a failed event each": "test_only_the_first_of_failed_workflow_tasks_is_in_the_history",
    "workflow task failures: bad commands swallowed": "test_a_bad_command_is_told_on_every_attempt",
    "queries: failures have two codes": "test_a_failed_query_has_one_code_however_it_was_asked",
    "update: per-run limits": "test_updates_are_limited_for_each_run",
    "update: a wait stage is required": "test_an_update_without_a_stage_waits_for_its_completion",
    "update: first_execution_run_id ignored": "test_an_update_names_the_chain_it_is_for",
    "update: closed runs know completed updates only": "test_an_update_of_a_closed_run_is_answered_as_it_was",
    "update ID after continue-as-new": "test_an_update_id_is_new_to_the_run_after_continue_as_new",
    "update-with-start": "test_updates.test_an_update_with_start_holds_time_like_any_other",
    "an update lets time skip": "test_updates.test_time_waits_for_a_worker_to_take_an_update",
    "signal-with-start: drops policies, metadata and cron": "test_signal_with_start_keeps_what_a_start_has",
    "start delay, cron, retry: a signal ends the wait": "test_a_signal_ends_no_wait_but_one_with_start_does",
    "cron: five fields only": "test_cron_knows_intervals_names_and_time_zones",
    "cron: bad text is an internal error": "test_a_bad_cron_schedule_is_refused",
    "retry: no next_retry_delay": "test_a_workflow_failure_may_name_its_next_delay",
    "retry: not after a run timeout": "test_a_run_that_times_out_is_retried",
    "execution timeout: not enforced over a chain": "test_features.test_an_execution_timeout_over_a_chain_of_runs",
    "workflow task timeout: capped": "test_a_workflow_task_timeout_is_what_was_asked_for_up_to_two_minutes",
    "parent close policy: only stored": "test_the_parent_close_policy_is_carried_out",
    "child terminated: parent not told": "test_a_parent_hears_that_its_child_was_terminated",
    "cancel external: once a target only, unknown one silent": "test_external_cancels_are_answered_one_by_one",
    "Nexus endpoints, timeouts, callbacks": NEXUS,
    "activities: long heartbeat timeouts": "test_a_heartbeat_timeout_holds_without_a_shorter_start_to_close",
    "activities: details kept over attempts": "test_the_next_attempt_gets_the_last_heartbeats_details",
    "activities: schedule-to-close forgotten after a retry": (
        "test_features.test_a_retry_that_would_come_too_late_ends_at_once_and_later_deadlines_hold_over_retries"
    ),
    "task queue rates ignored": NotYet("the rates that workers ask for are shown, not enforced yet"),
    "search attributes: removal impossible": "test_an_upsert_removes_an_attribute",
    "search attributes: unknown ones": "test_an_unknown_search_attribute_is_refused_by_name",
    "describe: no first run, no reset points, no pending workflow task": "test_describe_shows_what_a_real_server_shows",
    "continue-as-new suggestion: fixed": "test_the_suggestion_to_continue_as_new_follows_the_configuration",
    "start: headers, links, priority, metadata, root": "test_a_start_keeps_header_links_priority_metadata_and_root",
    "links: limits": "test_links_are_limited",
    "GRPC_MESSAGE_TOO_LARGE": "test_a_history_too_large_to_poll_terminates_with_its_reason",
    "UnhandledCommand": "test_a_close_over_unseen_events_is_refused",
    "closed executions stay in memory": "test_closed_workflows_leave_memory",
    "platform: x86-64 only": NotYet("nothing to test: it is Python"),
    "size limits: none reported": "test_a_namespace_tells_its_size_limits_and_they_hold",
    "unexpected errors: stack traces": "test_a_defect_shows_no_stack",
    # the clock
    "unlock below zero: UNKNOWN": "test_counter.test_unlocking_what_is_not_locked_is_refused_and_changes_nothing",
    "unlocking sleep below zero leaks a lock": (
        "test_counter.test_an_unlocking_sleep_without_a_lock_is_refused_and_leaves_nothing"
    ),
    "cancelled sleeps stay": "test_counter.test_a_sleep_that_its_caller_cancels_leaves_the_counter_as_it_was",
    "a run that closes over an activity stops skipping for good": (
        "test_counter.test_a_workflow_that_closes_over_an_open_activity_leaves_time_free"
    ),
    "timers of closed runs attract jumps": "test_features.test_nothing_of_a_terminated_workflow_attracts_a_jump",
    "timers of finished activities attract jumps": "test_deadlines_of_finished_activities_attract_no_jump",
    "equal due times: no order": (
        "test_features.test_runs_due_at_one_instant_fire_at_that_instant_in_order_of_their_start"
    ),
    "reading the clock moves it": "test_reading_the_clock_does_not_move_it",
    "a direct query lets time skip": "test_features.test_time_waits_for_a_query_that_a_worker_works_on",
    "two waits at once": "test_counter.test_waits_at_the_same_time_each_unlock_and_lock",
}


def test_the_table_names_tests_that_are_there() -> None:
    for gap, where in GAPS.items():
        if not isinstance(where, NotYet):
            module, _, name = where.rpartition(".")
            assert hasattr(import_module(f"tests.skipping.{module or 'test_gaps'}"), name), f"{gap}: no {where}"


@pytest.fixture(autouse=True)
async def unlocked(clock: Clock) -> AsyncIterator[None]:
    await clock.unlock()
    yield


def sticky_completion(task: Any, *commands: Any, seconds: float = 0.2) -> ws.RespondWorkflowTaskCompletedRequest:
    request = ws.RespondWorkflowTaskCompletedRequest(
        namespace=NAMESPACE, task_token=task.task_token, commands=commands, identity="worker"
    )
    request.sticky_attributes.worker_task_queue.name = "sticky-1"
    request.sticky_attributes.worker_task_queue.kind = 2  # type: ignore[assignment] # TASK_QUEUE_KIND_STICKY
    request.sticky_attributes.schedule_to_start_timeout.CopyFrom(duration(seconds))
    return request


async def until_not_found(call: Any, request: Any) -> None:
    while True:
        try:
            await call(request)
        except Refused as refused:
            if refused.code == "NOT_FOUND":
                return
            raise


STICKY_1 = queue("sticky-1", kind=2, normal_name="orders")


# ---- RPCs
async def test_lists_and_counts_take_filters(api: Api) -> None:
    for name in ("a", "b"):
        await api.start(name)
    await api.step(start_timer(seconds=86_400))
    await api.step()
    await api.step(complete_workflow())

    done = "ExecutionStatus = 'Completed'"
    listed = await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query=done))
    scanned = await api.ScanWorkflowExecutions(ws.ScanWorkflowExecutionsRequest(namespace=NAMESPACE, query=done))
    counted = await api.CountWorkflowExecutions(ws.CountWorkflowExecutionsRequest(namespace=NAMESPACE, query=done))

    [row] = listed.executions
    assert row.close_time.seconds - row.start_time.seconds == about(DAY)
    assert list(scanned.executions) == [row]
    assert counted.count == 1


async def test_a_history_is_read_backwards(api: Api) -> None:
    await api.start()
    await api.step(start_timer())
    await api.step(complete_workflow())

    response = await api.GetWorkflowExecutionHistoryReverse(
        ws.GetWorkflowExecutionHistoryReverseRequest(namespace=NAMESPACE, execution=execution(), maximum_page_size=2)
    )

    assert kinds(response.history) == ["WORKFLOW_EXECUTION_COMPLETED", "WORKFLOW_TASK_COMPLETED"]


async def test_a_run_is_deleted_and_its_stickiness_reset(api: Api) -> None:
    await api.start()
    await api.RespondWorkflowTaskCompleted(sticky_completion(await api.poll(), start_timer(seconds=60), seconds=60))
    await api.ResetStickyTaskQueue(ws.ResetStickyTaskQueueRequest(namespace=NAMESPACE, execution=execution()))
    assert (await api.poll()).history.events[0].event_id == 1

    await api.DeleteWorkflowExecution(
        ws.DeleteWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution())
    )

    with pytest.raises(Refused, match="NOT_FOUND"):
        await api.describe()


async def test_a_schedule_is_kept_and_listed(api: Api) -> None:
    await api.CreateSchedule(schedules.create(schedules.schedule("@every 12h", paused=True)))
    await api.UpdateSchedule(schedules.update(schedules.schedule("@every 24h")))
    first = await api.step(complete_workflow())
    second = await api.step(complete_workflow())
    await api.PatchSchedule(schedules.patch(pause="enough"))

    said = await api.DescribeSchedule(schedules.describe())
    listed = await api.ListSchedules(schedules.listed())
    counted = await api.CountSchedules(ws.CountSchedulesRequest(namespace=NAMESPACE))
    until = at(first.history.events[0]) + 2 * DAY
    matching = await api.ListScheduleMatchingTimes(schedules.matching(until - 4 * DAY, until))
    await api.DeleteSchedule(schedules.delete())

    assert at(second.history.events[0]) - at(first.history.events[0]) == about(DAY)
    assert said.info.action_count >= 2
    assert said.schedule.state.paused
    assert [entry.schedule_id for entry in listed.schedules] == ["daily"]
    assert counted.count == 1
    assert len(matching.start_time) == 4


async def test_a_reset_run_skips_to_its_timers(api: Api) -> None:
    await api.start()
    await api.step(start_timer("a", seconds=3600))
    await api.step()

    await api.ResetWorkflowExecution(
        ws.ResetWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=execution(),
            workflow_task_finish_event_id=9,
            reason="once more",
            request_id="r",
        )
    )
    await api.step(start_timer("c", seconds=172_800))
    await api.step(complete_workflow())

    history = (await api.history()).history
    fired = [event for event in history.events if event.HasField("timer_fired_event_attributes")]
    assert [event.timer_fired_event_attributes.timer_id for event in fired] == ["a", "c"]
    assert at(fired[-1]) - at(history.events[0]) == about(HOUR + 2 * DAY)


async def test_a_batch_job_skips_from_one_handful_to_the_next(api: Api) -> None:
    for number in range(5):
        await api.start(f"order-{number}")
        await api.step(start_timer(seconds=86_400 * 365))
    job = ws.StartBatchOperationRequest(
        namespace=NAMESPACE,
        job_id="job",
        reason="one an hour",
        visibility_query="WorkflowType = 'Order'",
        max_operations_per_second=1 / 3600,
    )
    job.termination_operation.identity = "operator"
    await api.StartBatchOperation(job)
    describe = ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id="job")

    while (done := await api.DescribeBatchOperation(describe)).state == 1:
        pass

    assert done.complete_operation_count == 5
    assert done.close_time.seconds - done.start_time.seconds == about(4 * HOUR)


async def test_closed_runs_go_when_time_has_skipped_past_their_retention(api: Api) -> None:
    await api.RegisterNamespace(
        ws.RegisterNamespaceRequest(namespace="shop", workflow_execution_retention_period=duration(DAY))
    )
    for namespace in ("shop", NAMESPACE):
        request = start_request("short")
        request.namespace = namespace
        await api.StartWorkflowExecution(request)
        await api.TerminateWorkflowExecution(
            ws.TerminateWorkflowExecutionRequest(namespace=namespace, workflow_execution=execution("short"))
        )
    await api.start("long")
    await api.step(start_timer(seconds=3 * 86_400))
    task = await api.poll()
    describe = ws.DescribeWorkflowExecutionRequest(namespace="shop", execution=execution("short"))

    await until_not_found(api.DescribeWorkflowExecution, describe)

    assert at(task.history.events[-1]) - at(task.history.events[0]) == about(3 * DAY)
    await api.describe("short")  # the namespace that tests are given keeps what happened in them


async def test_namespaces_are_registered_updated_listed_and_deprecated(api: Api) -> None:
    register = ws.RegisterNamespaceRequest(namespace="shop", workflow_execution_retention_period=duration(3 * DAY))
    await api.RegisterNamespace(register)
    update = ws.UpdateNamespaceRequest(namespace="shop")
    update.update_info.description = "orders"
    await api.UpdateNamespace(update)
    await api.DeprecateNamespace(ws.DeprecateNamespaceRequest(namespace="shop"))

    listed = await api.ListNamespaces(ws.ListNamespacesRequest())

    infos = {namespace.namespace_info.name: namespace.namespace_info for namespace in listed.namespaces}
    assert infos["shop"].description == "orders"
    assert infos["shop"].state == 2  # NAMESPACE_STATE_DEPRECATED


async def test_a_namespace_is_deleted(api: Api) -> None:
    await api.RegisterNamespace(
        ws.RegisterNamespaceRequest(namespace="shop", workflow_execution_retention_period=duration(DAY))
    )

    deleted = (await api.DeleteNamespace(op.DeleteNamespaceRequest(namespace="shop"))).deleted_namespace

    with pytest.raises(Refused, match="NOT_FOUND"):
        await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace="shop"))
    await until_not_found(api.DescribeNamespace, ws.DescribeNamespaceRequest(namespace=deleted))


async def test_cluster_search_attributes_and_queues_are_described(api: Api) -> None:
    await api.start()
    cluster = await api.GetClusterInfo(ws.GetClusterInfoRequest())
    attributes = await api.GetSearchAttributes(ws.GetSearchAttributesRequest())
    described = await api.DescribeTaskQueue(
        ws.DescribeTaskQueueRequest(
            namespace=NAMESPACE,
            task_queue=queue(),
            task_queue_type=1,
            report_stats=True,  # type: ignore[arg-type]
        )
    )

    assert cluster.server_version
    assert "CustomKeyword" in attributes.keys
    assert described.stats.approximate_backlog_count == 1


async def test_workers_that_beat_are_listed_and_described(api: Api) -> None:
    beat = WorkerHeartbeat(worker_instance_key="w", worker_identity="w@host")
    await api.RecordWorkerHeartbeat(
        ws.RecordWorkerHeartbeatRequest(namespace=NAMESPACE, identity="w", worker_heartbeat=[beat])
    )

    [listed] = (await api.ListWorkers(ws.ListWorkersRequest(namespace=NAMESPACE))).workers_info
    described = await api.DescribeWorker(ws.DescribeWorkerRequest(namespace=NAMESPACE, worker_instance_key="w"))

    assert listed.worker_heartbeat == described.worker_info.worker_heartbeat == beat


async def test_search_attributes_are_listed_by_the_operator(api: Api) -> None:
    listed = await api.ListSearchAttributes(op.ListSearchAttributesRequest(namespace=NAMESPACE))

    assert listed.custom_attributes["CustomKeyword"] == 2


async def test_reflection_names_all_services(server: Server) -> None:
    def ask() -> list[str]:
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

        with grpc.insecure_channel(server.address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    services = await asyncio.get_running_loop().run_in_executor(None, ask)

    assert "temporal.api.testservice.v1.TestService" in services
    assert "temporal.api.workflowservice.v1.WorkflowService" in services


# ---- the server and its namespaces
async def test_the_server_tells_its_version_and_all_it_can(api: Api) -> None:
    info = await api.GetSystemInfo(ws.GetSystemInfoRequest())

    assert info.server_version.startswith("1.")
    assert info.capabilities.build_id_based_versioning
    assert info.capabilities.count_group_by_execution_status
    assert info.capabilities.activity_failure_include_heartbeat
    assert info.capabilities.internal_error_differentiation


async def test_a_namespace_nobody_registered_is_not_found(api: Api) -> None:
    with pytest.raises(Refused, match="NOT_FOUND: Namespace shop is not found"):
        await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace="shop"))


async def test_a_namespace_tells_its_size_limits_and_they_hold(api: Api) -> None:
    described = await api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=NAMESPACE))
    limits = described.namespace_info.limits

    assert (limits.blob_size_limit_error, limits.memo_size_limit_error) == (2 * 1024 * 1024, 2 * 1024 * 1024)
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        await api.start(input=values("x" * limits.blob_size_limit_error))


async def test_a_defect_shows_no_stack(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr("perdure.runtime.runtime.Runtime.decide", broken)
    with pytest.raises(Refused) as refused:
        await api.signal()

    assert "Traceback" not in refused.value.message
    assert "secret" not in refused.value.message


# ---- histories
async def test_histories_come_in_pages(api: Api) -> None:
    await api.start()
    for number in range(3):
        await api.step(start_timer(str(number), seconds=60))

    events, token, pages = [], b"", 0
    while pages == 0 or token:
        page = await api.history(maximum_page_size=2, next_page_token=token)
        events += [event.event_id for event in page.history.events]
        token, pages = page.next_page_token, pages + 1

    assert pages > 1
    assert events == list(range(1, len(events) + 1))


async def test_who_waits_for_new_events_gets_those_there_are_first(api: Api) -> None:
    await api.start()

    first = await api.history(wait_new_event=True)
    waiting = asyncio.create_task(api.history(wait_new_event=True, next_page_token=first.next_page_token))
    await api.poll()

    assert kinds(first.history) == ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]
    assert kinds((await waiting).history) == ["WORKFLOW_TASK_STARTED"]


async def test_an_unknown_run_is_not_found_in_few_words(api: Api) -> None:
    await api.start()

    with pytest.raises(Refused) as refused:
        await api.history(run_id="0d5b8c0e-6c35-4c7c-8b3f-3d5f0f0f0f0f")

    assert refused.value.code == "NOT_FOUND"
    assert len(refused.value.message) < 200


# ---- polls and queues
async def test_a_task_for_a_poller_that_left_goes_to_the_next(api: Api) -> None:
    leaving = asyncio.create_task(api.poll(within=60))
    await api.parked(queue())
    leaving.cancel()
    await api.start()

    task = await api.poll()

    assert task.task_token


async def test_tasks_come_in_the_order_of_their_priority_then_age(api: Api) -> None:
    for name, priority in (("a", 3), ("b", 3), ("c", 1), ("d", 3)):
        request = start_request(name)
        request.priority.priority_key = priority
        await api.StartWorkflowExecution(request)

    assert [(await api.poll()).workflow_execution.workflow_id for _ in range(4)] == ["c", "a", "b", "d"]


async def test_a_poll_passes_over_outdated_tasks(api: Api) -> None:
    await api.start("gone")
    await api.TerminateWorkflowExecution(
        ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution("gone"))
    )
    await api.start("here")

    assert (await api.poll()).workflow_execution.workflow_id == "here"


async def test_a_sticky_task_nobody_takes_falls_back_to_the_normal_queue(api: Api, clock: Clock) -> None:
    await api.start()
    task = await api.poll()
    leaving = asyncio.create_task(api.poll(task_queue=STICKY_1, within=60))  # seen a moment ago
    await api.parked(STICKY_1)
    await clock.lock()
    await api.RespondWorkflowTaskCompleted(sticky_completion(task, start_timer(seconds=60)))
    leaving.cancel()
    await asyncio.sleep(0.05)
    await clock.unlock()

    task = await api.poll()

    assert task.history.events[0].event_id == 1
    assert "TIMER_FIRED" in kinds(task.history)


async def test_a_query_of_a_worker_that_left_is_answered_by_another(api: Api, clock: Clock) -> None:
    await api.start()
    task = await api.poll()
    leaving = asyncio.create_task(api.poll(task_queue=STICKY_1, within=60))
    await api.parked(STICKY_1)
    await api.RespondWorkflowTaskCompleted(sticky_completion(task))
    leaving.cancel()
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    request.query.query_type = "status"

    querying = asyncio.create_task(api.QueryWorkflow(request))
    asked = await api.poll()
    await api.RespondQueryTaskCompleted(
        ws.RespondQueryTaskCompletedRequest(namespace=NAMESPACE, task_token=asked.task_token, completed_type=1)
    )

    await querying
    assert asked.history.events[0].event_id == 1


async def test_a_worker_that_shuts_down_has_its_polls_answered(api: Api) -> None:
    waiting = asyncio.create_task(api.poll(worker_instance_key="w", within=60))
    await api.parked(queue())

    await api.ShutdownWorker(ws.ShutdownWorkerRequest(namespace=NAMESPACE, worker_instance_key="w"))

    assert not (await waiting).task_token


# ---- workflow tasks
async def test_a_completion_is_answered_with_the_next_task(api: Api) -> None:
    await api.start()
    task = await api.poll()

    reply = await api.complete(task, force_create_new_workflow_task=True, return_new_workflow_task=True)

    assert reply.workflow_task.task_token


async def test_a_completion_is_answered_with_eager_activities(api: Api) -> None:
    await api.start()
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.request_eager_execution = True

    reply = await api.complete(await api.poll(), command)

    assert [task.activity_id for task in reply.activity_tasks] == ["charge"]


async def test_only_the_first_of_failed_workflow_tasks_is_in_the_history(api: Api) -> None:
    await api.start()
    for attempt in (1, 2, 3):
        task = await api.poll()
        assert task.attempt == attempt
        await api.RespondWorkflowTaskFailed(
            ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, cause=1)
        )
    await api.step(complete_workflow())

    assert kinds((await api.history()).history).count("WORKFLOW_TASK_FAILED") == 1


async def test_a_bad_command_is_told_on_every_attempt(api: Api) -> None:
    await api.start()
    for _ in range(2):
        with pytest.raises(Refused, match="INVALID_ARGUMENT: BadStartTimerAttributes"):
            await api.complete(await api.poll(), start_timer(timer_id=""))


async def test_a_failed_query_has_one_code_however_it_was_asked(api: Api) -> None:
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution())
    request.query.query_type = "status"
    await api.start()

    riding = asyncio.create_task(api.QueryWorkflow(request))
    await asyncio.sleep(0.05)
    task = await api.poll()
    [query_id] = task.queries
    completion = ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=task.task_token)
    completion.query_results[query_id].result_type = 2  # type: ignore[assignment] # QUERY_RESULT_TYPE_FAILED
    completion.query_results[query_id].error_message = "no such query"
    await api.RespondWorkflowTaskCompleted(completion)
    with pytest.raises(Refused, match="INVALID_ARGUMENT: no such query"):
        await riding

    direct = asyncio.create_task(api.QueryWorkflow(request))
    await api.RespondQueryTaskCompleted(
        ws.RespondQueryTaskCompletedRequest(
            namespace=NAMESPACE,
            task_token=(await api.poll()).task_token,
            completed_type=2,  # type: ignore[arg-type]
            error_message="no such query",
        )
    )
    with pytest.raises(Refused, match="INVALID_ARGUMENT: no such query"):
        await direct


async def test_a_workflow_task_timeout_is_what_was_asked_for_up_to_two_minutes(api: Api) -> None:
    await api.start("short", workflow_task_timeout=duration(20))
    await api.start("long", workflow_task_timeout=duration(600))

    assert [await task_timeout(api, workflow_id) for workflow_id in ("short", "long")] == [20, 120]


async def task_timeout(api: Api, workflow_id: str) -> int:
    scheduled = the(await api.history(workflow_id), "WORKFLOW_TASK_SCHEDULED")
    return int(scheduled.workflow_task_scheduled_event_attributes.start_to_close_timeout.seconds)


async def test_a_close_over_unseen_events_is_refused(api: Api) -> None:
    await api.start()
    task = await api.poll()
    await api.signal()

    with pytest.raises(Refused, match="INVALID_ARGUMENT: UnhandledCommand"):
        await api.complete(task, complete_workflow())


async def test_a_history_too_large_to_poll_terminates_with_its_reason(api: Api) -> None:
    await api.start()
    task = await api.poll()

    await api.RespondWorkflowTaskFailed(
        ws.RespondWorkflowTaskFailedRequest(namespace=NAMESPACE, task_token=task.task_token, cause=36)
    )

    terminated = the(await api.history(), "WORKFLOW_EXECUTION_TERMINATED")
    assert terminated.workflow_execution_terminated_event_attributes.reason == "GrpcMessageTooLarge"


# ---- starts
async def test_signal_with_start_keeps_what_a_start_has(api: Api, clock: Clock) -> None:
    before = await clock.now()
    request = ws.SignalWithStartWorkflowExecutionRequest(
        namespace=NAMESPACE, workflow_id="order-1", signal_name="go", cron_schedule="@every 1h"
    )
    request.workflow_type.name = "Order"
    request.task_queue.name = "orders"
    request.user_metadata.summary.data = b'"first"'
    await api.SignalWithStartWorkflowExecution(request)

    task = await api.poll()

    assert await clock.now() - before == about(HOUR)
    assert task.history.events[0].user_metadata.summary.data == b'"first"'


async def test_a_signal_ends_no_wait_but_one_with_start_does(api: Api, clock: Clock) -> None:
    await clock.lock()
    await api.start("delayed", workflow_start_delay=duration(DAY))
    await api.start("cron", cron_schedule="0 12 * * *")
    await api.start("retried", retry_policy=RetryPolicy(initial_interval=duration(DAY)))
    await api.step(fail_workflow())
    for workflow_id in ("delayed", "cron", "retried"):
        await api.signal(workflow_id=workflow_id)
        assert not (await api.describe(workflow_id)).HasField("pending_workflow_task")

    request = ws.SignalWithStartWorkflowExecutionRequest(
        namespace=NAMESPACE,
        workflow_id="delayed",
        signal_name="go",
        workflow_id_conflict_policy=2,  # type: ignore[arg-type]
    )
    request.workflow_type.name = "Order"
    request.task_queue.name = "orders"
    await api.SignalWithStartWorkflowExecution(request)

    assert (await api.poll()).workflow_execution.workflow_id == "delayed"


@pytest.mark.parametrize(
    ("schedule", "wait"),
    [("@every 90m", 90 * 60), ("@daily", None), ("CRON_TZ=Europe/Berlin 30 8 * * *", None), ("@hourly", None)],
)
async def test_cron_knows_intervals_names_and_time_zones(api: Api, schedule: str, wait: float | None) -> None:
    await api.start(cron_schedule=schedule)

    started, scheduled = (await api.poll()).history.events[:2]

    waited = at(scheduled) - at(started)
    assert 0 < waited <= DAY
    assert wait is None or waited == about(wait)


async def test_a_bad_cron_schedule_is_refused(api: Api) -> None:
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        await api.start(cron_schedule="every now and then")


async def test_a_workflow_failure_may_name_its_next_delay(api: Api, clock: Clock) -> None:
    await api.start(retry_policy=RetryPolicy(initial_interval=duration(1), maximum_interval=duration(2 * DAY)))
    before = await clock.now()
    command = fail_workflow()
    failure = command.fail_workflow_execution_command_attributes.failure
    failure.application_failure_info.next_retry_delay.CopyFrom(duration(DAY))

    await api.step(command)
    await api.step(complete_workflow())

    assert await clock.now() - before == about(DAY)


async def test_a_run_that_times_out_is_retried(api: Api) -> None:
    await api.start(workflow_run_timeout=duration(HOUR), retry_policy=RetryPolicy(initial_interval=duration(1)))
    first = await api.step()

    second = await api.poll()

    assert second.workflow_execution.run_id != first.workflow_execution.run_id
    assert second.history.events[0].workflow_execution_started_event_attributes.attempt == 2


async def test_a_start_keeps_header_links_priority_metadata_and_root(api: Api) -> None:
    request = start_request("parent")
    request.header.fields["trace"].data = b"1"
    request.priority.priority_key = 2
    request.user_metadata.summary.data = b'"big order"'
    request.links.add().batch_job.job_id = "job"
    await api.StartWorkflowExecution(request)
    await api.step(start_child("child"))

    event = (await api.history("parent")).history.events[0]
    started = event.workflow_execution_started_event_attributes
    child = (await api.history("child")).history.events[0].workflow_execution_started_event_attributes
    assert started.header.fields["trace"].data == b"1"
    assert started.priority.priority_key == 2
    assert event.user_metadata.summary.data == b'"big order"'
    assert [link.batch_job.job_id for link in event.links] == ["job"]
    assert child.root_workflow_execution.workflow_id == "parent"


async def test_links_are_limited(api: Api) -> None:
    request = start_request()
    request.links.extend(Link(batch_job=Link.BatchJob(job_id=f"job-{number}")) for number in range(11))

    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        await api.StartWorkflowExecution(request)


# ---- children and externals
async def test_the_parent_close_policy_is_carried_out(api: Api) -> None:
    policies = {
        "terminated": ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE,
        "cancelled": ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
        "abandoned": ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON,
    }
    await api.start("parent")
    await api.step(*(start_child(name, policy) for name, policy in policies.items()))
    children = 0
    while children < 3:
        task = await api.poll()
        children += task.workflow_execution.workflow_id != "parent"
        await api.complete(task)
    await api.signal(workflow_id="parent")
    while (task := await api.poll()).workflow_execution.workflow_id != "parent" or "SIGNALED" not in str(
        kinds(task.history)
    ):
        await api.complete(task)
    await api.complete(task, complete_workflow())

    assert kinds((await api.history("terminated")).history)[-1] == "WORKFLOW_EXECUTION_TERMINATED"
    assert "WORKFLOW_EXECUTION_CANCEL_REQUESTED" in kinds((await api.history("cancelled")).history)
    assert (await api.describe("abandoned")).workflow_execution_info.status == 1


async def test_a_parent_hears_that_its_child_was_terminated(api: Api) -> None:
    await api.start("parent")
    await api.step(start_child("child"))
    for _ in range(2):
        task = await api.poll()
        if task.workflow_execution.workflow_id == "parent":
            await api.complete(task)  # it has heard of the start
    await api.TerminateWorkflowExecution(
        ws.TerminateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution("child"))
    )

    task = await api.poll()

    assert task.workflow_execution.workflow_id == "parent"
    assert "CHILD_WORKFLOW_EXECUTION_TERMINATED" in kinds(task.history)


async def test_external_cancels_are_answered_one_by_one(api: Api) -> None:
    await api.start("target")
    await api.step()
    await api.start("sender")

    await api.step(cancel_external("target"), cancel_external("target"), cancel_external("nobody"))

    seen = kinds((await api.history("sender")).history)
    assert seen.count("EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED") == 2
    assert seen.count("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED") == 1


# ---- activities
async def test_a_heartbeat_timeout_holds_without_a_shorter_start_to_close(api: Api, clock: Clock) -> None:
    command = schedule_activity()
    attributes = command.schedule_activity_task_command_attributes
    attributes.start_to_close_timeout.CopyFrom(duration(50))
    attributes.heartbeat_timeout.CopyFrom(duration(50))
    await api.start()
    await api.step(command)
    task = await api.poll_activity()
    await clock.skip(40)
    await api.RecordActivityTaskHeartbeat(
        ws.RecordActivityTaskHeartbeatRequest(namespace=NAMESPACE, task_token=task.task_token)
    )
    sleeping = asyncio.create_task(clock.skip(100))

    await api.step(complete_workflow())
    await sleeping

    timed_out = the(await api.history(), "ACTIVITY_TASK_TIMED_OUT")
    started = the(await api.history(), "ACTIVITY_TASK_STARTED")
    assert at(timed_out) - at(started) == about(50)


async def test_the_next_attempt_gets_the_last_heartbeats_details(api: Api) -> None:
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.retry_policy.maximum_attempts = 3
    await api.start()
    await api.step(command)
    task = await api.poll_activity()
    await api.RecordActivityTaskHeartbeat(
        ws.RecordActivityTaskHeartbeatRequest(
            namespace=NAMESPACE, task_token=task.task_token, details=values("half-way")
        )
    )
    await fail_activity(api, task)

    assert (await api.poll_activity()).heartbeat_details == values("half-way")


async def test_deadlines_of_finished_activities_attract_no_jump(api: Api, clock: Clock) -> None:
    await clock.lock()
    command = schedule_activity()
    command.schedule_activity_task_command_attributes.schedule_to_close_timeout.CopyFrom(duration(10))
    await api.start()
    await api.step(command)
    await complete_activity(api, await api.poll_activity())
    await api.step(start_timer(seconds=3600))
    before = await clock.now()

    await clock.unlock()
    await api.step(complete_workflow())

    fired = the(await api.history(), "TIMER_FIRED")
    assert at(fired) - before == about(HOUR)


async def test_reading_the_clock_does_not_move_it(api: Api, clock: Clock) -> None:
    await clock.lock()
    await api.start()
    await api.step(schedule_activity(), start_timer(seconds=3600))
    await clock.unlock()

    before = await clock.now()

    assert await clock.now() - before < 1


# ---- search attributes, describe, limits
async def test_an_upsert_removes_an_attribute(api: Api) -> None:
    value = Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=b'"red"')
    nothing = Payload(metadata={"encoding": b"binary/null"})
    await api.start()

    await api.step(upsert(CustomKeyword=value), start_timer(seconds=1))
    assert "CustomKeyword" in (await shown(api))
    await api.step(upsert(CustomKeyword=nothing))

    assert "CustomKeyword" not in (await shown(api))


async def shown(api: Api) -> set[str]:
    info = (await api.describe()).workflow_execution_info
    return set(info.search_attributes.indexed_fields)


async def test_an_unknown_search_attribute_is_refused_by_name(api: Api) -> None:
    request = start_request()
    request.search_attributes.indexed_fields["Colour"].CopyFrom(
        Payload(metadata={"encoding": b"json/plain"}, data=b'"red"')
    )

    with pytest.raises(Refused, match=r"INVALID_ARGUMENT.*Colour"):
        await api.StartWorkflowExecution(request)


async def test_describe_shows_what_a_real_server_shows(api: Api) -> None:
    request = start_request(memo=Memo(fields={"note": Payload(data=b"1")}))
    await api.StartWorkflowExecution(request)
    pending = (await api.describe()).pending_workflow_task
    task = await api.poll()
    completion = ws.RespondWorkflowTaskCompletedRequest(
        namespace=NAMESPACE, task_token=task.task_token, binary_checksum="build-1"
    )
    await api.RespondWorkflowTaskCompleted(completion)

    info = (await api.describe()).workflow_execution_info

    assert pending.state == 1  # PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    assert info.first_run_id == info.execution.run_id
    assert info.memo.fields["note"].data == b"1"
    assert [point.binary_checksum for point in info.auto_reset_points.points] == ["build-1"]


async def test_the_suggestion_to_continue_as_new_follows_the_configuration() -> None:
    settings = {"limit.historyCount.suggestContinueAsNew": 5}
    async with (
        Server(time_skipping=True, dynamic_config=settings) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        api, clock = Api(channel), Clock(channel)
        await clock.unlock()
        await api.start()
        suggested = []
        for number in range(3):
            task = await api.step(start_timer(str(number), seconds=60))
            started = [e for e in task.history.events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED]
            suggested.append(started[-1].workflow_task_started_event_attributes.suggest_continue_as_new)

    assert (suggested[0], suggested[-1]) == (False, True)


async def test_closed_workflows_leave_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.runtime.runtime.CACHE_BYTES", 0)
    async with Server(time_skipping=True) as server, grpc.aio.insecure_channel(server.address) as channel:
        api = Api(channel)
        await Clock(channel).unlock()
        await api.start()
        await api.step(start_timer(seconds=86_400))
        await api.step(continue_as_new())
        await api.step(complete_workflow())

        assert server.skipper is not None
        assert len(server.skipper._runtime.executions) == 0
        assert (await api.describe()).workflow_execution_info.status == 2


async def test_a_paused_activity_holds_no_time_and_goes_on_when_told(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start()
    await api.step(schedule_activity(), start_timer(seconds=3600))
    charge = {"namespace": NAMESPACE, "execution": execution(), "id": "charge"}

    await api.PauseActivity(ws.PauseActivityRequest(**charge))
    await api.poll()  # the timer fired
    assert await clock.now() - before == about(HOUR)

    await api.UpdateActivityOptions(
        ws.UpdateActivityOptionsRequest(
            **charge,
            activity_options=ActivityOptions(start_to_close_timeout=duration(DAY)),
            update_mask=FieldMask(paths=["start_to_close_timeout"]),
        )
    )
    await api.ResetActivity(ws.ResetActivityRequest(**charge, keep_paused=True))
    await api.UnpauseActivity(ws.UnpauseActivityRequest(**charge))
    assert (await api.poll_activity()).attempt == 1


async def test_a_paused_workflow_holds_no_time_and_its_options_change(api: Api, clock: Clock) -> None:
    before = await clock.now()
    await api.start()
    await api.step(schedule_activity(), start_timer(seconds=3600))
    order = {"namespace": NAMESPACE, "workflow_id": "order-1"}

    await api.PauseWorkflowExecution(ws.PauseWorkflowExecutionRequest(**order))
    await clock.sleep(2 * HOUR)
    assert await clock.now() - before > 2 * HOUR - 1
    assert kinds((await api.history()).history)[-1] == "TIMER_FIRED"

    options = ws.UpdateWorkflowExecutionOptionsRequest(namespace=NAMESPACE, workflow_execution=execution())
    options.workflow_execution_options.priority.priority_key = 1
    options.update_mask.paths.append("priority")
    await api.UpdateWorkflowExecutionOptions(options)
    await api.UnpauseWorkflowExecution(ws.UnpauseWorkflowExecutionRequest(**order))
    assert (await api.poll()).task_token
    assert (await api.poll_activity()).activity_id == "charge"


# ---- updates
async def take_update(api: Api, *commands: Any, answer: Any = accept) -> Any:
    task = await api.poll()
    said = answer(task.messages[0])
    await api.complete(task, place(said), *commands, messages=[said])
    return task


async def test_updates_are_limited_for_each_run(api: Api) -> None:
    await api.start()
    await api.step()
    asked = []
    for number in range(10):
        asked.append(asyncio.create_task(api.UpdateWorkflowExecution(update_request(f"u{number}"))))
        while await stage_of(api, f"u{number}") == 0:
            pass

    with pytest.raises(Refused, match=r"in-flight updates has been reached \(10\)"):
        await api.UpdateWorkflowExecution(update_request("one more"))
    for call in asked:
        call.cancel()


async def test_an_update_without_a_stage_waits_for_its_completion(api: Api) -> None:
    await api.start()
    await api.step()
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    await take_update(api)
    assert await stage_of(api) == 2
    await api.signal()
    task = await api.poll()
    await api.complete(task, messages=[respond()])
    assert (await asked).stage == 3


async def test_an_update_names_the_chain_it_is_for(api: Api) -> None:
    await api.start()
    request = update_request()
    request.first_execution_run_id = "another"
    with pytest.raises(Refused, match="workflow execution not found"):
        await api.UpdateWorkflowExecution(request)


async def test_an_update_of_a_closed_run_is_answered_as_it_was(api: Api) -> None:
    await api.start()
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    while await stage_of(api) == 0:
        pass
    await take_update(api, complete_workflow())
    first = await asked

    assert first.outcome.failure.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"
    assert await api.UpdateWorkflowExecution(update_request()) == first


async def test_an_update_id_is_new_to_the_run_after_continue_as_new(api: Api) -> None:
    run_id = await api.start()
    asked = asyncio.create_task(api.UpdateWorkflowExecution(update_request()))
    while await stage_of(api) == 0:
        pass
    await take_update(api, continue_as_new())
    await asked

    assert await stage_of(api) == 0
    assert (await api.PollWorkflowExecutionUpdate(poll_request(run_id=run_id))).stage == 3
