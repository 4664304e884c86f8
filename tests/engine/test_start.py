"""Starting runs: what the first event holds, and who wins when the ID is in use."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Memo, SearchAttributes
from temporalio.api.enums.v1 import CommandType, EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

from perdure.engine.limits import Limits
from perdure.engine.start import StartOutcome, signal_with_start, start_workflow
from perdure.engine.times import SECOND
from perdure.engine.validation import validate_signal_with_start, validate_start
from perdure.errors import InvalidArgument, WorkflowAlreadyStarted
from tests.engine.given import NOON, Scene, command, complete_workflow, fail_workflow, given, payload, payloads, seconds

REUSE = WorkflowIdReusePolicy
CONFLICT = WorkflowIdConflictPolicy


def start_request(scene: Scene, **fields: Any) -> StartWorkflowExecutionRequest:
    fields = {"namespace": scene.namespace, "workflow_id": scene.workflow_id, **fields}
    request = StartWorkflowExecutionRequest(**fields)
    request.workflow_type.name = "Order"
    request.task_queue.name = "orders"
    return request


def start(scene: Scene, **fields: Any) -> StartOutcome:
    request = start_request(scene, **fields)
    validate_start(request, scene.limits, scene.search_attribute_types, scene.entropy)
    current = scene.execution.current
    run = scene.execution.runs[current.run_id] if current else None
    return scene.decide_shared(lambda shared: start_workflow(shared, run, request))


def signal_start(scene: Scene, **fields: Any) -> StartOutcome:
    request = SignalWithStartWorkflowExecutionRequest(
        namespace=scene.namespace, workflow_id=scene.workflow_id, **{"signal_name": "go", **fields}
    )
    request.workflow_type.name = "Order"
    request.task_queue.name = "orders"
    validate_signal_with_start(request, scene.limits, scene.search_attribute_types, scene.entropy)
    current = scene.execution.current
    run = scene.execution.runs[current.run_id] if current else None
    return scene.decide_shared(lambda shared: signal_with_start(shared, run, request))


def continue_as_new() -> Any:
    return command(CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, "continue_as_new_workflow_execution")


def closed(*, failed: bool = False) -> Scene:
    scene = given()
    start(scene, request_id="first")
    scene.complete(fail_workflow() if failed else complete_workflow())
    return scene


# ---- the first event
def test_a_start_schedules_the_first_workflow_task_at_once() -> None:
    scene = given()

    outcome = start(scene, identity="client", input=payloads("x"))

    assert outcome.started
    started, scheduled = scene.history()
    assert scene.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    attributes = started.workflow_execution_started_event_attributes
    assert attributes.original_execution_run_id == attributes.first_execution_run_id == outcome.run_id
    assert attributes.workflow_id == scene.workflow_id
    assert attributes.attempt == 1
    assert attributes.HasField("first_workflow_task_backoff")
    assert not attributes.HasField("workflow_run_timeout")
    assert attributes.workflow_task_timeout.seconds == 10
    assert scheduled.workflow_task_scheduled_event_attributes.task_queue.name == "orders"
    assert scene.offered_workflow_tasks() == 1


def test_timeouts_are_capped_by_the_longer_ones() -> None:
    scene = given()

    start(
        scene,
        workflow_execution_timeout=seconds(60),
        workflow_run_timeout=seconds(90),
        workflow_task_timeout=seconds(300),
    )

    attributes = scene.history()[0].workflow_execution_started_event_attributes
    assert attributes.workflow_run_timeout.seconds == 60
    assert attributes.workflow_task_timeout.seconds == 60
    assert attributes.workflow_execution_expiration_time.seconds == NOON // SECOND + 60
    assert scene.run.run_expires_at == NOON + 60 * SECOND


def test_values_without_data_are_left_out_of_memo_and_search_attributes_and_json_null_is_kept() -> None:
    scene = given(search_attribute_types={"City": 2, "Gone": 7})
    memo = Memo(fields={"a": payload("1"), "gone": payload("")})
    memo.fields["gone"].data = b""
    memo.fields["null"].data = b"null"
    attributes = SearchAttributes(indexed_fields={"City": payload("Bern"), "Gone": payload("")})
    attributes.indexed_fields["Gone"].data = b"[]"

    start(scene, memo=memo, search_attributes=attributes)

    started = scene.history()[0].workflow_execution_started_event_attributes
    assert set(started.memo.fields) == {"a", "null"}
    assert set(started.search_attributes.indexed_fields) == {"City"}
    assert started.search_attributes.indexed_fields["City"].metadata["type"] == b"Keyword"


@pytest.mark.parametrize("fields", [{"workflow_start_delay": seconds(5)}, {"cron_schedule": "@every 5s"}])
def test_a_delayed_start_schedules_its_first_task_when_the_delay_is_over(fields: dict[str, Any]) -> None:
    scene = given()
    start(scene, **fields)
    assert scene.kinds() == ["WorkflowExecutionStarted"]

    scene.advance(4.9)
    assert scene.wake() == 0
    scene.advance(0.1)
    assert scene.wake() == 1

    assert scene.kinds() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


def test_the_time_of_a_run_begins_when_its_delay_is_over() -> None:
    scene = given()
    start(scene, workflow_start_delay=seconds(10), workflow_run_timeout=seconds(5))
    scene.advance(14.9)
    scene.wake()
    assert scene.run.running

    scene.advance(0.1)
    scene.wake()

    assert scene.kinds()[-1] == "WorkflowExecutionTimedOut"


def test_an_eager_start_answers_with_the_first_task_and_keeps_it_from_the_queue() -> None:
    scene = given()

    outcome = start(scene, request_eager_execution=True, request_id="r", identity="me")

    assert outcome.eager is not None
    assert (outcome.eager.started_event_id, outcome.eager.attempt) == (3, 1)
    assert scene.offered_workflow_tasks() == 0
    started = scene.history()[2].workflow_task_started_event_attributes
    assert (started.identity, started.request_id, started.history_size_bytes) == ("me", "r", 0)
    assert scene.history()[0].workflow_execution_started_event_attributes.eager_execution_accepted


def test_a_delayed_start_is_silently_not_eager() -> None:
    scene = given()

    assert start(scene, request_eager_execution=True, workflow_start_delay=seconds(1)).eager is None


# ---- an ID in use
def test_a_repeated_request_gets_the_run_it_made_also_once_that_is_closed() -> None:
    scene = closed()

    again = start(scene, request_id="first", workflow_id_reuse_policy=REUSE.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)

    assert again.started
    assert again.run_id == scene.run.run_id
    assert again.status == 2


def test_a_repeated_eager_request_gets_the_same_task_again_while_it_is_started() -> None:
    scene = given()
    first = start(scene, request_eager_execution=True, request_id="r")

    again = start(scene, request_eager_execution=True, request_id="r")

    assert first.eager is not None
    assert again.eager is not None
    assert again.eager.token == first.eager.token


def test_a_running_id_refuses_another_start() -> None:
    scene = given()
    run_id = start(scene, request_id="first").run_id

    with pytest.raises(WorkflowAlreadyStarted) as refused:
        start(scene, workflow_id_reuse_policy=REUSE.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)

    assert refused.value.message == (
        f"Workflow execution is already running. WorkflowId: {scene.workflow_id}, RunId: {run_id}."
    )
    assert (refused.value.run_id, refused.value.start_request_id) == (run_id, "first")


@pytest.mark.parametrize("failed", [False, True])
def test_reuse_of_a_closed_id_goes_by_how_it_ended(failed: bool) -> None:
    scene = closed(failed=failed)
    policy = REUSE.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY

    if failed:
        assert start(scene, workflow_id_reuse_policy=policy).started
    else:
        with pytest.raises(WorkflowAlreadyStarted, match="already finished successfully"):
            start(scene, workflow_id_reuse_policy=policy)


def test_a_rejected_duplicate_names_the_closed_run() -> None:
    scene = closed(failed=True)

    with pytest.raises(WorkflowAlreadyStarted, match="reject duplicate workflow Id"):
        start(scene, workflow_id_reuse_policy=REUSE.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)


def test_an_existing_run_can_be_used_and_the_request_attached_to_it() -> None:
    scene = given()
    run_id = start(scene, request_id="first").run_id
    fields: dict[str, Any] = {
        "workflow_id_conflict_policy": CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        "on_conflict_options": {"attach_request_id": True},
        "request_id": "second",
    }

    attached = start(scene, **fields)
    again = start(scene, **fields)

    for outcome in (attached, again):
        assert (outcome.run_id, outcome.started) == (run_id, False)
        assert outcome.link_event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
    assert scene.kinds()[2:] == ["WorkflowExecutionOptionsUpdated"]
    assert scene.last().worker_may_ignore
    assert scene.run.request_ids["second"] == (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED, 3)


def test_terminating_the_existing_run_makes_way_for_a_new_chain() -> None:
    scene = given()
    old = start(scene, request_id="first").run
    assert old is not None
    scene.poll()

    new = start(scene, workflow_id_conflict_policy=CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING)

    assert new.started
    assert scene.kinds(old)[-2:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    ended = scene.last(old).workflow_execution_terminated_event_attributes
    assert ended.reason == "TerminateIfRunning WorkflowIdReusePolicy"
    assert ended.details.payloads[0].data == f'"terminated by new runID: {new.run_id}"'.encode()
    assert scene.run.run_id == new.run_id == new.first_run_id


# ---- signal with start
def test_signal_with_start_puts_the_signal_before_the_first_task() -> None:
    scene = given()

    outcome = signal_start(scene)

    assert outcome.started
    assert scene.kinds() == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


@pytest.mark.parametrize("over", [False, True])
def test_a_start_that_is_repeated_after_the_workflow_went_on_starts_nothing(over: bool) -> None:
    """Its first answer was lost, and by now another run goes on, or has ended."""
    scene = given()
    first = start(scene, request_id="r")
    for _ in range(2):
        scene.advance(1)
        scene.complete(continue_as_new())
    if over:
        scene.complete(complete_workflow())
    latest = scene.run

    outcome = start(scene, request_id="r")

    assert (outcome.started, outcome.run_id) == (True, first.run_id)
    assert scene.run is latest
    if over:
        assert not signal_start(scene, request_id="r").started


def test_signal_with_start_signals_the_running_one_once_a_request_id() -> None:
    scene = given()
    start(scene)

    for _ in range(2):
        assert not signal_start(scene, request_id="r").started

    assert scene.kinds()[2:] == ["WorkflowExecutionSignaled"]


def test_signal_with_start_ends_a_start_delay() -> None:
    scene = given()
    start(scene, workflow_start_delay=seconds(100))

    signal_start(scene)

    assert scene.kinds()[1:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


def test_signal_with_start_after_the_close_starts_anew() -> None:
    scene = closed()

    assert signal_start(scene).started
    with pytest.raises(InvalidArgument, match="is not supported for this operation"):
        signal_start(scene, workflow_id_conflict_policy=CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_FAIL)


def test_signal_with_start_that_is_repeated_after_the_close_starts_nothing() -> None:
    """Its first answer was lost, and the workflow was quick."""
    scene = given()
    start(scene)
    signal_start(scene, request_id="r")
    scene.complete(complete_workflow())
    closed_run = scene.run

    outcome = signal_start(scene, request_id="r")

    assert (outcome.started, outcome.run_id) == (False, closed_run.run_id)


# ---- validation
def test_an_input_and_a_memo_may_be_as_large_as_the_limit_and_no_larger() -> None:
    scene = given(limits=Limits(blob_size=payloads("x" * 50).ByteSize(), memo_size=memo("x" * 50).ByteSize()))

    for fields, text in (
        ({"input": payloads("x" * 51)}, "Blob data size exceeds limit."),
        ({"memo": memo("x" * 51)}, "Memo size exceeds limit."),
    ):
        with pytest.raises(InvalidArgument) as refused:
            start(scene, **fields)
        assert refused.value.message == text

    assert start(scene, input=payloads("x" * 50), memo=memo("x" * 50)).started


def memo(text: str) -> Memo:
    return Memo(fields={"note": payload(text)})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"workflow_id": ""}, "WorkflowId is not set on request."),
        ({"workflow_id": "x" * 1001}, "WorkflowId length exceeds limit."),
        ({"request_id": "é" * 501}, "RequestId length exceeds limit."),
        ({"retry_policy": {"maximum_attempts": -1}}, "MaximumAttempts cannot be negative on retry policy."),
        ({"retry_policy": {"backoff_coefficient": 0.5}}, "BackoffCoefficient cannot be less than 1 on retry policy."),
        (
            {"cron_schedule": "* * * * *", "workflow_start_delay": seconds(0)},
            "CronSchedule and WorkflowStartDelay may not be used together.",
        ),
        ({"cron_schedule": "nonsense"}, "invalid CronSchedule."),
        (
            {"workflow_run_timeout": seconds(-1)},
            "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative duration",
        ),
        (
            {"workflow_id_reuse_policy": 4, "workflow_id_conflict_policy": 1},
            "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together "
            "with a WorkflowIDConflictPolicy",
        ),
        (
            {"search_attributes": {"indexed_fields": {"X": payload("1")}}},
            "Namespace default has no mapping defined for search attribute X",
        ),
        (
            {"search_attributes": {"indexed_fields": {"N": payload("x")}}},
            "invalid value for search attribute N of type Int: x",
        ),
        (
            {"search_attributes": {"indexed_fields": {"WorkflowId": payload("x")}}},
            "WorkflowId attribute can't be set in SearchAttributes",
        ),
        ({"priority": {"priority_key": -1}}, "priority key can't be negative"),
        ({"links": [{}]}, "unsupported link variant"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_is_refused_in_the_references_words(fields: dict[str, Any], text: str) -> None:
    scene = given(search_attribute_types={"N": 3})

    with pytest.raises(InvalidArgument) as refused:
        start(scene, **fields)

    assert refused.value.message == text
    assert scene.execution.current is None


def test_the_deprecated_reuse_policy_means_terminating_what_runs() -> None:
    scene = given()
    request = start_request(scene, workflow_id_reuse_policy=REUSE.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING)

    validate_start(request, Limits(), {}, scene.entropy)

    assert request.workflow_id_conflict_policy == CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    assert request.workflow_id_reuse_policy == REUSE.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE


def test_a_retry_policy_is_filled_with_defaults() -> None:
    scene = given()

    start(scene, retry_policy={"maximum_attempts": 3})

    policy = scene.history()[0].workflow_execution_started_event_attributes.retry_policy
    assert (policy.initial_interval.seconds, policy.backoff_coefficient, policy.maximum_interval.seconds) == (
        1,
        2.0,
        100,
    )
