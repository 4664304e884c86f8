"""Messages under way: readable, addressed as their rows say, once each, and from a sender that waits for what they
bring about.

What is under way is kept in memory as a few keys a message: whoever waits for another execution must be among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from temporalio.api.history.v1 import HistoryEvent

from perdure.doctor.findings import BACKUP, Finding
from perdure.doctor.subject import UNREADABLE, Others
from perdure.engine import messages
from perdure.engine.kinds import KINDS
from perdure.engine.messages import (
    BatchOperation,
    BatchResult,
    CancelExternal,
    ChildClosed,
    ChildStarted,
    ChildStartFailed,
    ExternalResult,
    Message,
    ParentReady,
    ScheduledClosed,
    ScheduledRefused,
    ScheduledStarted,
    SignalExternal,
    StartChild,
    StartScheduled,
)
from perdure.engine.state import CANCEL, CHILD, SIGNAL
from perdure.storage.store import OutboxWrite

Link = tuple[str, str, int]
"""What a message is about: a word, the run ID at its waiting end, and the number the wait has there."""

_SENT_OF = {StartChild: "start", SignalExternal: "signal", CancelExternal: "cancel"}


def link_of(message: Message) -> Link | None:
    """What `Mail.on_way` knows it by; None of a message that nobody waits for."""
    match message:
        case StartChild() | SignalExternal() | CancelExternal():
            return _SENT_OF[type(message)], message.from_run_id, _initiated(message)
        case ChildStarted():
            return "started", message.to_run_id, message.initiated_event_id
        case ChildStartFailed():
            return "start failed", message.to_run_id, message.initiated_event_id
        case ChildClosed():
            return "closed", message.to_run_id, message.initiated_event_id
        case ParentReady():
            return "ready", message.to_run_id, 0
        case ExternalResult():
            what = "cancel result" if message.cancel else "signal result"
            return what, message.to_run_id, message.initiated_event_id
        case StartScheduled():
            return "scheduled start", message.from_run_id, message.number
        case ScheduledStarted() | ScheduledRefused():
            return "scheduled started", message.to_run_id, message.number
        case ScheduledClosed():
            return "scheduled closed", message.to_run_id, message.number
        case BatchOperation():
            return "operation", message.from_run_id, message.number
        case BatchResult():
            return "result", message.to_run_id, message.number
        case _:
            return None


def _initiated(message: StartChild | SignalExternal | CancelExternal) -> int:
    return HistoryEvent.FromString(message.initiated).event_id


class Mail:
    """The outbox, read once."""

    def __init__(self, rows: Iterable[OutboxWrite], tell: Callable[[Finding], None]) -> None:
        self.count = 0
        self._on_way: dict[tuple[str, str], set[int]] = {}
        self._senders: list[tuple[int, str, str, Link]] = []
        self._tell = tell
        for row in rows:
            self.count += 1
            self._take(row)

    def on_way(self, run_id: str, number: int, *words: str) -> bool:
        """Whether one of these messages is under way."""
        return any(number in self._on_way.get((word, run_id), ()) for word in words)

    def numbers(self, run_id: str, word: str) -> set[int]:
        """Of all such messages that are under way."""
        return self._on_way.get((word, run_id), set())

    def _take(self, row: OutboxWrite) -> None:
        try:
            message = messages.decode(row.blob)
            link = link_of(message)
        except UNREADABLE as error:
            self._report("message-unreadable", row.message_no, f"cannot be read ({error})")
            return
        place = (message.to_namespace_id, message.TO, message.to_workflow_id)
        if place != (row.namespace_id, row.kind, row.execution_id) or row.kind not in KINDS:
            self._report("message-address", row.message_no, f"is for {place}, its row says {row.execution_id!r}")
        if link is None:
            return
        word, run_id, number = link
        numbers = self._on_way.setdefault((word, run_id), set())
        if number in numbers:
            self._report("message-twice", row.message_no, f"({word} {number} of run {run_id}) is under way twice")
        numbers.add(number)
        if isinstance(message, StartChild | SignalExternal | CancelExternal):
            self._senders.append((row.message_no, message.from_namespace_id, message.from_workflow_id, link))

    def check_senders(self, others: Others) -> None:
        """An open sender waits for what it asked for (a closed one may have sent it just before)."""
        for message_no, namespace_id, workflow_id, (word, run_id, number) in self._senders:
            sort = {"start": CHILD, "signal": SIGNAL, "cancel": CANCEL}[word]
            sender = others.run(namespace_id, workflow_id, run_id, (sort, str(number)))
            if sender is None or not sender.running:
                continue
            pending = {CHILD: sender.children.keys(), SIGNAL: sender.signals.keys(), CANCEL: sender.cancels.keys()}
            if number not in pending[sort]:
                wrong = f"({word} {number}) is from {workflow_id!r}, run {run_id}, which does not wait for it"
                self._report("message-sender", message_no, wrong)

    def _report(self, check: str, message_no: int, wrong: str) -> None:
        self._tell(Finding(check, f"message {message_no} {wrong}", BACKUP))
