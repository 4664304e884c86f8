"""Updates: what becomes of them, and that a speculative workflow task leaves no trace unless something came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest, RespondWorkflowTaskFailedRequest

from perdure.engine.closing import terminate
from perdure.engine.codec import all_items, decode, encode_core, item_value
from perdure.engine.completing import complete_workflow_task
from perdure.engine.effects import OfferWorkflowTask, UpdateProgress, UpdatesMoved
from perdure.engine.failing import fail_workflow_task
from perdure.engine.limits import Limits
from perdure.engine.pausing import pause_workflow, unpause_workflow
from perdure.engine.signals import signal_workflow
from perdure.engine.speculative import SCHEDULE_TO_START
from perdure.engine.state import Run
from perdure.engine.tokens import WORKFLOW_TASK, decode_token
from perdure.engine.updates import ACCEPTED, ADMITTED, COMPLETED, admit, look_up, reapply_update
from perdure.engine.virtual_events import virtual_events
from perdure.engine.workflow_tasks import reissue_workflow_task, schedule_workflow_task
from perdure.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PerdureError,
    ResourceExhausted,
    WorkflowNotReady,
)
from tests.engine.given import (
    Scene,
    command,
    complete_workflow,
    fail_workflow,
    given,
    kind,
    marker,
    schedule_activity,
    start_timer,
)
from tests.engine.updating import (
    accept,
    ask,
    failure,
    look,
    messages,
    place,
    reject,
    request_in,
    respond,
    success,
    told,
    update_request,
)

STARTED = ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"]
DISCARDS = {"discard_speculative_workflow_task_with_events": True}


def idle(*commands: Any, **settings: Any) -> Scene:
    """A workflow that has begun and waits."""
    scene = given(**settings)
    scene.start()
    scene.complete(*commands)
    scene.effects.clear()
    return scene


def sticky(scene: Scene, **fields: Any) -> dict[str, Any]:
    request = RespondWorkflowTaskCompletedRequest(**fields)
    request.sticky_attributes.worker_task_queue.name = "mine"
    request.sticky_attributes.schedule_to_start_timeout.seconds = 3
    return {"sticky_attributes": request.sticky_attributes, **fields}


def written(scene: Scene, after: int = 4) -> list[str]:
    return scene.kinds()[after:]


def signal(scene: Scene) -> None:
    scene.decide(lambda turn: signal_workflow(turn, signal_name="s"))


# ---- accepted, completed, rejected
def test_an_update_of_an_idle_workflow_is_brought_by_a_task_that_is_not_written_yet() -> None:
    scene = idle()
    changed = encode_core(scene.run, 1 << 30)

    progress = ask(scene, "u1", "five")
    started = scene.poll()

    assert progress == UpdateProgress(ADMITTED)
    [message] = messages(started)
    assert (message.id, message.protocol_instance_id, message.event_id) == ("u1/request", "u1", 5)
    assert request_in(message) == update_request("u1", "set", "five")
    assert started.last_event_id == 4
    assert [kind(event) for event in events(started.virtual_events)] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert started.started_event_id == 6
    assert scene.kinds() == STARTED
    assert encode_core(scene.run, 1 << 30) == changed


def events(framed: bytes) -> Any:
    from temporalio.api.history.v1 import History

    return History.FromString(framed).events


def test_an_update_accepted_and_completed_is_in_the_history_with_its_task() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    [message] = messages(started)
    yes, done = accept(message), respond()

    scene.complete(place(yes), start_timer("t", 5), place(done), started=started, messages=[yes, done])

    assert written(scene) == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionUpdateAccepted",
        "TimerStarted",
        "WorkflowExecutionUpdateCompleted",
    ]
    accepted = scene.history()[7].workflow_execution_update_accepted_event_attributes
    assert accepted.accepted_request_sequencing_event_id == 5
    assert accepted.accepted_request_message_id == "u1/request"
    assert accepted.accepted_request == update_request()
    completed = scene.last().workflow_execution_update_completed_event_attributes
    assert completed.accepted_event_id == 8
    assert success(told(scene)["u1"]) == "done"
    assert look(scene) == told(scene)["u1"]
    assert scene.run.workflow_task is None


def test_messages_without_commands_come_after_all_commands() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    [message] = messages(started)

    scene.complete(marker("m"), started=started, messages=[accept(message), respond()])

    assert written(scene, 7) == [
        "MarkerRecorded",
        "WorkflowExecutionUpdateAccepted",
        "WorkflowExecutionUpdateCompleted",
    ]


def test_who_waits_for_an_acceptance_hears_of_the_completion_if_both_came_at_once() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    [message] = messages(started)
    scene.complete(started=started, messages=[accept(message)])
    assert told(scene)["u1"] == UpdateProgress(ACCEPTED)
    ask(scene, "u2")
    started = scene.poll()
    [message] = messages(started)

    scene.complete(started=started, messages=[accept(message), respond("u2")])

    assert told(scene)["u2"].stage == COMPLETED


def test_a_rejected_update_leaves_no_trace() -> None:
    scene = idle()
    before = scene.run.state_transitions
    ask(scene)
    started = scene.poll()

    done = scene.complete(started=started, messages=[reject(messages(started)[0], "not now")])

    assert done.reset_event_id == 3
    assert scene.kinds() == STARTED
    assert scene.run.state_transitions == before
    assert failure(told(scene)["u1"]).message == "not now"
    with pytest.raises(NotFound, match=r'^update "u1" not found$'):
        look(scene)
    signal(scene)
    assert scene.history()[4].event_id == 5
    assert kind(scene.history()[4]) == "WorkflowExecutionSignaled"


@pytest.mark.parametrize(
    ("capabilities", "events_before", "kept"), [({}, 1, True), (DISCARDS, 1, False), (DISCARDS, 11, True)]
)
def test_a_rejection_after_other_events_is_forgotten_only_by_a_worker_that_can(
    capabilities: dict[str, bool], events_before: int, kept: bool
) -> None:
    scene = idle(*(start_timer(f"t{n}", 60) for n in range(events_before)))
    ask(scene)
    started = scene.poll()

    done = scene.complete(started=started, messages=[reject(messages(started)[0])], capabilities=capabilities)

    expected = ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"] if kept else []
    assert written(scene, 4 + events_before) == expected
    assert done.reset_event_id == (0 if kept else 3)
    assert failure(told(scene)["u1"]).message == "no"


def test_a_rejection_in_the_first_task_keeps_that_task() -> None:
    scene = given()
    scene.start()
    ask(scene)
    started = scene.poll()

    done = scene.complete(started=started, messages=[reject(messages(started)[0])], capabilities=DISCARDS)

    assert scene.kinds() == STARTED
    assert done.reset_event_id == 0


def test_an_update_during_a_start_delay_brings_the_first_task_forward() -> None:
    scene = given()
    scene.start(workflow_start_delay=60)
    assert scene.run.workflow_task is None

    ask(scene)
    started = scene.poll()
    scene.complete(started=started, messages=[reject(messages(started)[0])], capabilities=DISCARDS)

    assert scene.kinds() == STARTED  # there is no earlier place to go back to
    scene.advance(61)
    assert scene.wake() == 0


def test_a_start_delay_that_ends_during_a_speculative_task_makes_it_a_normal_one() -> None:
    scene = given()
    scene.start(workflow_start_delay=1)
    ask(scene)
    started = scene.poll()
    scene.advance(1)
    scene.wake()

    assert scene.kinds() == STARTED[:3]
    scene.complete(started=started, messages=[accept(messages(started)[0])])
    assert written(scene) == ["WorkflowExecutionUpdateAccepted"]


def test_an_update_that_the_worker_says_nothing_about_is_rejected_for_it() -> None:
    scene = idle()
    ask(scene)

    scene.complete()

    assert scene.kinds() == STARTED
    why = failure(told(scene)["u1"])
    assert why.application_failure_info.type == "UnprocessedUpdate"
    assert why.application_failure_info.non_retryable
    assert why.source == "Server"
    assert why.message.startswith("Workflow Update is rejected because it wasn't processed by worker.")


def test_an_update_that_rode_on_a_task_and_was_not_mentioned_is_rejected_too() -> None:
    scene = idle()
    signal(scene)
    ask(scene)

    scene.complete(marker("m"))

    assert failure(told(scene)["u1"]).application_failure_info.type == "UnprocessedUpdate"
    assert not scene.run.admitted


def test_two_updates_share_a_task() -> None:
    scene = idle()
    ask(scene, "u1")
    ask(scene, "u2")
    started = scene.poll()
    first, second = messages(started)

    answers = [accept(first), respond("u1"), accept(second), respond("u2")]
    scene.complete(*map(place, answers), started=started, messages=answers)

    assert (first.event_id, second.event_id) == (5, 5)
    assert [event.workflow_execution_update_completed_event_attributes.accepted_event_id for event in scene.history()][
        8::2
    ] == [8, 10]


# ---- tasks that are there already
def test_an_update_rides_on_a_task_that_is_scheduled() -> None:
    scene = idle()
    signal(scene)
    ask(scene)

    started = scene.poll()

    assert started.virtual_events == b""
    assert [message.event_id for message in messages(started)] == [6]
    assert written(scene) == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled", "WorkflowTaskStarted"]


def test_an_update_that_comes_while_a_task_runs_gets_the_next_one_at_once() -> None:
    scene = given()
    scene.start()
    first = scene.poll()
    assert messages(first) == []
    ask(scene)

    done = scene.complete(started=first, return_new_workflow_task=True)

    assert scene.kinds() == STARTED
    assert [message.event_id for message in messages(done.new_task)] == [5]
    again = scene.complete(started=done.new_task, messages=[reject(messages(done.new_task)[0])])
    assert again.reset_event_id == 3
    assert scene.kinds() == STARTED


def test_an_update_that_comes_while_a_task_runs_is_offered_to_others_when_the_worker_takes_none() -> None:
    scene = given()
    scene.start()
    first = scene.poll()
    ask(scene)
    scene.complete(started=first)

    task = scene.run.workflow_task

    assert task is not None
    assert task.speculative
    assert isinstance(scene.effects[-2], OfferWorkflowTask)


def test_after_a_rejection_the_updates_that_came_meanwhile_get_their_task() -> None:
    scene = idle()
    ask(scene, "u1")
    started = scene.poll()
    ask(scene, "u2")

    done = scene.complete(started=started, messages=[reject(messages(started)[0])], return_new_workflow_task=True)

    assert done.reset_event_id == 3
    assert [message.protocol_instance_id for message in messages(done.new_task)] == ["u2"]
    assert scene.kinds() == STARTED


def test_a_heartbeat_keeps_the_update_and_does_not_bring_it_again() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    [message] = messages(started)

    done = scene.complete(started=started, force_create_new_workflow_task=True, return_new_workflow_task=True)
    assert messages(done.new_task) == []
    scene.complete(started=done.new_task, messages=[reject(message)], capabilities=DISCARDS)

    assert written(scene) == 2 * ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"]
    assert failure(told(scene)["u1"]).message == "no"


def test_the_request_is_sent_again_when_its_poller_had_gone() -> None:
    scene = idle()
    ask(scene)
    first = scene.poll()

    again = scene.decide(lambda turn: reissue_workflow_task(turn, decode_token(first.token, WORKFLOW_TASK)))

    assert again is not None
    assert messages(again) == messages(first)
    assert scene.kinds() == STARTED


# ---- what is written makes the task a normal one
def test_a_signal_comes_after_the_task_that_was_scheduled_for_an_update() -> None:
    scene = idle()
    ask(scene)
    scene.effects.clear()
    old = scene.run.workflow_task

    signal(scene)

    assert written(scene) == ["WorkflowTaskScheduled", "WorkflowExecutionSignaled"]
    task = scene.run.workflow_task
    assert task is not None
    assert old is not None
    assert not task.speculative
    assert task.stamp != old.stamp
    assert scene.offered_workflow_tasks() == 1, "the volatile offer is dead, the stored one must exist"
    started = scene.poll()
    assert [message.event_id for message in messages(started)] == [6]
    scene.complete(started=started, messages=[reject(messages(started)[0])], capabilities=DISCARDS)
    assert written(scene)[2:] == ["WorkflowTaskStarted", "WorkflowTaskCompleted"]


def test_a_signal_while_a_worker_holds_the_update_waits_and_keeps_the_task() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()

    signal(scene)
    assert written(scene) == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    scene.complete(started=started, messages=[reject(messages(started)[0])], capabilities=DISCARDS)

    assert written(scene)[2:] == ["WorkflowTaskCompleted", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


def test_a_speculative_task_that_fails_is_written_and_its_update_comes_again() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    token = decode_token(started.token, WORKFLOW_TASK)

    scene.decide(lambda turn: fail_workflow_task(turn, token, RespondWorkflowTaskFailedRequest(cause=24)))

    assert written(scene) == ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskFailed"]
    again = scene.poll()
    assert again.attempt == 2
    assert [message.event_id for message in messages(again)] == [8]
    scene.complete(started=again, messages=[accept(messages(again)[0])])
    assert written(scene, 7) == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionUpdateAccepted",
    ]


def test_a_speculative_task_that_nobody_takes_becomes_a_normal_one_after_five_seconds() -> None:
    scene = idle()
    ask(scene)
    assert SCHEDULE_TO_START == 5_000_000
    scene.advance(4.9)
    assert scene.wake() == 0
    scene.advance(0.1)
    scene.wake()

    assert written(scene) == ["WorkflowTaskScheduled", "WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    assert scene.history()[5].workflow_task_timed_out_event_attributes.started_event_id == 0
    started = scene.poll()
    assert started.attempt == 1
    assert [message.event_id for message in messages(started)] == [7]


def test_a_worker_that_holds_an_update_for_too_long_loses_it() -> None:
    scene = idle()
    ask(scene)
    scene.poll()
    scene.advance(10)
    scene.wake()

    assert written(scene) == ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskTimedOut"]
    assert [message.event_id for message in messages(scene.poll())] == [8]


def test_a_sticky_worker_gets_what_it_has_not_seen_and_the_event_names_its_queue() -> None:
    scene = given()
    scene.start()
    scene.complete(**sticky(scene))
    ask(scene)
    started = scene.poll()

    assert started.sticky
    assert started.first_event_id == 4
    scene.complete(started=started, messages=[accept(messages(started)[0])], **sticky(scene))
    queue = scene.history()[4].workflow_task_scheduled_event_attributes.task_queue
    assert (queue.name, queue.normal_name) == ("mine", "orders")


def test_a_lost_speculative_task_is_not_found_and_its_worker_starts_over() -> None:
    scene = given()
    scene.start()
    scene.complete(**sticky(scene))
    ask(scene)
    started = scene.poll()
    run = decode(encode_core(scene.run, 1 << 30), [])  # the server was killed
    run.changes = scene.run.changes
    scene.execution.runs[run.run_id] = run

    done = scene.complete(started=started, run=run, messages=[accept(messages(started)[0])], refused=True)

    assert done.failed.message == "Workflow task not found."
    assert scene.run.sticky_queue == ""
    assert scene.kinds() == STARTED


def test_a_lost_task_is_another_than_the_one_made_in_its_place_at_the_very_same_moment() -> None:
    scene = idle()
    ask(scene)
    lost = scene.poll()
    run = decode(encode_core(scene.run, 1 << 30), [])
    run.changes = scene.run.changes
    scene.execution.runs[run.run_id] = run
    ask(scene)
    started = scene.poll()

    with pytest.raises(NotFound, match="Workflow task not found"):
        scene.complete(started=lost, run=run, messages=[accept(messages(lost)[0])])

    scene.complete(started=started, messages=[accept(messages(started)[0])])
    assert look(scene) == UpdateProgress(ACCEPTED)


def test_a_lost_task_that_is_reported_does_not_strand_the_one_made_in_its_place() -> None:
    scene = given()
    scene.start()
    scene.complete(**sticky(scene))
    ask(scene)
    lost = scene.poll()
    run = decode(encode_core(scene.run, 1 << 30), [])
    run.changes = scene.run.changes
    scene.execution.runs[run.run_id] = run
    ask(scene)

    scene.complete(started=lost, run=run, messages=[reject(messages(lost)[0])], refused=True)

    task = scene.run.workflow_task
    assert task is not None
    assert (task.queue, task.sticky) == ("orders", False)
    assert isinstance(scene.effects[-1], OfferWorkflowTask)
    assert messages(scene.poll())


# ---- coming in
def test_the_same_id_is_the_same_update_whatever_it_says() -> None:
    scene = idle()
    ask(scene, "u1", "five")
    assert ask(scene, "u1", "six") == UpdateProgress(ADMITTED)
    started = scene.poll()
    [message] = messages(started)
    assert request_in(message) == update_request("u1", "set", "five")
    scene.complete(started=started, messages=[accept(message)])
    assert ask(scene, "u1") == UpdateProgress(ACCEPTED)
    signal(scene)
    scene.complete(messages=[respond("u1", "five")])

    assert success(ask(scene, "u1")) == "five"
    assert scene.run.workflow_task is None


def test_an_update_of_another_chain_is_not_found() -> None:
    scene = idle()
    error = scene.refused(lambda turn: admit(turn, update_request(), "some-other-run"))
    assert (type(error), error.message) == (NotFound, "workflow execution not found")


def test_an_update_of_a_workflow_whose_tasks_fail_is_refused() -> None:
    scene = given()
    scene.start()
    for _ in range(2):
        token = decode_token(scene.poll().token, WORKFLOW_TASK)
        scene.decide(lambda turn, token=token: fail_workflow_task(turn, token, RespondWorkflowTaskFailedRequest()))

    error = scene.refused(lambda turn: admit(turn, update_request()))

    assert type(error) is WorkflowNotReady
    assert error.message == "Unable to perform workflow execution update due to Workflow Task in failed state."


def pause(scene: Scene) -> None:
    scene.decide(lambda turn: pause_workflow(turn, identity="ops", reason="", request_id="p"))


def test_a_paused_workflow_takes_no_update_and_gives_one_that_it_has_to_nobody() -> None:
    scene = idle()
    ask(scene)
    pause(scene)

    error = scene.refused(lambda turn: admit(turn, update_request("u2")))

    assert error.message == "Workflow is paused. Cannot update the workflow."
    assert scene.run.workflow_task is None
    scene.decide(lambda turn: unpause_workflow(turn, identity="ops", reason="", request_id=""))
    assert [message.protocol_instance_id for message in messages(scene.poll())] == ["u1"]


def test_an_update_that_came_during_the_last_task_before_a_pause_waits() -> None:
    scene = idle()
    ask(scene, "u1")
    started = scene.poll()
    ask(scene, "u2")
    pause(scene)

    done = scene.complete(started=started, messages=[reject(messages(started)[0])], return_new_workflow_task=True)

    assert done.new_task is None
    assert scene.run.workflow_task is None
    assert look(scene, "u2") == UpdateProgress(ADMITTED)


def test_an_update_after_a_refused_close_has_to_come_again() -> None:
    scene = given()
    scene.start()
    started = scene.poll()
    signal(scene)
    scene.complete(complete_workflow(), started=started, refused=True)
    scene.poll()

    error = scene.refused(lambda turn: admit(turn, update_request()))

    assert isinstance(error, ResourceExhausted)
    assert error.message == "workflow operation can not be applied because workflow is closing"


def test_updates_under_way_are_limited_in_number_and_size() -> None:
    scene = idle()
    for number in range(10):
        ask(scene, f"u{number}")
    many = scene.refused(lambda turn: admit(turn, update_request("one more")))
    assert ask(scene, "u3") == UpdateProgress(ADMITTED), "those known are no more"
    small = idle(limits=replace(Limits(), update_bytes_in_flight=100))
    ask(small, "u1")
    large = small.refused(lambda turn: admit(turn, update_request("u2", "x" * 80)))

    assert many.message == "limit on number of concurrent in-flight updates has been reached (10)"
    assert large.message == "limit on total payload size of in-flight updates has been reached (100 bytes)"
    assert all(isinstance(error, ResourceExhausted) and error.cause == 2 for error in (many, large))


def test_a_run_has_so_many_updates_and_is_told_to_continue_as_new_before() -> None:
    scene = idle(limits=replace(Limits(), updates_per_run=4))
    for number in range(4):
        ask(scene, f"u{number}")
        started = scene.poll()
        [message] = messages(started)
        scene.complete(started=started, messages=[accept(message), respond(f"u{number}")])

    error = scene.refused(lambda turn: admit(turn, update_request("one more")))

    assert type(error) is FailedPrecondition
    assert error.message.startswith(
        "The limit on the total number of distinct updates in this workflow has been reached (4). Make sure any"
    )
    told_to = [
        list(event.workflow_task_started_event_attributes.suggest_continue_as_new_reasons)
        for event in scene.history()
        if kind(event) == "WorkflowTaskStarted"
    ]
    assert told_to == [[], [], [], [], [3]]


# ---- ends
def close_by_command(scene: Scene, *answers: Any) -> None:
    started = scene.poll()
    scene.complete(complete_workflow(), started=started, messages=list(answers))


def test_an_accepted_update_of_a_closed_run_failed_and_always_will_have() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    yes = accept(messages(started)[0])

    scene.complete(place(yes), complete_workflow(), started=started, messages=[yes])

    assert written(scene, 7) == ["WorkflowExecutionUpdateAccepted", "WorkflowExecutionCompleted"]
    why = failure(told(scene)["u1"])
    assert why.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"
    assert why.message == "Workflow Update failed because the Workflow completed before the Update completed."
    assert look(scene) == ask(scene) == told(scene)["u1"]


def test_an_update_that_was_not_accepted_is_aborted_by_a_close() -> None:
    scene = idle()
    ask(scene, "sent")
    started = scene.poll()
    ask(scene, "waiting")

    scene.complete(complete_workflow(), started=started)

    for update_id in ("sent", "waiting"):
        error = told(scene)[update_id].error
        assert type(error) is NotFound
        assert error.message == "workflow update was aborted by closing workflow"
    assert ask_closed(scene) == "workflow execution already completed"


def ask_closed(scene: Scene) -> str:
    with pytest.raises(NotFound) as refused:
        ask(scene, "sent")
    return refused.value.message


def test_an_update_that_was_not_accepted_is_for_the_next_run_of_a_chain() -> None:
    scene = given()
    scene.start(cron_schedule="@every 10s")
    scene.advance(10)
    scene.wake()
    first = scene.run
    ask(scene)
    scene.complete(complete_workflow())

    error = told(scene)["u1"].error

    assert first.successor_run_id
    assert isinstance(error, ResourceExhausted)
    assert error.message == "workflow operation can not be applied because workflow is closing"


def test_a_rejection_that_comes_with_the_close_is_told() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()

    scene.complete(complete_workflow(), started=started, messages=[reject(messages(started)[0], "too late")])

    assert failure(told(scene)["u1"]).message == "too late"


def test_terminating_writes_a_task_that_a_worker_holds_and_no_other() -> None:
    held, waiting = idle(), idle()
    ask(held)
    held.poll()
    ask(waiting)

    for scene in (held, waiting):
        scene.decide(lambda turn: terminate(turn, "enough"))

    assert written(held) == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
        "WorkflowExecutionTerminated",
    ]
    assert written(waiting) == ["WorkflowExecutionTerminated"]
    for scene in (held, waiting):
        error = told(scene)["u1"].error
        assert error is not None
        assert error.message == "workflow update was aborted by closing workflow"


# ---- messages that cannot be taken
def bad(scene: Scene, started: Any, *answers: Any, commands: Any = ()) -> str:
    done = scene.complete(*commands, started=started, messages=list(answers), refused=True)
    assert isinstance(done.failed, InvalidArgument)
    failed = next(event for event in reversed(scene.history()) if kind(event) == "WorkflowTaskFailed")
    assert failed.workflow_task_failed_event_attributes.failure.message == done.failed.message
    prefix = "BadUpdateWorkflowExecutionMessage: "
    assert done.failed.message.startswith(prefix)
    return done.failed.message.removeprefix(prefix)


def held(update_id: str = "u1") -> tuple[Scene, Any, Any]:
    scene = idle()
    ask(scene, update_id)
    started = scene.poll()
    return scene, started, messages(started)[0]


def test_a_bad_message_fails_the_task_and_the_updates_it_carried() -> None:
    scene, started, _ = held()
    ask(scene, "later")

    text = bad(scene, started, respond())

    assert (
        text
        == "invalid state transition attempted for Update u1: received *update.Response message while in state Sent"
    )
    assert written(scene) == ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskFailed"]
    error = told(scene)["u1"].error
    assert type(error) is WorkflowNotReady
    assert error.message == "Unable to perform workflow execution update due to unexpected workflow task failure."
    assert [message.protocol_instance_id for message in messages(scene.poll())] == ["later"]


def test_an_acceptance_before_a_bad_message_was_never_told() -> None:
    scene, started, message = held()

    bad(scene, started, accept(message), accept("nobody"))

    [moved] = [effect for effect in scene.effects if isinstance(effect, UpdatesMoved)]
    assert moved.progress["u1"].error is not None


def test_an_update_is_completed_once() -> None:
    scene, started, message = held()
    scene.complete(started=started, messages=[accept(message), respond()])
    signal(scene)

    text = bad(scene, scene.poll(), respond(result="something else"))

    assert text.endswith("received *update.Response message while in state Completed")
    assert success(look(scene)) == "done"


def test_each_bad_message_is_told_by_what_is_wrong_with_it() -> None:
    wrong = "invalid state transition attempted for Update u1: received *update."
    scene, started, message = held()
    twice = accept(message)
    twice.id = "u1/accept-again"
    assert bad(scene, started, accept(message), twice) == f"{wrong}Acceptance message while in state Accepted"

    scene, started, message = held()
    yes, done = accept(message), respond()
    assert bad(scene, started, yes, done, commands=[place(done), place(yes)]) == (
        f"{wrong}Response message while in state Sent"
    )

    scene, started, message = held()
    assert bad(scene, started, accept("u9")) == (
        "update u9 wasn't found on the server. This is most likely a transient error which will be resolved "
        "automatically by retries"
    )

    scene, started, message = held()
    assert bad(scene, started, commands=[place(accept(message))]) == (
        "ProtocolMessageCommand referenced absent message ID u1/accept"
    )

    scene, started, message = held()
    unnamed = command(14, "protocol_message")
    assert bad(scene, started, commands=[unnamed]) == "MessageID is not set on ProtocolMessageCommand."


@pytest.mark.parametrize(
    ("kind_", "broken", "text"),
    [
        ("accept", "accepted_request_message_id", "invalid *update.Acceptance: accepted_request_message_id is not set"),
        (
            "accept",
            "accepted_request_sequencing_event_id",
            "invalid *update.Acceptance: accepted_request_sequencing_event_id is not set",
        ),
        ("reject", "failure", "invalid *update.Rejection: failure is not set"),
        ("respond", "meta", "invalid *update.Response: meta is not set"),
        ("respond", "outcome", "invalid *update.Response: outcome is not set"),
    ],
)
def test_a_message_that_lacks_something_says_what(kind_: str, broken: str, text: str) -> None:
    from temporalio.api.update.v1 import Acceptance, Rejection, Response

    scene, started, message = held()
    answer, body = {
        "accept": (accept(message), Acceptance()),
        "reject": (reject(message), Rejection()),
        "respond": (respond(), Response()),
    }[kind_]
    answer.body.Unpack(body)
    body.ClearField(broken)
    answer.body.Pack(body)

    assert bad(scene, started, *([accept(message)] if kind_ == "respond" else []), answer) == text


def test_a_message_too_large_to_store_ends_the_workflow() -> None:
    scene = idle(limits=replace(Limits(), blob_size=500))
    ask(scene)
    started = scene.poll()
    [message] = messages(started)

    done = scene.complete(started=started, messages=[accept(message), respond("u1", "x" * 600)], refused=True)

    assert "Message type temporal.api.update.v1.Response exceeds size limit." in done.failed.message
    assert written(scene)[2:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]


def test_nothing_comes_after_a_closing_command() -> None:
    scene, started, message = held()
    yes = accept(message)
    with pytest.raises(InvalidArgument, match="CompleteWorkflowExecution must be the last command"):
        scene.complete(complete_workflow(), place(yes), started=started, messages=[yes])
    assert scene.kinds() == STARTED


def test_an_update_that_was_lost_comes_back_by_its_workers_echo() -> None:
    scene = given()
    scene.start()
    ask(scene)
    started = scene.poll()
    [message] = messages(started)
    run = decode(encode_core(scene.run, 1 << 30), [])
    run.changes = scene.run.changes
    scene.execution.runs[run.run_id] = run

    scene.complete(started=started, run=run, messages=[accept(message), respond()])

    assert written(scene) == ["WorkflowExecutionUpdateAccepted", "WorkflowExecutionUpdateCompleted"]
    assert success(look(scene)) == "done"


# ---- a reset brings updates along
def test_an_update_of_the_run_before_a_reset_is_heard_of_by_its_event() -> None:
    scene = idle()

    def reset(turn: Any) -> None:
        reapply_update(turn, update_request("u1", "set", "five"))
        reapply_update(turn, update_request("u1", "set", "five"))
        schedule_workflow_task(turn)

    scene.decide(reset)
    assert written(scene) == ["WorkflowExecutionUpdateAdmitted", "WorkflowTaskScheduled"]
    admitted = scene.history()[4].workflow_execution_update_admitted_event_attributes
    assert (admitted.request, admitted.origin) == (update_request("u1", "set", "five"), 1)
    assert look(scene) == UpdateProgress(ADMITTED)
    started = scene.poll()
    assert messages(started) == []
    scene.complete(started=started, messages=[accept("u1"), respond()])

    accepted = scene.history()[8].workflow_execution_update_accepted_event_attributes
    assert not accepted.HasField("accepted_request")
    assert success(look(scene)) == "done"


# ---- what is stored
def test_updates_are_stored_with_the_run_and_move_to_rows_when_there_are_many() -> None:
    scene = idle()
    ask(scene)
    started = scene.poll()
    scene.complete(started=started, messages=[accept(messages(started)[0])])
    run: Run = scene.run

    inside = decode(encode_core(run, 1 << 30), [])
    core = encode_core(run, 1)
    rows = [(sort, key, item_value(run, sort, key) or b"") for sort, key in all_items(run)]
    outside = decode(core, rows)

    assert inside.updates == outside.updates == run.updates
    assert list(run.updates) == ["u1"]


def test_readers_of_a_history_see_a_task_that_is_not_written_yet() -> None:
    scene = idle()
    assert virtual_events(scene.run) == b""
    ask(scene)
    assert [kind(event) for event in events(virtual_events(scene.run))] == ["WorkflowTaskScheduled"]


def test_deciding_again_changes_nothing_it_should_not() -> None:
    """A refused completion leaves the update with the worker's next try."""
    scene, started, message = held()
    request = RespondWorkflowTaskCompletedRequest(messages=[accept(message)], intermediate_page=True)
    error = scene.refused(
        lambda turn: complete_workflow_task(turn, decode_token(started.token, WORKFLOW_TASK), request)
    )
    assert isinstance(error, PerdureError)
    scene.complete(started=started, messages=[accept(message)])
    assert look(scene).stage == ACCEPTED


def test_an_update_whose_failure_is_its_outcome() -> None:
    scene, started, message = held()
    scene.complete(schedule_activity("a"), started=started, messages=[accept(message), respond("u1", failure="broke")])
    assert failure(look(scene)).message == "broke"


def test_a_workflow_that_fails_aborts_its_updates_too() -> None:
    scene, started, _ = held()
    scene.complete(fail_workflow(), started=started)
    error = told(scene)["u1"].error
    assert isinstance(error, NotFound)
    with pytest.raises(NotFound, match="not found"):
        scene.decide(lambda turn: look_up(turn, "u1"))
