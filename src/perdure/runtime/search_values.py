"""Search attribute payloads as the typed values that list filters compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from temporalio.api.common.v1 import Payload

from perdure.enums import IndexedValueType
from perdure.visibility.attributes import PREDEFINED, fitting_number

_DATETIME = int(IndexedValueType.INDEXED_VALUE_TYPE_DATETIME)
_INT = int(IndexedValueType.INDEXED_VALUE_TYPE_INT)
_DOUBLE = int(IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE)
_BOOL = int(IndexedValueType.INDEXED_VALUE_TYPE_BOOL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def search_values(
    attributes: Mapping[str, bytes], types: Mapping[str, int]
) -> list[tuple[str, int, str | int | float]]:
    """(name, type number, value) of each custom or predefined attribute; one entry for each element of a list.

    Datetimes are in microseconds, booleans 0 or 1. `types` are the custom ones; removed ones are left out."""
    values: list[tuple[str, int, str | int | float]] = []
    for name, blob in attributes.items():
        kind = types.get(name) or PREDEFINED.get(name)
        if kind is None:
            continue
        decoded = json.loads(Payload.FromString(blob).data)
        for value in decoded if isinstance(decoded, list) else [decoded]:
            comparable = _comparable(value, kind)
            if comparable is not None:
                values.append((name, kind, comparable))
    return values


def _comparable(value: Any, kind: int) -> str | int | float | None:
    """None for what filters cannot compare: nothing, or a value from before its attribute got another type."""
    if kind in (_INT, _DOUBLE):
        return fitting_number(value) if isinstance(value, int | float) else None
    if kind == _BOOL:
        return int(value) if isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    if kind != _DATETIME:
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
