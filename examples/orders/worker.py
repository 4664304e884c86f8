"""The worker: runs the shop's workflows and activities until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from examples.orders import payments, schedule, temporal
from examples.orders.activities import OrderActivities
from examples.orders.database import migrate, open_database, sessions
from examples.orders.mail import Mailer
from examples.orders.payments import Payments
from examples.orders.settings import Settings
from examples.orders.workflows import DailyReportWorkflow, NotificationsWorkflow, OrderWorkflow

MAX_ACTIVITIES = 50
MAX_WORKFLOW_TASKS = 100

log = logging.getLogger("orders.worker")


def build_worker(client: Client, task_queue: str, activities: OrderActivities, threads: ThreadPoolExecutor) -> Worker:
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[OrderWorkflow, NotificationsWorkflow, DailyReportWorkflow],
        activities=[
            activities.validate_order,
            activities.charge_payment,
            activities.refund_payment,
            activities.allocate_stock,
            activities.release_stock,
            activities.send_mail,
            activities.notify_warehouse,
            activities.escalate,
            activities.close_order,
            activities.send_daily_report,
        ],
        activity_executor=threads,
        max_concurrent_workflow_tasks=MAX_WORKFLOW_TASKS,
        max_concurrent_activities=MAX_ACTIVITIES,
        graceful_shutdown_timeout=timedelta(seconds=10),
    )


async def run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    engine = open_database(settings.database_url, pool_size=MAX_ACTIVITIES)
    await asyncio.to_thread(migrate, engine)
    connecting = asyncio.create_task(temporal.connect(settings, report=log.warning))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        connecting.cancel()
        return
    client = await connecting
    if await schedule.ensure(client, settings):
        log.info("the daily report is scheduled")
    activities = OrderActivities(
        sessions(engine), Payments(payments.connect(settings)), Mailer(settings), settings.operations_email
    )
    with ThreadPoolExecutor(MAX_ACTIVITIES, thread_name_prefix="activity") as threads:
        async with build_worker(client, settings.task_queue, activities, threads):
            log.info("working on task queue %r at %s", settings.task_queue, settings.temporal_address)
            await stopping
            log.info("stopping: finishing what has begun")
    engine.dispose()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(run(Settings.from_environment()))


if __name__ == "__main__":
    main()
