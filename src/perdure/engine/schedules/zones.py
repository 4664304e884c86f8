"""Time zones as stretches of constant offset. Times are whole seconds since 1970 UTC, offsets seconds.

A local time that the clocks jump over never is; one that they show twice is twice. Both follow by themselves when
calendars are only ever asked about one stretch at a time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK: Final = 6 * 3600
"""A zone's clocks do not change twice within so many seconds."""
_PERIOD: Final = 360 * 86400
_FIRST: Final = -100 * _PERIOD
_LAST: Final = 180 * _PERIOD
"""Outside of (about) 1871 to 2147 every zone keeps its offset."""


class Zone:
    """What calendars are read in."""

    __slots__ = ("_info", "_periods")

    def __init__(self, info: ZoneInfo | None) -> None:
        self._info = info
        self._periods: dict[int, list[tuple[int, int]]] = {}

    def stretch(self, at: int) -> tuple[int, int | None]:
        """The offset at a time, and when the next stretch begins (None: never; or there the same offset goes on)."""
        if self._info is None:
            return 0, None
        at = min(max(at, _FIRST), _LAST)
        period = at // _PERIOD
        stretches = self._periods.get(period)
        if stretches is None:
            stretches = self._periods[period] = self._read(period)
        offset = stretches[0][1]
        for begin, other in stretches:
            if begin > at:
                return offset, begin
            offset = other
        end = (period + 1) * _PERIOD
        return offset, end if end < _LAST else None

    def read_all(self) -> None:
        for period in range(_FIRST // _PERIOD, _LAST // _PERIOD):
            self._periods[period] = self._read(period)

    def _read(self, period: int) -> list[tuple[int, int]]:
        begin = period * _PERIOD
        offset = self._offset(begin)
        stretches = [(begin, offset)]
        for look in range(begin + _LOOK, begin + _PERIOD + 1, _LOOK):
            if (found := self._offset(look)) == offset:
                continue
            low, high = look - _LOOK, look
            while high - low > 1:
                middle = (low + high) // 2
                if self._offset(middle) == offset:
                    low = middle
                else:
                    high = middle
            if high < begin + _PERIOD:
                stretches.append((high, found))
            offset = found
        return stretches

    def _offset(self, at: int) -> int:
        found = (_EPOCH + timedelta(seconds=at)).astimezone(self._info).utcoffset()
        assert found is not None
        return found // timedelta(seconds=1)


@lru_cache(maxsize=1024)
def load_zone(name: str, data: bytes) -> Zone:
    """By its IANA name (empty: UTC), or by the content of its TZif file, which wins. Raises ValueError."""
    if data:
        try:
            zone = Zone(ZoneInfo.from_file(BytesIO(data), key=name or None))
            zone.read_all()  # what is wrong in it would be found when it is asked
        except Exception as error:  # the reader trusts its files: anything may come of one that is made up
            raise ValueError("malformed time zone information") from error
        return zone
    if name in ("", "UTC"):
        return Zone(None)
    try:
        return Zone(ZoneInfo(name))
    except (KeyError, ValueError, OSError) as error:  # unknown, malformed, a directory's name
        raise ValueError(f"unknown time zone {name}") from error
