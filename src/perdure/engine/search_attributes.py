"""What may be written into search attributes: names, types, sizes (reference: engine 11.4)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final

from temporalio.api.common.v1 import Payload

from perdure.engine.apply import is_null
from perdure.engine.limits import Limits
from perdure.errors import InvalidArgument
from perdure.visibility.attributes import (
    BOOL,
    DATETIME,
    DOUBLE,
    INT,
    KEYWORD,
    KEYWORD_LIST,
    PREDEFINED,
    SERVER_SET,
    SYSTEM,
    TEXT,
    TYPE_NAMES,
)

_INT64: Final = range(-(1 << 63), 1 << 63)


def validate_search_attributes(
    fields: MutableMapping[str, Payload], types: Mapping[str, int], limits: Limits, *, namespace: str = ""
) -> None:
    """Checks all, then notes in each payload's metadata the type it is registered with, as readers expect.

    `types` are the namespace's custom attributes. Raises InvalidArgument with the reference's texts.
    """
    if len(fields) > limits.search_attribute_count:
        raise InvalidArgument(
            f"number of search attributes {len(fields)} exceeds limit {limits.search_attribute_count}"
        )
    total = 0
    registered: dict[str, int] = {}
    for name, value in fields.items():
        kind = types.get(name)
        if kind is None:
            if name in SYSTEM or name in SERVER_SET:
                raise InvalidArgument(f"{name} attribute can't be set in SearchAttributes")
            kind = PREDEFINED.get(name)
            if kind is None:
                raise InvalidArgument(f"Namespace {namespace} has no mapping defined for search attribute {name}")
        registered[name] = kind
        size = len(value.data)
        if size > limits.search_attribute_value:
            raise InvalidArgument(
                f"search attribute {name} value size {size} exceeds size limit {limits.search_attribute_value}"
            )
        total += len(name.encode()) + size
        if not is_null(value) and value.data != b"null":
            _check_value(name, value.data, kind)
    if total > limits.search_attribute_total:
        raise InvalidArgument(
            f"total size of search attributes {total} exceeds size limit {limits.search_attribute_total}"
        )
    for name, kind in registered.items():
        fields[name].metadata["type"] = TYPE_NAMES[kind].encode()


def _check_value(name: str, data: bytes, kind: int) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _invalid(name, kind, data.decode(errors="replace")) from None
    if kind == KEYWORD_LIST:
        values = value if isinstance(value, list) else [value]
        fits = all(_is_text(element) for element in values)
    else:
        # A list of one element stands for the element.
        only = value[0] if isinstance(value, list) and len(value) == 1 else value
        fits = _fits(only, kind)
    if not fits:
        raise _invalid(
            name, kind, value.encode(errors="replace").decode() if isinstance(value, str) else json.dumps(value)
        )


def _fits(value: Any, kind: int) -> bool:
    if kind in (TEXT, KEYWORD):
        return _is_text(value)
    if kind == BOOL:
        return isinstance(value, bool)
    if kind == DATETIME:
        return isinstance(value, str) and _is_datetime(value)
    if isinstance(value, bool):
        return False
    if kind == INT:
        return (isinstance(value, int) or (isinstance(value, float) and value.is_integer())) and int(value) in _INT64
    assert kind == DOUBLE
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all doubles
        return False


def _is_text(value: Any) -> bool:
    """JSON can escape half a surrogate pair, which is no character and has no UTF-8."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _is_datetime(text: str) -> bool:
    """RFC 3339: a date alone is none."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _invalid(name: str, kind: int, value: str) -> InvalidArgument:
    return InvalidArgument(f"invalid value for search attribute {name} of type {TYPE_NAMES[kind]}: {value}")
