"""Lists and counts of executions of one kind: what every List and Count RPC with a filter has in common.

    rows, token = await page(runtime, namespace, SCHEDULES, request.query, request.maximum_page_size, token)
    await count(runtime, namespace, ACTIVITIES, request.query, reply)

The vocabulary (`visibility/vocabulary.py`) says which kind, under which names its attributes go in the filter, and what
its statuses are. A row is a `VisibilityWrite` whose `workflow_id` is the ID of the kind's own API; `memo` and
`search_attributes` are serialised messages.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.workflowservice.v1 import (
    CountActivityExecutionsResponse,
    CountSchedulesResponse,
    CountWorkflowExecutionsResponse,
)

from perdure.api.answers import committed
from perdure.runtime.long_filters import parsed
from perdure.runtime.namespaces import Namespace
from perdure.storage.store import VisibilityWrite
from perdure.visibility.attributes import TYPE_NAMES
from perdure.visibility.parser import parse
from perdure.visibility.query import Query
from perdure.visibility.vocabulary import Vocabulary

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

MAX_PAGE: Final = 1000
"""Also the page of who asks for none."""


CountReply = CountWorkflowExecutionsResponse | CountSchedulesResponse | CountActivityExecutionsResponse


async def page(
    runtime: Runtime, namespace: Namespace, vocabulary: Vocabulary, query: str, page_size: int, token: bytes
) -> tuple[list[VisibilityWrite], bytes]:
    """Rows, newest first, and the token of the page after (empty: none). What was answered before is seen.

    Raises InvalidArgument for a filter or token that makes no sense, QueryTooSlow for one that takes too long."""
    wanted = await parsed_filter(namespace, vocabulary, query)
    return await page_of(runtime, namespace, wanted, page_size, token)


async def parsed_filter(namespace: Namespace, vocabulary: Vocabulary, query: str, *, counting: bool = False) -> Query:
    attributes = namespace.search_attributes
    return await parsed(query, lambda: parse(query, attributes, vocabulary, counting=counting))


async def page_of(
    runtime: Runtime, namespace: Namespace, query: Query, page_size: int, token: bytes
) -> tuple[list[VisibilityWrite], bytes]:
    """The same for a filter that was parsed, or made without a text."""
    await committed(runtime)
    size = page_size if 0 < page_size < MAX_PAGE else MAX_PAGE
    return await runtime.store.list_executions(namespace.id, query, size, token)


async def count(runtime: Runtime, namespace: Namespace, vocabulary: Vocabulary, query: str, reply: CountReply) -> None:
    """Fill in `count`, and with GROUP BY a group for each value that occurs. Raises as `page` does."""
    wanted = await parsed_filter(namespace, vocabulary, query, counting=True)
    await committed(runtime)
    counts = await runtime.store.count_executions(namespace.id, wanted, wanted.group_by)
    reply.count = sum(number for _, number in counts)
    if not wanted.group_by:
        return
    names = vocabulary.status_names if wanted.group_by == "ExecutionStatus" else {}
    for value, number in counts:
        group = reply.groups.add()
        group.count = number
        payload = group.group_values.add()
        payload.metadata["encoding"] = b"json/plain"
        payload.metadata["type"] = b"Keyword"
        payload.data = json.dumps(names.get(value, value)).encode()


def fill_search_attributes(attributes: SearchAttributes, row: VisibilityWrite, namespace: Namespace) -> None:
    """Those of a row, as far as they are still attributes of the namespace."""
    attributes.ParseFromString(row.search_attributes)
    drop_removed(attributes, namespace)


def drop_removed(attributes: SearchAttributes, namespace: Namespace) -> None:
    """Forget values whose attribute was removed since, also when one of another type has its name now."""
    types = namespace.search_attribute_types
    fields = attributes.indexed_fields
    for name in [name for name, value in fields.items() if not _is_current(value, types.get(name))]:
        del fields[name]


def _is_current(value: Payload, value_type: int | None) -> bool:
    return value_type is not None and value.metadata.get("type", b"").decode() in ("", TYPE_NAMES[value_type])
