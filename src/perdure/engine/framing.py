"""The few pieces of protobuf's wire form that let stored bytes be spliced and cut without parsing.

Source: the protocol buffers encoding guide (varints, length-delimited fields).
"""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

_SMALL = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """`value`, which is not negative, in groups of seven bits, the lowest first."""
    if value < 0x80:
        return _SMALL[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field: a string, bytes, or a serialised message."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def frame(event: HistoryEvent) -> bytes:
    """The event as an element of a serialised `History` (repeated field 1)."""
    body = event.SerializeToString(deterministic=True)
    length = len(body)
    if length < 0x80:
        return b"\x0a%c%b" % (length, body)
    if length < 0x4000:  # all but a few events, so worth not calling anybody
        return b"\x0a%c%c%b" % (length & 0x7F | 0x80, length >> 7, body)
    return b"\x0a" + varint(length) + body
