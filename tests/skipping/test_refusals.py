"""Owners and wakes that a refused batch would have left, had it landed."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.runtime.skipping import Skipper
from perdure.storage.store import Refused as BatchRefused
from tests.api.client import Api, Refused, complete_workflow, start_timer
from tests.skipping.clock import HOUR, Clock, about


def refuse(skipper: Skipper, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have the store refuse that many batches from now on."""
    store = skipper._runtime.store
    submit = store.submit
    left = times

    def sometimes(batch: Any, done: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            done(BatchRefused("the lease moved"))
        else:
            submit(batch, done)

    monkeypatch.setattr(store, "submit", sometimes)


async def test_a_start_that_never_landed_holds_nothing(
    api: Api, clock: Clock, skipper: Skipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clock.unlock()
    refuse(skipper, monkeypatch, times=3)

    with pytest.raises(Refused, match="UNAVAILABLE"):
        await api.start()

    assert skipper.explain() == ["nothing to skip to: no timer, retry, timeout or sleep is pending"]


async def test_a_task_whose_end_never_landed_still_holds_time(
    api: Api, clock: Clock, skipper: Skipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.start()
    task = await api.poll()
    await clock.unlock()
    refuse(skipper, monkeypatch, times=3)

    with pytest.raises(Refused, match="UNAVAILABLE"):
        await api.complete(task, start_timer())

    assert skipper.explain() == [
        "workflow 'order-1': workflow task (attempt 1, task queue 'orders') is being worked on by 'worker'"
    ]


async def test_a_timer_whose_end_never_landed_still_fires(
    api: Api, clock: Clock, skipper: Skipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.start()
    await api.step(start_timer(seconds=3600))
    await api.signal()
    task = await api.poll()
    refuse(skipper, monkeypatch, times=3)
    with pytest.raises(Refused, match="UNAVAILABLE"):
        await api.complete(task, complete_workflow())
    await api.complete(task)
    before = await clock.now()

    await clock.unlock()
    await api.step(complete_workflow())

    assert await clock.now() - before == about(HOUR)
