"""Who sets rate limits of task queues, fills the queues, and counts what comes through.

A meter knows when each task was started by the server's clock, which runs with the simulated one as long as nothing
disturbs it: no jump, no death, no change of a limit. Since the last disturbance, no window of time may hold more starts
than the burst and the rate allow.
"""

from __future__ import annotations

from bisect import insort
from contextlib import suppress
from math import ceil
from typing import Any

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.taskqueue.v1 import TaskQueueConfig

from perdure.clock import SECOND
from perdure.engine.execution import ACTIVITY
from tests.api.client import QUEUE, queue, values
from tests.simulation.ledger import Broken
from tests.simulation.plans import PARCELS
from tests.simulation.sender import NO, Sender

WORKFLOWS, ACTIVITIES = 1, 2
KEYS = ("k0", "k1", "k2")
LATENCY = 1.5
"""Seconds between leave to start a task and its start: reads that fail are tried again."""


class Limiter(Sender):
    def __init__(self, simulation: Any, name: str, realm: Any = None) -> None:
        super().__init__(simulation, name, realm)
        self.config: dict[tuple[str, int], TaskQueueConfig | None] = {}
        """What was acknowledged last, by queue and kind; None: of two changes at once, whichever came last."""
        self.worker_rate = self.chance.choice([0.0, 0.0, 0.5, 3.0])
        """What workers of activities say of themselves; 0: nothing."""
        self.weights: dict[tuple[str, str], float] = {}
        """The highest weight that a fairness key of a queue ever had: a task keeps the one that held when it came."""
        self.filled: list[str] = []
        """Activities of its own that it started."""
        self._changing = 0
        self._changes = 0
        self._since = 0
        self._started: dict[tuple[str, str], list[float]] = {}
        """When tasks were started since the last disturbance, by queue and fairness key; "" for all of the queue."""

    async def act(self) -> None:
        acts = (self.limit, self.weigh, self.fill, self.look)
        act = self.chance.choices(acts, [3, 2, 4, 2])[0]
        with suppress(*NO):
            await act()

    # ---- what it does
    async def _change(self, request: ws.UpdateTaskQueueConfigRequest) -> None:
        self._changing += 1
        self._changes += 1
        alone, changes = self._changing == 1, self._changes
        try:
            reply = await self.insist(request)
        finally:
            self._changing -= 1
            self.disturbed()
        known = alone and changes == self._changes
        self.config[request.task_queue, request.task_queue_type] = reply.config if known else None
        for key, weight in request.set_fairness_weight_overrides.items():
            at = (request.task_queue, key)
            self.weights[at] = max(weight, self.weights.get(at, 1.0))

    def _request(self, name: str, kind: int) -> ws.UpdateTaskQueueConfigRequest:
        return ws.UpdateTaskQueueConfigRequest(
            namespace=self.realm.name,
            identity=self.name,
            task_queue=name,
            task_queue_type=kind,  # type: ignore[arg-type]
        )

    async def limit(self) -> None:
        request = self._request(self.chance.choice([QUEUE, PARCELS, PARCELS]), ACTIVITIES)
        for update, rates in (
            (request.update_queue_rate_limit, [0.0, 0.5, 2.0, 10.0, None, None]),
            (request.update_fairness_key_rate_limit_default, [0.2, 1.0, 5.0, None]),
        ):
            if self.chance.random() < 0.6:
                rate = self.chance.choice(rates)
                update.reason = "spare the printer"
                if rate is not None:
                    update.rate_limit.requests_per_second = rate
        await self._change(request)

    async def weigh(self) -> None:
        request = self._request(PARCELS, self.chance.choice([WORKFLOWS, ACTIVITIES, ACTIVITIES]))
        for key in KEYS:
            fate = self.chance.random()
            if fate < 0.4:
                request.set_fairness_weight_overrides[key] = self.chance.choice([0.5, 2.0, 4.0])
            elif fate < 0.7:
                request.unset_fairness_weight_overrides.append(key)
        await self._change(request)

    async def fill(self) -> None:
        """More than comes through at once."""
        for _ in range(self.chance.randint(3, 8)):
            request = ws.StartActivityExecutionRequest(
                namespace=self.realm.name,
                activity_id=self._uuid(),
                request_id=self._uuid(),
                task_queue=queue(PARCELS),
                input=values(self.name, PARCELS),
            )
            request.activity_type.name = "Charge"
            request.start_to_close_timeout.seconds = 20
            request.schedule_to_close_timeout.seconds = 900
            request.heartbeat_timeout.seconds = 5
            request.retry_policy.maximum_attempts = 2
            request.priority.fairness_key = self.chance.choice(["", *KEYS])
            await self.insist(request)
            self.filled.append(request.activity_id)

    async def look(self) -> None:
        """What was acknowledged is what the server says, and what it will say after its death."""
        name, kind = self.chance.choice(list(self.config) or [(PARCELS, ACTIVITIES)])
        request = ws.DescribeTaskQueueRequest(
            namespace=self.realm.name,
            task_queue=queue(name),
            task_queue_type=kind,  # type: ignore[arg-type]
            report_config=True,
        )
        changes = self._changes
        said = (await self.insist(request)).config
        if self._changing or changes != self._changes:
            return  # limits were lifted meanwhile: either may be said
        known = self.config.get((name, kind), TaskQueueConfig())
        if known is not None and said != known:
            raise Broken(f"{name} was set to {known} and is said to be {said}")

    async def lift(self) -> None:
        """No limit any more, so that all can end."""
        self.worker_rate = 1e9
        for name, kind in list(self.config):
            if kind == ACTIVITIES:
                request = self._request(name, kind)
                request.update_queue_rate_limit.reason = request.update_fairness_key_rate_limit_default.reason = "done"
                await self._change(request)

    async def finish(self) -> None:
        await self.lift()  # a limit may have been under way when the others were lifted
        for activity_id in self.filled:
            for _ in range(2000):
                found = self.realm.disk.load(ACTIVITY, activity_id)
                if found is None or not found[0].running:
                    break
                await self.simulation.pass_time(1)
            else:
                raise Broken(f"activity {activity_id} never ends")

    # ---- what comes of it
    def disturbed(self) -> None:
        """From now on it is counted anew, but for what has leave already."""
        self._since = self.simulation.now() + int(LATENCY * SECOND)
        self._started.clear()

    def came(self, task: Any, polled: str) -> None:
        """A worker was handed an activity task."""
        simulation = self.simulation
        at = task.started_time.ToMicroseconds()
        if simulation.skipping or simulation.time.stands_at is not None or self._changing or at < self._since:
            return
        config = self.config.get((polled, ACTIVITIES), TaskQueueConfig())
        if config is None:
            return
        rate: float | None = self.worker_rate or None
        if config.queue_rate_limit.HasField("rate_limit"):
            rate = config.queue_rate_limit.rate_limit.requests_per_second
        self._count(polled, "", at, rate)
        key = task.priority.fairness_key
        if key and config.fairness_keys_rate_limit_default.HasField("rate_limit"):
            weight = self.weights.get((polled, key), 1.0)
            self._count(
                polled, key, at, config.fairness_keys_rate_limit_default.rate_limit.requests_per_second * weight
            )

    def _count(self, name: str, key: str, at: int, rate: float | None) -> None:
        if rate is None:
            return
        started = self._started.setdefault((name, key), [])
        insort(started, at / SECOND)
        for first, begin in enumerate(started):
            for last in range(first, len(started)):
                window = started[last] - begin
                if last - first + 1 > ceil(rate) * (rate > 0) + rate * (window + LATENCY):
                    raise Broken(f"{name} {key} lets {rate} a second through: {last - first + 1} came in {window}")
