"""The pytest plugin, as users' projects see it: in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]

PRELUDE = """
import asyncio
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.worker import Worker, UnsandboxedWorkflowRunner

SEEN = []

@activity.defn
async def block() -> None:
    await asyncio.Event().wait()

@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, days: int) -> str:
        await workflow.sleep(timedelta(days=days))
        return f"slept {days} days"

@workflow.defn
class Blocked:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(block, start_to_close_timeout=timedelta(days=1))

def worker(client):
    return Worker(client, task_queue="q", workflows=[Sleeper, Blocked], activities=[block],
                  workflow_runner=UnsandboxedWorkflowRunner())
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs pytest on a project of one file."""

    def run(source: str, *arguments: str, ini: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(PRELUDE + source)
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


THREE_TESTS = """
async def test_with_a_loop(perdure_env, perdure_client, perdure_server):
    SEEN.append(perdure_server.address)
    async with worker(perdure_client):
        assert await perdure_client.execute_workflow(Sleeper.run, 7, id="w", task_queue="q") == "slept 7 days"

async def test_with_another_loop(perdure_env, perdure_server):
    SEEN.append(perdure_server.address)
    async with worker(perdure_env.client):
        handle = await perdure_env.client.start_workflow(Sleeper.run, 7, id="w2", task_queue="q")
        assert await handle.result() == "slept 7 days"

def test_without_a_loop(perdure_server):
    SEEN.append(perdure_server.address)
    before = perdure_server.now()
    perdure_server.advance(timedelta(days=1))
    assert perdure_server.now() - before >= timedelta(days=1)
"""


def test_each_test_gets_a_server_of_its_own(run: Run) -> None:
    result = run(THREE_TESTS + "    assert len(set(SEEN)) == 3\n", ini="asyncio_mode = auto")

    assert "3 passed" in result.stdout, result.stdout


@pytest.mark.parametrize(("arguments", "ini"), [(["--perdure-scope=session"], ""), ([], "perdure_scope = module")])
def test_a_server_may_serve_many_tests(run: Run, arguments: list[str], ini: str) -> None:
    result = run(THREE_TESTS + "    assert len(set(SEEN)) == 1\n", *arguments, ini=f"asyncio_mode = auto\n{ini}")

    assert "3 passed" in result.stdout, result.stdout


def test_a_scope_that_does_not_exist_is_refused(run: Run) -> None:
    result = run(THREE_TESTS, ini="asyncio_mode = auto\nperdure_scope = month")

    assert "perdure_scope must be one of function, class, module, package, session, not 'month'" in (
        result.stdout + result.stderr
    )


def test_anyio_runs_the_tests_as_well(run: Run) -> None:
    source = "pytestmark = pytest.mark.anyio\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n" + THREE_TESTS

    result = run(source, "-p", "no:asyncio")

    assert "3 passed" in result.stdout, result.stdout


def test_a_project_sets_the_options_of_server_and_client(run: Run) -> None:
    result = run(
        """
@pytest.fixture
def perdure_server_options():
    return {"namespaces": ["shop"]}

@pytest.fixture
def perdure_client_options():
    return {"namespace": "shop", "identity": "till 1"}

async def test_it(perdure_client):
    assert (perdure_client.namespace, perdure_client.identity) == ("shop", "till 1")
    handle = await perdure_client.start_workflow("Any", id="w", task_queue="q")
    assert (await handle.describe()).status.name == "RUNNING"
""",
        ini="asyncio_mode = auto",
    )

    assert "1 passed" in result.stdout, result.stdout


HANGING = """
async def test_it_hangs(perdure_env):
    async with worker(perdure_env.client):
        await perdure_env.client.execute_workflow(Blocked.run, id="stuck", task_queue="q")
"""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_wait_that_would_run_into_the_timeout_ends_before_and_is_explained(run: Run, method: str) -> None:
    result = run(HANGING, "--timeout=2", f"--timeout-method={method}", ini="asyncio_mode = auto")

    assert "1 failed" in result.stdout, result.stdout
    assert "TimeoutError" in result.stdout
    assert "what the Perdure server waits for" in result.stdout
    assert "gave up to get the result of workflow 'stuck'; what the server waited for:" in result.stdout
    assert "workflow 'stuck': activity '1' (type 'block', attempt 1, task queue 'q') is running on" in result.stdout


def test_a_timeout_while_the_test_waits_for_something_else_leaves_an_explanation(run: Run) -> None:
    source = """
async def test_it_hangs(perdure_client):
    async with worker(perdure_client):
        await perdure_client.start_workflow(Blocked.run, id="stuck", task_queue="q")
        await asyncio.Event().wait()
"""

    result = run(source, "--timeout=2", "--timeout-method=thread", ini="asyncio_mode = auto")

    assert "test_it.py::test_it_hangs is about to time out; the Perdure server's view:" in result.stderr
    assert "workflow 'stuck' (Blocked) waits for activity 'block' (attempt 1 runs on" in result.stderr


def test_projects_that_do_not_use_it_do_not_pay_for_it() -> None:
    loaded = "import sys, perdure.testing.plugin; print(sorted({'grpc', 'temporalio', 'apsw'} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=30)

    assert result.stdout.strip() == "[]"


# ---- in parallel
def run_the_examples(*, workers: int, times: int) -> None:
    result = subprocess.run(
        [
            sys.executable,
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.testing.repeating"),
            *("-n", f"{workers}", "--times", f"{times}", "tests/orders/test_order_workflows.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-20_000:]


def test_four_workers_run_the_examples_three_times() -> None:
    run_the_examples(workers=4, times=3)


@pytest.mark.soak
def test_eight_workers_run_the_examples_fifty_times() -> None:
    run_the_examples(workers=8, times=50)
