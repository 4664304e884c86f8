"""Search attribute payloads as the typed values that list filters compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payload

from perdure.enums import IndexedValueType
from perdure.visibility.attributes import PREDEFINED

_DATETIME = int(IndexedValueType.INDEXED_VALUE_TYPE_DATETIME)
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
            if value is None:
                continue
            if kind == _DATETIME:
                moment = datetime.fromisoformat(value)
                if moment.tzinfo is None:
                    moment = moment.replace(tzinfo=UTC)
                delta = moment - _EPOCH
                value = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
            elif kind == _BOOL:
                value = int(value)
            values.append((name, kind, value))
    return values
