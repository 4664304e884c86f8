"""All handler objects; `registry.py` finds their RPCs by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.api.activities import ActivityHandlers
from perdure.api.history import HistoryHandlers
from perdure.api.namespaces import NamespaceHandlers
from perdure.api.operator import OperatorHandlers
from perdure.api.queries import QueryHandlers
from perdure.api.system import SystemHandlers
from perdure.api.task_queues import TaskQueueHandlers
from perdure.api.visibility import VisibilityHandlers
from perdure.api.workers import WorkerHandlers
from perdure.api.workflow_tasks import WorkflowTaskHandlers
from perdure.api.workflows import WorkflowHandlers

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


def all_handlers(runtime: Runtime) -> list[object]:
    return [
        SystemHandlers(runtime),
        NamespaceHandlers(runtime),
        WorkflowHandlers(runtime),
        HistoryHandlers(runtime),
        WorkflowTaskHandlers(runtime),
        ActivityHandlers(runtime),
        QueryHandlers(runtime),
        VisibilityHandlers(runtime),
        TaskQueueHandlers(runtime),
        WorkerHandlers(runtime),
        OperatorHandlers(runtime),
    ]
