"""A sound file has no fault, whatever is pending in it, and is not changed by being looked at."""

from __future__ import annotations

from pathlib import Path

import temporalio.api.workflowservice.v1 as ws

from perdure.doctor import examine
from tests.api.client import NAMESPACE, complete_workflow, execution, queue
from tests.doctor.patient import dying_server, start_child


def test_a_file_with_everything_pending_has_no_fault(patient: Path) -> None:
    before = patient.read_bytes()

    findings = examine(str(patient))

    assert findings.faults == []
    assert findings.executions > 15
    assert findings.events > 50
    assert findings.messages >= 3
    assert patient.read_bytes() == before


async def test_a_child_that_was_reset_after_its_parent_heard_of_its_end_is_worth_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "reset.db"
    async with dying_server(path) as world:
        await world.start_workflow("parent")
        await world.step(start_child("child"))
        poll = world.poll(task_queue=queue("children"))
        await world.settle()
        world.complete(poll.reply, complete_workflow("done"))
        await world.settle()
        reset = ws.ResetWorkflowExecutionRequest(namespace=NAMESPACE, request_id="r", workflow_task_finish_event_id=4)
        reset.workflow_execution.CopyFrom(execution("child"))
        await world.ask(reset)

    findings = examine(str(path))

    assert findings.faults == []
    assert [(remark.check, remark.execution_id) for remark in findings.remarks] == [("child-unknown", "child")]
