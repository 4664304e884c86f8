"""What earlier builds left behind is finished by this one, and nothing of it is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import lzma
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import grpc.aio
import pytest
import temporalio.api.workflowservice.v1 as ws
from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure import Server, __version__
from perdure.cli.main import main
from perdure.clock import SECOND, SkippingTime, WallTime
from perdure.doctor import examine
from perdure.storage.sqlite.migrate import migrations
from tests.api.client import NAMESPACE, Api, execution
from tests.skipping.clock import Clock
from tests.upgrade.make import ATTRIBUTES, DATABASES, DYNAMIC, OTHER
from tests.upgrade.stories import ALONE, HELD, LATER, QUEUE, WORKFLOWS, Hear, Nap

FORMATS = sorted(path.name.removesuffix(".sqlite.xz") for path in DATABASES.glob("*.xz"))
NEWEST = migrations()[-1][0]
DEAD = 120 * SECOND
"""So long after the copy was made its server is started again: what workers held then has timed out."""

pytestmark = pytest.mark.timeout(60)


@activity.defn(name="step")
async def step(text: str = "") -> str:
    return "done"


@activity.defn(name="local")
async def local() -> str:
    return "at hand"


@activity.defn(name="hang")
async def hang() -> str:
    return f"hung at {activity.info().heartbeat_details[0]}"


@activity.defn(name="fail")
async def fail() -> str:
    return f"attempt {activity.info().attempt}"


def unpacked(name: str, directory: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the database, and its manifest."""
    path = directory / f"{name}.sqlite"
    path.write_bytes(lzma.decompress((DATABASES / f"{name}.sqlite.xz").read_bytes()))
    return path, json.loads((DATABASES / f"{name}.json").read_text())


class _Since:
    """The wall's pace from another moment."""

    def __init__(self, start: int) -> None:
        self._wall = WallTime()
        self._ahead = start - self._wall.now()

    def now(self) -> int:
        return self._wall.now() + self._ahead


@asynccontextmanager
async def present_server(path: Path, start: int) -> AsyncIterator[tuple[Server, Client, Api, Clock]]:
    server = Server(
        str(path),
        namespaces=[OTHER],
        search_attributes=ATTRIBUTES,
        dynamic_config=DYNAMIC,
        time_skipping=True,
        time=SkippingTime(_Since(start)),
    )
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        yield server, await Client.connect(server.address), Api(channel), Clock(channel)


@asynccontextmanager
async def workers(client: Client, other: Client) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for where, task_queue in ((client, QUEUE), (client, LATER), (client, HELD), (other, QUEUE)):
            worker = Worker(
                where,
                task_queue=task_queue,
                workflows=WORKFLOWS,
                activities=[step, local, hang, fail],
                workflow_runner=UnsandboxedWorkflowRunner(),
            )
            await stack.enter_async_context(worker)
        await stack.enter_async_context(Worker(client, task_queue=ALONE, activities=[step]))
        yield


@pytest.mark.parametrize("name", FORMATS)
async def test_everything_pending_in_a_database_of_an_earlier_build_comes_to_its_end(name: str, tmp_path: Path) -> None:
    path, manifest = unpacked(name, tmp_path)
    if manifest["format"] == NEWEST:
        before = examine(str(path))
        assert before.faults == []
        assert before.messages > 0

    async with present_server(path, manifest["made_at"] + DEAD) as (_, client, api, clock):
        assert await _count(client, "Colour = 'red' AND Note = 'large' AND Tags = 'b'") == 2
        assert await _count(client, "Colour = 'green' AND Weight > 6") == 1
        elsewhere = await Client.connect(client.service_client.config.target_host, namespace=OTHER)
        async with workers(client, elsewhere):
            await _operate(api, client)
            await clock.unlock()
            results, updates, activities = await asyncio.gather(
                _results(client, manifest["results"]),
                _updates(client, manifest["updates"]),
                _activities(api, manifest["activities"]),
            )
            assert results == manifest["results"]
            assert updates == manifest["updates"]
            assert activities == manifest["activities"]
            assert await elsewhere.get_workflow_handle("elsewhere").result() == "rested"
            await _finish_reports(client)
        job = await api.DescribeBatchOperation(ws.DescribeBatchOperationRequest(namespace=NAMESPACE, job_id="job"))
        targets = len(manifest["targets"])
        assert (job.complete_operation_count, job.failure_operation_count) == (targets, 0)
        for target in manifest["targets"]:
            assert await _notes(client, target) == 1

    findings = examine(str(path))
    assert findings.faults == []
    assert findings.messages == 0


async def _count(client: Client, query: str) -> int:
    return (await client.count_workflows(query)).count


async def _operate(api: Api, client: Client) -> None:
    """What only people bring to an end."""
    await api.UnpauseActivity(
        ws.UnpauseActivityRequest(namespace=NAMESPACE, execution=execution("paused-activity"), id="1")
    )
    await api.UnpauseWorkflowExecution(ws.UnpauseWorkflowExecutionRequest(namespace=NAMESPACE, workflow_id="paused"))
    await api.UnpauseActivityExecution(
        ws.UnpauseActivityExecutionRequest(namespace=NAMESPACE, activity_id="alone-paused", request_id="2")
    )
    for workflow_id, note in (("failing", "a poke"), ("reset", "after")):
        await client.get_workflow_handle(workflow_id).signal(Hear.note, note)
    await client.get_workflow_handle("changing").signal("release")


async def _results(client: Client, wanted: dict[str, Any]) -> dict[str, Any]:
    async def result(workflow_id: str) -> Any:
        handle = client.get_workflow_handle(workflow_id)
        if workflow_id == "ticking":
            return await _first_tick(client)
        try:
            return await handle.result()
        except WorkflowFailureError as failure:
            return "CANCELED" if isinstance(failure.cause, CancelledError) else repr(failure.cause)

    return dict(zip(wanted, await asyncio.gather(*map(result, wanted)), strict=True))


async def _first_tick(client: Client) -> str:
    """The cron run that waited for its time completes, and another one follows."""
    handle = client.get_workflow_handle("ticking")
    first = client.get_workflow_handle("ticking", run_id=(await handle.describe()).run_id)
    with pytest.raises(WorkflowContinuedAsNewError):  # as servers tell clients that do not say that they know better
        await first.result(follow_runs=False)
    assert (await first.describe()).status is WorkflowExecutionStatus.COMPLETED
    await handle.terminate()
    return "tick"


async def _updates(client: Client, wanted: dict[str, int]) -> dict[str, int]:
    handle = client.get_workflow_handle("changing")
    return {update_id: await handle.get_update_handle(update_id).result() for update_id in wanted}


async def _activities(api: Api, wanted: dict[str, str]) -> dict[str, str]:
    async def result(activity_id: str) -> str:
        while True:
            request = ws.PollActivityExecutionRequest(namespace=NAMESPACE, activity_id=activity_id)
            reply = await api.PollActivityExecution(request, within=30)
            if reply.HasField("outcome"):
                said: str = json.loads(reply.outcome.result.payloads[0].data)
                return said

    return dict(zip(wanted, await asyncio.gather(*map(result, wanted)), strict=True))


async def _finish_reports(client: Client) -> None:
    """One start of the schedule runs, another one waits for its end; then nothing does."""
    schedule = client.get_schedule_handle("busy")
    for _ in range(2):
        [running] = (await schedule.describe()).info.running_actions
        report = client.get_workflow_handle(running.workflow_id)
        await report.signal(Hear.note, "read")
        assert await report.result() == ["read"]
    said = await schedule.describe()
    assert not said.info.running_actions
    assert said.info.num_actions == 2
    assert (await client.get_schedule_handle("resting").describe()).schedule.state.paused


async def _notes(client: Client, workflow_id: str) -> int:
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return sum(event.HasField("workflow_execution_signaled_event_attributes") for event in history.events)


def test_there_is_a_database_of_the_present_format() -> None:
    newest = f"format-{NEWEST:03}"

    assert newest in FORMATS, f"make one of {newest}: python -m tests.upgrade.make"


async def test_an_untouched_workflow_of_an_earlier_build_goes_on_after_the_upgrade(tmp_path: Path) -> None:
    """Also at the wall's own time: whatever was due since the copy was made is due at once."""
    path, manifest = unpacked(FORMATS[0], tmp_path)

    async with Server(
        str(path), dynamic_config=DYNAMIC, time=_Since(manifest["made_at"] + 3 * 3600 * SECOND)
    ) as server:
        client = await Client.connect(server.address)
        async with Worker(client, task_queue=QUEUE, workflows=WORKFLOWS, activities=[step, local, hang, fail]):
            assert await client.get_workflow_handle_for(Nap.run, "nap").result() == "rested"


def test_a_database_of_a_later_release_is_refused_with_one_line_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = unpacked(f"format-{NEWEST:03}", tmp_path)
    connection = apsw.Connection(str(path))
    connection.execute("update meta set value = ? where name = 'format'", (str(NEWEST + 1).encode(),))
    connection.execute("update meta set value = ? where name = 'written_by'", (b"9.9",))
    connection.close()
    before = path.read_bytes()

    with pytest.raises(SystemExit) as ended:
        main(["server", "start-dev", "--port", "0", "--db-filename", str(path)])

    assert ended.value.code == 1
    output = capsys.readouterr()
    [line] = output.err.splitlines()
    assert line == (
        f"Error: database {path} has format {NEWEST + 1}, written by perdure 9.9; "
        f"this release ({__version__}) reads up to format {NEWEST}: upgrade perdure"
    )
    assert output.out == ""
    assert path.read_bytes() == before
