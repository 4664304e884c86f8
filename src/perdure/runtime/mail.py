"""Messages between executions: decided at the receiver in the same batch when that is possible, else through the
outbox.

The outbox row is written with the sender's turn and deleted in the receiver's transaction: delivery is exactly once.
One sender's messages to one receiver keep their order: what has a row is decided in the order of the numbers, and while
any of it is on its way, nothing takes the short cut. When a batch is refused, what was delivered in it is on its way
again before anything is decided anew.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from perdure.call import PENDING
from perdure.engine import messages
from perdure.engine.kinds import KINDS
from perdure.engine.messages import Message
from perdure.engine.stale import Stale
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

    __slots__ = ("again", "delivered", "entered", "lost", "message", "message_no")

    def __init__(self, runtime: Runtime, message: Message, message_no: int) -> None:
        key = (message.to_namespace_id, message.TO, message.to_workflow_id)
        super().__init__(runtime, key, message.to_run_id, starts=True)
        self.message = message
        self.message_no = message_no
        self.lost = False
        """The batch with its row was refused, and with it the sender's turn: decided again, that sends another one."""
        self.entered = False
        """It is among the inputs of its receiver, or was decided."""
        self.delivered = False
        """The receiver has decided on it."""
        self.again = False
        """That was refused: it is on its way again."""

    def decide(self, shared: Shared, run: Any) -> Outcome:
        if self.message_no and (self.lost or self.runtime.mail.first(self.key) is not self):
            self.entered = False  # an earlier one was refused since this one came: it has its turn after that
            raise Stale
        KINDS[self.key[1]].deliver(shared, run, self.message)
        return Outcome(PENDING)

    def decided(self) -> None:
        if self.message_no and self.error is None and self.entered:
            committer = self.runtime.committer
            committer.message_delivered(self.message_no)
            loaded = self.runtime.executions.peek(self.key)
            if loaded is not None:
                committer.depend(loaded)  # what it brought about elsewhere stands and falls with that batch
            self.delivered = True
            self.runtime.mail.delivered(self)

    def answer(self) -> None:
        if self.error is not None:
            self.give_up(self.error)

    def undone(self) -> None:
        if self.lost or not self.message_no:
            return  # the sender's turn was refused too: when it is decided again it sends again
        if self.delivered:
            self.delivered = False
            self.again = True
            self.runtime.mail.put(self)
        elif self.error is not None:
            self.again = True

    def refused(self) -> None:
        if not self.again:
            return
        self.again = False
        if self.attempts >= ATTEMPTS:
            self.give_up(PerdureError("the store refused the write"))
            return
        self.reply = self.error = None
        self.entered = False
        self.runtime.mail.next(self.key)

    def give_up(self, error: PerdureError) -> None:
        """The row is still there: try again a little later. Without one, the sender's turn is not written either, and
        is decided again."""
        if not self.message_no or self.lost:
            return
        self.runtime.log.warning(
            "message not delivered, will retry", receiver=self.message.to_workflow_id, error=error.message
        )
        self.attempts = 0
        self.reply = self.error = None
        self.delivered = self.again = self.entered = False
        if isinstance(error, Internal):
            self.runtime.mail.put_aside(self)
        else:
            self.runtime.mail.rest(self.key)


class _Row:
    """Waits for the batch with a message's row. Its delivery may still wait for a read when that is refused."""

    __slots__ = ("_delivery",)
    key: Key | None = None

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def answer(self) -> None:
        """The message will be delivered, whatever happens."""

    def undone(self) -> None:
        self._delivery.lost = True
        self._delivery.runtime.mail.on_way.discard(self._delivery.message_no)

    def refused(self) -> None:
        self._delivery.runtime.mail.next(self._delivery.key)

    def give_up(self, error: PerdureError) -> None:
        self.undone()
        self.refused()


class Mail:
    def __init__(self, runtime: Runtime, message_no: int) -> None:
        self._runtime = runtime
        self._message_no = message_no
        self.on_way: set[int] = set()
        """Numbers of the messages in the outbox that their receivers have not decided on yet."""
        self._waiting: dict[Key, list[tuple[int, Delivery]]] = {}
        """The same by receiver, as heaps by number. Only the first of each is with its receiver."""
        self._resting: set[Key] = set()
        """Receivers that can take nothing just now."""

    def start(self) -> None:
        """Deliver what a previous process left in the outbox."""
        after = 0
        while rows := self._runtime.store.load_outbox(after, PAGE):
            for row in rows:
                self.put(Delivery(self._runtime, messages.decode(row.blob), row.message_no))
            after = rows[-1].message_no
        for key in list(self._waiting):
            self.next(key)

    def send(self, message: Message) -> None:
        runtime = self._runtime
        item = Delivery(runtime, message, 0)
        late = item.key in self._waiting
        if not message.SLOW and not late and not runtime.committer.full and runtime.ready(item):
            runtime.enter(item)
            return
        self._message_no += 1
        item.message_no = self._message_no
        self.put(item)
        runtime.committer.add_message(
            OutboxWrite(
                item.message_no,
                message.to_namespace_id,
                message.TO,
                message.to_workflow_id,
                messages.encode(message),
            )
        )
        runtime.committer.follow(_Row(item), runtime.committer.open_no)
        self.next(item.key)

    # ---- one after the other
    def put(self, delivery: Delivery) -> None:
        """It is on its way."""
        self.on_way.add(delivery.message_no)
        heappush(self._waiting.setdefault(delivery.key, []), (delivery.message_no, delivery))

    def first(self, key: Key) -> Delivery | None:
        """Whose turn it is at that receiver."""
        heap = self._waiting.get(key)
        if heap is None:
            return None
        while heap and heap[0][1].lost:
            heappop(heap)
        if heap:
            return heap[0][1]
        del self._waiting[key]
        return None

    def next(self, key: Key) -> None:
        """Have the receiver take the first, unless it has it already or rests."""
        delivery = self._leaves(key)
        if delivery is not None:
            self._runtime.enter(delivery)

    def _leaves(self, key: Key) -> Delivery | None:
        delivery = self.first(key)
        if delivery is None or delivery.entered or key in self._resting:
            return None
        delivery.entered = True
        return delivery

    def delivered(self, delivery: Delivery) -> None:
        """The receiver decided on the first: the next one follows in the same round."""
        heappop(self._waiting[delivery.key])
        self.on_way.discard(delivery.message_no)
        follows = self._leaves(delivery.key)
        if follows is not None:
            self._runtime.decisions.enter_next(follows)

    # ---- what goes wrong
    def rest(self, key: Key) -> None:
        """That receiver can take nothing: try again in a moment. What comes later does not overtake."""
        if key not in self._resting:
            self._resting.add(key)
            self._runtime.alarms.after(RETRY_SECONDS, lambda: self._rested(key))

    def _rested(self, key: Key) -> None:
        self._resting.discard(key)
        self.next(key)

    def put_aside(self, delivery: Delivery) -> None:
        """It met a defect, and is tried again much later: others need not wait for that."""
        heap = self._waiting.get(delivery.key, [])
        heap[:] = [waiting for waiting in heap if waiting[1] is not delivery]
        heapify(heap)
        alarms = self._runtime.alarms
        alarms.after(DEFECT_SECONDS, lambda: self._back(delivery))
        alarms.after(0.0, lambda: self.next(delivery.key))  # not from within: it may meet the same defect

    def _back(self, delivery: Delivery) -> None:
        self.put(delivery)
        self.next(delivery.key)
