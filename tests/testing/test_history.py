"""assert_history and history_text."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHistory

from perdure.testing import TimeSkippingEnvironment, assert_history, check_history, event, history_text
from tests.testing.workflows import QUEUE, Payment, Subscription, worker


@pytest.fixture
async def subscription(perdure_env: TimeSkippingEnvironment) -> WorkflowHistory:
    """One activity after the other, three in all, then a timer of seven days that fires."""
    async with worker(perdure_env.client):
        handle = await perdure_env.client.start_workflow(Subscription.run, id="s", task_queue=QUEUE)
        await handle.result()
        return await handle.fetch_history()


ACTIVITY = ("ActivityTaskScheduled", "ActivityTaskStarted", "ActivityTaskCompleted")
WHOLE = ["WorkflowExecutionStarted", *ACTIVITY * 3, "TimerStarted", "TimerFired", "WorkflowExecutionCompleted"]


def test_a_history_that_is_as_expected_passes(subscription: WorkflowHistory) -> None:
    check_history(subscription, WHOLE)
    check_history(subscription, ["WorkflowExecutionStarted", ..., "TimerFired", ...])
    check_history(subscription, [...])
    check_history(
        subscription,
        [
            event("WorkflowExecutionStarted", workflow_type="Subscription", task_queue="testing"),
            event("ActivityTaskScheduled", activity_type="remind", input=0, activity_id="1"),
            ...,
            event("ActivityTaskCompleted", result="reminded on day 2"),
            event("TimerStarted", start_to_fire_timeout=timedelta(days=7)),
            event("TimerFired", {"timer_id": "1"}),
            event("WorkflowExecutionCompleted", result="expired"),
        ],
    )


def test_workflow_tasks_count_only_when_asked_for(subscription: WorkflowHistory) -> None:
    task = ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"]

    check_history(subscription, ["WorkflowExecutionStarted", *task, ..., *task, WHOLE[-1]], workflow_tasks=True)
    with pytest.raises(ValueError, match="pass workflow_tasks=True"):
        check_history(subscription, ["WorkflowExecutionStarted", *task, ...])


def test_a_difference_is_shown_where_it_is(subscription: WorkflowHistory) -> None:
    with pytest.raises(AssertionError) as refusal:
        check_history(
            subscription,
            [
                "WorkflowExecutionStarted",
                event("ActivityTaskScheduled", activity_type="remind", input=1),
                "ActivityTaskStarted",
                ...,
                "TimerStarted",
                "TimerCanceled",
                "WorkflowExecutionCompleted",
            ],
        )

    diff, whole = str(refusal.value).split("\n\nall of it:\n")
    assert diff.splitlines() == [
        "the history is not as expected (- expected, + happened):",
        "     1  WorkflowExecutionStarted",
        "-       ActivityTaskScheduled activity_type='remind' input=1",
        "+    5  ActivityTaskScheduled activity_type='remind' input=0",
        "     6  ActivityTaskStarted",
        "     7  ActivityTaskCompleted",
        "    11  ActivityTaskScheduled",
        "    12  ActivityTaskStarted",
        "    13  ActivityTaskCompleted",
        "    17  ActivityTaskScheduled",
        "    18  ActivityTaskStarted",
        "    19  ActivityTaskCompleted",
        "    23  TimerStarted",
        "-       TimerCanceled",
        "+   24  TimerFired",
        "    28  WorkflowExecutionCompleted",
    ]
    assert whole == history_text(subscription)


def test_an_event_too_many_and_one_too_few_are_told_apart(subscription: WorkflowHistory) -> None:
    with pytest.raises(AssertionError) as refusal:
        check_history(subscription, [*WHOLE[:-2], WHOLE[-1]])
    assert "\n+   24  TimerFired\n    28  WorkflowExecutionCompleted\n" in str(refusal.value)

    with pytest.raises(AssertionError) as refusal:
        check_history(subscription, [*WHOLE, "WorkflowExecutionSignaled"])
    assert "\n    28  WorkflowExecutionCompleted\n-       WorkflowExecutionSignaled\n" in str(refusal.value)


def test_a_type_or_attribute_that_does_not_exist_is_no_difference_but_a_mistake(subscription: WorkflowHistory) -> None:
    with pytest.raises(ValueError, match="no event type 'TimerElapsed'; one of"):
        check_history(subscription, [..., "TimerElapsed"])
    with pytest.raises(
        LookupError, match="TimerStarted has no attribute 'timer'; it has start_to_fire_timeout, timer_"
    ):
        check_history(subscription, [..., event("TimerStarted", timer="1"), ...])
    with pytest.raises(LookupError, match=r"no attribute 'timer_id\.x'"):
        check_history(subscription, [..., event("TimerStarted", {"timer_id.x": "1"}), ...])


async def test_a_handle_is_asked_for_its_history(perdure_env: TimeSkippingEnvironment) -> None:
    async with worker(perdure_env.client):
        handle = await perdure_env.client.start_workflow(Payment.run, id="p", task_queue=QUEUE)
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    await assert_history(
        handle,
        [
            ...,
            event(
                "ActivityTaskScheduled",
                {"retry_policy.maximum_attempts": 2, "retry_policy.initial_interval": timedelta(hours=1)},
            ),
            event("ActivityTaskStarted", attempt=2),
            event("ActivityTaskFailed", failure="the bank said no", retry_state="MAXIMUM_ATTEMPTS_REACHED"),
            event("WorkflowExecutionFailed", failure="the bank said no"),
        ],
    )


def test_a_history_reads_as_a_story(subscription: WorkflowHistory) -> None:
    lines = history_text(subscription, workflow_tasks=False).splitlines()

    assert len(lines) == len(WHOLE)
    assert lines[0].split() == ["1", "+0:00:00", "WorkflowExecutionStarted", "workflow_type='Subscription'"]
    assert "ActivityTaskScheduled" in lines[1]
    assert "activity_id='1' activity_type='remind' input=0" in lines[1]
    assert lines[-2].split()[:4] == ["24", "+7", "days,", lines[-2].split()[3]]
    assert lines[-1].endswith("result='expired'")
    assert len(history_text(subscription).splitlines()) == 28
    assert history_text([]) == "(no events)"
