"""Which runs are woken when: a window of wake-ups in memory over all that are in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from perdure.clock import SECOND
from perdure.runtime.wakes import LOOK_SECONDS, PAGE, WINDOW, Wakes
from perdure.storage.store import DueRun
from tests.simulation.loop import run


@dataclass
class Bedside:
    """Wakes over rows and a clock that a test sets. `woken` are run IDs, `held` the moments before which nothing is
    due."""

    now: int = 1000 * SECOND
    rows: list[DueRun] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    settled: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wakes = Wakes(
            self,  # type: ignore[arg-type] # all it needs
            Clock(self),  # type: ignore[arg-type]
            self._wake,
            self.held.append,
            settled=self.settled.append,
        )

    # as the store
    def due_runs(self, after: tuple[int, int], until: int, limit: int) -> list[DueRun]:
        return sorted((row for row in self.rows if after < _order(row) and row.wake_at <= until), key=_order)[:limit]

    def _wake(self, key: Any, run_id: str) -> None:
        self.woken.append(run_id)
        self.rows = [row for row in self.rows if row.run_id != run_id]

    def stored(self, run_id: str, seconds: float) -> None:
        self.rows.append(DueRun(self.at(seconds), len(self.rows) + 1, "default", 0, run_id, run_id))

    def arm(self, run_id: str, seconds: float) -> None:
        self.wakes.arm(("default", 0, run_id), run_id, self.at(seconds) if seconds else 0)

    def at(self, seconds: float) -> int:
        return 1000 * SECOND + round(seconds * SECOND)

    def ring_at(self, seconds: float) -> list[str]:
        """Who is woken by then, in order."""
        self.now = self.at(seconds)
        self.wakes.ring()
        woken, self.woken = self.woken, []
        return woken


class Clock:
    def __init__(self, bedside: Bedside) -> None:
        self._bedside = bedside

    def now(self) -> int:
        return self._bedside.now


def begun(*stored: tuple[str, float]) -> Bedside:
    bedside = Bedside()
    for run_id, seconds in stored:
        bedside.stored(run_id, seconds)
    bedside.wakes.start()
    return bedside


def _order(row: DueRun) -> tuple[int, int]:
    return row.wake_at, row.run_no


async def test_runs_are_woken_in_the_order_in_which_they_are_due() -> None:
    bedside = begun(("stored", 20), ("far away", 10_000))
    bedside.arm("later", 30)
    bedside.arm("soon", 10)

    assert bedside.ring_at(9.9) == []
    assert bedside.ring_at(30) == ["soon", "stored", "later"]
    assert bedside.ring_at(10_000) == ["far away"]
    bedside.wakes.stop()


async def test_a_run_that_is_due_earlier_than_thought_is_waited_for_no_longer_than_that() -> None:
    bedside = begun(("order", 50))

    bedside.arm("order", 5)

    assert bedside.held[-1] == bedside.at(5)
    assert bedside.ring_at(5) == ["order"]
    assert bedside.ring_at(60) == []
    bedside.wakes.stop()


async def test_a_run_that_is_due_no_more_is_not_woken() -> None:
    bedside = begun()
    bedside.arm("order", 5)

    bedside.arm("order", 0)

    assert bedside.ring_at(60) == []
    bedside.wakes.stop()


async def test_what_was_decided_holds_against_a_row_that_is_not_written_yet() -> None:
    bedside = begun()
    bedside.stored("order", 90)
    bedside.arm("order", 70)

    assert bedside.ring_at(WINDOW / SECOND) == []  # the row has been read now
    assert bedside.ring_at(70) == ["order"]
    assert bedside.ring_at(90) == []
    bedside.wakes.stop()


async def test_none_of_more_than_a_page_at_one_moment_is_forgotten() -> None:
    runs = [f"order-{number}" for number in range(PAGE + PAGE // 2)]
    bedside = begun(*[(run, 10) for run in runs])

    woken = bedside.ring_at(10) + bedside.ring_at(10.1) + bedside.ring_at(10.2)

    assert sorted(woken) == sorted(runs)
    bedside.wakes.stop()


def test_what_came_due_while_the_machine_slept_is_woken_soon_after_it() -> None:
    async def sleep_for_an_hour() -> list[str]:
        bedside = begun(("far away", 1000), ("near", 50))
        bedside.now = bedside.at(3600)  # the event loop's clock stood still
        await asyncio.sleep(LOOK_SECONDS + 0.1)
        bedside.wakes.stop()
        return bedside.woken

    assert run(sleep_for_an_hour()) == ["near", "far away"]


async def test_a_run_that_came_due_while_it_was_being_written_is_woken_when_it_is() -> None:
    bedside = begun()
    bedside.arm("far away", 1000)  # not kept in memory, and not stored yet

    assert bedside.ring_at(3600) == []
    bedside.stored("far away", 1000)
    [written] = bedside.settled
    written()

    assert bedside.ring_at(3600) == ["far away"]
    assert len(bedside.settled) == 1, "it looks again and again"
    bedside.wakes.stop()


async def test_a_clock_that_goes_on_as_it_should_is_looked_up_once() -> None:
    bedside = begun(("order", 3600))

    woken = [run_id for minute in range(61) for run_id in bedside.ring_at(60 * minute)]

    assert woken == ["order"]
    assert not bedside.settled
    bedside.wakes.stop()
