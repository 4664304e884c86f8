"""Owners and wakes while the store does not do as it should: batches are refused or late, executions not read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.runtime.skipping import Skipper
from perdure.storage.store import Refused as BatchRefused
from perdure.storage.store import StoreFailed
from tests.api.client import Api, Refused, complete_workflow, start_timer
from tests.runtime.test_mail import signal_external
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


async def test_time_waits_for_what_is_being_written(
    api: Api, clock: Clock, skipper: Skipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.start()
    task = await api.poll()
    await clock.unlock()
    store = skipper._runtime.store
    submit, held = store.submit, asyncio.Queue[tuple[Any, Any]]()
    monkeypatch.setattr(store, "submit", lambda batch, done: held.put_nowait((batch, done)))
    completed = asyncio.ensure_future(api.complete(task, start_timer(seconds=60)))  # soon enough to be in memory
    late = await held.get()
    skipper.poke()
    for _ in range(10):
        await asyncio.sleep(0)  # it looks
    jumps, why = skipper.jumps, skipper.explain()
    monkeypatch.setattr(store, "submit", submit)
    submit(*late)
    await completed

    assert jumps == 0
    assert why == ["decisions are being written"]
    await api.step(complete_workflow())

    assert skipper.jumps == 1


async def test_time_waits_for_a_message_whose_receiver_cannot_be_read_just_now(
    api: Api, clock: Clock, skipper: Skipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.start("receiver")
    await api.step(start_timer(seconds=3600))
    await api.start("sender")
    task = await api.poll()
    runtime = skipper._runtime
    [receiver] = [loaded for loaded in runtime.executions.all() if loaded.key[2] == "receiver"]
    runtime.executions.forget(receiver)
    receiver.dead = True
    load = runtime.store.load_execution

    def fails(namespace_id: str, kind: int, execution_id: str, run_id: str, done: Any) -> None:
        if execution_id == "receiver":
            done(StoreFailed("disk I/O error"))
        else:
            load(namespace_id, kind, execution_id, run_id, done)

    monkeypatch.setattr(runtime.store, "load_execution", fails)
    await api.complete(task, signal_external("receiver"))
    await clock.unlock()

    assert skipper.explain() == ["1 message is between workflows not delivered yet"]
    assert skipper.jumps == 0
