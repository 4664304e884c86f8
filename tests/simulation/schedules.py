"""Who makes schedules, changes, pauses, triggers and deletes them, and counts what must have come of them.

A *plain* schedule is never changed: each of its times is a run, a counted skip, or waits. A *moved* one is changed by
several people at once, who each read it, count one up and write it with the token that they read: no count is lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.schedule.v1 import BackfillRequest, Schedule, TriggerImmediatelyRequest

from perdure.clock import SECOND
from perdure.engine.execution import SCHEDULE
from perdure.engine.schedules.editing import forgotten
from perdure.errors import FailedPrecondition, NotFound
from tests.api.client import NAMESPACE, queue, values
from tests.simulation.ledger import Broken
from tests.simulation.sender import NO, Sender
from tests.support.schedules import create, delete, describe, moment, patch, update

MOVED = "moved"
PATIENT = (1, 2, 3, 6)
"""SKIP, BUFFER_ONE, BUFFER_ALL, ALLOW_ALL."""
RUTHLESS = (4, 5)
"""CANCEL_OTHER, TERMINATE_OTHER: of several that come at once, the last takes the place of the others, and nobody
counts them."""


class Scheduler(Sender):
    def __init__(self, simulation: Any, name: str, realm: Any = None) -> None:
        super().__init__(simulation, name, realm)
        self.plain: dict[str, int] = {}
        """Its interval in seconds."""
        self.ends: dict[str, int] = {}
        """After which it has no times, in microseconds."""
        self.asked: dict[str, int] = {}
        """How many runs were asked for by hand, of plain ones."""
        self.changes = 0
        """Acknowledged changes of the moved one."""

    async def act(self) -> None:
        acts = (self.make, self.trigger, self.backfill, self.change, self.pause, self.make_and_delete, self.list)
        act = self.chance.choices(acts, [3, 3, 2, 4, 2, 1, 1])[0]
        with suppress(*NO):
            await act()

    def _policy(self, schedule_id: str) -> Any:
        return self.chance.choice(PATIENT if schedule_id.endswith("0") else PATIENT + RUTHLESS)

    def _schedule(self, schedule_id: str, every: int) -> Schedule:
        made = Schedule()
        self._set_times(made, every)
        made.policies.overlap_policy = self._policy(schedule_id)
        made.policies.catchup_window.seconds = self.chance.choice([10, 60, 50_000])
        action = made.action.start_workflow
        action.workflow_id = f"{schedule_id}-run"
        action.workflow_type.name = "Plan"
        action.task_queue.CopyFrom(queue())
        plan = self.chance.choice([[], [["timer", 5]], [["activity", 2]], [["timer", 20_000]], [["fail"]]])
        action.input.CopyFrom(values(plan))
        action.workflow_task_timeout.seconds = 10
        return made

    def _set_times(self, made: Schedule, every: int) -> None:
        """Not for ever: where time skips, nothing else would happen any more."""
        made.spec.Clear()
        made.spec.interval.add().interval.seconds = every
        made.spec.end_time.seconds = self.simulation.now() // SECOND + 30 * every

    async def make(self) -> None:
        if self.chance.random() < 0.5:
            made = self._schedule(MOVED, 9000)
            made.policies.pause_on_failure = self.chance.random() < 0.5
            made.action.start_workflow.memo.fields["changes"].CopyFrom(values(0).payloads[0])
            await self.insist(create(made, MOVED, request_id="once"))
            return
        schedule_id = f"{self.name}-{len(self.plain)}"
        if len(self.plain) < 3:
            every = self.chance.choice([60, 9000, 30_000])
            made = self._schedule(schedule_id, every)
            await self.insist(create(made, schedule_id))
            self.plain[schedule_id], self.asked[schedule_id] = every, 0
            self.ends[schedule_id] = made.spec.end_time.seconds * SECOND
            await self._sees(schedule_id)

    async def _sees(self, schedule_id: str) -> Any:
        if self.realm.disk.load(SCHEDULE, schedule_id) is None:
            raise Broken(f"schedule {schedule_id} was acknowledged and is not on the disk")
        return await self.insist(describe(schedule_id))

    def _some_plain(self) -> str:
        if not self.plain:
            raise NotFound("none yet")
        return self.chance.choice(list(self.plain))

    async def trigger(self) -> None:
        schedule_id = self._some_plain()
        wanted = TriggerImmediatelyRequest(overlap_policy=self._policy(schedule_id))
        await self.insist(patch(schedule_id, self._uuid(), trigger_immediately=wanted))
        self.asked[schedule_id] += 1

    async def backfill(self) -> None:
        schedule_id = self._some_plain()
        every = self.plain[schedule_id]
        first = self.simulation.now() // SECOND - self.chance.randint(1, 10) * every
        last = first + self.chance.randint(0, 5) * every
        wanted = BackfillRequest(start_time=moment(first), end_time=moment(last))
        wanted.overlap_policy = self.chance.choice([0, self._policy(schedule_id)])
        await self.insist(patch(schedule_id, self._uuid(), backfill_request=[wanted]))
        self.asked[schedule_id] += self._times(schedule_id, first, last)

    def _times(self, schedule_id: str, first: int, last: int) -> int:
        every = self.plain[schedule_id]
        return max(0, min(last, self.ends[schedule_id] // SECOND) // every - (first - 1) // every)

    async def change(self) -> None:
        """As SDKs do: read, change, write if nobody else wrote."""
        said = await self.insist(describe(MOVED))
        made = said.schedule
        counted = made.action.start_workflow.memo.fields["changes"]
        counted.data = str(int(counted.data) + 1).encode()
        self._set_times(made, self.chance.choice([200, 9000, 30_000]))
        made.policies.overlap_policy = self._policy(MOVED)
        made.state.limited_actions = self.chance.random() < 0.3
        made.state.remaining_actions = 3
        request = update(made, MOVED, conflict_token=said.conflict_token, request_id=self._uuid())
        with suppress(FailedPrecondition):
            await self.insist(request)
            self.changes += 1

    async def pause(self) -> None:
        what = self.chance.choice(["pause", "unpause", "trigger_immediately"])
        wanted: Any = TriggerImmediatelyRequest() if what == "trigger_immediately" else self.name
        await self.insist(patch(MOVED, self._uuid(), **{what: wanted}))

    async def make_and_delete(self) -> None:
        schedule_id = f"{self.name}-gone"
        await self.insist(create(self._schedule(schedule_id, 9000), schedule_id, request_id=self._uuid()))
        await self._sees(schedule_id)
        with suppress(NotFound):  # a repeated call finds it gone
            await self.insist(delete(schedule_id))
        try:
            await self.insist(describe(schedule_id))
        except NotFound:
            return
        raise Broken(f"schedule {schedule_id} was deleted and is still there")

    async def list(self) -> None:
        reply = await self.insist(ws.ListSchedulesRequest(namespace=NAMESPACE, maximum_page_size=100))
        missing = {*self.plain} - {found.schedule_id for found in reply.schedules}
        records = [self.realm.disk.load(SCHEDULE, schedule_id)[0] for schedule_id in missing]
        if not all(forgotten(record, self.simulation.now()) for record in records if record.running):
            raise Broken(f"schedules {missing} were acknowledged and are not listed")

    # ---- the end
    async def finish(self) -> None:
        for schedule_id, every in self.plain.items():
            self._check_account(schedule_id, every)
            with suppress(NotFound):  # with nothing left to do, it is gone after a week
                await self.insist(delete(schedule_id))
        self.realm.ledger.changes += self.changes
        try:
            said = await self.insist(describe(MOVED))
        except NotFound:
            return  # never made, or another one was here first
        self.realm.ledger.counted = int(said.schedule.action.start_workflow.memo.fields["changes"].data)
        self._check_runs(MOVED)
        await self.insist(delete(MOVED))

    def _check_account(self, schedule_id: str, every: int) -> None:
        found = self.realm.disk.load(SCHEDULE, schedule_id)
        if found is None:
            raise Broken(f"schedule {schedule_id} is lost")
        record, _ = found
        state = record.state
        until = max(min(state.processed_until, self.ends[schedule_id]), record.started_at)
        due = until // (every * SECOND) - record.started_at // (every * SECOND)
        waits = len(state.buffer) + sum(
            self._times(schedule_id, next_ // SECOND, last // SECOND) for next_, last, _ in state.backfills
        )
        counted = {
            "acted": state.action_number,
            "skipped": state.overlap_skipped,
            "missed": state.missed_catchup_window,
            "dropped": state.buffer_dropped,
            "wait": waits,
        }
        wanted = due + self.asked[schedule_id]
        if sum(counted.values()) > wanted or (sum(counted.values()) < wanted and schedule_id.endswith("0")):
            raise Broken(f"schedule {schedule_id}: {due} were due, {self.asked[schedule_id]} asked for: {counted}")
        self._check_runs(schedule_id)

    def _check_runs(self, schedule_id: str) -> None:
        """What it believes to have started was started, and nothing else."""
        record, _ = self.realm.disk.load(SCHEDULE, schedule_id)
        if record.state.starting:
            raise Broken(f"schedule {schedule_id} never heard of {record.state.starting}")
        started = self.simulation.disk.rows(
            "select count(*) from search_values where name = 'TemporalScheduledById' and value = ?", schedule_id
        )
        if started[0][0] != record.state.action_count:
            raise Broken(f"schedule {schedule_id} started {record.state.action_count}, there are {started[0][0]}")
