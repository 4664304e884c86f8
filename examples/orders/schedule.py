"""The daily report as a Temporal Schedule: weekdays at 9:00. The worker sees to it that there is one."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from examples.orders import temporal
from examples.orders.settings import Settings
from examples.orders.workflows import DailyReportWorkflow

SCHEDULE_ID = "daily-report"
WEEKDAYS_AT_NINE = "0 9 * * MON-FRI"


def daily_report(task_queue: str, time_zone: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(DailyReportWorkflow.run, id=SCHEDULE_ID, task_queue=task_queue),
        spec=ScheduleSpec(cron_expressions=[WEEKDAYS_AT_NINE], time_zone_name=time_zone),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        state=ScheduleState(note="what happened since the last report, by mail to operations"),
    )


async def ensure(client: Client, settings: Settings) -> bool:
    """Create the schedule unless it is there, changed or paused by somebody as it may be; whether it was created."""
    try:
        await client.create_schedule(SCHEDULE_ID, daily_report(settings.task_queue, settings.time_zone))
    except ScheduleAlreadyRunningError:
        return False
    return True


async def report_now(client: Client) -> str:
    """Have the report written once, beside those that are due; its Message-ID."""
    handle = client.get_schedule_handle(SCHEDULE_ID)
    before = (await handle.describe()).info.num_actions
    await handle.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
    async with asyncio.timeout(30):  # other servers act on a trigger only after they answered
        while True:
            info = (await handle.describe()).info
            if info.num_actions > before:
                break
            await asyncio.sleep(0.1)
    started = info.recent_actions[-1].action
    assert isinstance(started, ScheduleActionExecutionStartWorkflow)
    report = client.get_workflow_handle_for(
        DailyReportWorkflow.run, started.workflow_id, run_id=started.first_execution_run_id
    )
    return await report.result()


async def create(client: Client, schedule: Schedule) -> str:
    """Create the schedule, or bring an existing one up to date."""
    try:
        await client.create_schedule(SCHEDULE_ID, schedule)
    except ScheduleAlreadyRunningError:

        def replace(current: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule.state = current.description.schedule.state  # a paused schedule stays paused
            return ScheduleUpdate(schedule)

        await client.get_schedule_handle(SCHEDULE_ID).update(replace)
        return "updated"
    return "created"


async def run(command: str) -> None:
    settings = Settings.from_environment()
    client = await temporal.connect(settings, report=logging.warning)
    handle = client.get_schedule_handle(SCHEDULE_ID)
    match command:
        case "create":
            done = await create(client, daily_report(settings.task_queue, settings.time_zone))
            print(f"schedule {SCHEDULE_ID!r} {done}")
        case "show":
            info = (await handle.describe()).info
            print(f"ran {info.num_actions} times; next: {', '.join(map(str, info.next_action_times[:3]))}")
        case "trigger":
            print(f"the report is in the mail as {await report_now(client)}")
        case "delete":
            await handle.delete()
            print(f"schedule {SCHEDULE_ID!r} deleted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("create", "show", "trigger", "delete"))
    try:
        asyncio.run(run(parser.parse_args().command))
    except RPCError as error:
        sys.exit(f"the server refused: {error.status.name}: {error}")


if __name__ == "__main__":
    main()
