"""Half-valid messages from descriptors: what is said is mostly what the server itself said before, and partly nonsense.

Wholly odd requests end at the first check. Those that name a living workflow, carry a real token, or repeat what was
accepted with one field changed get to the code that decides.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any, Final

from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from temporalio.api.enums.v1 import CommandType
from temporalio.api.protocol.v1 import Message as ProtocolMessage
from temporalio.api.update.v1 import Acceptance, Rejection, Request, Response

from tests.hostile.fuzz import values

KEPT: Final = 40
"""Values remembered under one name."""
MAX_FIELDS: Final = 600
"""Fields set in one message: descriptors are recursive."""

QUEUES: Final = ("odd", "odd", "odd", "odd-2", "sticky-odd")
WORKFLOW_IDS: Final = tuple(f"w-{number}" for number in range(12))

_ROLES = {
    "business_id": "workflow_id",
    "first_execution_run_id": "run_id",
    "original_execution_run_id": "run_id",
    "new_execution_run_id": "run_id",
    "continued_execution_run_id": "run_id",
    "protocol_instance_id": "update_id",
    "inbound_update_id": "update_id",
    "accepted_request_message_id": "message_id",
    "rejected_request_message_id": "message_id",
    "operation_id": "activity_id",
}
_WORDS: dict[str, tuple[str, ...]] = {
    "workflow_id": WORKFLOW_IDS,
    "signal_name": ("ship", "pay"),
    "query_type": ("state", "__stack_trace", "__temporal_workflow_metadata"),
    "activity_id": ("a", "b", "charge"),
    "id": ("a", "b", "charge"),
    "timer_id": ("t", "u"),
    "marker_name": ("Version", "core_local_activity"),
    "cron_schedule": values.CRONS,
    "cron_string": values.CRONS,
    "timezone_name": values.ZONES,
    "schedule_id": ("s-0", "s-1", "s-2"),
    "job_id": ("j-0", "j-1"),
    "update_id": ("u-0", "u-1"),
    "identity": ("worker", "client"),
    "request_id": ("r-0", "r-1", "r-2", ""),
    "worker_instance_key": ("k-0", "k-1", ""),
    "normal_name": ("odd",),
    "build_id": ("1.0", "2.0"),
    "deployment_name": ("orders",),
    "reason": ("because",),
    "paths": (
        "workflow_execution_timeout", "task_queue.name", "retry_policy", "priority.fairness_key", "versioning_override",
        "start_to_close_timeout", "retry_policy.maximum_attempts", "nowhere", "a.b.c.d", "*", ".",
    ),
    **dict.fromkeys(
        ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week"), values.CALENDAR_FIELDS
    ),
}  # fmt: skip
_FILTERS = frozenset({"query", "visibility_query", "predicate"})
_NEEDED = frozenset(
    [
        "namespace",
        "workflow_id",
        "execution",
        "workflow_execution",
        "task_queue",
        "workflow_type",
        "activity_type",
        "task_token",
        "signal_name",
        "schedule_id",
        "schedule",
        "activity_id",
        "query",
        "update_ref",
        "execution_id",
        "name",
        "type",
        "job_id",
        "timer_id",
        "action",
        "start_workflow",
        "request",
        "meta",
        "input",
        "wait_policy",
        "lifecycle_stage",
        "workflow_task_finish_event_id",
        "workflow_id",
    ]
)
"""Without these a request ends at its first check."""
_SMALL = frozenset({"page_size", "maximum_page_size", "maximum_attempts", "page_number", "history_size_bytes"})
_SPECIAL: Final = frozenset(
    {
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "google.protobuf.Any",
        "temporal.api.common.v1.Payload",
        "temporal.api.failure.v1.Failure",
        "temporal.api.command.v1.Command",
        "temporal.api.workflowservice.v1.ExecuteMultiOperationRequest",
    }
)
_BODIES: tuple[type[Message], ...] = (Request, Acceptance, Rejection, Response)


class Generator:
    """`namespace`: what requests are aimed at most of the time."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.namespace = "default"
        self._heard: dict[str, deque[Any]] = {}
        self._left = 0
        self._oddness = 0.0
        self._density = 0.0

    # ---- what the server said
    def learn(self, message: Message, depth: int = 0) -> None:
        """Remember the strings, bytes and event IDs of an answer under their fields' names."""
        if depth > 8:
            return
        for field, value in message.ListFields():
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                if field.name == "queries":
                    for key in value:
                        self._keep("query_id", key)
                continue
            for one in (value if field.is_repeated else (value,))[-20:]:
                if field.message_type is not None:
                    self.learn(one, depth + 1)
                elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
                    self._keep(field.name, one)
                elif field.name.endswith("event_id"):
                    self._keep("event_id", one)
        if isinstance(message, ProtocolMessage):
            self._keep("message_id", message.id)

    def _keep(self, name: str, value: Any) -> None:
        if value and len(str(value)) < 4000 and value != "canary":
            role = _ROLES.get(name, name)
            heard = self._heard.setdefault(role, deque(maxlen=KEPT))
            if value not in heard:
                heard.append(value)

    # ---- messages
    def message(self, kind: type[Message], *, oddness: float | None = None) -> Any:
        chance = self.chance
        self._left = MAX_FIELDS
        self._density = chance.choice((0.05, 0.2, 0.45, 0.8))
        self._oddness = chance.choice((0.01, 0.05, 0.2, 0.5)) if oddness is None else oddness
        made = kind()
        self.fill(made)
        return made

    def fill(self, message: Any, depth: int = 0) -> None:
        special = getattr(self, f"_fill_{message.DESCRIPTOR.name}", None)
        if special is not None and message.DESCRIPTOR.full_name in _SPECIAL:
            special(message, depth)
            return
        chosen = {oneof.name: self.chance.choice(oneof.fields) for oneof in message.DESCRIPTOR.oneofs}
        for field in message.DESCRIPTOR.fields:
            oneof = field.containing_oneof
            if oneof is not None and chosen[oneof.name] is not field:
                continue
            likely = 0.97 if field.name in _NEEDED else self._density * (0.75**depth)
            if oneof is not None and len(oneof.fields) > 1:
                likely = max(likely, 0.9)
            if self.chance.random() < likely and depth < 12 and self._left > 0:
                self.set(message, field, depth)

    def fill_plainly(self, message: Any) -> None:
        """As somebody would who means it."""
        self._left, self._density, self._oddness = MAX_FIELDS, 0.2, 0.0
        self.fill(message, 1)

    def set(self, message: Any, field: FieldDescriptor, depth: int) -> None:
        self._left -= 1
        name, kind = field.name, field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            self._set_map(message, field, depth)
        elif field.is_repeated:
            for _ in range(self.chance.choice((1, 1, 2, 5))):
                if kind is None:
                    getattr(message, name).append(self.scalar(field, message.DESCRIPTOR))
                else:
                    self.fill(getattr(message, name).add(), depth + 1)
            if self.chance.random() < 0.004 and kind is not None:
                self._multiply(getattr(message, name))
        elif kind is not None:
            getattr(message, name).SetInParent()
            self.fill(getattr(message, name), depth + 1)
        else:
            setattr(message, name, self.scalar(field, message.DESCRIPTOR))

    def _multiply(self, entries: Any) -> None:
        """Many of the same."""
        one = entries[-1]
        size = max(one.ByteSize(), 4)
        for _ in range(min(self.chance.choice((300, 3000, 50_000)), 2_000_000 // size)):
            entries.append(one)

    def _set_map(self, message: Any, field: FieldDescriptor, depth: int) -> None:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        entries: Any = getattr(message, field.name)
        for _ in range(self.chance.choice((1, 1, 2))):
            if field.name == "indexed_fields" or field.name == "search_attributes":
                name: Any = self.chance.choice(values.ATTRIBUTES)
            elif field.name == "query_results":
                name = self._said("query_id") or "q"
            else:
                name = self.scalar(key, field.message_type)
            if value.message_type is not None:
                self.fill(entries[name], depth + 1)
            else:
                entries[name] = self.scalar(value, field.message_type)

    def _said(self, role: str) -> Any:
        heard = self._heard.get(role)
        return self.chance.choice(heard) if heard else None

    # ---- scalars
    def scalar(self, field: FieldDescriptor, owner: Descriptor) -> Any:
        chance, kind = self.chance, field.cpp_type
        odd = chance.random() < self._oddness
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return self._bytes(field.name, odd)
            return self._text(field.name, owner, odd)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return chance.choice(values.FLOATS) if odd else chance.choice((0.0, 1.0, 2.0))
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            numbers = [value.number for value in field.enum_type.values]
            return chance.choice((*numbers, -1, 99, (1 << 31) - 1)) if odd else chance.choice(numbers)
        number = self._number(field.name, odd)
        if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
            return abs(number) & ((1 << (32 if kind == FieldDescriptor.CPPTYPE_UINT32 else 64)) - 1)
        bits = 31 if kind == FieldDescriptor.CPPTYPE_INT32 else 63
        return max(-(1 << bits), min(number, (1 << bits) - 1))

    def _number(self, name: str, odd: bool) -> int:
        if odd:
            return self.chance.choice(values.INT64)
        if name == "workflow_task_finish_event_id" and self.chance.random() < 0.5:
            return 4  # the end of the first workflow task
        if name.endswith("event_id"):
            return self._said("event_id") or self.chance.randrange(12)
        if name in _SMALL:
            return self.chance.choice((0, 1, 2, 3, 10, 1000))
        return self.chance.choice((0, 1, 2, 5, 30))

    def _text(self, name: str, owner: Descriptor, odd: bool) -> str:
        chance = self.chance
        if name in _FILTERS and owner.name != "QueryWorkflowRequest":
            return values.filter_text(chance) if chance.random() < 0.9 else ""
        if odd:
            return values.odd_text(chance)
        if name == "namespace":
            return self.namespace if chance.random() < 0.97 else chance.choice(("default", "nowhere", ""))
        if name in ("name", "task_queue", "task_queue_name") and ("TaskQueue" in owner.name or name != "name"):
            return chance.choice(QUEUES)
        role = _ROLES.get(name, name)
        words = _WORDS.get(role)
        if words is not None and chance.random() < (0.7 if role in ("workflow_id", "schedule_id") else 0.4):
            return chance.choice(words)
        if role == "run_id" and chance.random() < 0.5:
            return ""
        said = self._said(role)
        if isinstance(said, str) and said and chance.random() < 0.9:
            return said
        return chance.choice(words) if words else chance.choice(("Order", "orders", "a"))

    def _bytes(self, name: str, odd: bool) -> bytes:
        chance = self.chance
        if name.endswith("token"):
            said = self._said("next_page_token" if "page" in name else name)
            if chance.random() < 0.1:
                said = self._said(chance.choice(("task_token", "next_page_token", "conflict_token", "long_poll_token")))
            if isinstance(said, bytes):
                return values.near(said, chance) if odd or chance.random() < 0.2 else said
            return b"" if chance.random() < 0.5 else chance.choice(values.BLOBS)
        return chance.choice(values.BLOBS) if odd else chance.choice(values.DATA)

    # ---- messages with a meaning of their own
    def _fill_Duration(self, duration: Any, depth: int) -> None:
        chance = self.chance
        if chance.random() < self._oddness:
            duration.seconds, duration.nanos = chance.choice(values.SECONDS), chance.choice(values.NANOS)
        else:
            duration.seconds = chance.choice((0, 1, 5, 60, 3600))

    def _fill_Timestamp(self, stamp: Any, depth: int) -> None:
        chance = self.chance
        if chance.random() < max(self._oddness, 0.2):
            stamp.seconds, stamp.nanos = chance.choice(values.STAMPS), chance.choice(values.NANOS)
        else:
            stamp.seconds = chance.choice((1_700_000_000, 1_800_000_000))

    def _fill_Payload(self, payload: Any, depth: int) -> None:
        chance = self.chance
        payload.metadata["encoding"] = chance.choice(values.ENCODINGS) if chance.random() < 0.3 else b"json/plain"
        if chance.random() < 0.3:
            payload.metadata["type"] = chance.choice(values.TYPES)
        payload.data = chance.choice(values.DATA)
        if chance.random() < 0.002:
            payload.data = b"x" * chance.choice((2 << 20, (2 << 20) + 1, 3 << 20))

    def _fill_Failure(self, failure: Any, depth: int) -> None:
        """Causes of causes, to the depth that a parser still takes and beyond."""
        chance = self.chance
        deep = chance.choice((0, 1, 1, 2, 20, 60, 90, 95)) if depth < 6 and chance.random() < 0.5 else 0
        for _ in range(deep):
            failure.message = "deep"
            failure = failure.cause
        failure.message = self.chance.choice(("", "no", "x" * 5000))
        failure.application_failure_info.type = chance.choice(("Odd", ""))
        failure.application_failure_info.non_retryable = chance.random() < 0.3
        if chance.random() < 0.3:
            self._fill_Duration(failure.application_failure_info.next_retry_delay, depth + 1)

    def _fill_Any(self, packed: Packed, depth: int) -> None:
        chance = self.chance
        body = chance.choice(_BODIES)()
        self.fill(body, depth + 1)
        packed.Pack(body)
        if chance.random() < self._oddness:
            packed.type_url = chance.choice(("", "odd", "type.googleapis.com/odd", packed.type_url.upper()))
        if chance.random() < self._oddness:
            packed.value = values.near(packed.value, chance)

    def _fill_Command(self, command: Any, depth: int) -> None:
        """The type belongs to the attributes, most of the time."""
        chance = self.chance
        attributes = chance.choice(command.DESCRIPTOR.oneofs_by_name["attributes"].fields)
        self.set(command, attributes, depth)
        command.command_type = command_type(attributes)
        if chance.random() < 0.05:
            kinds = command.DESCRIPTOR.fields_by_name["command_type"].enum_type
            command.command_type = chance.choice((*(value.number for value in kinds.values), 99, -1))
        if chance.random() < 0.1:
            self.set(command, command.DESCRIPTOR.fields_by_name["user_metadata"], depth)

    def _fill_ExecuteMultiOperationRequest(self, request: Any, depth: int) -> None:
        """Of a start and an update of the same workflow, mostly: nothing else is taken."""
        request.namespace = self.namespace
        if self.chance.random() < self._oddness:
            for _ in range(self.chance.choice((0, 1, 2, 3))):
                self.fill(request.operations.add(), depth + 1)
            return
        start, update = request.operations.add().start_workflow, request.operations.add().update_workflow
        self.fill(start, depth + 1)
        self.fill(update, depth + 1)
        update.workflow_execution.workflow_id = start.workflow_id
        update.workflow_execution.run_id = ""

    # ---- what was accepted, changed a little
    def mutated(self, accepted: Message) -> Any:
        request = type(accepted)()
        request.CopyFrom(accepted)
        self._left, self._density, self._oddness = MAX_FIELDS, 0.3, 0.4
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            self._mutate(request)
        return request

    def _mutate(self, message: Any) -> None:
        """Change one field, at any depth."""
        chance = self.chance
        while True:
            present = [
                value
                for field, value in message.ListFields()
                if field.message_type is not None and not field.is_repeated
            ]
            present += [
                one
                for field, value in message.ListFields()
                if field.message_type is not None
                and field.is_repeated
                and not field.message_type.GetOptions().map_entry
                for one in value[:3]
            ]
            if not present or chance.random() < 0.4:
                break
            message = chance.choice(present)
        fields = message.DESCRIPTOR.fields
        if not fields:
            return
        field = chance.choice(fields)
        if field.name == "namespace" and chance.random() < 0.9:
            return
        if chance.random() < 0.3:
            message.ClearField(field.name)
        elif chance.random() < 0.9:
            if field.is_repeated and chance.random() < 0.5:
                message.ClearField(field.name)
            self.set(message, field, 1)

    # ---- bytes
    def bytes_of(self, request: Message) -> bytes:
        """The request on the wire; now and then not quite it."""
        raw = request.SerializeToString()
        chance = self.chance
        roll = chance.random()
        if roll < 0.94:
            return raw
        if roll < 0.96:
            return values.near(raw, chance)
        if roll < 0.97:
            return raw + b"\xfa\x3f\x03odd"  # a field nobody knows
        if roll < 0.98:
            return raw.replace(b"o", b"\xff", 2)  # no UTF-8
        if roll < 0.985:
            return raw + raw
        if roll < 0.99:
            return _nested(chance.choice((50, 99, 101, 5000)))
        return bytes(chance.randrange(256) for _ in range(chance.choice((1, 20, 500))))


def command_type(attributes: FieldDescriptor) -> int:
    """The type of the commands that have those attributes."""
    name = "COMMAND_TYPE_" + attributes.name.removesuffix("_command_attributes").upper()
    return int(CommandType.Value(name))


def _nested(depth: int) -> bytes:
    """An unknown group within another."""
    return b"\xfb\x3f" * depth + b"\xfc\x3f" * depth


def decodes(kind: type[Message], raw: bytes) -> bool:
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True
