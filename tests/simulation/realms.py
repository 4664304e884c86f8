"""The namespaces of a simulated cluster. Each has people, workers and a ledger of its own, and the workflow IDs are the
same in all: whatever crosses from one to another is found where nobody of that namespace put it."""

from __future__ import annotations

from temporalio.api.namespace.v1 import NamespaceConfig

from perdure.clock import SECOND
from tests.api.client import NAMESPACE
from tests.simulation.ledger import Ledger
from tests.simulation.store import Disk, Shelf
from tests.simulation.witness import Witness

BESIDE = "beside"
FOR_GOOD = 10_000 * 86_400
"""Seconds: time jumps by more than a day's retention, and what was acknowledged is looked for in the end."""
SHORT = 3600


class Realm:
    def __init__(self, disk: Disk, name: str = NAMESPACE, retention: int = FOR_GOOD) -> None:
        self.name = name
        self.retention = retention
        """Of closed runs, in seconds."""
        self.disk = Shelf(disk, name)
        self.ledger = Ledger()
        self.witness = Witness(self.disk, self.ledger)

    @property
    def config(self) -> NamespaceConfig:
        config = NamespaceConfig()
        config.workflow_execution_retention_ttl.seconds = self.retention
        return config

    def is_old(self, closed_at: int, now: int) -> bool:
        """Whether a run that closed then may be gone now; microseconds."""
        return 0 < closed_at <= now - self.retention * SECOND
