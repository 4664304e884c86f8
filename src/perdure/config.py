"""What one server is told at its start: a frozen `Config`, read once and passed down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

DEFAULT_PORT = 7233
DEFAULT_NAMESPACE = "default"

SERVER_VERSION = "1.31.2"
"""The release of the reference server whose behaviour we follow; SDKs read it to know what they may use, and Go's and
Java's refuse anything outside 1.x."""

SEARCH_ATTRIBUTE_TYPES: Mapping[str, int] = MappingProxyType(
    {"text": 1, "keyword": 2, "int": 3, "double": 4, "bool": 5, "datetime": 6, "keywordlist": 7}
)
"""Lower-case names of temporal.api.enums.v1.IndexedValueType."""


class ConfigError(Exception):
    """A setting that cannot be used; the text is for the person who gave it."""


class DynamicConfig:
    """Settings by the reference's names, such as `limit.blobSize.error`. Names ignore case; unknown ones are kept.

    The getters raise ConfigError for a value of another type.
    """

    def __init__(self, values: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._values = {key.lower(): value for key, value in values.items()}

    def bool(self, key: str, default: bool) -> bool:
        value = self._values.get(key.lower(), default)
        if not isinstance(value, bool):
            raise ConfigError(f"dynamic config {key} must be true or false, not {json.dumps(value)}")
        return value

    def int(self, key: str, default: int) -> int:
        value = self._values.get(key.lower(), default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"dynamic config {key} must be a whole number, not {json.dumps(value)}")
        return value

    def float(self, key: str, default: float) -> float:
        value = self._values.get(key.lower(), default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"dynamic config {key} must be a number, not {json.dumps(value)}")
        return value

    def as_mapping(self) -> Mapping[str, Any]:
        """All values by lower-case name."""
        return MappingProxyType(self._values)


@dataclass(frozen=True, slots=True)
class Config:
    """`search_attributes` maps names to numbers of IndexedValueType and holds for all of `namespaces`. `db_filename`
    None: in memory. `pragmas` are SQLite's. `port` 0: any free one. `drain_grace`: seconds calls have to finish."""

    ip: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    namespaces: tuple[str, ...] = (DEFAULT_NAMESPACE,)
    search_attributes: Mapping[str, int] = field(default_factory=dict)
    db_filename: str | None = None
    pragmas: Mapping[str, str] = field(default_factory=dict)
    dynamic: DynamicConfig = field(default_factory=DynamicConfig)
    time_skipping: bool = False
    """Virtual time, moved by the TestService."""
    time_locked: bool = True
    """Whether skipping must be unlocked first, as SDKs expect."""
    log_level: str = "warn"
    log_format: str = "text"
    drain_grace: float = 5.0
    metrics_port: int | None = None
    """Where `/metrics` is served; 0: any free port, None: nowhere."""
    server_version: str = SERVER_VERSION


def namespaces_with_default(names: Sequence[str]) -> tuple[str, ...]:
    """`default` first, then the others once each."""
    return tuple(dict.fromkeys((DEFAULT_NAMESPACE, *names)))


def parse_dynamic_config(pairs: Sequence[str]) -> DynamicConfig:
    """KEY=JSON pairs; a later one wins."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, value = _split("dynamic config value", pair)
        try:
            values[key] = json.loads(value)
        except ValueError:
            raise ConfigError(
                f"invalid dynamic config value for {key}: {value!r} is not one JSON value (text needs double quotes)"
            ) from None
    return DynamicConfig(values)


def parse_search_attributes(pairs: Sequence[str]) -> dict[str, int]:
    """KEY=Type pairs; types in any case."""
    types: dict[str, int] = {}
    for pair in pairs:
        key, name = _split("search attribute", pair)
        types[key] = search_attribute_type(name)
    return types


def search_attribute_type(name: str) -> int:
    """The number of IndexedValueType for `Keyword`, `int`, `KeywordList`, …"""
    number = SEARCH_ATTRIBUTE_TYPES.get(name.lower())
    if number is None:
        raise ConfigError(f'invalid search attribute value type "{name}"')
    return number


def parse_pragmas(pairs: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE pairs."""
    return dict(_split("SQLite pragma", pair) for pair in pairs)


def normal_ip(ip: str) -> str:
    """The address to bind: `localhost` is IPv4's loopback, because that is what launchers dial."""
    return "127.0.0.1" if ip == "localhost" else ip.strip("[]")


def shown_address(ip: str, port: int) -> str:
    """`localhost:7233`; other IPv6 addresses in brackets."""
    if ip in ("127.0.0.1", "::1"):
        ip = "localhost"
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _split(what: str, pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals or not key:
        raise ConfigError(f"{what} {pair!r} must be KEY=VALUE")
    return key, value
