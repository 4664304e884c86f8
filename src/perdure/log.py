"""Log lines: one for each event worth knowing, as key-values, on stderr unless told otherwise.

    log.info("namespace registered", namespace="orders")

A `Log` is passed down like any other thing a component needs. Lines under its level cost one comparison; structlog,
whose import takes a tenth of a second, is loaded with the first line that is written.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
NEVER: Final = 100

LEVELS: Mapping[str, int] = {
    "debug": DEBUG,
    "info": INFO,
    "warn": WARNING,
    "error": ERROR,
    "fatal": 50,
    "never": NEVER,
}
FORMATS = ("text", "json", "pretty")
"""`pretty` is what launchers of the SDKs ask for, and means `text`."""


class Log:
    """Writes lines of `level` and above, `text` as logfmt or `json`, one line an event (a traceback within it)."""

    def __init__(self, level: str = "warn", format: str = "text", stream: TextIO | None = None) -> None:
        self._level = LEVELS[level]
        self._format = format
        self._stream = stream
        self._logger: Any = None
        if self._level <= INFO:
            # It will write soon, and the import should not stall the event loop then.
            self._logger = self._open()

    def debug(self, event: str, **fields: Any) -> None:
        if self._level <= DEBUG:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        if self._level <= INFO:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        if self._level <= WARNING:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """`exc_info=error` adds the traceback as field `exception`."""
        if self._level <= ERROR:
            self._write("error", event, fields)

    def quieten(self) -> None:
        """Write errors only from now on: while stopping, what is cut off is no news."""
        self._level = max(self._level, ERROR)

    def _write(self, method: str, event: str, fields: Mapping[str, Any]) -> None:
        if self._logger is None:
            self._logger = self._open()
        getattr(self._logger, method)(event, **fields)

    def _open(self) -> Any:
        import structlog

        renderer: Any
        if self._format == "json":
            renderer = structlog.processors.JSONRenderer()
        else:
            renderer = structlog.processors.LogfmtRenderer(key_order=["time", "level", "msg"])
        return structlog.wrap_logger(
            structlog.PrintLogger(self._stream or sys.stderr),
            wrapper_class=structlog.BoundLogger,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%f", utc=False, key="time"),
                structlog.processors.format_exc_info,
                _shorten,
                renderer,
            ],
        )


def _shorten(logger: Any, method: str, fields: Any) -> Any:
    """The reference's names and forms: `msg`, an upper-case `level` (WARN), milliseconds."""
    fields["msg"] = fields.pop("event")
    level = fields["level"].upper()
    fields["level"] = "WARN" if level == "WARNING" else level
    fields["time"] = fields["time"][:-3]
    return fields
