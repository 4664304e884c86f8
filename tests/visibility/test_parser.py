"""The list filter: what is understood, and in which words the rest is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import BOOL, DATETIME, DOUBLE, INT, KEYWORD, KEYWORD_LIST, TEXT
from perdure.visibility.parser import parse
from perdure.visibility.query import And, Between, Compare, Condition, In, IsNull, Not, Or

CUSTOM = {
    "CustomKeyword": KEYWORD,
    "CustomInt": INT,
    "CustomDouble": DOUBLE,
    "CustomBool": BOOL,
    "CustomText": TEXT,
    "Tags": KEYWORD_LIST,
    "When": DATETIME,
    "odd-name": KEYWORD,
}


def meaning(text: str) -> Condition | None:
    return parse(text, CUSTOM).condition


def refusal(text: str, *, counting: bool = False) -> str:
    with pytest.raises(InvalidArgument) as failure:
        parse(text, CUSTOM, counting=counting)
    return failure.value.message


KEY_A = Compare("CustomKeyword", "=", "a")
INT_1 = Compare("CustomInt", "=", 1)
INT_2 = Compare("CustomInt", "=", 2)


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_filter_is_everything(text: str) -> None:
    assert parse(text, {}).condition is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CustomKeyword = 'a'", KEY_A),
        ('CustomKeyword = "a"', KEY_A),
        ("`CustomKeyword`='a'", KEY_A),
        ("`odd-name` = 'a'", Compare("odd-name", "=", "a")),
        ("CustomInt = 1 and CustomInt = 2 AND CustomKeyword = 'a'", And((INT_1, INT_2, KEY_A))),
        ("CustomInt = 1 OR CustomInt = 2 AND CustomKeyword = 'a'", Or((INT_1, And((INT_2, KEY_A))))),
        ("NOT CustomInt = 1 AND CustomInt = 2", And((Not(INT_1), INT_2))),
        ("not (CustomInt = 1 or CustomInt = 2)", Not(Or((INT_1, INT_2)))),
        ("CustomInt <> -3", Compare("CustomInt", "!=", -3)),
        ("CustomInt IN (1, 2)", In("CustomInt", (1, 2))),
        ("CustomInt NOT IN (1)", Not(In("CustomInt", (1,)))),
        ("CustomInt BETWEEN 1 AND 2 AND CustomInt = 1", And((Between("CustomInt", 1, 2), INT_1))),
        ("CustomInt not between 1 and 2", Not(Between("CustomInt", 1, 2))),
        ("WorkflowId STARTS_WITH 'x'", Compare("WorkflowId", "STARTS_WITH", "x")),
        ("WorkflowId not starts_with 'x'", Not(Compare("WorkflowId", "STARTS_WITH", "x"))),
        ("CloseTime IS NULL", IsNull("CloseTime")),
        ("CloseTime is not null", Not(IsNull("CloseTime"))),
        ("CustomBool = TRUE", Compare("CustomBool", "=", True)),
        ("CustomDouble >= 1.5e2", Compare("CustomDouble", ">=", 150.0)),
        ("CustomKeyword = 'it''s'", Compare("CustomKeyword", "=", "it's")),
        (r"CustomKeyword = 'a\'b\\c\n'", Compare("CustomKeyword", "=", "a'b\\c\n")),
        ("CustomKeyword = \"it''s\"", Compare("CustomKeyword", "=", "it''s")),
        ("CustomKeyword = 007", Compare("CustomKeyword", "=", "007")),
        ("CustomInt = '5'", Compare("CustomInt", "=", 5)),
        ("CustomInt = 'x'", Compare("CustomInt", "=", "x")),
        ("CustomInt < 99999999999999999999", Compare("CustomInt", "<", 1e20)),
    ],
)
def test_a_filter_becomes_a_tree(text: str, expected: Condition) -> None:
    assert meaning(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WorkflowId", "WorkflowId"),
        ("ChangeVersion", "TemporalChangeVersion"),
        ("TemporalBuildIds", "BuildIds"),
        ("TemporalScheduledById", "TemporalScheduledById"),
    ],
)
def test_a_name_may_leave_out_or_add_temporal(name: str, expected: str) -> None:
    query = parse(f"{name} = 'x'", {})

    assert list(query.types) == [expected]


def test_a_custom_attribute_comes_before_a_system_one() -> None:
    assert parse("WorkflowId = 5", {"WorkflowId": INT}).types == {"WorkflowId": INT}


@pytest.mark.parametrize("status", ["'TimedOut'", "7", "'WORKFLOW_EXECUTION_STATUS_TIMED_OUT'"])
def test_a_status_goes_by_name_or_number(status: str) -> None:
    assert meaning(f"ExecutionStatus = {status}") == Compare("ExecutionStatus", "=", 7)


@pytest.mark.parametrize(
    ("literal", "microseconds"),
    [
        ("'2024-01-02T03:04:05Z'", 1_704_164_645_000_000),
        ("'2024-01-02T05:04:05.25+02:00'", 1_704_164_645_250_000),
        ("'1969-12-31T23:59:59.999999Z'", -1),
        ("1704164645000001000", 1_704_164_645_000_001),
        ("'9999-12-31T23:59:59.999999Z'", 253_402_300_799_999_999),
    ],
)
def test_datetimes_are_microseconds(literal: str, microseconds: int) -> None:
    assert meaning(f"StartTime > {literal}") == Compare("StartTime", ">", microseconds)


@pytest.mark.parametrize(
    ("literal", "seconds"),
    [("'1h30m'", 5400), ("'1d'", 86400), ("'00:01:30'", 90), ("'1.5s'", 1.5), ("2000000000", 2), ("'-1m'", -60)],
)
def test_durations_are_microseconds(literal: str, seconds: float) -> None:
    assert meaning(f"ExecutionDuration = {literal}") == Compare("ExecutionDuration", "=", seconds * 1_000_000)


def test_counting_may_group_by_status() -> None:
    assert parse("GROUP BY ExecutionStatus", {}, counting=True).group_by == "ExecutionStatus"
    grouped = parse("CustomInt = 1 group by ExecutionStatus", CUSTOM, counting=True)
    assert (grouped.condition, grouped.group_by) == (INT_1, "ExecutionStatus")


OPERATION = "invalid query: operation is not supported: "
EXPRESSION = "invalid query: invalid expression: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a query =", "invalid query: malformed SQL query: syntax error at position 39 near 'query'"),
        ("CustomInt ==", "invalid query: malformed SQL query: syntax error at position 40"),
        ("CustomInt = 1 ORDER BY CustomInt DESC", OPERATION + "'ORDER BY' clause"),
        ("CustomInt = 1 LIMIT 5", OPERATION + "'LIMIT' clause"),
        ("CustomInt = 1 GROUP BY ExecutionStatus", OPERATION + "'GROUP BY' clause"),
        ("abs(CustomInt) = 1", OPERATION + "function expression"),
        (
            "CustomKeyword = x",
            OPERATION + "column name on the right side of comparison expression (did you forget to quote 'x'?)",
        ),
        ("CustomInt", EXPRESSION + "incomplete expression"),
        ("NoSuch = 1", EXPRESSION + "column name 'NoSuch' is not a valid search attribute"),
        ("WorkflowId LIKE 'x%'", EXPRESSION + "invalid operator 'like' in `WorkflowId like 'x%'`"),
        ("CustomInt IS TRUE", EXPRESSION + "'IS' operator can only be used with 'NULL' or 'NOT NULL'"),
        (
            "Tags BETWEEN 'a' AND 'b'",
            EXPRESSION + "cannot do range condition on search attribute 'Tags' of type KeywordList",
        ),
        (
            "Tags < 'a'",
            EXPRESSION + "operator '<' not supported for KeywordList type search attribute in `Tags < 'a'`",
        ),
        (
            "CustomText IN ('a')",
            EXPRESSION + "operator 'in' not supported for Text type search attribute in `CustomText in ('a')`",
        ),
        (
            "CustomText = '!?'",
            EXPRESSION + "unexpected value for Text type search attribute (no tokens found in '!?')",
        ),
        (
            "WorkflowId STARTS_WITH 5",
            EXPRESSION + "right-hand side of 'starts_with' must be a literal string (got: 5)",
        ),
        ("StartTime > 'yesterday'", EXPRESSION + "unable to parse datetime 'yesterday'"),
        ("ExecutionStatus = 'completed'", EXPRESSION + "invalid ExecutionStatus value 'completed'"),
        ("ExecutionStatus = 9", EXPRESSION + "invalid ExecutionStatus value '9'"),
    ],
)
def test_a_refusal_names_what_is_wrong(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        (
            "CustomInt = 'x",
            "invalid query: malformed SQL query: syntax error at position 41",
            "the quote at character 13 of the filter is not closed",
        ),
        (
            "CustomInt = 1 AND",
            "invalid query: malformed SQL query: syntax error at position 45",
            "the filter ends where a condition or value should follow",
        ),
        (
            "CustomInt = 1 OR (CustomKeyword = ')' AND (CustomInt = 3)",
            "invalid query: malformed SQL query: syntax error at position 85",
            "the parenthesis at character 18 of the filter is not closed",
        ),
        (
            "workflowid = 'x'",
            EXPRESSION + "column name 'workflowid' is not a valid search attribute",
            "did you mean 'WorkflowId'?",
        ),
        (
            "StartTime > '2024-01-02'",
            EXPRESSION + "unable to parse datetime '2024-01-02'",
            "date, time and zone are needed, as in '2024-01-02T00:00:00Z'",
        ),
        (
            "StartTime > '2024-01-02 10:30'",
            EXPRESSION + "unable to parse datetime '2024-01-02 10:30'",
            "date, time and zone are needed, as in '2024-01-02T10:30:00Z'",
        ),
        (
            "StartTime > '2023-02-29T00:00:00Z'",
            EXPRESSION + "unable to parse datetime '2023-02-29T00:00:00Z'",
            "there is no such day or time",
        ),
        (
            "CustomInt = true",
            EXPRESSION + "unexpected value type bool for search attribute CustomInt",
            "its type is Int",
        ),
    ],
)
def test_a_refusal_says_how_to_write_it_after_the_reference_s_words(text: str, message: str, fix: str) -> None:
    assert refusal(text) == f"{message} ({fix})"


def test_an_attribute_in_quotes_is_told_to_lose_them() -> None:
    assert refusal("'CustomInt' = 1") == (
        EXPRESSION + "left side of comparison must be a column name (got: 'CustomInt'; write CustomInt without quotes)"
    )


def test_grouping_is_by_one_known_field() -> None:
    assert refusal("GROUP BY WorkflowType", counting=True) == (
        OPERATION + "'GROUP BY' clause is only supported for ExecutionStatus"
    )
    assert refusal("GROUP BY ExecutionStatus, WorkflowType", counting=True) == (
        OPERATION + "'GROUP BY' clause supports only a single field"
    )


def test_a_bad_duration_is_quoted() -> None:
    assert refusal("ExecutionDuration > 'soon'").startswith(
        EXPRESSION + "invalid value for search attribute ExecutionDuration: 'soon'"
    )


@pytest.mark.parametrize("text", ["NOT " * 3000 + "CustomInt = 1", "NOT (" * 3000 + "CustomInt = 1" + ")" * 3000])
def test_no_depth_of_nesting_breaks_the_parser(text: str) -> None:
    assert "within each other" in refusal(text)


def test_parentheses_around_parentheses_change_nothing() -> None:
    assert meaning("(" * 3000 + "CustomInt = 1" + ")" * 3000) == INT_1


def test_the_grammar_is_not_built_before_the_first_filter() -> None:
    program = "import sys; from perdure.visibility.parser import parse; parse('', {}); assert 'lark' not in sys.modules"

    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"CustomInt < {'9' * 5000}", float("inf")),
        (f"CustomInt = '{'9' * 5000}'", float("inf")),
        (f"ExecutionDuration < '{'9' * 90}d'", (1 << 63) - 1),
        (f"ExecutionDuration > '-{'9' * 90}d'", 1 - (1 << 63)),
    ],
)
def test_numbers_beyond_all_others_are_compared_as_such(text: str, value: float) -> None:
    condition = meaning(text)

    assert isinstance(condition, Compare)
    assert condition.value == value


def test_filters_have_a_length_and_a_number_of_values_at_most() -> None:
    values = ", ".join(map(str, range(10_001)))

    assert refusal(f"CustomInt IN ({values})") == EXPRESSION + "the filter has more than 10000 values"
    assert refusal(f"CustomKeyword = '{'x' * 524_288}'").startswith(
        EXPRESSION + "the filter is 524306 characters long, the limit is 524288"
    )
    assert refusal(f"ExecutionDuration > '{'9' * 5000}s'").startswith(EXPRESSION + "invalid value")


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "not " * 100_000, "CustomInt in (" + "1," * 100_000 + "1)", "-" * 100_000, "'a'" * 100_000],
    ids=["parentheses", "nots", "values", "signs", "strings"],
)
def test_a_filter_that_would_take_long_to_read_is_not_read(text: str) -> None:
    assert refusal(text) == "invalid query: the filter has more than 25000 words"


def test_a_list_of_ten_thousand_values_is_read() -> None:
    assert meaning("CustomInt in (" + ",".join(["1"] * 10_000) + ")") == In("CustomInt", (1,) * 10_000)
