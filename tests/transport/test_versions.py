"""Semantic versions and ranges, as clients write them in their headers."""

from __future__ import annotations

import pytest

from perdure.transport.versions import REMEMBERED, VersionCheck, in_range, parse_version


@pytest.mark.parametrize(
    ("version", "ranges", "inside"),
    [
        ("1.31.2", ">=1.0.0 <2.0.0", True),
        ("2.0.0", ">=1.0.0 <2.0.0", False),
        ("2.0.0-rc.1", "<2.0.0", True),
        ("1.0.0-2", "<1.0.0-10", True),
        ("1.0.0-10", "<1.0.0-beta", True),
        ("1.0.0+build", "=1.0.0", True),
        ("3.1.0", "<2.0.0 || >=3.0.0", True),
        ("2.5.0", "<2.0.0||>=3.0.0", False),
        ("1.2.3", "1.2.3", True),
        ("1.2.3", "!=1.2.3", False),
        ("1.2.3", ">= 1.2.3 < 1.2.4", True),
    ],
)
def test_a_range_is_an_or_of_ands(version: str, ranges: str, inside: bool) -> None:
    assert in_range(parse_version(version), ranges) is inside


@pytest.mark.parametrize("text", ["", "1", "1.2", "1.2.x", "v1.2.3", "1.2.3b1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a semantic version"):
        parse_version(text)


@pytest.mark.parametrize("ranges", ["", ">=1.0.0 ||", ">>1.0.0", "1.x"])
def test_what_is_no_range_is_refused(ranges: str) -> None:
    with pytest.raises(ValueError, match=r"range|version"):
        in_range(parse_version("1.0.0"), ranges)


def test_made_up_headers_cannot_fill_the_memory() -> None:
    check = VersionCheck("1.31.2")

    for number in range(3 * REMEMBERED):
        assert check.refusal({"client-name": f"client-{number}", "client-version": "1.0.0"}) is None

    assert len(check._decided) <= REMEMBERED
