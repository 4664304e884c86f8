"""The SDK version check: which clients, by their version headers, may talk to this server.

Headers `client-name`, `client-version` (a semantic version) and `supported-server-versions` (ranges such as
`>=1.0.0 <2.0.0 || >=3.0.0`). Clients we do not know are let in, and so are calls without these headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne

from perdure.errors import ClientVersionNotSupported, InvalidArgument, PerdureError, ServerVersionNotSupported

SUPPORTED_CLIENTS: Mapping[str, str] = {
    "temporal-go": "<2.0.0",
    "temporal-java": "<2.0.0",
    "temporal-php": "<2.0.0",
    "temporal-typescript": "<2.0.0",
    "temporal-cli": "<2.0.0",
    "temporal-server": "<2.0.0",
    "temporal-ui": "<3.0.0",
}
"""The reference's list. SDKs that are not on it (Python, .NET, Ruby) are let in whatever their version."""

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
_COMPARISON = re.compile(r"\s*(>=|<=|!=|>|<|==|=)?\s*(\S+)")

Version = tuple[int, int, int, tuple[tuple[int, int | str], ...]]

_RELEASE: tuple[tuple[int, int | str], ...] = ((2, 0),)
"""Sorts a release after all its pre-releases, whose identifiers start with 0 (numbers) or 1 (words)."""

_COMPARE: Mapping[str, Callable[[Version, Version], bool]] = {
    ">=": ge,
    "<=": le,
    "!=": ne,
    ">": gt,
    "<": lt,
    "==": eq,
    "=": eq,
}

REMEMBERED = 1024
"""How many combinations of headers are remembered; a process of an SDK sends one."""


def parse_version(text: str) -> Version:
    """Raises ValueError for what is no semantic version."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a semantic version")
    major, minor, patch, pre = match.groups()
    order = _RELEASE
    if pre is not None:
        order = tuple((0, int(part)) if part.isdigit() else (1, part) for part in pre.split("."))
    return int(major), int(minor), int(patch), order


def in_range(version: Version, ranges: str) -> bool:
    """Raises ValueError for ranges that cannot be parsed."""
    # Every part is parsed, so that a broken one is found wherever it stands.
    alternatives = [_in_all(version, alternative) for alternative in ranges.split("||")]
    return any(alternatives)


def _in_all(version: Version, comparisons: str) -> bool:
    if not comparisons.strip():
        raise ValueError("empty range")
    results = [_COMPARE[op or "="](version, parse_version(bound)) for op, bound in _COMPARISON.findall(comparisons)]
    return all(results)


class VersionCheck:
    """Decides by headers, once for each combination of them."""

    def __init__(self, server_version: str) -> None:
        self._server_version = server_version
        self._server = parse_version(server_version)
        self._decided: dict[tuple[str, str, str], PerdureError | None] = {}

    def refusal(self, headers: Mapping[str, str]) -> PerdureError | None:
        """Why the caller cannot be served; None when it can."""
        name = headers.get("client-name", "")
        version = headers.get("client-version", "")
        if not name or not version:
            return None
        key = (name, version, headers.get("supported-server-versions", ""))
        if key not in self._decided:
            if len(self._decided) >= REMEMBERED:
                self._decided.clear()
            self._decided[key] = self._decide(*key)
        return self._decided[key]

    def _decide(self, name: str, version: str, servers: str) -> PerdureError | None:
        supported = SUPPORTED_CLIENTS.get(name)
        if supported is not None:
            try:
                known = in_range(parse_version(version), supported)
            except ValueError as error:
                return InvalidArgument(f"Unable to parse client version: {error}")
            if not known:
                return ClientVersionNotSupported(version, name, supported)
        if servers:
            try:
                accepted = in_range(self._server, servers)
            except ValueError as error:
                return InvalidArgument(f"Unable to parse supported server versions: {error}")
            if not accepted:
                return ServerVersionNotSupported(self._server_version, servers)
        return None
