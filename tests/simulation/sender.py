"""Who calls a simulated server and repeats what got lost."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from perdure.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from tests.simulation.network import Lost
from tests.simulation.plans import QUEUES

if TYPE_CHECKING:
    from tests.simulation.realms import Realm
    from tests.simulation.simulation import Simulation

TRY_AGAIN = (Lost, Unavailable, ResourceExhausted, TimeoutError)
NO = (NotFound, AlreadyExists, InvalidArgument, FailedPrecondition)


class Sender:
    """One sender: it goes on to its next message only when the one before was answered for good."""

    def __init__(self, simulation: Simulation, name: str, realm: Realm | None = None) -> None:
        self.simulation = simulation
        self.realm = realm or simulation.realm
        self.chance = random.Random(f"{simulation.seed} {name}")
        self.name = name
        self.sent = 0

    async def insist(self, request: Any, within: float = 10.0, note: str = "") -> Any:
        """Repeat a call with its request ID until it is answered for good."""
        while True:
            try:
                return await self.simulation.network.call(request, within=within)
            except TRY_AGAIN:
                if note:
                    self.realm.ledger.repeated.add(note)
                await asyncio.sleep(0.02 + self.chance.random() * 0.3)

    async def act(self) -> None:
        """One thing at random."""

    async def finish(self) -> None:
        """The last thing: all acts are over, and there are no more faults."""

    def some_id(self) -> str:
        return f"w{self.chance.randrange(8)}"

    def some_queue(self) -> str:
        return self.chance.choices(QUEUES, [3, 1])[0]

    def _uuid(self) -> str:
        return f"{self.name}-{self.chance.getrandbits(64):x}"
