"""A database with one of everything, as a server that died leaves it; and a knife for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import apsw
import temporalio.api.batch.v1 as batch
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo, Payload, SearchAttributes
from temporalio.api.enums.v1 import CommandType

from perdure.api.workflow_operations import PAUSE_ENABLED
from perdure.config import Config, DynamicConfig
from perdure.engine.kinds import KINDS
from perdure.runtime.mail import Delivery
from perdure.storage.sqlite import SqliteStore
from tests.api.client import (
    NAMESPACE,
    QUEUE,
    complete_workflow,
    execution,
    queue,
    schedule_activity,
    start_timer,
    values,
)
from tests.support import schedules
from tests.support.runtime_world import World

ATTRIBUTES = {"CustomKeyword": 2, "CustomText": 1, "CustomList": 7}


@asynccontextmanager
async def dying_server(path: Path) -> AsyncIterator[World]:
    """Leaves its database at `path` as it is at the end."""
    store = SqliteStore(None)
    world = World(
        config=Config(search_attributes=ATTRIBUTES, dynamic=DynamicConfig({PAUSE_ENABLED: True})), store=store
    )
    await world.start()
    try:
        yield world
        _copy(store._connections[0], path)
    finally:
        await world.stop()


async def make_patient(path: Path) -> None:
    async with dying_server(path) as world:
        await _workflows(world)
        await _records(world)
        await _letters(world)


def _copy(connection: apsw.Connection, path: Path) -> None:
    copy = apsw.Connection(str(path))
    with copy.backup("main", connection, "main") as backup:
        backup.step()
    copy.close()


async def _workflows(world: World) -> None:
    memo = Memo(fields={"note": values("gift").payloads[0]})
    found_by = SearchAttributes()
    found_by.indexed_fields["CustomKeyword"].CopyFrom(_attribute("Keyword", '"red"'))
    found_by.indexed_fields["CustomText"].CopyFrom(_attribute("Text", '"a large box"'))
    found_by.indexed_fields["CustomList"].CopyFrom(_attribute("KeywordList", '["a","b"]'))
    await world.start_workflow("closed", memo=memo, search_attributes=found_by)
    await _signal(world, "closed")
    await world.step(complete_workflow("done"))

    await world.start_workflow("chain")
    await world.step(_continue_as_new())
    await world.pass_time(2)
    await world.step(start_timer("t", 3600))

    await world.start_workflow("busy", search_attributes=found_by)
    packing = _on_queue(schedule_activity("pack"), "packing")
    await world.step(
        start_timer("t", 3600), _on_queue(schedule_activity("charge"), "charging"), packing, start_child("busy-child")
    )
    poll = world.poll_activity(task_queue={"name": "packing"})
    await world.settle()
    assert poll.reply is not None

    await world.start_workflow("large", task_queue=queue("large"))
    poll = world.poll(task_queue=queue("large"))
    await world.settle()
    many = (start_timer(f"{'x' * 80}-{number}", 3600 + number) for number in range(150))
    world.complete(poll.reply, *many, start_child("large-child"))
    await world.settle()

    await world.start_workflow("delayed", workflow_start_delay=Duration(seconds=3600))
    await world.start_workflow("paused")
    await world.ask(
        ws.PauseWorkflowExecutionRequest(namespace=NAMESPACE, workflow_id="paused", reason="lunch", request_id="p")
    )
    await world.start_workflow("heard", task_queue=queue("hearing"))
    poll = world.poll(task_queue={"name": "hearing"})
    await world.settle()
    assert poll.reply is not None
    await _signal(world, "heard")
    options = ws.UpdateWorkflowExecutionOptionsRequest(namespace=NAMESPACE, workflow_execution=execution("heard"))
    options.workflow_execution_options.priority.priority_key = 2
    options.update_mask.paths.append("priority")
    await world.ask(options)  # in force, while its event waits for the task to end


async def _records(world: World) -> None:
    await world.ask(schedules.create(schedules.schedule(every=3600, workflow_id="report"), "hourly"))
    await world.ask(schedules.trigger("hourly"))
    await world.ask(schedules.create(schedules.schedule(every=3600, workflow_id="never", paused=True), "resting"))
    job = ws.StartBatchOperationRequest(
        namespace=NAMESPACE, job_id="job", reason="news", max_operations_per_second=1, executions=_executions()
    )
    job.signal_operation.signal = "news"
    job.signal_operation.CopyFrom(batch.BatchOperationSignal(signal="news", identity="operator"))
    await world.ask(job)
    await world.pass_time(0.1)
    for activity_id in ("lone", "finished"):
        request = ws.StartActivityExecutionRequest(namespace=NAMESPACE, activity_id=activity_id)
        request.activity_type.name = "Charge"
        request.task_queue.name = activity_id
        request.start_to_close_timeout.seconds = 60
        await world.ask(request)
    poll = world.poll_activity(task_queue={"name": "finished"})
    await world.settle()
    await world.ask(
        ws.RespondActivityTaskCompletedRequest(
            namespace=NAMESPACE, task_token=poll.reply.task_token, result=values(1), identity="worker"
        )
    )
    await world.ask(
        ws.UpdateTaskQueueConfigRequest(
            namespace=NAMESPACE,
            task_queue=QUEUE,
            task_queue_type=2,
            update_queue_rate_limit={"rate_limit": {"requests_per_second": 5}},
        )
    )


async def _letters(world: World) -> None:
    """From here on messages are written, and nobody delivers them: the server dies."""
    await world.start_workflow("sender", task_queue=queue("letters"))
    enter = world.runtime.enter
    world.runtime.ready = lambda item: not isinstance(item, Delivery)
    world.runtime.enter = lambda item: None if isinstance(item, Delivery) else enter(item)
    poll = world.poll(task_queue={"name": "letters"})
    await world.settle()
    world.complete(poll.reply, start_child("sender-child"), _signal_external("busy"), _cancel_external("busy"))
    await world.settle()


def _attribute(kind: str, data: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "type": kind.encode()}, data=data.encode())


def _executions() -> list[Any]:
    return [execution(name) for name in ("busy", "chain", "heard")]


async def _signal(world: World, workflow_id: str) -> None:
    await world.ask(
        ws.SignalWorkflowExecutionRequest(
            namespace=NAMESPACE,
            workflow_execution=execution(workflow_id),
            signal_name="ship",
            request_id=f"signal-{workflow_id}",
        )
    )


def _on_queue(command: Command, name: str) -> Command:
    command.schedule_activity_task_command_attributes.task_queue.name = name
    return command


def _continue_as_new() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    command.continue_as_new_workflow_execution_command_attributes.SetInParent()
    return command


def start_child(workflow_id: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.workflow_id = workflow_id
    attributes.workflow_type.name = "Child"
    attributes.task_queue.name = "children"
    return command


def _signal_external(workflow_id: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.signal_external_workflow_execution_command_attributes
    attributes.execution.workflow_id = workflow_id
    attributes.signal_name = "hello"
    return command


def _cancel_external(workflow_id: str) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)
    command.request_cancel_external_workflow_execution_command_attributes.workflow_id = workflow_id
    return command


class Knife:
    """Changes to the rows of a file, by hand."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement that must find something to do, or to read."""
        before = self.connection.total_changes()
        rows = self.connection.execute(statement, values).fetchall()
        assert rows or self.connection.total_changes() > before, f"nothing was done by {statement}"
        return rows

    def row(self, execution_id: str) -> tuple[int, int, bytes]:
        """(run number, kind, core) of the current run."""
        [row] = self.sql(
            "select run_no, kind, core from runs where run_no = (select run_no from current where execution_id = ?)",
            execution_id,
        )
        return row

    def run_id(self, execution_id: str) -> str:
        [(run_id,)] = self.sql("select run_id from current where execution_id = ?", execution_id)
        return str(run_id)

    def run_no(self, execution_id: str) -> int:
        return self.row(execution_id)[0]

    def edit(self, execution_id: str, change: Callable[[Any], object]) -> None:
        """Change the stored state of the current run, and have all of it in the core."""
        run_no, kind, core = self.row(execution_id)
        items = self.connection.execute("select sort, key, value from items where run_no = ?", (run_no,)).fetchall()
        run = KINDS[kind].decode(core, items)
        change(run)
        run.spilled = False
        self.connection.execute("delete from items where run_no = ?", (run_no,))
        self.sql("update runs set core = ? where run_no = ?", KINDS[kind].encode(run, 1 << 30), run_no)


@contextmanager
def knife(path: Path) -> Iterator[Knife]:
    connection = apsw.Connection(str(path))
    try:
        yield Knife(connection)
    finally:
        connection.close()
