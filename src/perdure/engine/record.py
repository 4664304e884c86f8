"""One run of an execution that is no workflow (a schedule, a batch job, a standalone activity): a header that every
kind has, the kind's own state, and items.

There is no history: state is all there is. A `RecordTurn` is to a record what `Turn` is to a workflow's run: it is made
for one input, and says what changed. Whoever decides checks everything that can be refused before writing anything.

Times are microseconds since 1970 UTC, durations microseconds; 0 is "none" for both.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from msgspec import msgpack

from perdure.engine.effects import Effect, Send
from perdure.engine.execution import Current
from perdure.engine.items import Fields
from perdure.engine.messages import Message
from perdure.engine.state import RUNNING, Changes
from perdure.engine.turn import Shared

FORMAT: Final = 1

HEADER: Final = (
    "namespace_id",
    "namespace",
    "execution_id",
    "run_id",
    "create_request_id",
    "status",
    "started_at",
    "closed_at",
    "memo",
    "search_attributes",
)
_HEADER: Final = attrgetter(*HEADER)


class Record:
    """`status` is 1 (RUNNING of enums.WorkflowExecutionStatus) while the execution is open; closed ones have numbers of
    their kind. `state` is the kind's own record; `items` are things of which there may be many, as (sort, key) to
    their bytes: written one by one once they outgrow the core (`RecordTurn.put_item`)."""

    __slots__ = (*HEADER, "changes", "extra", "items", "request_ids", "run_no", "spilled", "state", "version")

    namespace_id: str
    namespace: str
    execution_id: str
    run_id: str
    create_request_id: str
    status: int
    started_at: int
    closed_at: int
    memo: bytes
    """Serialised Memo."""
    search_attributes: dict[str, bytes]
    """Name to serialised Payload."""

    def __init__(self, state: Any) -> None:
        self.namespace_id = self.namespace = self.execution_id = self.run_id = self.create_request_id = ""
        self.status = RUNNING
        self.started_at = self.closed_at = 0
        self.memo = b""
        self.search_attributes = {}
        self.state = state
        self.items: dict[tuple[int, str], bytes] = {}
        self.request_ids: dict[str, tuple[int, int]] = {}
        self.extra: list[Any] = []
        """Stored header fields that this release does not know, kept as they are."""
        self.run_no = 0
        self.version = 0
        self.spilled = False
        self.changes = Changes()

    @property
    def running(self) -> bool:
        return self.status == RUNNING

    # What the shell asks of any run:
    @property
    def workflow_id(self) -> str:
        return self.execution_id

    @property
    def first_run_id(self) -> str:
        return self.run_id

    @property
    def next_event_id(self) -> int:
        return 1


def encode_record(record: Record, items_in_core: int) -> bytes:
    """The core, with the items inside unless `record.spilled`, which is set once they outgrow `items_in_core` bytes."""
    items: Any = None
    if not record.spilled:
        items = [[sort, key, value] for (sort, key), value in record.items.items()]
        if sum(len(value) + len(key) for _, key, value in items) > items_in_core:
            record.spilled = True
            items = None
    values = list(_HEADER(record)) + record.extra
    return msgpack.encode([FORMAT, values, record.state, items, record.spilled])


def decode_record(core: bytes, items: list[tuple[int, str, bytes]], state: type[Fields]) -> Record:
    """Raises ValueError for a format of a newer release."""
    fields = msgpack.decode(core)
    if fields[0] != FORMAT:
        raise ValueError(
            f"execution state has format {fields[0]}, this release reads {FORMAT}: it was written by a newer release"
        )
    _, values, packed, inside, spilled = fields[:5]
    record = Record(state.unpack(packed))
    for name, value in zip(HEADER, values, strict=False):
        setattr(record, name, value)
    record.extra = values[len(HEADER) :]
    record.spilled = spilled
    for sort, key, value in inside or ():
        record.items[sort, key] = value
    for sort, key, value in items:
        record.items[sort, key] = value
    return record


class RecordTurn:
    """One input's decision about one record. Nothing needs to be ended."""

    __slots__ = ("entropy", "limits", "now", "record", "shared")

    def __init__(self, shared: Shared, record: Record) -> None:
        self.shared = shared
        self.record = record
        self.now = shared.now
        self.entropy = shared.entropy
        self.limits = shared.limits

    def touch(self) -> None:
        """Something durable moved: the record is written."""
        record = self.record
        record.changes.changed = True
        if record not in self.shared.touched:
            self.shared.touched.append(record)

    def show(self) -> None:
        """What lists show moved (status, memo, search attributes)."""
        self.record.changes.visibility = True
        self.touch()

    def put_item(self, sort: int, key: str, value: bytes | None) -> None:
        """Set an item, or remove it (None)."""
        if value is None:
            self.record.items.pop((sort, key), None)
        else:
            self.record.items[sort, key] = value
        self.record.changes.items.add((sort, key))
        self.touch()

    def remember_request(self, request_id: str, kind: int = 0) -> None:
        """Note a request ID, so that a retry of it changes nothing (`record.request_ids`)."""
        self.record.request_ids[request_id] = (kind, 0)
        self.record.changes.request_ids.append((request_id, kind, 0))
        self.touch()

    def close(self, status: int) -> None:
        """The execution is over: nothing is due any more, and a new one may take its ID."""
        self.record.status = status
        self.record.closed_at = self.now
        self.show()

    def effect(self, effect: Effect) -> None:
        self.shared.effects.append(effect)

    def send(self, message: Message) -> None:
        self.shared.effects.append(Send(message))


def create_record(shared: Shared, state: Any, run_id: str, request_id: str) -> RecordTurn:
    """A new run of the execution, open, now its current one."""
    execution = shared.execution
    record = Record(state)
    record.namespace_id = execution.namespace_id
    record.namespace = execution.namespace
    record.execution_id = execution.execution_id
    record.run_id = run_id
    record.create_request_id = request_id
    record.started_at = shared.now
    record.changes.started = True
    execution.runs[run_id] = record
    execution.current = Current(
        run_id=run_id,
        run_no=0,
        status=RUNNING,
        first_run_id=run_id,
        create_request_id=request_id,
        started_at=shared.now,
    )
    turn = RecordTurn(shared, record)
    turn.show()
    return turn
