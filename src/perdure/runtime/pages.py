"""Page tokens of histories: opaque, they pin the run."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import msgpack

from perdure.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Where the next page of a run's history starts. `last_event_id` ends a reverse read or a closed one (0: the
    end)."""

    run_id: str
    next_event_id: int
    last_event_id: int
    close_event_only: bool

    def encode(self) -> bytes:
        blob: bytes = msgpack.encode((1, self.run_id, self.next_event_id, self.last_event_id, self.close_event_only))
        return blob

    @staticmethod
    def decode(token: bytes) -> HistoryPage:
        try:
            fields = msgpack.decode(token)
        except Exception as error:  # garbage, in one way or the other
            raise InvalidArgument("Invalid NextPageToken.") from error
        if (
            not isinstance(fields, list)
            or len(fields) < 5
            or [type(value) for value in fields[:5]] != [int, str, int, int, bool]
            or fields[0] != 1
            or not 0 < fields[2] < 1 << 62
            or not 0 <= fields[3] < 1 << 62
        ):
            raise InvalidArgument("Invalid NextPageToken.")
        return HistoryPage(*fields[1:5])
