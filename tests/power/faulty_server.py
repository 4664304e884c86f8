"""`perdure` on a disk that breaks when a file appears: `faulty_server.py TRIGGER OPERATION OF ARGUMENTS...`.

OPERATION ("sync", "write", "read") on files whose names end with OF fails from the moment TRIGGER exists.
"""

from __future__ import annotations

import os
import sys

from perdure.api.handlers import all_handlers
from perdure.cli.main import main
from perdure.runtime.runtime import Runtime
from perdure.server import Parts, Surroundings
from perdure.storage.sqlite import SqliteStore
from tests.power.faults import BROKEN, FaultyVFS


class Triggered(FaultyVFS):
    def __init__(self, trigger: str, operation: str, of: str) -> None:
        super().__init__()
        self._trigger = trigger
        self.break_down(operation, of, BROKEN)

    def check(self, operation: str, name: str) -> None:
        if os.path.exists(self._trigger):
            super().check(operation, name)

    def compose(self, given: Surroundings) -> Parts:
        store = SqliteStore(given.config.db_filename, monotonic=given.monotonic, vfs=self.name)
        runtime = Runtime(
            store, given.config, given.time, given.monotonic, given.entropy, given.log, failed=given.failed
        )
        return Parts(store, runtime, lambda: all_handlers(runtime))


if __name__ == "__main__":
    main(sys.argv[4:], compose=Triggered(*sys.argv[1:4]).compose)
