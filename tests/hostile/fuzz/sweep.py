"""Every field of every request in turn, with each odd value of its type, in a request that is right otherwise.

Chance meets a field that lies deep with a rare value once in hours. There are some thirty thousand such requests: a
sweep makes each once, in an order of its own for each seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.hostile.fuzz import values
from tests.hostile.fuzz.generator import Generator, command_type

Path = tuple[str, ...]
"""The names of fields, from a request down."""

DEPTH: Final = 7
_DURATION: Final = "google.protobuf.Duration"
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_WHOLE: Final = frozenset({"temporal.api.common.v1.Payload", "temporal.api.failure.v1.Failure", "google.protobuf.Any"})
"""Deep, and odd enough by themselves: chance sees to them."""


def odd_values(field: FieldDescriptor) -> tuple[Any, ...]:
    """Durations and timestamps are pairs of seconds and nanoseconds."""
    kind = field.cpp_type
    if field.message_type is not None:
        seconds = values.STAMPS if field.message_type.full_name == _TIMESTAMP else values.SECONDS
        return (*((each, 0) for each in seconds), *((1, each) for each in set(values.NANOS)))
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return values.BLOBS if field.type == FieldDescriptor.TYPE_BYTES else values.TEXTS
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return (True, False)
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return values.FLOATS
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return (*(value.number for value in field.enum_type.values), -1, 99, (1 << 31) - 1)
    bits = 32 if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 64
    signed = kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return tuple({max(lowest, min(number, highest)) for number in (*values.INT64, highest)})


def paths(kind: Descriptor, above: Path = (), within: frozenset[str] = frozenset()) -> Iterator[tuple[Path, Any]]:
    """Those of one request's fields, each with each odd value of the last. What contains itself is entered once."""
    within |= {kind.full_name}
    for field in kind.fields:
        path = (*above, field.name)
        inner = field.message_type
        if inner is None or inner.full_name in (_DURATION, _TIMESTAMP):
            yield from ((path, value) for value in odd_values(field))
        elif not (
            inner.GetOptions().map_entry or inner.full_name in within or inner.full_name in _WHOLE or len(path) >= DEPTH
        ):
            yield from paths(inner, path, within)


class Sweep:
    """The steps that are left."""

    def __init__(self, generator: Generator, methods: Mapping[str, MethodDescriptor], rpcs: Iterable[str]) -> None:
        self._generator = generator
        self._methods = methods
        self._steps = [
            (rpc, path, value)
            for rpc in rpcs
            for path, value in paths(methods[rpc].input_type)
            if path != ("namespace",)
        ]
        generator.chance.shuffle(self._steps)
        self.field = ""
        """The last one that was set."""

    @property
    def left(self) -> int:
        return len(self._steps)

    def next_rpc(self) -> str:
        return self._steps[-1][0]

    def drop(self, rpc: str) -> None:
        """That RPC is not served."""
        self._steps = [step for step in self._steps if step[0] != rpc]

    def next(self, accepted: Message | None) -> Any:
        """A request: what was `accepted`, or else a plain one, with the next step's value in its place."""
        rpc, path, value = self._steps.pop()
        self.field = path[-1]
        kind = GetMessageClass(self._methods[rpc].input_type)
        if accepted is None:
            request = self._generator.message(kind, oddness=0.0)
        else:
            request = kind()
            request.CopyFrom(accepted)
        self._put(request, path, value)
        return request

    def _put(self, message: Any, path: Path, value: Any) -> None:
        for name, below in pairwise(path):
            message = self._entered(message, message.DESCRIPTOR.fields_by_name[name], below)
        field = message.DESCRIPTOR.fields_by_name[path[-1]]
        if field.is_repeated:
            message.ClearField(field.name)
        if field.message_type is not None:
            holder = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
            holder.seconds, holder.nanos = value
        elif field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)

    def _entered(self, message: Any, field: FieldDescriptor, below: str) -> Any:
        """The message in that field, made as a caller would if it is not there; of many, the one that has `below`."""
        if field.is_repeated:
            entries = getattr(message, field.name)
            if not entries:
                self._generator.fill_plainly(entries.add())
            inner = field.message_type.fields_by_name[below]
            if inner.containing_oneof is None:
                return entries[0]
            return next((each for each in entries if each.HasField(below)), entries[0])
        if not message.HasField(field.name):
            getattr(message, field.name).SetInParent()
            self._generator.fill_plainly(getattr(message, field.name))
            if field.name.endswith("_command_attributes"):
                message.command_type = command_type(field)
        return getattr(message, field.name)
