"""Settings: names, values, and what is said about wrong ones."""

from __future__ import annotations

import io
import json

import pytest

from perdure.config import (
    ConfigError,
    DynamicConfig,
    namespaces_with_default,
    normal_ip,
    parse_dynamic_config,
    parse_search_attributes,
    shown_address,
)
from perdure.log import Log
from perdure.server import limits_of


def test_names_ignore_case_and_a_later_value_wins() -> None:
    dynamic = parse_dynamic_config(["limit.blobSize.error=1", "Limit.BlobSize.Error=2", 'x={"any": "json"}'])

    assert dynamic.int("LIMIT.BLOBSIZE.ERROR", 0) == 2


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_dynamic_config(['key="a=b"']).as_mapping() == {"key": "a=b"}


@pytest.mark.parametrize("text", ["1 2", "yes", "", "{"])
def test_a_value_must_be_exactly_one_json_value(text: str) -> None:
    with pytest.raises(ConfigError, match="not one JSON value"):
        parse_dynamic_config([f"key={text}"])


def test_a_value_of_another_type_is_refused_when_it_is_read() -> None:
    dynamic = DynamicConfig({"a": "x", "b": True, "c": 1.5, "d": 1})

    assert dynamic.bool("b", False) is True
    assert dynamic.float("c", 0.0) == 1.5
    assert dynamic.float("d", 0.0) == 1
    with pytest.raises(ConfigError, match='dynamic config a must be true or false, not "x"'):
        dynamic.bool("a", False)
    with pytest.raises(ConfigError, match="dynamic config b must be a whole number, not true"):
        dynamic.int("b", 0)
    with pytest.raises(ConfigError, match=r"dynamic config c must be a whole number, not 1\.5"):
        dynamic.int("c", 0)
    with pytest.raises(ConfigError, match="dynamic config b must be a number, not true"):
        dynamic.float("b", 0.0)


def test_limits_follow_the_settings() -> None:
    limits = limits_of(DynamicConfig({"limit.blobSize.error": 10, "limit.historyCount.suggestContinueAsNew": 50}))

    assert (limits.blob_size, limits.history_count_suggest, limits.memo_size) == (10, 50, 2 * 1024 * 1024)


def test_search_attribute_types_ignore_case() -> None:
    assert parse_search_attributes(["A=keyword", "B=KeywordList", "C=INT"]) == {"A": 2, "B": 7, "C": 3}


def test_default_is_always_a_namespace_and_each_is_there_once() -> None:
    assert namespaces_with_default(["b", "default", "b"]) == ("default", "b")


@pytest.mark.parametrize(
    ("given", "bound", "shown"),
    [
        ("localhost", "127.0.0.1", "localhost:1"),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0:1"),
        ("[::1]", "::1", "localhost:1"),
        ("fe80::2", "fe80::2", "[fe80::2]:1"),
    ],
)
def test_addresses(given: str, bound: str, shown: str) -> None:
    assert normal_ip(given) == bound
    assert shown_address(bound, 1) == shown


def test_a_log_line_is_logfmt_or_json() -> None:
    text, lines = io.StringIO(), io.StringIO()

    Log("debug", "pretty", text).warning("timer late", run_id="r 1", n=3)
    Log("info", "json", lines).error("broken", exc_info=ValueError("x"))

    assert text.getvalue().endswith('level=WARN msg="timer late" run_id="r 1" n=3\n')
    line = json.loads(lines.getvalue())
    assert (line["level"], line["msg"]) == ("ERROR", "broken")
    assert "ValueError: x" in line["exception"]


def test_lines_under_the_level_are_not_written() -> None:
    text = io.StringIO()
    log = Log("error", "text", text)

    log.debug("a")
    log.info("b")
    log.warning("c")
    Log("never", "text", text).error("d")

    assert text.getvalue() == ""
