"""`perdure server start-dev` as launchers and people run it: flags, banner, signals, exit statuses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from perdure import __version__

ROOT = Path(__file__).resolve().parents[2]

WITH_FAKES = """
import asyncio
from perdure.cli.main import main
from perdure.storage.store import StoreFailed
from tests.transport.fakes import Composition

class FailsSoon(Composition):
    def __call__(self, surroundings):
        self.runtime.start = self.fail_soon
        return super().__call__(surroundings)

    async def fail_soon(self):
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, self.surroundings.failed, StoreFailed("disk I/O error: orders.db"))

class HangsAtStop(Composition):
    def __call__(self, surroundings):
        self.runtime.drain = asyncio.Event().wait
        return super().__call__(surroundings)

main(compose={composition})
"""

SDK_CORE = [
    "--port", "0", "--namespace", "default", "--ip", "127.0.0.1", "--log-format", "pretty", "--log-level", "warn",
    "--dynamic-config-value", "frontend.enableServerVersionCheck=false",
    "--dynamic-config-value", "frontend.enableUpdateWorkflowExecution=true",
    "--dynamic-config-value", "frontend.enableUpdateWorkflowExecutionAsyncAccepted=true",
    "--headless",
]  # fmt: skip
GO_SDK = [
    "--ip", "localhost", "--port", "0", "--namespace", "orders",
    "--dynamic-config-value", "frontend.enableServerVersionCheck=false",
    "--log-level", "fatal", "--headless", "--search-attribute", "CustomerId=Keyword", "--search-attribute", "N=int",
]  # fmt: skip


def command(composition: str) -> list[str]:
    return [sys.executable, "-c", WITH_FAKES.replace("{composition}", composition)]


def perdure(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, without a server to start."""
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli.main", *arguments], capture_output=True, text=True, timeout=20, cwd=ROOT
    )


@contextlib.contextmanager
def started(*arguments: str, composition: str = "Composition()") -> Iterator[tuple[Any, str, int]]:
    """A server of fake parts that has printed its banner: (process, banner, port)."""
    process = subprocess.Popen(
        [*command(composition), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        banner = "".join(process.stdout.readline() for _ in range(4))
        address = re.search(r"Temporal Server: +\S+:(\d+)", banner)
        assert address is not None, banner + process.communicate(timeout=10)[1]
        yield process, banner, int(address.group(1))
    finally:
        process.kill()
        process.communicate()


def ask(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo")
        call(b"", wait_for_ready=True, timeout=10)


@pytest.mark.parametrize(
    "arguments",
    [
        SDK_CORE,
        GO_SDK,
        ["-p", "0", "-n", "one", "-n", "two", "-o", "text"],
        ["-p=0", "-n=one", "--headless=true", "--log-config=false", "--log-level=ERROR", "--output=text"],
        ["--port=0", "--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma=synchronous=OFF", "--db-filename", ""],
        ["--port=0", "--time-format", "iso", "--color=never", "--env", "x", "--env-file", "y", "--config-file", "z"],
        [
            "--port=0",
            "--profile",
            "p",
            "--disable-config-file",
            "--disable-config-env",
            "--client-connect-timeout",
            "1s",
        ],
        ["--port=0", "--no-json-shorthand-payloads", "--dynamic-config-value", 'unknown.key={"deep": [1, 2.5, "x"]}'],
    ],
    ids=["sdk-core", "go", "short", "equals", "sqlite", "client-1", "client-2", "dynamic"],
)
def test_what_launchers_pass_is_accepted_without_a_word(arguments: list[str]) -> None:
    with started("server", "start-dev", *arguments) as (process, _, port):
        ask(port)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=10)

    assert process.returncode == 0
    assert stderr == ""


def test_flags_of_what_we_do_not_serve_get_a_line_each() -> None:
    flags = [
        "--ui-port=8233", "--ui-ip=localhost", "--ui-public-path=/x", "--ui-asset-path=/y", "--ui-codec-endpoint=http://z",
        "--ui-disable-news-fetch", "--http-port=7243", "--command-timeout=5s",
    ]  # fmt: skip
    with started("server", "start-dev", "-p", "0", *flags) as (process, _, port):
        ask(port)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)

    assert process.returncode == 0
    lines = stderr.splitlines()
    assert len(lines) == len(flags)
    assert "Warning: --ui-port has no effect: no UI is served" in lines


def test_global_flags_may_stand_before_the_command() -> None:
    with started("--log-level", "info", "server", "--log-format=json", "start-dev", "-p", "0") as (process, _, _port):
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)

    assert '"msg": "serving"' in stderr
    assert '"level": "INFO"' in stderr


def test_the_banner_names_us_and_keeps_the_reference_layout() -> None:
    with started("server", "start-dev", "-p", "0") as (_process, banner, port):
        pass

    assert banner == (
        f"Perdure {__version__}\n\nTemporal Server:      localhost:{port}\nTemporal Persistence: in-memory\n"
    )


def test_output_none_prints_no_banner() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*command("Composition()"), "server", "start-dev", "-p", str(port), "-o", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        ask(port)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10) == ("", "")
    finally:
        process.kill()
        process.wait()


def test_the_configuration_is_shown_on_request() -> None:
    with started("server", "start-dev", "-p", "0", "--log-config", "-n", "orders") as (process, _, _port):
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)

    assert '  - "default"\n  - "orders"' in stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_stop_signal_ends_in_order_with_status_zero(number: signal.Signals) -> None:
    with started("server", "start-dev", "-p", "0") as (process, _, _port):
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=10)

    assert (process.returncode, stdout, stderr) == (0, "", "")


def test_the_second_signal_ends_at_once() -> None:
    with started("server", "start-dev", "-p", "0", composition="HangsAtStop()") as (process, _, _port):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)

    assert (process.returncode, stderr) == (1, "")


def test_a_closed_stdout_does_not_stop_the_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [*command("Composition()"), "server", "start-dev", "-p", str(port)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    os.close(writer)
    try:
        ask(port)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=10)
        assert (process.returncode, stderr) == (0, "")
    finally:
        process.kill()
        process.wait()


def test_a_busy_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        ended = subprocess.run(
            [*command("Composition()"), "server", "start-dev", "-p", str(port)],
            capture_output=True,
            text=True,
            timeout=20,
            cwd=ROOT,
        )

    assert ended.returncode == 1
    assert ended.stderr == (
        f"Error: can't set frontend port {port}: listen tcp 127.0.0.1:{port}: bind: address already in use\n"
    )
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("composition", "line"),
    [
        ("Composition(open_error=StoreFailed('orders.db is in use'))", "orders.db is in use"),
        ("FailsSoon()", "disk I/O error: orders.db"),
    ],
    ids=["at start", "while running"],
)  # fmt: skip
def test_a_store_that_fails_ends_the_server_with_one_line(composition: str, line: str) -> None:
    ended = subprocess.run(
        [*command(composition), "server", "start-dev", "-p", "0"],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=ROOT,
    )

    assert (ended.returncode, ended.stderr) == (1, f"Error: {line}\n")


@pytest.mark.parametrize(
    ("arguments", "last_line"),
    [
        (["--dynamic-config-value", "a"], "Error: dynamic config value 'a' must be KEY=VALUE"),
        (
            ["--dynamic-config-value", "a=b"],
            "Error: invalid dynamic config value for a: 'b' is not one JSON value (text needs double quotes)",
        ),
        (["--search-attribute", "A=Colour"], 'Error: invalid search attribute value type "Colour"'),
        (["--sqlite-pragma", "x"], "Error: SQLite pragma 'x' must be KEY=VALUE"),
        (["--db-filename", "/no/such/place/x.db"], "Error: directory '/no/such/place' of --db-filename does not exist"),
        (["--port", "x"], "Error: Invalid value for '-p' / '--port': 'x' is not a valid integer range."),
        (["--log-level", "loud"], None),
        (["--bogus"], None),
        (["--dynamic-config-value", "frontend.enableServerVersionCheck=3"],
         "Error: dynamic config frontend.enableServerVersionCheck must be true or false, not 3"),
    ],
)  # fmt: skip
def test_mistakes_end_with_an_error_line_and_status_one(arguments: list[str], last_line: str | None) -> None:
    ended = perdure("server", "start-dev", "-p", "0", *arguments)

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[-1].startswith("Error: ")
    if last_line is not None:
        assert ended.stderr.splitlines()[-1] == last_line


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_the_version_is_one_line(flag: str) -> None:
    ended = perdure(flag)

    assert (ended.returncode, ended.stdout) == (0, f"perdure {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["server", "--help"], ["server", "start-dev", "-h"]])
def test_help_teaches_by_example(arguments: list[str]) -> None:
    ended = perdure(*arguments)

    assert ended.returncode == 0
    assert "perdure server start-dev --db-filename orders.db" in ended.stdout


def test_an_unknown_command_is_an_error() -> None:
    ended = perdure("frobnicate")

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "Error: No such command 'frobnicate'."
