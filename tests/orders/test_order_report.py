"""The daily report by its schedule, with days skipped."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from temporalio.client import ScheduleDescription

from examples.orders.activities import OrderActivities
from examples.orders.domain import Charge, Order, OrderLine
from examples.orders.inbox import Inbox
from examples.orders.schedule import SCHEDULE_ID, ensure, report_now
from examples.orders.settings import Settings
from examples.orders.worker import MAX_ACTIVITIES, build_worker
from perdure.testing import TimeSkippingEnvironment

BERLIN = ZoneInfo("Europe/Berlin")
SETTINGS = Settings(time_zone="Europe/Berlin")
ORDER = Order("1", "ann@example.org", [OrderLine("kettle", 1)])


def place(activities: OrderActivities) -> None:
    activities.validate_order(ORDER)
    activities.charge_payment(Charge(ORDER.id, 3_900, "eur", ORDER.payment_method, ORDER.email))


def text_of(inbox: Inbox, index: int) -> str:
    body = inbox.messages()[index].message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def test_two_weeks_have_ten_reports_at_nine_and_the_first_counts_todays_orders(
    perdure_env: TimeSkippingEnvironment, activities: OrderActivities, inbox: Inbox
) -> None:
    await asyncio.to_thread(place, activities)
    with ThreadPoolExecutor(MAX_ACTIVITIES) as threads:
        async with build_worker(perdure_env.client, SETTINGS.task_queue, activities, threads):
            assert await ensure(perdure_env.client, SETTINGS)
            await perdure_env.sleep(timedelta(days=14))
            await perdure_env.wait_until_idle()

    said = await perdure_env.client.get_schedule_handle(SCHEDULE_ID).describe()
    assert said.info.num_actions == 10
    at = [action.scheduled_at.astimezone(BERLIN) for action in said.info.recent_actions]
    assert {(time.hour, time.minute) for time in at} == {(9, 0)}
    assert sorted(time.isoweekday() for time in at) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    reports = [mail.message_id for mail in inbox.messages()]
    assert reports == [f"<report-{time.date()}.daily_report@shop.example>" for time in at]
    assert {mail.recipients for mail in inbox.messages()} == {SETTINGS.operations_email}
    assert "1 orders, charged 39.00, refunded 0.00." in text_of(inbox, 0)
    assert "0 orders, charged 0.00, refunded 0.00." in text_of(inbox, -1)


async def test_a_schedule_that_is_there_is_left_as_it_is(perdure_env: TimeSkippingEnvironment) -> None:
    handle = perdure_env.client.get_schedule_handle(SCHEDULE_ID)
    assert await ensure(perdure_env.client, SETTINGS)
    await handle.pause(note="stocktaking")

    assert not await ensure(perdure_env.client, SETTINGS)

    said: ScheduleDescription = await handle.describe()
    assert (said.schedule.state.paused, said.schedule.state.note) == (True, "stocktaking")


async def test_a_report_may_be_asked_for_ahead_of_its_time(
    perdure_env: TimeSkippingEnvironment, activities: OrderActivities, inbox: Inbox
) -> None:
    await asyncio.to_thread(place, activities)
    began = datetime.now(BERLIN)
    with ThreadPoolExecutor(MAX_ACTIVITIES) as threads:
        async with build_worker(perdure_env.client, SETTINGS.task_queue, activities, threads):
            await ensure(perdure_env.client, SETTINGS)
            report = await report_now(perdure_env.client)

    assert [mail.message_id for mail in inbox.messages()] == [report]
    assert began < datetime.now(BERLIN)
    assert "1 orders, charged 39.00" in text_of(inbox, 0)
