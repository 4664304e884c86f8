"""What is waiting to be decided, and what happens when its batch lands or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from perdure.call import Pending, Reply, Waiter
from perdure.errors import Internal, PerdureError, Unavailable

if TYPE_CHECKING:
    from perdure.runtime.executions import Key
    from perdure.runtime.runtime import Runtime

ATTEMPTS = 3
"""How often an input is decided when its batches are refused, before its caller is told."""


RETRY_SECONDS = 1.0
"""What must not get lost is tried again so much later, when the store could not be read or written."""

DEFECT_SECONDS = 60.0
"""The same after a defect, which disturbs all that is being decided at the time."""


class Outcome(Struct, eq=False):
    """A turn's result when it wrote something and is nevertheless answered with an error (a refused completion), or
    when something must be done once it is durable (`committed`, before the reply leaves)."""

    reply: Reply | Pending | None = None
    error: PerdureError | None = None
    committed: Callable[[], None] | None = None


class Entry:
    """One thing to decide at one execution. Decided again when its batch is refused.

    `decide` gets a Turn of the run named (the current one when `run_id` is empty); with `starts` it gets the Shared
    and the run or None. It must be pure but for the turn: it may be called again.

    Subclasses have a method of that name. It is never kept in the entry itself: an entry that refers to itself keeps
    its call, and with it the run and its history, in memory until the garbage collector comes.
    """

    decide: Callable[..., Any]

    __slots__ = (
        "attempts",
        "committed",
        "error",
        "key",
        "loaded_events",
        "readings",
        "reply",
        "run_id",
        "runtime",
        "starts",
        "waiter",
    )

    def __init__(
        self,
        runtime: Runtime,
        key: Key,
        run_id: str,
        waiter: Waiter | None = None,
        *,
        starts: bool = False,
    ) -> None:
        self.runtime = runtime
        self.key = key
        self.run_id = run_id
        self.waiter = waiter
        self.starts = starts
        self.attempts = 0
        self.reply: Reply | Pending | None = None
        self.error: PerdureError | None = None
        self.committed: Callable[[], None] | None = None
        self.loaded_events: dict[tuple[str, int], Any] = {}
        self.readings: dict[str, Any] = {}

    def postponed(self) -> None:
        """Called when it cannot be decided in the round in which it came: something must be loaded first, or others
        are before it."""

    def decided(self) -> None:
        """Called in the round of the decision, when what it wrote has joined the open batch."""

    def answer(self) -> None:
        """All that the decision depends on is durable: tell the caller."""
        error = self.error
        committed = self.committed
        if committed is not None:
            try:
                committed()
            except PerdureError as failed:  # what the answer is made of cannot be read
                error = failed
        waiter = self.waiter
        if waiter is None:
            return
        if error is not None:
            waiter.fail(error)
        else:
            reply = self.reply
            if reply is not None and not isinstance(reply, Pending):
                waiter.finish(reply)

    def undone(self) -> None:
        """The batch did not land, and nothing is decided again yet."""

    def refused(self) -> None:
        """The batch did not land: decide again, or give up."""
        if self.attempts >= ATTEMPTS:
            self.give_up(Unavailable(f"the store refused the write, please retry ({self.runtime.committer.trouble})"))
            return
        self.reply = self.error = self.committed = None
        self.runtime.enter(self)

    def give_up(self, error: PerdureError) -> None:
        """It cannot be decided now."""
        if self.waiter is not None:
            self.waiter.fail(error)


class Input(Entry):
    """An entry that is decided by the function it was given."""

    __slots__ = ("decide",)

    def __init__(
        self,
        runtime: Runtime,
        key: Key,
        run_id: str,
        decide: Callable[..., Any],
        waiter: Waiter | None = None,
        *,
        starts: bool = False,
    ) -> None:
        Entry.__init__(self, runtime, key, run_id, waiter, starts=starts)
        self.decide = decide


class Insistent(Input):
    """An input of our own that somebody depends on without waiting for it: when it cannot be decided now, it is tried
    again later. `decide` refuses only when there is nothing left to do, as its run is gone."""

    __slots__ = ()

    def give_up(self, error: PerdureError) -> None:
        self.attempts = 0
        enter_later(self, error)


def wait_after(error: PerdureError) -> float:
    """In so many seconds, what `error` tells of may be over."""
    return DEFECT_SECONDS if isinstance(error, Internal) else RETRY_SECONDS


def enter_later(item: Entry, error: PerdureError) -> None:
    item.runtime.alarms.after(wait_after(error), lambda: item.runtime.enter(item))
