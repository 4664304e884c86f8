"""Failures caused by failures caused by failures: cut to a depth that everybody can read, with delays that are some.

Protobuf parsers stop at a hundred messages within each other. What just fits into a request no longer does in a history
event, which holds it two levels deeper, nor in the answer that holds the history: neither a client nor this server
could read that run's history again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from perdure.engine.failures import make_readable

_FAILURE = "temporal.api.failure.v1.Failure"

Cut = Callable[[Any], None]


def cutter(request: Descriptor) -> Cut | None:
    """What cuts all failures in a request of that type; None when it holds none."""
    return _cutter(request, ())


def _cutter(message: Descriptor, within: tuple[str, ...]) -> Cut | None:
    if message.full_name == _FAILURE:
        return make_readable
    steps: list[Cut] = []
    for field in message.fields:
        kind = field.message_type
        if kind is None or kind.full_name in within:
            continue
        mapped = kind.GetOptions().map_entry
        inner = kind.fields_by_name["value"].message_type if mapped else kind
        cut = None if inner is None else _cutter(inner, (*within, message.full_name))
        if cut is not None:
            steps.append(_step(field.name, cut, field.is_repeated, mapped))
    if not steps:
        return None

    def cut_all(request: Message) -> None:
        for step in steps:
            step(request)

    return steps[0] if len(steps) == 1 else cut_all


def _step(name: str, cut: Cut, repeated: bool, mapped: bool) -> Cut:
    def of_many(message: Message) -> None:
        held: Any = getattr(message, name)
        values: Iterable[Any] = held.values() if mapped else held
        for value in values:
            cut(value)

    def of_one(message: Message) -> None:
        if message.HasField(name):
            cut(getattr(message, name))

    return of_many if repeated else of_one
