"""The workflows in the databases. Histories are replayed for as long as the databases are kept: add, never change.

Activities have names only; whoever runs them (the maker, which leaves them pending, or the test) has its own.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

QUEUE = "upgrade"
LATER = "later"
"""Nobody works on it while the database is made."""
HELD = "held"
"""Its tasks are taken by hand while the database is made."""
ALONE = "alone"
"""Of standalone activities, likewise."""
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

COLOUR = SearchAttributeKey.for_keyword("Colour")
WEIGHT = SearchAttributeKey.for_int("Weight")
NOTE = SearchAttributeKey.for_text("Note")
TAGS = SearchAttributeKey.for_keyword_list("Tags")


@workflow.defn
class Nap:
    @workflow.run
    async def run(self, seconds: int) -> str:
        await asyncio.sleep(seconds)
        return "rested"


@workflow.defn
class Act:
    """One activity; `retry_after` seconds lie between its attempts."""

    @workflow.run
    async def run(self, name: str, queue: str, retry_after: int) -> str:
        return str(
            await workflow.execute_activity(
                name,
                task_queue=queue,
                start_to_close_timeout=MINUTE,
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=retry_after)),
            )
        )


@workflow.defn
class ActMany:
    """So many activities that they outgrow the run's core."""

    @workflow.run
    async def run(self, count: int) -> int:
        acts = [
            workflow.execute_activity("step", "x" * 400, task_queue=LATER, start_to_close_timeout=MINUTE)
            for _ in range(count)
        ]
        return len(await asyncio.gather(*acts))


@workflow.defn
class GiveUp:
    """An activity that is asked to cancel while it runs."""

    def __init__(self) -> None:
        self.enough = False

    @workflow.run
    async def run(self) -> str:
        running = workflow.start_activity(
            "hang",
            task_queue=QUEUE,
            start_to_close_timeout=MINUTE,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.wait_condition(lambda: self.enough)
        running.cancel()
        try:
            await running
        except ActivityError:
            return "given up"
        return "went well"

    @workflow.signal
    def stop(self) -> None:
        self.enough = True


@workflow.defn
class Hear:
    """Ends when it has heard `count` notes; obeys a cancel request."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @workflow.run
    async def run(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.notes) >= count)
        return self.notes

    @workflow.signal
    def note(self, text: str) -> None:
        self.notes.append(text)


@workflow.defn
class Change:
    """Updates that wait for a signal, and updates that do not."""

    def __init__(self) -> None:
        self.value = 0
        self.released = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.released and workflow.all_handlers_finished())
        return self.value

    @workflow.update
    async def add(self, number: int) -> int:
        self.value += number
        return self.value

    @workflow.update
    async def add_later(self, number: int) -> int:
        await workflow.wait_condition(lambda: self.released)
        self.value += number
        return self.value

    @workflow.signal
    def release(self) -> None:
        self.released = True


@workflow.defn
class Mother:
    @workflow.run
    async def run(self, child_id: str, seconds: int) -> str:
        said = await workflow.execute_child_workflow(Nap.run, seconds, id=child_id)
        return f"child {said}"


@workflow.defn
class Chain:
    """Continues as new until nothing is left, then takes a nap."""

    @workflow.run
    async def run(self, left: int, done: int) -> str:
        if left:
            workflow.continue_as_new(args=[left - 1, done + 1])
        await asyncio.sleep(3600)
        return f"after {done} others"


@workflow.defn
class Flaky:
    @workflow.run
    async def run(self) -> str:
        attempt = workflow.info().attempt
        if attempt == 1:
            raise ApplicationError("not yet")
        return f"attempt {attempt}"


@workflow.defn
class Tick:
    @workflow.run
    async def run(self) -> str:
        return "tick"


@workflow.defn
class Writer:
    """Starts a child, signals one workflow and cancels another, all at once."""

    @workflow.run
    async def run(self, child_id: str, reader_id: str, sleeper_id: str) -> str:
        reader = workflow.get_external_workflow_handle(reader_id)
        sleeper = workflow.get_external_workflow_handle(sleeper_id)
        child = workflow.execute_child_workflow(Nap.run, 60, id=child_id)
        _, _, rested = await asyncio.gather(reader.signal("note", "a letter"), sleeper.cancel(), child)
        return f"child {rested}"


@workflow.defn
class Index:
    """Upserts search attributes and memo; leaves markers of a patch and a local activity."""

    @workflow.run
    async def run(self) -> str:
        workflow.upsert_search_attributes([COLOUR.value_set("green"), WEIGHT.value_set(7)])
        workflow.upsert_memo({"note": "fragile"})
        workflow.patched("first")
        said: Any = await workflow.execute_local_activity("local", start_to_close_timeout=MINUTE)
        await asyncio.sleep(3600)
        return str(said)


WORKFLOWS = (Nap, Act, ActMany, GiveUp, Hear, Change, Mother, Chain, Flaky, Tick, Writer, Index)
