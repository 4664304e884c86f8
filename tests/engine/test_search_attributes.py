"""What may be written into search attributes, and in which words the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from perdure.engine.limits import Limits
from perdure.engine.search_attributes import validate_search_attributes
from perdure.errors import InvalidArgument
from perdure.visibility.attributes import BOOL, DATETIME, DOUBLE, INT, KEYWORD, KEYWORD_LIST, TEXT

TYPES = {
    "Word": KEYWORD,
    "Note": TEXT,
    "Number": INT,
    "Price": DOUBLE,
    "Urgent": BOOL,
    "Due": DATETIME,
    "Tags": KEYWORD_LIST,
}


def given(**values: Any) -> dict[str, Payload]:
    return {
        name: Payload(
            metadata={"encoding": b"json/plain"}, data=value if isinstance(value, bytes) else json.dumps(value).encode()
        )
        for name, value in values.items()
    }


def validated(fields: dict[str, Payload], limits: Limits | None = None) -> dict[str, bytes]:
    """The type that each attribute was noted with."""
    validate_search_attributes(fields, TYPES, limits or Limits(), namespace="shop")
    return {name: value.metadata["type"] for name, value in fields.items()}


def refusal(fields: dict[str, Payload], limits: Limits | None = None) -> str:
    before = {name: value.SerializeToString(deterministic=True) for name, value in fields.items()}
    with pytest.raises(InvalidArgument) as failure:
        validated(fields, limits)
    # A refused input changes nothing, even where some of its attributes were fine.
    assert {name: value.SerializeToString(deterministic=True) for name, value in fields.items()} == before
    return failure.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Word", "a"),
        ("Word", "ä" * 300),
        ("Word", ["a"]),
        ("Note", "many words"),
        ("Number", -3),
        ("Number", 5.0),
        ("Number", [7]),
        ("Price", 1.5),
        ("Price", 2),
        ("Urgent", False),
        ("Due", "2024-01-02T03:04:05.123456789Z"),
        ("Due", "2024-01-02T03:04:05+02:00"),
        ("Tags", ["a", "b"]),
        ("Tags", "a"),
        ("Tags", []),
        ("Word", None),
        ("Number", b""),
    ],
)
def test_a_value_of_its_type_is_taken(name: str, value: Any) -> None:
    assert list(validated(given(**{name: value}))) == [name]


@pytest.mark.parametrize(
    ("name", "value", "type_name"),
    [
        ("Word", 5, "Keyword"),
        ("Word", ["a", "b"], "Keyword"),
        ("Note", True, "Text"),
        ("Number", "5", "Int"),
        ("Number", 1.5, "Int"),
        ("Number", True, "Int"),
        ("Number", 1 << 63, "Int"),
        ("Price", "cheap", "Double"),
        ("Urgent", 1, "Bool"),
        ("Due", "2024-01-02", "Datetime"),
        ("Due", 1_700_000_000, "Datetime"),
        ("Tags", ["a", 1], "KeywordList"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Any, type_name: str) -> None:
    shown = value if isinstance(value, str) else json.dumps(value)

    assert refusal(given(Word="fine", **{name: value}) if name != "Word" else given(Word=value)) == (
        f"invalid value for search attribute {name} of type {type_name}: {shown}"
    )


def test_the_registered_type_is_noted_whatever_the_client_said() -> None:
    fields = given(Tags=["a"], BuildIds=["b"])
    fields["Tags"].metadata["type"] = b"Keyword"

    assert validated(fields) == {"Tags": b"KeywordList", "BuildIds": b"KeywordList"}


@pytest.mark.parametrize("name", ["WorkflowId", "StartTime", "ExecutionStatus", "TemporalWorkerDeployment"])
def test_what_the_server_knows_itself_cannot_be_set(name: str) -> None:
    assert refusal(given(**{name: "x"})) == f"{name} attribute can't be set in SearchAttributes"


@pytest.mark.parametrize("name", ["TemporalScheduledById", "TemporalChangeVersion", "BatcherUser"])
def test_predefined_attributes_can_be_set_by_clients(name: str) -> None:
    assert list(validated(given(**{name: "x"}))) == [name]


def test_an_unknown_name_is_refused() -> None:
    assert refusal(given(Word="a", Nothing="x")) == (
        "Namespace shop has no mapping defined for search attribute Nothing"
    )


def test_there_are_limits_to_number_and_size() -> None:
    assert refusal(given(**{f"A{number}": 1 for number in range(101)})) == (
        "number of search attributes 101 exceeds limit 100"
    )
    assert refusal(given(Word="x" * 2047)) == "search attribute Word value size 2049 exceeds size limit 2048"
    assert refusal(given(Word="x" * 10, Note="y" * 10), Limits(search_attribute_total=20)) == (
        "total size of search attributes 32 exceeds size limit 20"
    )
