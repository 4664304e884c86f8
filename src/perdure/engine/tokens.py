"""Task tokens: opaque to workers, versioned, and telling enough to refuse a stale one.

msgpack `[version, namespace ID, execution ID, run ID, kind, scheduled event ID, started event ID, attempt, stamp,
started time]`.
"""

from __future__ import annotations

from typing import Final

from msgspec import MsgspecError, Struct, msgpack

from perdure.errors import InvalidArgument

VERSION: Final = 1
WORKFLOW_TASK: Final = 1
ACTIVITY_TASK: Final = 2
QUERY_TASK: Final = 3


class TaskToken(Struct, array_like=True, tag=VERSION):
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
        return _encode(self)


_encode: Final = msgpack.Encoder().encode
_decode: Final = msgpack.Decoder(TaskToken).decode


def decode_token(blob: bytes, kind: int) -> TaskToken:
    """Raises InvalidArgument with the reference's text for anything that is not a token of that kind."""
    try:
        token = _decode(blob)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument("Error deserializing task token.") from error
    if token.kind != kind:
        raise InvalidArgument("Error deserializing task token.")
    return token
