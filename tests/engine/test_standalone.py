"""A standalone activity: attempts, retries, timeouts and control without any workflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from temporalio.api.activity.v1 import ActivityExecutionOutcome, ActivityOptions
from temporalio.api.common.v1 import Link, RetryPolicy
from temporalio.api.enums.v1 import ActivityExecutionStatus, PendingActivityState, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import (
    DescribeActivityExecutionRequest,
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    StartActivityExecutionRequest,
)

from perdure.clock import SeededEntropy
from perdure.engine.activity_options import STANDALONE_PATHS, mask_paths
from perdure.engine.effects import OfferActivityTask
from perdure.engine.execution import ACTIVITY, Execution
from perdure.engine.kinds import KINDS
from perdure.engine.limits import Limits
from perdure.engine.record import Record
from perdure.engine.stale import Stale
from perdure.engine.standalone import attempts, control, operating
from perdure.engine.standalone.describing import describe
from perdure.engine.standalone.starting import Started, start, validate_start
from perdure.engine.standalone.state import OUTCOME, ActivityTurn, item
from perdure.engine.times import SECOND, duration_us, timestamp_us
from perdure.engine.tokens import ACTIVITY_TASK, TaskToken, decode_token
from perdure.engine.turn import Shared
from perdure.engine.workflow_tasks import Poller
from perdure.errors import ActivityAlreadyStarted, FailedPrecondition, InvalidArgument, NotFound, PerdureError
from tests.engine.given import NOON, payloads, seconds

KIND = KINDS[ACTIVITY]
T = TypeVar("T")


@dataclass
class Scene:
    """One activity ID and its clock. `effects` gathers what all turns left."""

    now: int = NOON
    effects: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entropy = SeededEntropy(1)
        self.limits = Limits()
        self.execution = Execution("namespace-1", "default", ACTIVITY, "charge")

    def shared(self) -> Shared:
        return Shared(self.execution, self.now, self.entropy, self.limits, self.effects, [], {})

    @property
    def record(self) -> Record:
        assert self.execution.current is not None
        record: Record = self.execution.runs[self.execution.current.run_id]
        return record

    @property
    def attempt(self) -> Any:
        return self.record.state.attempt

    def start(self, **fields: Any) -> Started:
        request = start_request(**fields)
        validate_start(request, self.limits, {}, self.entropy)
        current = self.record if self.execution.current else None
        return start(self.shared(), current, request)

    def decide(self, decide: Callable[[ActivityTurn], T]) -> T:
        return decide(ActivityTurn(self.shared(), self.record))

    def refused(self, decide: Callable[[ActivityTurn], Any]) -> PerdureError:
        before = KIND.encode(self.record, 1 << 30)
        with pytest.raises(PerdureError) as refused:
            self.decide(decide)
        assert KIND.encode(self.record, 1 << 30) == before, "a refused input changed the state"
        return refused.value

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        while KIND.wake(self.shared(), self.record):
            pass

    def take(self) -> PollActivityTaskQueueResponse:
        """Start the waiting attempt as a poller of its queue."""
        poller = Poller(identity="worker-1", request_id=self.entropy.uuid())
        started = self.decide(lambda turn: attempts.start_task(turn, self.attempt.stamp, poller))
        return PollActivityTaskQueueResponse.FromString(started.answer)

    def fail(self, task: PollActivityTaskQueueResponse, failure: Failure | None = None) -> None:
        request = RespondActivityTaskFailedRequest(failure=failure or boom(), identity="worker-1")
        self.decide(lambda turn: attempts.fail(turn, token(task), request))

    def complete(self, task: PollActivityTaskQueueResponse, *result: str) -> None:
        request = RespondActivityTaskCompletedRequest(result=payloads(*result), identity="worker-1")
        self.decide(lambda turn: attempts.complete(turn, token(task), request))

    def beat(self, task: PollActivityTaskQueueResponse, *details: str) -> Any:
        request = RecordActivityTaskHeartbeatRequest(details=payloads(*details), identity="worker-1")
        return self.decide(lambda turn: attempts.record_heartbeat(turn, token(task), request))

    def request_cancel(self, request_id: str = "c") -> None:
        self.decide(lambda turn: control.request_cancel(turn, request_id=request_id, reason="why", identity="ops"))

    @property
    def offers(self) -> int:
        return sum(isinstance(effect, OfferActivityTask) for effect in self.effects)

    @property
    def status(self) -> str:
        return ActivityExecutionStatus.Name(KIND.row(self.record).status).removeprefix("ACTIVITY_EXECUTION_STATUS_")

    @property
    def outcome(self) -> ActivityExecutionOutcome:
        return ActivityExecutionOutcome.FromString(item(self.record, OUTCOME))

    def shown(self, **include: bool) -> Any:
        return describe(self.record, DescribeActivityExecutionRequest(**include), self.now)

    @property
    def run_state(self) -> str:
        return PendingActivityState.Name(self.shown().info.run_state).removeprefix("PENDING_ACTIVITY_STATE_")


def start_request(**fields: Any) -> StartActivityExecutionRequest:
    if not any(name.endswith("close_timeout") for name in fields):
        fields["start_to_close_timeout"] = 10
    timed = {k: seconds(v) if k.endswith(("timeout", "delay")) else v for k, v in fields.items()}
    request = StartActivityExecutionRequest(namespace="default", **{"activity_id": "charge", **timed})
    request.activity_type.name = "Charge"
    request.task_queue.name = "orders"
    return request


def token(task: PollActivityTaskQueueResponse) -> TaskToken:
    return decode_token(task.task_token, ACTIVITY_TASK)


def boom(*, non_retryable: bool = False) -> Failure:
    failure = Failure(message="boom")
    failure.application_failure_info.non_retryable = non_retryable
    return failure


def started(**fields: Any) -> Scene:
    scene = Scene()
    scene.start(**fields)
    return scene


# ---- start
def test_a_started_activity_is_given_to_workers_with_all_they_need() -> None:
    scene = started(input=payloads("order"), heartbeat_timeout=5)
    assert scene.offers == 1
    assert scene.run_state == "SCHEDULED"

    task = scene.take()

    assert (task.activity_id, task.activity_type.name, task.attempt) == ("charge", "Charge", 1)
    assert task.activity_run_id == scene.record.run_id
    assert task.workflow_namespace == "default"
    assert not task.HasField("workflow_execution")
    assert task.input == payloads("order")
    assert duration_us(task.start_to_close_timeout) == 10 * SECOND
    assert scene.run_state == "STARTED"


def test_the_same_request_starts_once() -> None:
    scene = started(request_id="one")
    first = scene.record.run_id

    assert scene.start(request_id="one") == Started(first, True)
    with pytest.raises(ActivityAlreadyStarted, match="activity execution already started") as refused:
        scene.start(request_id="two")
    assert (refused.value.run_id, refused.value.start_request_id) == (first, "one")


def test_who_uses_the_existing_one_may_leave_links() -> None:
    scene = started()
    link = Link()
    link.activity.activity_id = "other"
    request = start_request(id_conflict_policy=2, request_id="two", links=[link])
    request.on_conflict_options.attach_request_id = True
    request.on_conflict_options.attach_links = True

    assert start(scene.shared(), scene.record, request) == Started(scene.record.run_id, False)
    assert start(scene.shared(), scene.record, request) == Started(scene.record.run_id, False)

    assert list(scene.shown().info.links) == [link]


@pytest.mark.parametrize(
    ("policy", "completes", "allowed"),
    [(0, True, True), (1, True, True), (2, True, False), (2, False, True), (3, False, False)],
)
def test_a_closed_id_is_used_again_as_its_policy_says(policy: int, completes: bool, allowed: bool) -> None:
    scene = started()
    task = scene.take()
    if completes:
        scene.complete(task)
    else:
        scene.fail(task, boom(non_retryable=True))
    closed = scene.record.run_id

    if allowed:
        assert scene.start(id_reuse_policy=policy).run_id != closed
        assert scene.record.running
    else:
        with pytest.raises(ActivityAlreadyStarted):
            scene.start(id_reuse_policy=policy)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"activity_id": ""}, "activityId is not set"),
        ({"activity_id": "a" * 1001}, "activityId exceeds length limit. Length=1001 Limit=1000"),
        ({"request_id": "a" * 1001}, "request ID exceeds length limit. Length=1001 Limit=1000"),
        ({"identity": "a" * 1001}, "identity exceeds length limit. Length=1001 Limit=1000"),
        (
            {"start_to_close_timeout": 0},
            "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity. "
            "ActivityId=charge ActivityType=Charge",
        ),
        ({"heartbeat_timeout": -1, "start_to_close_timeout": 1}, "invalid HeartbeatTimeout: negative duration"),
        ({"start_delay": -1}, "invalid StartDelay: negative duration"),
        ({"retry_policy": RetryPolicy(maximum_attempts=-1)}, "MaximumAttempts cannot be negative on retry policy."),
        ({"input": payloads("x" * (2 << 20))}, "input exceeds length limit"),
        ({"completion_callbacks": [{}]}, "completion callbacks are not enabled for this namespace"),
        (
            {"on_conflict_options": {"attach_completion_callbacks": True}},
            "on_conflict_options: attach_completion_callbacks requires attach_request_id to be set",
        ),
        (
            {"on_conflict_options": {"attach_request_id": True}},
            "on_conflict_options: attach_request_id requires at least one completion callback or link",
        ),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate_start(start_request(**fields), Limits(), {}, SeededEntropy(1))

    assert refused.value.message == message


def test_timeouts_that_are_not_set_follow_from_the_others() -> None:
    scene = started(schedule_to_close_timeout=30, heartbeat_timeout=99)

    info = scene.shown().info
    assert duration_us(info.schedule_to_start_timeout) == 30 * SECOND
    assert duration_us(info.start_to_close_timeout) == 30 * SECOND
    assert duration_us(info.heartbeat_timeout) == 30 * SECOND
    assert duration_us(info.retry_policy.maximum_interval) == 100 * SECOND


def test_a_delayed_start_waits_and_its_time_counts_from_then() -> None:
    scene = started(start_delay=60, schedule_to_close_timeout=10)
    assert scene.offers == 0
    assert KIND.busy(scene.record) == (0, 0)

    scene.advance(60)
    assert scene.offers == 1
    assert KIND.busy(scene.record) == (0, 1)
    scene.advance(9)
    scene.complete(scene.take())

    info = scene.shown().info
    assert timestamp_us(info.execution_time) == NOON + 60 * SECOND
    assert duration_us(info.execution_duration) == 9 * SECOND


# ---- ends
def test_a_result_is_the_outcome() -> None:
    scene = started()
    scene.advance(1)
    task = scene.take()
    scene.complete(task, "done")

    assert scene.status == "COMPLETED"
    assert scene.outcome.result == payloads("done")
    assert scene.shown(include_outcome=True).outcome == scene.outcome
    assert KIND.next_deadline(scene.record) == 0
    assert KIND.busy(scene.record) == (0, 0)


def test_a_failed_attempt_is_followed_by_another_after_a_while() -> None:
    scene = started(retry_policy=RetryPolicy(initial_interval=seconds(5)))
    task = scene.take()
    scene.beat(task, "half")
    scene.fail(task)

    info = scene.shown(include_last_failure=True).info
    assert info.last_failure.message == "boom"
    assert timestamp_us(info.next_attempt_schedule_time) == NOON + 5 * SECOND
    assert duration_us(info.current_retry_interval) == 5 * SECOND
    scene.advance(5)
    again = scene.take()

    assert again.attempt == 2
    assert again.heartbeat_details == payloads("half")
    with pytest.raises(NotFound, match="activity task not found"):
        scene.complete(task)
    scene.complete(again)


def test_the_last_failure_is_the_outcome() -> None:
    scene = started(retry_policy=RetryPolicy(maximum_attempts=1))
    scene.fail(scene.take())

    assert scene.status == "FAILED"
    assert scene.outcome.failure == boom()
    assert scene.outcome.retry_state == 4  # RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED


@pytest.mark.parametrize(
    ("fields", "takes", "after", "timeout", "message"),
    [
        (
            {"schedule_to_start_timeout": 5, "start_to_close_timeout": 1},
            False,
            5,
            "SCHEDULE_TO_START",
            "ScheduleToStart",
        ),
        ({"schedule_to_close_timeout": 5, "start_to_close_timeout": 9}, True, 5, "START_TO_CLOSE", "StartToClose"),
        ({"start_to_close_timeout": 5}, True, 5, "START_TO_CLOSE", "StartToClose"),
        ({"start_to_close_timeout": 9, "heartbeat_timeout": 2}, True, 2, "HEARTBEAT", "Heartbeat"),
    ],
)
def test_time_ends_an_activity(fields: Any, takes: bool, after: int, timeout: str, message: str) -> None:
    scene = started(**fields, retry_policy=RetryPolicy(maximum_attempts=1))
    if takes:
        scene.take()

    scene.advance(after)

    assert scene.status == "TIMED_OUT"
    failure = scene.outcome.failure
    assert failure.message == f"activity {message} timeout"
    assert TimeoutType.Name(failure.timeout_failure_info.timeout_type) == f"TIMEOUT_TYPE_{timeout}"


def test_the_whole_time_is_over_while_an_attempt_waits() -> None:
    scene = started(
        schedule_to_close_timeout=60, start_to_close_timeout=10, retry_policy=RetryPolicy(initial_interval=seconds(50))
    )
    scene.advance(5)
    scene.fail(scene.take())
    scene.advance(55)

    failure = scene.outcome.failure
    assert failure.message in ("activity ScheduleToStart timeout", "activity ScheduleToClose timeout")
    assert failure.cause.message == "boom"


def test_an_attempt_that_times_out_is_followed_by_another() -> None:
    scene = started(start_to_close_timeout=5)
    scene.take()
    scene.advance(5)
    scene.advance(1)

    assert scene.take().attempt == 2


def test_by_its_id_also_an_activity_that_nobody_took_is_completed() -> None:
    scene = started()
    request = RespondActivityTaskCompletedByIdRequest(identity="ops")

    scene.decide(lambda turn: attempts.complete(turn, "charge", request))

    assert scene.status == "COMPLETED"


def test_a_result_too_large_fails_the_activity() -> None:
    scene = started()
    scene.complete(scene.take(), "x" * (2 << 20))

    assert scene.status == "FAILED"
    assert scene.outcome.failure.message == "Complete result exceeds size limit."


# ---- a poller that went away
def test_the_task_of_a_poller_that_went_away_is_given_out_again_and_its_token_is_dead() -> None:
    scene = started()
    task = scene.take()

    scene.decide(lambda turn: attempts.reissue_task(turn, token(task)))

    assert scene.offers == 2
    again = scene.take()
    assert again.attempt == 1
    error = scene.refused(lambda turn: attempts.complete(turn, token(task), RespondActivityTaskCompletedRequest()))
    assert isinstance(error, NotFound)
    scene.complete(again)


def test_a_task_is_started_once() -> None:
    scene = started()
    stamp = scene.attempt.stamp
    scene.take()

    with pytest.raises(Stale):
        scene.decide(lambda turn: attempts.start_task(turn, stamp, Poller()))


def test_a_task_of_before_it_was_given_out_again_starts_nothing() -> None:
    scene = started()
    old = scene.attempt.stamp
    task = scene.take()
    scene.decide(lambda turn: attempts.reissue_task(turn, token(task)))

    with pytest.raises(Stale):
        scene.decide(lambda turn: attempts.start_task(turn, old, Poller()))


# ---- control
def test_one_that_no_worker_holds_is_cancelled_at_once() -> None:
    scene = started()

    scene.request_cancel()

    assert scene.status == "CANCELED"
    failure = scene.outcome.failure
    assert failure.message == "Activity canceled"
    assert failure.canceled_failure_info.details == payloads("why")
    assert failure.canceled_failure_info.identity == "ops"


def test_a_worker_learns_of_a_cancel_request_by_its_heartbeat() -> None:
    scene = started()
    task = scene.take()

    scene.request_cancel()
    assert scene.run_state == "CANCEL_REQUESTED"
    assert scene.beat(task).cancel_requested
    request = RespondActivityTaskCanceledRequest(details=payloads("bye"), identity="worker-1")
    scene.decide(lambda turn: attempts.cancel(turn, token(task), request))

    assert scene.status == "CANCELED"
    assert scene.outcome.failure.canceled_failure_info.details == payloads("bye")
    assert scene.shown().info.canceled_reason == "why"


def test_a_cancelled_attempt_that_fails_is_the_last() -> None:
    scene = started()
    task = scene.take()
    scene.request_cancel()

    scene.fail(task)

    assert scene.status == "FAILED"


def test_nobody_is_cancelled_without_being_asked() -> None:
    scene = started()
    task = scene.take()

    error = scene.refused(lambda turn: attempts.cancel(turn, token(task), RespondActivityTaskCanceledRequest()))

    assert error.message == "unable to mark activity as canceled without activity being request canceled first"


def test_a_cancel_request_counts_once_also_after_the_end() -> None:
    scene = started()
    task = scene.take()
    scene.request_cancel("one")
    scene.request_cancel("one")

    other = scene.refused(lambda turn: control.request_cancel(turn, request_id="two", reason="", identity=""))
    assert (type(other), other.message) == (
        FailedPrecondition,
        "cancellation already requested with request ID one",
    )
    scene.complete(task)
    scene.request_cancel("one")
    late = scene.refused(lambda turn: control.request_cancel(turn, request_id="two", reason="", identity=""))
    assert late.message == "activity is in terminal state Completed"


def test_an_activity_that_completed_is_not_terminated() -> None:
    scene = started()
    scene.complete(scene.take(), "paid")

    late = scene.refused(lambda turn: control.terminate(turn, request_id="one", reason="", identity=""))

    assert late.message == "activity is in terminal state Completed"
    assert scene.outcome.result == payloads("paid")


def test_a_terminated_activity_has_the_reason_as_its_outcome() -> None:
    scene = started()
    task = scene.take()

    def terminate(turn: ActivityTurn, request_id: str = "one") -> None:
        control.terminate(turn, request_id=request_id, reason="why", identity="ops")

    scene.decide(terminate)
    scene.decide(terminate)

    assert scene.status == "TERMINATED"
    assert scene.outcome.failure.message == "why"
    assert scene.outcome.failure.terminated_failure_info.identity == "ops"
    assert scene.refused(lambda turn: terminate(turn, "two")).message == "already terminated with request ID one"
    assert isinstance(
        scene.refused(lambda turn: attempts.complete(turn, token(task), RespondActivityTaskCompletedRequest())),
        NotFound,
    )


# ---- operators
def pause(scene: Scene, request_id: str = "p") -> None:
    scene.decide(lambda turn: operating.pause(turn, request_id=request_id, identity="ops", reason="why"))


def unpause(scene: Scene, **how: Any) -> None:
    scene.decide(lambda turn: operating.unpause(turn, **{"request_id": "", **how}))


def reset(scene: Scene, **how: Any) -> None:
    scene.decide(lambda turn: operating.reset(turn, **{"request_id": "", **how}))


def update(scene: Scene, *paths: str, **options: Any) -> ActivityOptions:
    wanted = ActivityOptions(**{k: seconds(v) if isinstance(v, int) else v for k, v in options.items()})
    return scene.decide(
        lambda turn: operating.update_options(
            turn, request_id="", wanted=wanted, paths=mask_paths(paths, STANDALONE_PATHS)
        )
    )


def test_a_paused_activity_waits_until_it_is_unpaused() -> None:
    scene = started()
    stamp = scene.attempt.stamp

    pause(scene)
    pause(scene)
    assert (scene.status, scene.run_state) == ("PAUSED", "PAUSED")
    assert KIND.busy(scene.record) == (0, 0)
    with pytest.raises(Stale):
        scene.decide(lambda turn: attempts.start_task(turn, stamp, Poller()))

    scene.advance(100)
    unpause(scene)
    assert (scene.status, scene.offers) == ("RUNNING", 2)
    assert scene.take().attempt == 1


def test_an_attempt_that_is_paused_while_it_runs_waits_when_it_fails() -> None:
    scene = started(retry_policy=RetryPolicy(maximum_attempts=1))
    task = scene.take()

    pause(scene)
    assert (scene.status, scene.run_state) == ("RUNNING", "PAUSE_REQUESTED")
    assert scene.beat(task).paused
    scene.fail(task)
    scene.advance(1000)

    assert (scene.status, scene.run_state) == ("PAUSED", "PAUSED")
    assert scene.record.changes.status
    unpause(scene, jitter=100 * SECOND)
    assert scene.offers == 1
    scene.advance(100)
    scene.complete(scene.take())


def test_a_reset_counts_attempts_anew() -> None:
    scene = started(retry_policy=RetryPolicy(initial_interval=seconds(1000)))
    scene.fail(scene.take())

    reset(scene, reset_heartbeat=True)

    assert scene.take().attempt == 1


def test_a_reset_of_a_running_attempt_comes_after_it() -> None:
    scene = started(retry_policy=RetryPolicy(maximum_attempts=1))
    task = scene.take()

    reset(scene)
    assert scene.beat(task).reset
    assert scene.refused(lambda turn: operating.reset(turn, request_id="")).message == (
        "cannot reset an activity with a pending reset"
    )
    scene.fail(task)
    scene.advance(1)

    again = scene.take()
    assert again.attempt == 1
    assert not scene.beat(again).reset


def test_options_change_path_by_path_and_workers_are_given_them() -> None:
    scene = started(heartbeat_timeout=5, start_to_close_timeout=10)

    now = update(scene, "start_to_close_timeout", "retry_policy.maximum_attempts", start_to_close_timeout=30)

    assert duration_us(now.start_to_close_timeout) == 30 * SECOND
    assert duration_us(now.heartbeat_timeout) == 5 * SECOND
    task = scene.take()
    assert duration_us(task.start_to_close_timeout) == 30 * SECOND
    back = scene.decide(
        lambda turn: operating.update_options(turn, request_id="", wanted=ActivityOptions(), paths=None)
    )
    assert duration_us(back.start_to_close_timeout) == 10 * SECOND
    scene.complete(task)


def test_a_start_delay_changes_until_it_is_over() -> None:
    scene = started(start_delay=1000)

    assert duration_us(update(scene, "startDelay", start_delay=10).start_delay) == 10 * SECOND
    scene.advance(10)
    assert scene.offers == 1

    error = scene.refused(
        lambda turn: operating.update_options(
            turn, request_id="", wanted=ActivityOptions(start_delay=seconds(5)), paths=["start_delay"]
        )
    )
    assert error.message == "cannot update start_delay: the first activity attempt has already been dispatched"


def test_a_shorter_delay_that_is_over_already_gives_it_out_at_once() -> None:
    scene = started(start_delay=1000)
    scene.advance(20)

    update(scene, "start_delay", start_delay=10)

    assert scene.offers == 1


@pytest.mark.parametrize(
    ("operate", "message"),
    [
        (operating.unpause, "activity is in non-unpausable state Running"),
        (
            lambda turn, request_id: operating.update_options(
                turn, request_id=request_id, wanted=ActivityOptions(), paths=["start_to_close_timeout"]
            ),
            "a valid StartToClose or ScheduleToCloseTimeout is not set on ScheduleActivityTaskCommand. "
            "ActivityId=charge ActivityType=Charge",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(operate: Any, message: str) -> None:
    scene = started()

    assert scene.refused(lambda turn: operate(turn, request_id="")).message == message


@pytest.mark.parametrize(
    ("operate", "message"),
    [
        (
            lambda turn, request_id: operating.pause(turn, request_id=request_id, identity="", reason=""),
            "activity is in non-pausable state Terminated",
        ),
        (operating.unpause, "activity is in non-unpausable state Terminated"),
        (operating.reset, "activity execution is not running"),
        (
            lambda turn, request_id: operating.update_options(
                turn, request_id=request_id, wanted=ActivityOptions(), paths=None
            ),
            "activity execution is not running",
        ),
    ],
)
def test_a_closed_activity_is_not_operated_on_but_a_repeated_request_is_answered(operate: Any, message: str) -> None:
    scene = started()
    pause(scene, "one")
    scene.decide(lambda turn: control.terminate(turn, request_id="t", reason="", identity=""))

    pause(scene, "one")
    assert scene.refused(lambda turn: operate(turn, request_id="")).message == message


def test_a_cancelled_attempt_is_not_reset() -> None:
    scene = started()
    scene.take()
    scene.request_cancel()

    error = scene.refused(lambda turn: operating.reset(turn, request_id=""))

    assert error.message == "cannot reset an activity with a pending cancellation"


# ---- stored form
def test_all_of_it_survives_storage() -> None:
    scene = started(input=payloads("order"), start_delay=1)
    scene.advance(1)
    scene.beat(scene.take(), "half")

    stored = KIND.encode(scene.record, 1 << 20)
    loaded = KIND.decode(stored, [])

    assert loaded.state == scene.record.state
    assert loaded.items == scene.record.items
    assert KIND.encode(loaded, 1 << 20) == stored


def test_a_large_input_is_a_row_of_its_own_that_heartbeats_do_not_write_again() -> None:
    scene = started(input=payloads("x" * 100_000))
    core = KIND.encode(scene.record, 8 * 1024)
    assert scene.record.spilled
    assert len(core) < 1000
    scene.record.changes.items.clear()

    scene.beat(scene.take())

    assert scene.record.changes.items == set()
