"""Rows of namespaces: written with the batches of what happens in them, and taken back when those are refused.

`namespaces.py` knows what a namespace is; here is when it is so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.call import Reply, Waiter
from perdure.errors import PerdureError
from perdure.runtime.followers import Callback
from perdure.runtime.namespaces import DAY, Namespace, decode_namespace
from perdure.storage.store import NamespaceWrite

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

SKIPPING_RETENTION = 36_500 * DAY
"""Of namespaces made by a server whose time skips: a test that skips a month still wants to see what ended in its first
week."""


def missing(runtime: Runtime) -> list[NamespaceWrite]:
    """Rows of the system's and the configured namespaces that the store does not hold as they should be."""
    namespaces, config = runtime.namespaces, runtime.config
    writes = [namespaces.ensure_system()]
    retention = DAY if runtime.skipper is None else SKIPPING_RETENTION
    writes += [
        namespaces.ensure(name, retention=retention, search_attributes=config.search_attributes)
        for name in config.namespaces
    ]
    return [write for write in writes if write is not None]


def write(runtime: Runtime, row: NamespaceWrite, waiter: Waiter, reply: Reply) -> None:
    """Store a namespace's row and answer once it is durable. When it is refused, so is all that was decided since: the
    namespace is again what is stored."""
    namespace = decode_namespace(row)

    def landed() -> None:
        runtime.namespaces.landed(namespace)
        waiter.finish(reply)

    def refused(error: PerdureError) -> None:
        runtime.namespaces.revert(namespace.id)
        waiter.fail(error)

    _commit(runtime, row, Callback(landed, refused))


def remove(runtime: Runtime, namespace: Namespace) -> None:
    """There is nothing left in it: remove its row."""

    def landed() -> None:
        runtime.namespaces.gone(namespace.id)
        runtime.queue_settings.forget_namespace(namespace.id)

    def refused(error: PerdureError) -> None:
        runtime.namespaces.revert(namespace.id)

    _commit(runtime, runtime.namespaces.remove(namespace), Callback(landed, refused))


def _commit(runtime: Runtime, row: NamespaceWrite, then: Callback) -> None:
    runtime.committer.add_namespace(row)
    runtime.committer.follow(then, runtime.committer.newest_no)
