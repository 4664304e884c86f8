"""What a decision needs that is not in memory: stored events, another run of its execution, or a whole history.

A history goes through the reading page by page, with a rest between pages: fifty thousand events hold up nobody but
their own execution, whose inputs wait meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.engine.needs import Needs, NeedsReading, NeedsRun
from perdure.errors import Internal, PerdureError, Unavailable
from perdure.runtime.executions import Loaded
from perdure.runtime.followers import Callback
from perdure.runtime.inputs import Entry
from perdure.storage.store import HistoryBatch, StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

PAGE_BYTES = 8 * 1024
REST_SECONDS = 0.001
"""Between pages, for all others: a page is a few hundred small events, which take some two milliseconds."""


def fetch(runtime: Runtime, loaded: Loaded, item: Entry, needs: Needs | NeedsRun | NeedsReading) -> None:
    """Bring it, then decide `item` again; those behind it wait."""
    runtime.decisions.block(loaded)
    loaded.inputs.appendleft(item)
    if isinstance(needs, Needs):
        item.postponed()
        _bring_events(runtime, loaded, item, needs)
    elif isinstance(needs, NeedsRun):
        _bring_run(runtime, loaded, item, needs.run_id)
    else:
        once_durable(runtime, loaded, lambda: _read(runtime, loaded, item, needs))


def once_durable(runtime: Runtime, loaded: Loaded, read: Callable[[], None]) -> None:
    """Call `read` when all that was decided at a blocked execution is in the store. If it is refused, all that waits
    there is decided anew on what is stored."""

    def refused(error: PerdureError) -> None:
        loaded.dead = True
        runtime.decisions.unblock(loaded)
        runtime.decisions.pump(loaded)

    runtime.committer.follow(Callback(read, refused), loaded.batch_no)


def _give_up(runtime: Runtime, loaded: Loaded, item: Entry, error: PerdureError) -> None:
    loaded.inputs.popleft()
    runtime.decisions.unblock(loaded)
    item.give_up(error)
    runtime.decisions.pump(loaded)


def _go_on(runtime: Runtime, loaded: Loaded) -> None:
    runtime.decisions.unblock(loaded)
    runtime.decisions.pump(loaded)


def _bring_events(runtime: Runtime, loaded: Loaded, item: Entry, needs: Needs) -> None:
    run = needs.run

    def came(events: list[Any]) -> None:
        for event in events:
            item.loaded_events[run.run_id, event.event_id] = event
        _go_on(runtime, loaded)

    def read() -> None:
        try:
            runtime.histories.read_events(run, needs.event_ids, came)
        except Unavailable as error:
            if not loaded.blocked:
                raise  # the events came; it is what was decided with them that failed
            _give_up(runtime, loaded, item, error)

    if runtime.histories.awaits_commit(run, needs.event_ids):
        once_durable(runtime, loaded, read)
    else:
        read()


def _bring_run(runtime: Runtime, loaded: Loaded, item: Entry, run_id: str) -> None:
    def came(failure: StoreFailed | None) -> None:
        if failure is not None:
            _give_up(runtime, loaded, item, Unavailable(str(failure)))
            return
        item.readings.setdefault(run_id, None)
        _go_on(runtime, loaded)

    runtime.executions.load(loaded, run_id, came)


def _read(runtime: Runtime, loaded: Loaded, item: Entry, needs: NeedsReading) -> None:
    run, reading = needs.run, needs.reading
    last = run.next_event_id - 1

    def page() -> None:
        runtime.store.read_history(run.run_no, reading.next_event_id, last, PAGE_BYTES, came)

    def came(batches: list[HistoryBatch] | StoreFailed) -> None:
        if isinstance(batches, StoreFailed):
            _give_up(runtime, loaded, item, Unavailable(str(batches)))
            return
        before = reading.next_event_id
        try:
            for batch in batches:
                reading.take(batch.first_event_id, batch.last_event_id, batch.blob)
        except Exception as error:
            runtime.log.error("a history cannot be read", exc_info=error, run_id=run.run_id)
            _give_up(runtime, loaded, item, Internal(repr(error)))
            return
        if reading.next_event_id > last:
            item.readings[needs.key] = reading
            _go_on(runtime, loaded)
        elif reading.next_event_id == before:
            _give_up(runtime, loaded, item, Unavailable(f"event {before} of run {run.run_id} is not in the store"))
        else:
            asyncio.get_running_loop().call_later(REST_SECONDS, page)

    page()
