"""What a turn may need that is not in memory. Raised before anything was changed: the runtime brings it and decides
again."""

from __future__ import annotations

from typing import Protocol

from perdure.engine.state import Run


class Needs(Exception):
    """The turn needs stored events that the state does not hold. Raised before anything was changed; the runtime loads
    them and decides again with `Turn.loaded` filled."""

    def __init__(self, run: Run, event_ids: tuple[int, ...]) -> None:
        super().__init__(run.run_id, event_ids)
        self.run = run
        self.event_ids = event_ids


class NeedsRun(Exception):
    """The turn needs another run of its execution in memory. The runtime loads it, if it is there, and decides again
    with `run_id` among `Shared.readings`."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class Reading(Protocol):
    """Takes a history in stored batches, in order and without gaps, and keeps what it wants of it."""

    next_event_id: int

    def take(self, first_event_id: int, last_event_id: int, blob: bytes) -> None: ...


class NeedsReading(Exception):
    """The turn needs a run's whole history to have gone through `reading`. The runtime sees to that, a bit at a time,
    and decides again with the reading in `Shared.readings`, by `key` (the run ID unless another one is given); nothing
    is decided about the execution meanwhile."""

    def __init__(self, run: Run, reading: Reading, key: str = "") -> None:
        super().__init__(run.run_id)
        self.run = run
        self.reading = reading
        self.key = key or run.run_id
