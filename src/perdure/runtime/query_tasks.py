"""A query on its way from its caller to a worker and back, and how it is put to the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.call import Call
from perdure.engine.state import Run
from perdure.engine.tokens import QUERY_TASK, TaskToken
from perdure.matching import QueueKey, Task
from perdure.runtime.alarms import Alarm
from perdure.runtime.pages import HistoryPage

if TYPE_CHECKING:
    from perdure.runtime.executions import Key


class QueryTask:
    """One query on its way, from the caller to a worker and back."""

    __slots__ = (
        "alarm",
        "asked_run_id",
        "call",
        "done",
        "handed_out",
        "key",
        "query",
        "query_id",
        "run_id",
        "sticky_alarm",
        "task",
        "workflow_id",
    )

    def __init__(self, query_id: str, key: Key, asked_run_id: str, run_id: str, query: bytes, call: Call) -> None:
        self.query_id = query_id
        self.key = key
        self.workflow_id = key[2]
        self.asked_run_id = asked_run_id
        """Empty: the current one."""
        self.run_id = run_id
        self.query = query
        """Serialised WorkflowQuery."""
        self.call = call
        self.done = False
        self.handed_out = False
        self.task: Task | None = None
        self.alarm: Alarm | None = None
        self.sticky_alarm: Alarm | None = None


def question(item: QueryTask, run: Run, queue: QueueKey, history: bytes, last_event_id: int, whole: bool) -> bytes:
    """What the poll that takes the query is answered with. `history`: serialised, of the events to `last_event_id`;
    with `whole` False, the worker is to fetch those after it."""
    response = PollWorkflowTaskQueueResponse()
    token = TaskToken(item.key[0], queue[1], item.query_id, QUERY_TASK, 0, 0, 1, 0, 0)
    response.task_token = token.encode()
    response.workflow_execution.workflow_id = run.workflow_id
    response.workflow_execution.run_id = run.run_id
    response.workflow_type.name = run.workflow_type
    response.previous_started_event_id = run.previous_started_event_id
    response.attempt = 1
    response.workflow_execution_task_queue.name = run.task_queue
    response.workflow_execution_task_queue.kind = 1  # type: ignore[assignment] # TASK_QUEUE_KIND_NORMAL
    response.query.MergeFromString(item.query)
    response.history.MergeFromString(history)
    response.history.SetInParent()
    if not whole:
        response.next_page_token = HistoryPage(run.run_id, last_event_id + 1, 0, False).encode()
    return response.SerializeToString()


def waits(item: QueryTask) -> str:
    """What a query waits for, in words."""
    query = f"a query of workflow {item.workflow_id!r}"
    if item.handed_out:
        return f"{query} is being answered by a worker"
    queue = "" if item.task is None else f" on task queue {item.task.queue[1]!r}"
    return f"{query} waits for a worker{queue}"
