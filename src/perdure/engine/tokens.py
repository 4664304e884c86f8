"""Task tokens: opaque to workers, versioned, and telling enough to refuse a stale one.

msgpack `[version, namespace ID, execution ID, run ID, kind, scheduled event ID, started event ID, attempt, stamp,
started time]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgpack

from perdure.errors import InvalidArgument

VERSION: Final = 1
WORKFLOW_TASK: Final = 1
ACTIVITY_TASK: Final = 2
QUERY_TASK: Final = 3
_pack: Final = msgpack.Packer().pack


@dataclass(slots=True)
class TaskToken:
    namespace_id: str
    execution_id: str
    run_id: str
    kind: int
    scheduled_event_id: int
    started_event_id: int
    attempt: int
    stamp: int
    started_at: int

    def encode(self) -> bytes:
        blob: bytes = _pack(
            (
                VERSION,
                self.namespace_id,
                self.execution_id,
                self.run_id,
                self.kind,
                self.scheduled_event_id,
                self.started_event_id,
                self.attempt,
                self.stamp,
                self.started_at,
            )
        )
        return blob


_TYPES: Final = (int, str, str, str, int, int, int, int, int, int)


def decode_token(blob: bytes, kind: int) -> TaskToken:
    """Raises InvalidArgument with the reference's text for anything that is not a token of that kind."""
    try:
        fields = msgpack.unpackb(blob)
    except Exception as error:  # msgpack raises a dozen kinds for garbage
        raise InvalidArgument("Error deserializing task token.") from error
    if type(fields) is not list or tuple(map(type, fields[:10])) != _TYPES or fields[0] != VERSION or fields[4] != kind:
        raise InvalidArgument("Error deserializing task token.")
    return TaskToken(*fields[1 : len(_TYPES)])
