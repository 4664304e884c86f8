"""Namespaces: all of them in memory, by name and by ID; their rows are written through the runtime.

A change is decided here at once and answered once its row is durable, like any other state. Rows are msgpack maps with
a format version; entries that this release does not know are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from msgspec import msgpack

from perdure.clock import SECOND, Entropy
from perdure.engine.limits import Limits
from perdure.engine.tokens import TaskToken, decode_token
from perdure.errors import InvalidArgument, NamespaceInvalidState, NamespaceNotFound
from perdure.storage.store import NamespaceWrite
from perdure.visibility.attributes import PREDEFINED

REGISTERED: Final = 1
DEPRECATED: Final = 2
DELETED: Final = 3
"""Numbers of enums.NamespaceState."""

STATE_NAMES: Final = {REGISTERED: "Registered", DEPRECATED: "Deprecated", DELETED: "Deleted"}

SYSTEM_NAMESPACE: Final = "temporal-system"
SYSTEM_NAMESPACE_ID: Final = "32049b68-7872-4094-8e63-d0dd59896a83"
"""The reference's own, fixed in its source."""

DAY: Final = 86_400 * SECOND

FORMAT: Final = 1

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BadBinary:
    """A worker build that gets no workflow tasks. `created` in microseconds."""

    reason: str
    operator: str
    created: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """`retention` in microseconds. `search_attributes`: custom names to numbers of enums.IndexedValueType."""

    id: str
    name: str
    state: int = REGISTERED
    description: str = ""
    owner_email: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    retention: int = DAY
    bad_binaries: Mapping[str, BadBinary] = field(default_factory=dict)
    search_attributes: Mapping[str, int] = field(default_factory=dict)
    delete_after: int = 0
    """When all that is in it begins to be deleted, and then itself, in microseconds; 0: it stays."""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Stored entries of a newer release."""
    search_attribute_types: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """All that values may be given for: the predefined attributes and the custom ones."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "search_attribute_types", {**PREDEFINED, **self.search_attributes})

    def row(self) -> NamespaceWrite:
        entries = dict(self.extra)
        for name in _STORED:
            value = getattr(self, name)
            entries[name] = dict(value) if isinstance(value, Mapping) else value
        entries["bad_binaries"] = {
            checksum: [binary.reason, binary.operator, binary.created] for checksum, binary in self.bad_binaries.items()
        }
        entries["format"] = FORMAT
        return NamespaceWrite(self.id, self.name, msgpack.encode(entries))


_STORED: Final = tuple(f.name for f in fields(Namespace) if f.init and f.name not in ("extra", "bad_binaries"))


def decode_namespace(row: NamespaceWrite) -> Namespace:
    entries = msgpack.decode(row.blob)
    version = entries.pop("format")
    if version != FORMAT:
        raise ValueError(f"namespace {row.name!r} is stored in format {version}; this release reads {FORMAT}")
    values = {name: entries.pop(name) for name in _STORED if name in entries}
    binaries = {
        checksum: BadBinary(reason, operator, created)
        for checksum, (reason, operator, created) in entries.pop("bad_binaries", {}).items()
    }
    return Namespace(**values, bad_binaries=binaries, extra=entries)


class Namespaces:
    """The registry. Changing methods return the row to write."""

    def __init__(self, entropy: Entropy, limits: Limits) -> None:
        self._entropy = entropy
        self._limits = limits
        self._by_name: dict[str, Namespace] = {}
        self.names: Final[Collection[str]] = self._by_name.keys()
        """A live view, for the engine to tell unknown namespaces from foreign ones."""
        self._by_id: dict[str, Namespace] = {}
        self.find_by_id: Final[Callable[[str], Namespace | None]] = self._by_id.get
        self._stored: dict[str, Namespace] = {}

    def load(self, rows: Iterable[NamespaceWrite]) -> None:
        """What the store holds, at start."""
        for row in rows:
            namespace = decode_namespace(row)
            self.put(namespace)
            self.landed(namespace)

    def ensure(
        self,
        name: str,
        *,
        namespace_id: str = "",
        retention: int = DAY,
        search_attributes: Mapping[str, int] = _EMPTY,
    ) -> NamespaceWrite | None:
        """Have a namespace of that name with at least these search attributes; None when there is nothing to write."""
        known = self._by_name.get(name)
        if known is None:
            return self.put(
                Namespace(
                    id=namespace_id or self._entropy.uuid(),
                    name=name,
                    retention=retention,
                    search_attributes=dict(search_attributes),
                )
            )
        missing = {alias: kind for alias, kind in search_attributes.items() if alias not in known.search_attributes}
        if not missing:
            return None
        return self.put(replace(known, search_attributes={**known.search_attributes, **missing}))

    def ensure_system(self) -> NamespaceWrite | None:
        return self.ensure(SYSTEM_NAMESPACE, namespace_id=SYSTEM_NAMESPACE_ID, retention=7 * DAY)

    def put(self, namespace: Namespace) -> NamespaceWrite:
        """Take a new namespace, or the new value of a known one (found by ID; it may have another name now)."""
        before = self._by_id.get(namespace.id)
        if before is not None and before.name != namespace.name:
            del self._by_name[before.name]
        self._by_name[namespace.name] = namespace
        self._by_id[namespace.id] = namespace
        return namespace.row()

    def landed(self, namespace: Namespace) -> None:
        """Its row is durable."""
        self._stored[namespace.id] = namespace

    def remove(self, namespace: Namespace) -> NamespaceWrite:
        """Forget it; the row says that it is deleted. It comes back by `revert` until `gone`."""
        if self._by_id.pop(namespace.id, None) is not None:
            self._by_name.pop(namespace.name, None)
        return NamespaceWrite(namespace.id, namespace.name, b"", deleted=True)

    def gone(self, namespace_id: str) -> None:
        """That row is durable."""
        self._stored.pop(namespace_id, None)

    def revert(self, namespace_id: str) -> None:
        """Rows of it did not land: it is again what is stored, or nothing."""
        gone = self._by_id.pop(namespace_id, None)
        if gone is not None:
            self._by_name.pop(gone.name, None)
        stored = self._stored.get(namespace_id)
        if stored is not None:
            self.put(stored)

    # ---- look-ups
    def active(self, name: str) -> Namespace:
        """The namespace a request names, when it can serve it: registered or deprecated."""
        namespace = self._by_name.get(name)
        if namespace is None:
            raise self._unknown(name)
        if namespace.state > DEPRECATED:
            raise _invalid_state(namespace, REGISTERED, DEPRECATED)
        return namespace

    def registered(self, name: str) -> Namespace:
        """The namespace a request names, when new executions may start in it."""
        namespace = self._by_name.get(name)
        if namespace is None:
            raise self._unknown(name)
        if namespace.state != REGISTERED:
            raise _invalid_state(namespace, REGISTERED)
        return namespace

    def of_task(self, task_token: bytes, name: str, kind: int) -> tuple[Namespace, TaskToken]:
        """Namespace and token of a worker's answer. `name` is the request's, empty when only the token tells.

        `kind` is WORKFLOW_TASK, ACTIVITY_TASK or QUERY_TASK of `engine/tokens.py`.
        """
        named = self.active(name) if name else None
        if not task_token:
            raise InvalidArgument("Task token not set on request.")
        token = decode_token(task_token, kind)
        if named is None:
            namespace = self._by_id.get(token.namespace_id)
            if namespace is None:
                raise NamespaceNotFound(token.namespace_id)
            return self.active(namespace.name), token
        if named.id != token.namespace_id:
            raise InvalidArgument("Operation requested with a token from a different namespace.")
        return named, token

    def find(self, name: str) -> Namespace | None:
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Namespace]:
        """All, ordered by ID, deleted ones too."""
        return iter([self._by_id[namespace_id] for namespace_id in sorted(self._by_id)])

    def _unknown(self, name: str) -> InvalidArgument | NamespaceNotFound:
        if not name:
            return InvalidArgument("Namespace is empty.")
        if len(name.encode()) > self._limits.id_length:
            return InvalidArgument("Namespace length exceeds limit.")
        return NamespaceNotFound(name)


def _invalid_state(namespace: Namespace, *allowed: int) -> NamespaceInvalidState:
    return NamespaceInvalidState(
        namespace.name,
        namespace.state,
        STATE_NAMES[namespace.state],
        [(state, STATE_NAMES[state]) for state in allowed],
    )
