"""Virtual time with a database file: it never goes back, whoever opens the file next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from perdure import Server
from perdure.clock import SkippingTime
from perdure.config import ConfigError
from perdure.engine.times import LAST_MOMENT
from tests.api.client import Api, complete_workflow, schedule_activity, start_timer
from tests.skipping.clock import DAY, HOUR, Clock, about


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Server, Api, Clock]]:
    async with (
        Server(db_filename=str(path), time_skipping=True) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield server, Api(channel), Clock(channel)


async def test_time_goes_on_after_a_restart_from_where_it_was(tmp_path: Path) -> None:
    async with serving(tmp_path / "orders.db") as (_, _, clock):
        await clock.skip(30 * DAY)
        before = await clock.now()

    async with serving(tmp_path / "orders.db") as (_, _, clock):
        assert await clock.now() >= before
        assert await clock.now() - before == pytest.approx(0, abs=5)


async def test_a_timer_holds_over_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path / "orders.db") as (_, api, clock):
        await api.start()
        await api.step(start_timer(seconds=3600))
        await clock.skip(HOUR / 2)

    async with serving(tmp_path / "orders.db") as (_, api, clock):
        before = await clock.now()
        await clock.unlock()
        await api.step(complete_workflow())
        assert await clock.now() - before == pytest.approx(HOUR / 2, abs=5)


async def test_what_was_under_way_at_a_restart_still_holds_time(tmp_path: Path) -> None:
    async with serving(tmp_path / "orders.db") as (_, api, _):
        await api.start("task")
        await api.start("activity")
        for _ in range(2):
            task = await api.poll()
            if task.workflow_execution.workflow_id == "activity":
                await api.complete(task, schedule_activity())
        await api.poll_activity()
        await api.start("sleeper")
        await api.step(start_timer(seconds=10))

    async with serving(tmp_path / "orders.db") as (server, api, clock):
        skipper = server.skipper
        assert skipper is not None
        await clock.unlock()
        assert (skipper.owners.hard, skipper.owners.soft) == (1, 1)
        assert skipper.jumps == 0
        reasons = sorted(skipper.explain())
        assert "workflow 'activity' has an activity scheduled or running" in reasons[0]
        assert "workflow 'task' has a workflow task scheduled or running" in reasons[1]


async def test_a_server_on_the_wall_clock_refuses_a_file_whose_time_is_ahead(tmp_path: Path) -> None:
    async with serving(tmp_path / "orders.db") as (_, _, clock):
        await clock.skip(30 * DAY)

    with pytest.raises(ConfigError, match=r"orders.db is 30.0 days ahead, because it was used with time skipping"):
        await Server(db_filename=str(tmp_path / "orders.db")).start()


async def test_a_file_whose_time_is_at_the_end_of_skipping_opens_and_one_at_the_end_of_the_calendar_does_not(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "orders.db") as (server, _, clock):
        await clock.unlock()
        await clock.sleep_until(SkippingTime.LAST / 1e6)

    async with serving(tmp_path / "orders.db") as (server, _, clock):
        assert await clock.now() >= SkippingTime.LAST / 1e6
        assert server.skipper is not None
        server.skipper.time.jump(LAST_MOMENT)  # as earlier versions did
        server.skipper._keep_offset()

    with pytest.raises(ConfigError, match="near the end of the year 9999"):
        await Server(db_filename=str(tmp_path / "orders.db"), time_skipping=True).start()


async def test_a_file_of_a_server_that_never_skipped_opens_anywhere(tmp_path: Path) -> None:
    async with serving(tmp_path / "orders.db") as (_, api, _):
        await api.start()

    async with Server(db_filename=str(tmp_path / "orders.db")):
        pass


async def test_jumps_of_a_second_process_add_to_those_of_the_first(tmp_path: Path) -> None:
    for _ in range(2):
        async with serving(tmp_path / "orders.db") as (server, _, clock):
            await clock.skip(DAY)
            assert server.skipper is not None
            ahead = server.skipper.time.offset / 1e6

    assert ahead == about(2 * DAY)
