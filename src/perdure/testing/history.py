"""Histories for people: an event a line, attributes as Python values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import ActivityType, Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter, PayloadConverter

History = WorkflowHistory | Sequence[HistoryEvent]
Field = Any
"""A field's descriptor; protobuf has two implementations without a common type."""

NOISE = frozenset(
    {
        "attempt",
        "binary_checksum",
        "cron_schedule",
        "first_execution_run_id",
        "first_workflow_task_backoff",
        "header",
        "history_size_bytes",
        "identity",
        "namespace",
        "namespace_id",
        "original_execution_run_id",
        "priority",
        "request_id",
        "retry_policy",
        "root_workflow_execution",
        "sdk_metadata",
        "search_attributes",
        "started_event_id",
        "task_queue",
        "use_workflow_build_id",
        "worker_version",
        "workflow_execution_expiration_time",
        "workflow_execution_run_timeout",
        "workflow_execution_timeout",
        "workflow_id",
        "workflow_run_timeout",
        "workflow_task_completed_event_id",
        "workflow_task_timeout",
    }
)
"""Attributes that `history_text` leaves out: true of every event, or of no interest to most readers."""


def history_text(
    history: History,
    *,
    workflow_tasks: bool = True,
    converter: PayloadConverter = DataConverter.default.payload_converter,
) -> str:
    """One line an event: ID, virtual time since the start, type, and the attributes that say most."""
    events = events_of(history)
    if not workflow_tasks:
        events = [event for event in events if not is_workflow_task(event)]
    if not events:
        return "(no events)"
    start = _us(events[0].event_time)
    elapsed = [str(timedelta(microseconds=_us(event.event_time) - start)) for event in events]
    names = [event_name(event) for event in events]
    widths = max(map(len, elapsed)), max(map(len, names))
    return "\n".join(
        f"{event.event_id:>4}  +{since:<{widths[0]}}  {name:<{widths[1]}}  {_attributes(event, converter)}".rstrip()
        for event, since, name in zip(events, elapsed, names, strict=True)
    )


def events_of(history: History) -> Sequence[HistoryEvent]:
    return history.events if isinstance(history, WorkflowHistory) else history


def event_name(event: HistoryEvent) -> str:
    """The type as people write it, such as `ActivityTaskScheduled`."""
    return NAMES.get(event.event_type, f"EventType{event.event_type}")


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.removeprefix("EVENT_TYPE_").split("_"))


NAMES = {number: _camel(name) for name, number in EventType.items() if number}
"""Event types by their numbers."""


def is_workflow_task(event: HistoryEvent) -> bool:
    return event_name(event).startswith("WorkflowTask")


def attributes_of(event: HistoryEvent) -> Message | None:
    which = event.WhichOneof("attributes")
    return None if which is None else getattr(event, which)


def attribute(event: HistoryEvent, path: str, converter: PayloadConverter) -> Any:
    """An attribute as a Python value; `path` may lead into messages, such as `workflow_execution.workflow_id`.

    Raises LookupError for an attribute that this type of event does not have.
    """
    message = attributes_of(event)
    *way, last = path.split(".")
    for name in way:
        message = getattr(message, name) if message is not None and _has(message, name) else None
        if not isinstance(message, Message):
            break
    if not isinstance(message, Message) or not _has(message, last):
        raise LookupError(f"{event_name(event)} has no attribute {path!r}{_which(event)}")
    return _field(message, message.DESCRIPTOR.fields_by_name[last], converter)


def _has(message: Message, name: str) -> bool:
    return name in message.DESCRIPTOR.fields_by_name


def _which(event: HistoryEvent) -> str:
    message = attributes_of(event)
    return "" if message is None else f"; it has {', '.join(sorted(message.DESCRIPTOR.fields_by_name))}"


def _attributes(event: HistoryEvent, converter: PayloadConverter) -> str:
    message = attributes_of(event)
    if message is None:
        return ""
    return " ".join(
        f"{field.name}={shown(value)}"
        for field, value in _set_fields(message, converter)
        if field.name not in NOISE and value not in (None, "", [], {}, timedelta())
    )


def _set_fields(message: Message, converter: PayloadConverter) -> Iterator[tuple[Field, Any]]:
    for field, _ in message.ListFields():
        yield field, _field(message, field, converter)


def _field(message: Message, field: Field, converter: PayloadConverter) -> Any:
    value = getattr(message, field.name)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum(field, value)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {key: _value(item, converter) for key, item in value.items()}
    if isinstance(value, Message):
        return _value(value, converter) if message.HasField(field.name) else None
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        return [_value(item, converter) for item in value]
    return value


def _enum(field: Field, number: int) -> str:
    """`TRY_CANCEL` for ACTIVITY_CANCELLATION_TYPE_TRY_CANCEL: the values' common prefix says nothing."""
    enum = field.enum_type
    assert enum is not None, "only asked for fields of an enum"
    names = enum.values_by_number
    prefix = _camel_to_upper(enum.name) + "_"
    return str(names[number].name).removeprefix(prefix) if number in names else str(number)


def _camel_to_upper(name: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() and at else letter for at, letter in enumerate(name)).upper()


def _value(value: Any, converter: PayloadConverter) -> Any:
    """Durations and timestamps as in datetime; named things by their names; one payload as its value, several as a
    list; failures by their messages."""
    match value:
        case Duration():
            return timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
        case Timestamp():
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=_us(value))
        case ActivityType() | WorkflowType() | TaskQueue():
            return value.name
        case Payload():
            return _decoded(value, converter)
        case Payloads():
            values = [_decoded(payload, converter) for payload in value.payloads]
            return values[0] if len(values) == 1 else values
        case Failure():
            return _failure(value)
        case Message():
            return {field.name: item for field, item in _set_fields(value, converter)}
    return value


def _decoded(payload: Payload, converter: PayloadConverter) -> Any:
    try:
        return converter.from_payload(payload)
    except Exception:
        # A codec or converter of the application's own: shown as it is, for this must not hide the history.
        return payload.data


def _failure(failure: Failure) -> str:
    """The innermost cause is what happened; those around it say where."""
    while failure.HasField("cause"):
        failure = failure.cause
    return failure.message


def _us(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def shown(value: Any, limit: int = 80) -> str:
    """A value in a line of history; long ones are cut."""
    text = str(value) if isinstance(value, timedelta | datetime) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
