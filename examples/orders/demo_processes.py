"""The demo's processes: the server and all parts of the shop, each its own, started, killed and cleaned up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 3.0


class ProcessDied(Exception):
    """A process ended that nobody had killed."""


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def console_script(name: str) -> str:
    """The script beside this Python, or else on the PATH. A path stays what it is."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no program {name!r} beside {sys.executable} or on the PATH")
    return found


class Process:
    """One program, logging to a file of its own; starting it again appends to the same log."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._command = command
        self._environment = os.environ | environment
        self._log = log
        self._child: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ProcessLookupError(f"{self.name} was not started")
        return self._child.pid

    async def start(self) -> None:
        with self._log.open("ab") as log:
            # A session of its own, so that Ctrl-C reaches the demo alone, which then cleans up in order.
            self._child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=ROOT,
                start_new_session=True,
            )

    def check(self) -> None:
        if self._child is not None and self._child.returncode is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            raise ProcessDied(f"{self.name} ended with code {self._child.returncode}; the end of {self._log}:\n{tail}")

    async def kill(self) -> int:
        """SIGKILL, no goodbye; the process ID it had."""
        pid = self.pid
        self._signal(signal.SIGKILL)
        if self._child is not None:
            await self._child.wait()
        self._child = None
        return pid

    async def stop(self) -> None:
        if self._child is None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._child.wait(), STOP_SECONDS)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._child.wait()

    def end_now(self) -> None:
        """Without the event loop, for the way out when nothing else is left."""
        if self.running:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Shop:
    """The server and the shop's parts on ports of their own, with all their files in one directory."""

    def __init__(self, directory: Path, server: str) -> None:
        self.directory = directory
        temporal, api, payments, mail = free_ports(4)
        self.payments_file = directory / "payments.db"
        self.inbox_file = directory / "inbox.db"
        self.environment = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{temporal}",
            "TEMPORAL_NAMESPACE": "default",
            "ORDERS_TASK_QUEUE": "orders",
            "ORDERS_DATABASE_URL": f"sqlite:///{directory / 'orders.db'}",
            "ORDERS_API_HOST": "127.0.0.1",
            "ORDERS_API_PORT": str(api),
            "ORDERS_SMTP_HOST": "127.0.0.1",
            "ORDERS_SMTP_PORT": str(mail),
            "STRIPE_API_KEY": "sk_test_standin",  # never a real key: the demo charges nobody
            "STRIPE_API_BASE": f"http://127.0.0.1:{payments}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.api_url = f"http://127.0.0.1:{api}"
        self._ports = {"server": temporal, "api": api, "payments": payments, "mail": mail}
        database = directory / "temporal.db"
        self.server = self._process(
            "server",
            [
                *(console_script(server), "server", "start-dev", "--headless"),
                *("--port", str(temporal), "--db-filename", str(database)),
            ],
        )
        self.worker = self._process("worker", self._module("worker"))
        self.api = self._process("api", self._module("api"))
        self.payments = self._process(
            "payments", self._module("stripe_standin", "--port", str(payments), "--file", str(self.payments_file))
        )
        self.mail = self._process("mail", self._module("inbox", "--port", str(mail), "--file", str(self.inbox_file)))
        self.processes = [self.server, self.payments, self.mail, self.worker, self.api]

    @staticmethod
    def _module(name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"examples.orders.{name}", *arguments]

    def _process(self, name: str, command: list[str]) -> Process:
        return Process(name, command, self.environment, self.directory / f"{name}.log")

    def clear(self) -> None:
        """Begin from nothing: drop what an earlier demo left here."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for pattern in ("*.log", "*.db", "*.db-wal", "*.db-shm", "*.db.lock"):
            for file in self.directory.glob(pattern):
                file.unlink()

    async def listening(self, process: Process, patience_seconds: float = 20.0) -> None:
        """Wait until the process takes connections on its port."""
        give_up = time.monotonic() + patience_seconds
        while True:
            process.check()
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._ports[process.name])
                writer.close()
                return
            if time.monotonic() > give_up:
                raise ProcessDied(f"{process.name} does not listen after {patience_seconds:.0f} s")
            await asyncio.sleep(0.05)

    def check(self) -> None:
        for process in self.processes:
            process.check()

    async def stop(self) -> None:
        """Clients before servers, so that each can finish what it has begun."""
        await asyncio.gather(self.worker.stop(), self.api.stop())
        await asyncio.gather(self.server.stop(), self.payments.stop(), self.mail.stop())

    def end_now(self) -> None:
        for process in self.processes:
            process.end_now()
