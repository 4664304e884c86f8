"""Timestamps and durations that SDKs refuse to read, wherever in a message they are."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def illegal_times(message: Message, path: str = "") -> Iterator[str]:
    """Path and value of each."""
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        where = f"{path}.{field.name}"
        if field.message_type.GetOptions().map_entry:
            values = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            values = value if field.is_repeated else [value]
        for each in values:
            if isinstance(each, Timestamp | Duration):
                try:
                    _ = each.ToDatetime() if isinstance(each, Timestamp) else each.ToTimedelta()
                except (ValueError, OverflowError) as error:
                    yield f"{where}: {error}"
            else:
                yield from illegal_times(each, where)
