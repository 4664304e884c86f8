"""A development server that kills itself at a named point: `crashing_server.py PORT DATABASE POINT HIT`.

Points are those of the store and the runtime: decided, sealed, before_commit, after_commit, before_delivery. The
process gets SIGKILL when it passes POINT the HIT-th time after it began to serve.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from perdure.api.handlers import all_handlers
from perdure.runtime.runtime import Runtime
from perdure.server import Parts, Server, Surroundings
from perdure.storage.sqlite import SqliteStore


class Trap:
    """Called with the name of each point as it is passed, on the loop's thread and on the writer's."""

    def __init__(self, point: str, hit: int) -> None:
        self._point = point
        self._left = hit
        self._armed = False

    def __call__(self, point: str) -> None:
        if not self._armed or point != self._point:
            return
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Count from now on."""
        self._armed = True

    def compose(self, given: Surroundings) -> Parts:
        store = SqliteStore(given.config.db_filename, pragmas=given.config.pragmas, points=self)
        runtime = Runtime(
            store, given.config, given.time, given.monotonic, given.entropy, given.log, failed=given.failed, points=self
        )
        return Parts(store, runtime, lambda: all_handlers(runtime))


async def main(port: int, database: str, point: str, hit: int) -> None:
    trap = Trap(point, hit)
    async with Server(database, port, compose=trap.compose) as server:
        trap.arm()
        sys.exit(str(await server.failed()))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
