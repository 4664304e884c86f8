"""What the demo shows: a live table on a terminal, a line per change elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from examples.orders.domain import Status

GOOD = "green"
COLOURS = {
    Status.SHIPPED: GOOD,
    Status.CANCELLED: "yellow",
    Status.DECLINED: "yellow",
    Status.OUT_OF_STOCK: "yellow",
    Status.INVALID: "yellow",
    Status.FAILED: "red",
    Status.ESCALATED: "red",
}
ROWS_AROUND = 6


@dataclass(slots=True)
class Row:
    story: str
    path: list[str] = field(default_factory=list)
    note: str = ""


class Board:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._rows: dict[str, Row] = {}
        self._events: list[str] = []
        self._live: Live | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def add(self, order_id: str, story: str) -> None:
        self._rows[order_id] = Row(story)

    def say(self, event: str) -> None:
        self._events.append(f"{self.seconds:5.1f} s  {event}")
        self._plain(event)

    def update(self, order_id: str, history: list[dict[str, Any]]) -> None:
        """Show an order's history, given whole each time, as the API answers it."""
        row = self._rows[order_id]
        for change in history[len(row.path) :]:
            row.path.append(change["status"])
            row.note = change["note"]
            note = f" ({row.note})" if row.note else ""
            self._plain(f"{order_id:<16} {change['status']}{note}")

    def _plain(self, line: str) -> None:
        if self._live is None:
            self._console.print(Text(f"{self.seconds:5.1f} s  {line}"), soft_wrap=True)

    def _render(self) -> RenderableType:
        table = Table(title=f"Orders after {self.seconds:.0f} s", title_justify="left", expand=True)
        table.add_column("order", no_wrap=True)
        table.add_column("what happens to it", style="dim", no_wrap=True)
        table.add_column("status", no_wrap=True)
        table.add_column("way there", style="dim", no_wrap=True, ratio=1)
        for order_id, row in self._rows.items():
            status = row.path[-1] if row.path else "-"
            way = " › ".join(row.path[:-1])
            shown = Text(status, style=COLOURS.get(Status(status), "cyan") if row.path else "dim")
            table.add_row(order_id, row.story, shown, f"{way} ({row.note})" if row.note else way)
        room = max(1, self._console.height - len(self._rows) - ROWS_AROUND)
        return Group(table, *(Text(event, no_wrap=True, overflow="ellipsis") for event in self._events[-room:]))
