"""Servers that a program starts itself: by the SDK's launcher, or as an object of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from perdure import Server
from tests.sdk.python.kit import unique, until, working

pytestmark = pytest.mark.timeout(60)


@workflow.defn
class Greeting:
    def __init__(self) -> None:
        self._name = ""

    @workflow.signal
    def introduce(self, name: str) -> None:
        self._name = name

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(self._name))
        await asyncio.sleep(0.01)
        return f"Hello, {self._name}!"


@pytest.fixture
def executable() -> str:
    found = shutil.which("perdure", path=str(Path(sys.executable).parent)) or shutil.which("perdure")
    assert found, "perdure is not installed beside this interpreter"
    return found


async def test_the_sdk_launches_perdure_as_its_local_server(executable: str, tmp_path: Path) -> None:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=executable,
        dev_server_database_filename=str(tmp_path / "perdure.db"),
        search_attributes=[SearchAttributeKey.for_keyword("CustomerId")],
        namespace="shop",
    ) as environment:
        assert environment.client.namespace == "shop"
        async with working(environment.client, [Greeting]) as queue:
            handle = await environment.client.start_workflow(Greeting.run, id=unique("greeting"), task_queue=queue)
            await handle.signal(Greeting.introduce, "Ann")

            assert await handle.result() == "Hello, Ann!"
            assert (await environment.client.count_workflows("CustomerId IS NULL")).count == 1
    assert (tmp_path / "perdure.db").stat().st_size > 0


async def test_a_server_in_this_process_serves_and_remembers(tmp_path: Path) -> None:
    queue, workflow_id = unique("queue"), unique("greeting")
    async with Server(db_filename=str(tmp_path / "perdure.db"), namespaces=["shop"]) as server:
        client = await Client.connect(server.address, namespace="shop")
        async with working(client, [Greeting], task_queue=queue):
            handle = await client.start_workflow(Greeting.run, id=workflow_id, task_queue=queue)
            # A worker that stops forgets a task that reaches it in the same moment.
            await until(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
        await client.get_workflow_handle(workflow_id).signal(Greeting.introduce, "Bob")

    async with Server(db_filename=str(tmp_path / "perdure.db")) as server:
        client = await Client.connect(server.address, namespace="shop")
        async with working(client, [Greeting], task_queue=queue):
            assert await client.get_workflow_handle(workflow_id).result() == "Hello, Bob!"


async def test_two_servers_in_one_process_share_nothing() -> None:
    async with Server() as one, Server() as two:
        first, second = await Client.connect(one.address), await Client.connect(two.address)
        await first.start_workflow(Greeting.run, id="same", task_queue="queue")
        await second.start_workflow(Greeting.run, id="same", task_queue="queue")

        assert (await first.count_workflows("")).count == 1
        assert (await second.count_workflows("")).count == 1
