"""Looking up what batch jobs are about, page by page: the one thing about them that is not decided but read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from perdure.engine.batches.jobs import PAGE, Job, refuse_targets, take_targets
from perdure.engine.execution import BATCH
from perdure.engine.record import Record
from perdure.engine.turn import Shared
from perdure.enums import BatchOperationType
from perdure.errors import InvalidArgument, PerdureError
from perdure.runtime.inputs import Outcome
from perdure.runtime.long_filters import parsed
from perdure.runtime.namespaces import Namespace
from perdure.storage.store import StoreFailed
from perdure.visibility.attributes import SYSTEM
from perdure.visibility.parser import parse
from perdure.visibility.query import In, Query
from perdure.visibility.vocabulary import WORKFLOW_STATUSES, WORKFLOWS

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

_B = BatchOperationType
_ALSO_CLOSED: Final = frozenset({int(_B.BATCH_OPERATION_TYPE_DELETE), int(_B.BATCH_OPERATION_TYPE_RESET)})
_OPEN: Final = In("ExecutionStatus", (WORKFLOW_STATUSES["Running"], WORKFLOW_STATUSES["Paused"]))


async def batch_query(namespace: Namespace, text: str, operation_type: int) -> Query:
    """What a job's filter finds: open runs alone, unless closed ones can be its targets too. Raises InvalidArgument."""
    attributes = namespace.search_attributes
    query = await parsed(text, lambda: parse(text, attributes, WORKFLOWS))
    if operation_type in _ALSO_CLOSED:
        return query
    return query.narrowed(_OPEN, {"ExecutionStatus": SYSTEM["ExecutionStatus"]})


class Lookups:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tasks: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        """By namespace ID, job and run ID: what is being looked up."""

    def start(self, record: Record) -> None:
        """Look up the job's next page when what was decided so far is durable, so that it sees all of it."""
        job: Job = record.state
        key = (record.namespace_id, record.execution_id, record.run_id)
        what = (job.query, job.operation_type, job.token, job.counted)

        def look_up() -> None:
            if key not in self._tasks:  # else that takes its time; the job asks again if it finds nothing
                task = self._tasks[key] = asyncio.get_running_loop().create_task(self._look_up(key, *what))
                task.add_done_callback(lambda _: self._tasks.pop(key, None))

        self._runtime.after_commit(look_up)

    def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()

    async def _look_up(
        self, key: tuple[str, str, str], text: str, operation_type: int, asked: bytes, counted: bool
    ) -> None:
        runtime = self._runtime
        namespace = runtime.namespaces.find_by_id(key[0])
        if namespace is None:
            return
        try:
            query = await batch_query(namespace, text, operation_type)
            total = 0
            if not counted:
                total = sum(number for _, number in await runtime.store.count_executions(key[0], query))
            rows, token = await runtime.store.list_executions(key[0], query, PAGE, asked)
        except InvalidArgument as error:
            reason = error.message
            self._tell(key, lambda shared, record: refuse_targets(shared, record, asked, reason))
            return
        except (PerdureError, StoreFailed) as error:  # the job asks again in a while
            runtime.log.warning("targets of a batch job not found", job_id=key[1], error=str(error))
            return
        targets = [(row.workflow_id, row.run_id) for row in rows]
        self._tell(key, lambda shared, record: take_targets(shared, record, asked, targets, token, total))

    def _tell(self, key: tuple[str, str, str], decide: Any) -> None:
        namespace_id, job_id, run_id = key

        def tell(shared: Shared, record: Record | None) -> Outcome:
            decide(shared, record)
            return Outcome()

        self._runtime.decide_record(namespace_id, BATCH, job_id, run_id, tell, None)
