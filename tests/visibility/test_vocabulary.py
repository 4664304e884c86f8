"""Each kind of execution has names of its own in its filters, and sees its own rows only."""

from __future__ import annotations

import pytest

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import BOOL, KEYWORD
from perdure.visibility.parser import parse
from perdure.visibility.query import And, Compare, Or
from perdure.visibility.vocabulary import ACTIVITIES, BATCH_JOBS, SCHEDULES, WORKFLOWS, Vocabulary

RUNNING = Compare("ExecutionStatus", "=", 1)
CUSTOM = {"Customer": KEYWORD, "ActivityNote": KEYWORD}


def refusal(text: str, vocabulary: Vocabulary, *, counting: bool = False) -> str:
    with pytest.raises(InvalidArgument) as failure:
        parse(text, CUSTOM, vocabulary, counting=counting)
    return failure.value.message


@pytest.mark.parametrize(
    ("vocabulary", "division"),
    [
        (WORKFLOWS, ""),
        (SCHEDULES, "TemporalScheduler"),
        (BATCH_JOBS, "TemporalBatcher"),
        (ACTIVITIES, "TemporalActivity"),
    ],
)
def test_a_filter_sees_the_division_of_its_kind(vocabulary: Vocabulary, division: str) -> None:
    assert parse("", {}, vocabulary).division == division
    assert parse("Customer = 'ann'", CUSTOM, vocabulary).division == division


@pytest.mark.parametrize("name", ["TemporalSchedulePaused", "SchedulePaused"])
def test_only_running_schedules_are_listed(name: str) -> None:
    assert parse("", {}, SCHEDULES).condition == RUNNING

    query = parse(f"{name} = true OR ScheduleId = 'nightly'", {}, SCHEDULES)

    either = Or((Compare("TemporalSchedulePaused", "=", True), Compare("WorkflowId", "=", "nightly")))
    assert query.condition == And((RUNNING, either))
    assert query.types == {"TemporalSchedulePaused": BOOL, "WorkflowId": KEYWORD, "ExecutionStatus": KEYWORD}


def test_schedules_have_no_attributes_of_workflows() -> None:
    assert refusal("WorkflowType = 'x'", SCHEDULES) == (
        'invalid query filter for schedules: cannot filter on "WorkflowType"'
    )
    assert refusal("NoSuch = 'x'", SCHEDULES).endswith("column name 'NoSuch' is not a valid search attribute")


def test_activities_go_by_names_of_their_own() -> None:
    query = parse("ActivityId = 'a' AND ActivityType = 'Bill' AND Customer = 'ann'", CUSTOM, ACTIVITIES)

    assert query.condition == And(
        (Compare("WorkflowId", "=", "a"), Compare("WorkflowType", "=", "Bill"), Compare("Customer", "=", "ann"))
    )
    assert "'WorkflowId' is not a valid search attribute" in refusal("WorkflowId = 'a'", ACTIVITIES)


@pytest.mark.parametrize("status", ["'TimedOut'", "6", "'ACTIVITY_EXECUTION_STATUS_TIMED_OUT'"])
def test_activities_have_statuses_of_their_own(status: str) -> None:
    assert parse(f"ExecutionStatus = {status}", {}, ACTIVITIES).condition == Compare("ExecutionStatus", "=", 6)
    assert "invalid ExecutionStatus value 'ContinuedAsNew'" in refusal("ExecutionStatus = 'ContinuedAsNew'", ACTIVITIES)


def test_a_value_of_the_wrong_type_is_refused_under_the_name_that_was_written() -> None:
    assert refusal("ActivityType = true", ACTIVITIES).endswith(
        "bool for search attribute ActivityType (its type is Keyword)"
    )


def test_a_schedule_id_among_workflows_means_rows_of_schedules() -> None:
    assert parse("ScheduleId = 's'", {}).condition == Compare("TemporalScheduleId", "=", "s")
    assert parse("ScheduleId = 's'", {"ScheduleId": KEYWORD}).condition == Compare("ScheduleId", "=", "s")


def test_workflows_are_counted_by_division_too() -> None:
    query = parse("GROUP BY TemporalNamespaceDivision", {}, counting=True)

    assert query.group_by == "TemporalNamespaceDivision"
    assert query.types == {"TemporalNamespaceDivision": KEYWORD}
    assert "only supported for ExecutionStatus" in refusal(
        "GROUP BY TemporalNamespaceDivision", ACTIVITIES, counting=True
    )
    assert refusal("GROUP BY ExecutionStatus", SCHEDULES, counting=True).endswith("'GROUP BY' clause")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("workflowid", "WorkflowId"), ("WorklowType", "WorkflowType"), ("Custmer", "Customer"), ("Status", None)],
)
def test_a_misspelt_name_is_told_its_nearest(name: str, meant: str | None) -> None:
    message = refusal(f"{name} = 'x'", WORKFLOWS)

    assert message == f"invalid query: invalid expression: column name '{name}' is not a valid search attribute" + (
        f" (did you mean '{meant}'?)" if meant else ""
    )
