"""All handler objects; `registry.py` finds their RPCs by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure.api.activities import ActivityHandlers
from perdure.api.activity_operations import ActivityOperationHandlers
from perdure.api.batches import BatchHandlers
from perdure.api.history import HistoryHandlers
from perdure.api.namespaces import NamespaceHandlers
from perdure.api.operator import OperatorHandlers
from perdure.api.queries import QueryHandlers
from perdure.api.resets import ResetHandlers
from perdure.api.schedules import ScheduleHandlers
from perdure.api.standalone_activities import StandaloneActivityHandlers
from perdure.api.system import SystemHandlers
from perdure.api.task_queue_config import TaskQueueConfigHandlers
from perdure.api.task_queues import TaskQueueHandlers
from perdure.api.updates import UpdateHandlers
from perdure.api.visibility import VisibilityHandlers
from perdure.api.worker_versioning import DeprecatedDeploymentHandlers, VersionSetHandlers, WorkerConfigHandlers
from perdure.api.workers import WorkerHandlers
from perdure.api.workflow_operations import WorkflowOperationHandlers
from perdure.api.workflow_tasks import WorkflowTaskHandlers
from perdure.api.workflows import WorkflowHandlers

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


HANDLERS: Final = (
    SystemHandlers,
    NamespaceHandlers,
    WorkflowHandlers,
    WorkflowOperationHandlers,
    HistoryHandlers,
    WorkflowTaskHandlers,
    ActivityHandlers,
    ActivityOperationHandlers,
    StandaloneActivityHandlers,
    QueryHandlers,
    ScheduleHandlers,
    ResetHandlers,
    UpdateHandlers,
    BatchHandlers,
    VisibilityHandlers,
    TaskQueueHandlers,
    TaskQueueConfigHandlers,
    WorkerHandlers,
    WorkerConfigHandlers,
    VersionSetHandlers,
    DeprecatedDeploymentHandlers,
    OperatorHandlers,
)


def all_handlers(runtime: Runtime) -> list[object]:
    return [handlers(runtime) for handlers in HANDLERS]
