"""Messages between executions: decided at the receiver in the same batch when that is possible, else through the
outbox.

The outbox row is written with the sender's turn and deleted in the receiver's transaction: delivery is exactly once,
and one sender's messages to one receiver keep their order, because a receiver with inputs waiting takes no short cut,
and one that cannot be read just now takes all that came meanwhile in its order.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any

from perdure.call import PENDING
from perdure.engine import messages
from perdure.engine.kinds import KINDS
from perdure.engine.messages import Message
from perdure.engine.turn import Shared
from perdure.errors import Internal, PerdureError
from perdure.runtime.inputs import ATTEMPTS, DEFECT_SECONDS, RETRY_SECONDS, Entry, Outcome
from perdure.storage.store import OutboxWrite

if TYPE_CHECKING:
    from perdure.runtime.executions import Key
    from perdure.runtime.runtime import Runtime

PAGE = 500


class Delivery(Entry):
    """A message at its receiver. `message_no` 0: it has no row, it lives and dies with the batch of its sender's
    turn."""

    __slots__ = ("lost", "message", "message_no", "row_batch_no")

    def __init__(self, runtime: Runtime, message: Message, message_no: int, row_batch_no: int) -> None:
        key = (message.to_namespace_id, message.TO, message.to_workflow_id)
        super().__init__(runtime, key, message.to_run_id, starts=True)
        self.message = message
        self.message_no = message_no
        self.row_batch_no = row_batch_no
        self.lost = False
        """The batch with its row was refused, and with it the sender's turn: decided again, that sends another one."""

    def decide(self, shared: Shared, run: Any) -> Outcome:
        if self.lost:
            return Outcome(PENDING)
        KINDS[self.key[1]].deliver(shared, run, self.message)
        return Outcome(PENDING)

    def decided(self) -> None:
        if self.message_no and self.error is None and not self.lost:
            committer = self.runtime.committer
            committer.message_delivered(self.message_no)
            loaded = self.runtime.executions.peek(self.key)
            if loaded is not None:
                committer.depend(loaded)  # what it brought about elsewhere stands and falls with that batch
            self.runtime.mail.on_way.discard(self.message_no)

    def answer(self) -> None:
        if self.error is not None:
            self.give_up(self.error)

    def refused(self) -> None:
        if not self.message_no or self.lost:
            return  # the sender's turn was refused too: when it is decided again it sends again
        self.runtime.mail.on_way.add(self.message_no)
        if self.attempts >= ATTEMPTS:
            self.give_up(PerdureError("the store refused the write"))
            return
        self.reply = self.error = None
        self.runtime.mail.enter(self)

    def give_up(self, error: PerdureError) -> None:
        """The row is still there: try again a little later. Without one, the sender's turn is not written either, and
        is decided again."""
        if not self.message_no:
            return
        self.runtime.log.warning(
            "message not delivered, will retry", receiver=self.message.to_workflow_id, error=error.message
        )
        self.attempts = 0
        self.error = None
        runtime = self.runtime
        if isinstance(error, Internal):  # others need not wait for a defect to be mended
            runtime.alarms.at(runtime.monotonic.now() + DEFECT_SECONDS, lambda: runtime.mail.enter(self))
        else:
            runtime.mail.later(self)


class _Row:
    """Waits for the batch with a message's row. Its delivery may still wait for a read when that is refused."""

    __slots__ = ("_delivery",)
    key: Key | None = None

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def answer(self) -> None:
        """The message will be delivered, whatever happens."""

    def refused(self) -> None:
        self._delivery.lost = True
        self._delivery.runtime.mail.on_way.discard(self._delivery.message_no)

    def give_up(self, error: PerdureError) -> None:
        self.refused()


class Mail:
    def __init__(self, runtime: Runtime, message_no: int) -> None:
        self._runtime = runtime
        self._message_no = message_no
        self.on_way: set[int] = set()
        """Numbers of the messages in the outbox that their receivers have not decided on yet."""
        self._late: dict[Key, list[Delivery]] = {}
        """What waits for receivers that can take nothing just now, in order: what comes later does not overtake it."""

    def later(self, delivery: Delivery) -> None:
        """Try again in a moment."""
        key = delivery.key
        waiting = self._late.get(key)
        if waiting is not None:
            insort(waiting, delivery, key=lambda other: other.message_no)
            return
        self._late[key] = [delivery]
        runtime = self._runtime
        runtime.alarms.at(runtime.monotonic.now() + RETRY_SECONDS, lambda: self._try_again(key))

    def _try_again(self, key: Key) -> None:
        for delivery in self._late.pop(key):
            self.enter(delivery)

    def enter(self, delivery: Delivery) -> None:
        if delivery.key in self._late:
            self.later(delivery)
        else:
            self._runtime.enter(delivery)

    def start(self) -> None:
        """Deliver what a previous process left in the outbox."""
        after = 0
        while rows := self._runtime.store.load_outbox(after, PAGE):
            for row in rows:
                self.on_way.add(row.message_no)
                self.enter(Delivery(self._runtime, messages.decode(row.blob), row.message_no, 0))
            after = rows[-1].message_no

    def send(self, message: Message) -> None:
        runtime = self._runtime
        item = Delivery(runtime, message, 0, 0)
        late = item.key in self._late
        if not message.SLOW and not late and not runtime.committer.full and runtime.ready(item):
            runtime.enter(item)
            return
        self._message_no += 1
        item.message_no = self._message_no
        self.on_way.add(item.message_no)
        item.row_batch_no = runtime.committer.open_no
        runtime.committer.add_message(
            OutboxWrite(
                item.message_no,
                message.to_namespace_id,
                message.TO,
                message.to_workflow_id,
                messages.encode(message),
            )
        )
        runtime.committer.follow(_Row(item), item.row_batch_no)
        self.enter(item)
