"""Effects: what a turn wants done beside what it writes, as data. The runtime carries it out in the same round."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from perdure.engine.messages import Message
from perdure.engine.state import Run
from perdure.errors import PerdureError


class OfferWorkflowTask(Struct, eq=False):
    """Give the run's pending workflow task to matching (queue and stickiness are in the task), if that is still the one
    with `stamp` when this is carried out: another one was offered when it took its place."""

    run: Run
    stamp: int


class OfferActivityTask(Struct, eq=False):
    """Of a workflow's run; with `scheduled_event_id` 0 that of a standalone activity's record."""

    run: Any
    scheduled_event_id: int


class Send(Struct, eq=False):
    message: Message


class Closed(Struct, eq=False):
    """The run closed: waiting queries, updates and polls must be told."""

    run: Run


class UpdateProgress(Struct, frozen=True):
    """How far an update is. `stage` is a number of enums.UpdateWorkflowExecutionLifecycleStage, `outcome` a serialised
    temporal.api.update.v1.Outcome (with COMPLETED only). `error`: it came to nothing, and its callers hear why."""

    stage: int = 0
    outcome: bytes = b""
    error: PerdureError | None = None


class UpdateAdmitted(Struct, eq=False):
    """The run holds an update that no worker has seen. Nothing of it is durable."""

    run: Run
    update_id: str


class UpdatesMoved(Struct, eq=False):
    """Updates got on, by update ID: what each is at the end of the turn."""

    run: Run
    progress: dict[str, UpdateProgress]


class Rearm(Struct, eq=False):
    """The run's deadlines moved although the turn writes nothing: those of speculative tasks."""

    run: Run


class Forget(Struct, eq=False):
    """Delete the run with the batch that this turn joins. It must be closed."""

    run: Any
    """A Run, or a Record of another kind."""


class ListTargets(Struct, eq=False):
    """Look up a page of what a batch job is about (`engine/batches`)."""

    record: Any


Effect = (
    OfferWorkflowTask | OfferActivityTask | Send | Closed | UpdateAdmitted | UpdatesMoved | Rearm | Forget | ListTargets
)
