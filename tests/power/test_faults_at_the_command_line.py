"""What an operator sees of a disk or a file that will not do: one line, status 1, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest
import temporalio.api.workflowservice.v1 as ws

from perdure.cli.main import main
from tests.api.client import start_request
from tests.support.server_process import ServerProcess, dev_server_command, free_port

START = "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def refusal(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What is said when a server cannot start on `path`."""
    with pytest.raises(SystemExit) as ended:
        main(["server", "start-dev", "--port", "0", "--db-filename", str(path)])
    said = capfd.readouterr()
    assert ended.value.code == 1
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


# ---- files
def test_a_directory_in_place_of_the_file(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path.mkdir()

    assert refusal(path, capfd) == f"cannot open database {path}: it is a directory; name a file in it"


def test_the_file_of_another_application(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(b"a picture of a cat" * 1000)

    assert refusal(path, capfd) == f"{path} is not a SQLite database; choose another file"
    assert path.read_bytes() == b"a picture of a cat" * 1000


def test_the_database_of_another_application(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = apsw.Connection(str(path))
    other.execute("create table cats (name)")
    other.close()

    assert refusal(path, capfd) == f"{path} is the database of another program; choose another file"


def test_a_damaged_schema(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with server(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:108] = b"\xff" * 8  # the head of the first page: the schema
    path.write_bytes(content)

    line = refusal(path, capfd)

    assert line.startswith(f"database {path} is damaged (")
    assert line.endswith("); restore a backup")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to anything")
def test_a_file_that_may_not_be_written(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path.touch(0o400)

    assert refusal(path, capfd) == f"cannot open database {path}: no permission to read and write it"


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()

    with server(path) as running:
        assert attempt(running, "order-1") is None
    assert path.stat().st_size > 0


# ---- processes
def test_a_second_server_names_the_first_and_takes_over_when_that_is_killed(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with server(path) as first:
        assert attempt(first, "order-1") is None

        line = refusal(path, capfd)

        assert line == (
            f"database {path} is in use by another server (process {first.pid}); stop it or choose another file"
        )
        first.kill()
        with server(path) as second:
            assert attempt(second, "order-1").code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_sync_that_fails_ends_the_process_with_one_line(path: Path) -> None:
    trigger = path.with_name("break")
    port = free_port()
    options = ["server", "start-dev", "--headless", "--port", str(port), "--db-filename", str(path), "-o", "none"]
    script = [sys.executable, "-m", "tests.power.faulty_server", str(trigger), "sync", "-wal"]
    running = ServerProcess([*script, *options], port)
    assert attempt(running, "before") is None
    trigger.touch()

    assert attempt(running, "during").code() is grpc.StatusCode.UNAVAILABLE
    assert running.wait(10) == 1
    assert running.output() == f"Error: database {path}: I/O error (disk I/O error); check the disk, then start again\n"
    with server(path) as successor:
        assert attempt(successor, "before").code() is grpc.StatusCode.ALREADY_EXISTS


# ---- file systems that are really full, or read-only
def mounted(folder: Path, then: str = "true") -> list[str]:
    """What a command must begin with to find 3 MiB of file system at `folder`, gone when it ends, after `then`."""
    folder.mkdir()
    script = f'mount -t tmpfs -o size=3m small "$0" && {then} && exec "$@"'
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
    try:
        subprocess.run([*prefix, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    return prefix


def test_a_read_only_file_system(tmp_path: Path) -> None:
    path = tmp_path / "fixed" / "orders.db"
    prefix = mounted(path.parent, 'touch "$0/orders.db" && mount -o remount,ro "$0"')

    ended = subprocess.run([*prefix, *dev_server_command(0, database=path)], capture_output=True, text=True)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"Error: cannot open database {path}: no permission to read and write it\n"


def test_a_full_file_system_refuses_starts_until_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    prefix = mounted(folder)
    port = free_port()
    command = dev_server_command(port, "--log-level", "error", database=folder / "orders.db")
    running = ServerProcess([*prefix, *command], port)
    try:
        inside = Path(f"/proc/{running.pid}/root{folder}")
        filler = inside / "filler"
        assert attempt(running, "early") is None
        _fill(filler)
        started = 0
        while (told := attempt(running, f"order-{started}")) is None:  # the log has room left that it used before
            started += 1
            assert started < 1000

        assert told.code() is grpc.StatusCode.UNAVAILABLE
        assert "disk full: nothing can be written until there is space again" in told.details()
        assert attempt(running, "early").code() is grpc.StatusCode.ALREADY_EXISTS, "reads go on"
        filler.unlink()
        assert attempt(running, f"order-{started}") is None
    finally:
        running.stop()


# ---- steps
@contextmanager
def server(path: Path) -> Iterator[ServerProcess]:
    port = free_port()
    running = ServerProcess(dev_server_command(port, database=path), port)
    try:
        yield running
    finally:
        running.stop()


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def attempt(running: ServerProcess, workflow_id: str) -> Any:
    """Start a workflow: None, or the refusal."""
    with grpc.insecure_channel(running.address) as channel:
        call = channel.unary_unary(
            START,
            request_serializer=ws.StartWorkflowExecutionRequest.SerializeToString,
            response_deserializer=ws.StartWorkflowExecutionResponse.FromString,
        )
        try:
            call(start_request(workflow_id), timeout=10)
        except grpc.RpcError as refusal:
            return refusal
        return None
