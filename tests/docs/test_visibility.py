"""What docs/visibility.md shows is what the parser takes."""

from __future__ import annotations

import re
from pathlib import Path

from perdure.visibility.attributes import KEYWORD, PREDEFINED, SYSTEM, TEXT
from perdure.visibility.parser import MAX_VALUES, parse
from perdure.visibility.simplify import MAX_CONDITIONS
from perdure.visibility.vocabulary import WORKFLOW_STATUSES

PAGE = (Path(__file__).parents[2] / "docs" / "visibility.md").read_text(encoding="utf-8")


def test_the_filters_it_shows_are_filters() -> None:
    shown = re.findall(r"^    (.+)$", PAGE, re.MULTILINE)

    assert len(shown) == 3
    for filter_ in shown:
        assert parse(filter_, {"CustomerId": KEYWORD, "Note": TEXT}).condition is not None


def test_it_names_all_that_every_workflow_has_and_its_statuses() -> None:
    assert set(SYSTEM) <= set(re.findall(r"\w+", PAGE))
    assert set(WORKFLOW_STATUSES) <= set(re.findall(r"`'(\w+)'`", PAGE))


def test_what_it_names_of_server_and_sdks_is_predefined() -> None:
    (paragraph,) = re.findall(r"\*\*Set by server and SDKs:\*\* ([^;]*) and others", PAGE)

    assert set(re.findall(r"\w+", paragraph)) <= set(PREDEFINED)


def test_its_limits_are_those_of_the_code() -> None:
    assert f"{MAX_VALUES:,} values" in PAGE
    assert f"{MAX_CONDITIONS:,}\nconditions" in PAGE
