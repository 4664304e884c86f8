"""The pointer to the current run of a workflow ID says whether that is open."""

from __future__ import annotations

import temporalio.api.workflowservice.v1 as ws

from perdure.config import Config, DynamicConfig
from perdure.engine.execution import WORKFLOW
from tests.api.client import NAMESPACE, start_request
from tests.support.runtime_world import running


async def test_a_workflow_that_is_paused_in_the_batch_of_its_start_is_open() -> None:
    config = Config(dynamic=DynamicConfig({"frontend.WorkflowPauseEnabled": True}))
    async with running(config=config) as world:
        world.store.hold()
        await world.settle()
        world.call(start_request("another"))  # whose batch is being written meanwhile
        world.call(start_request("order-1"))
        world.call(ws.PauseWorkflowExecutionRequest(namespace=NAMESPACE, workflow_id="order-1", reason="why"))
        world.store.release()
        await world.settle()

        loaded = world.runtime.executions.peek((world.runtime.namespaces.active(NAMESPACE).id, WORKFLOW, "order-1"))
        assert loaded is not None
        current = loaded.execution.current
        assert current is not None
        assert loaded.execution.runs[current.run_id].paused
        assert current.running
