"""A server in a process of its own, as users run it: launched by its command line, reached by its port."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, GetSystemInfoResponse

GET_SYSTEM_INFO = "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"


class LaunchFailed(Exception):
    """The server ended, or did not answer in time; the text holds what it printed last."""


class ServerProcess:
    """`command` started in a process group of its own. `launch_seconds` is the time to its first answered RPC."""

    def __init__(self, command: Sequence[str], port: int, *, answer_within: float = 20) -> None:
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process may write to it
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            self._wait_for_first_answer(started + answer_within)
        except BaseException:
            self.kill()
            raise
        self.launch_seconds = time.perf_counter() - started

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self, last: int | None = 4000) -> str:
        """The end of what the process printed; None: all of it."""
        self._output.seek(0)
        printed = self._output.read().decode(errors="replace")
        return printed if last is None else printed[-last:]

    def stop(self, within: float = 20) -> None:
        """Ask the process to end, as Ctrl-C does, and wait until it has."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LaunchFailed(f"server did not stop within {within} s\n{self.output()}") from None

    def wait(self, within: float) -> int:
        """Wait until the process has ended by itself; its exit status."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise LaunchFailed(f"server did not end within {within} s\n{self.output()}") from None

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _wait_for_first_answer(self, deadline: float) -> None:
        while True:
            if (status := self._process.poll()) is not None:
                raise LaunchFailed(f"server ended with status {status}\n{self.output()}")
            if time.perf_counter() > deadline:
                raise LaunchFailed(f"server does not answer on {self.address}\n{self.output()}")
            # A bare connect finds the listening port sooner than gRPC's reconnect back-off does.
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                break
            time.sleep(0.005)
        with grpc.insecure_channel(self.address) as channel:
            ask = channel.unary_unary(
                GET_SYSTEM_INFO,
                request_serializer=GetSystemInfoRequest.SerializeToString,
                response_deserializer=GetSystemInfoResponse.FromString,
            )
            ask(GetSystemInfoRequest(), timeout=max(deadline - time.perf_counter(), 0.1), wait_for_ready=True)


def free_port() -> int:
    """A port that was free a moment ago on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def dev_server_command(port: int, *options: str, database: Path | None = None) -> list[str]:
    """`perdure server start-dev` without a UI, by this interpreter; in memory unless `database` names a file."""
    command = [sys.executable, "-m", "perdure.cli.main", "server", "start-dev", "--headless", "--port", str(port)]
    if database is not None:
        command += ["--db-filename", str(database)]
    return [*command, *options]


@contextlib.contextmanager
def running_dev_server(*options: str, database: Path | None = None) -> Iterator[ServerProcess]:
    """A development server on a free port for the length of the block."""
    port = free_port()
    server = ServerProcess(dev_server_command(port, *options, database=database), port)
    try:
        yield server
    finally:
        server.stop()
