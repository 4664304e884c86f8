"""The TypeScript SDK, unmodified, against Perdure: runs the suite of `typescript/` with packages of its own.

The packages are installed once, from npm's registry, into `typescript/node_modules`; again when the lock file changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server_process import running_dev_server

SUITE = Path(__file__).parent / "typescript"
EXECUTABLES = Path(sys.executable).parent
OLDEST_NODE = (20, 14)
INSTALL_SECONDS = 420
SUITE_SECONDS = 100

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + SUITE_SECONDS)


def run(*command: str, within: float, **settings: str) -> None:
    """Run `command` in the suite's folder. A failure shows what it printed."""
    process = subprocess.Popen(
        command,
        cwd=SUITE,
        env={**os.environ, "NO_COLOR": "1", **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        # npm, node and the servers they launched share the group: none is left behind.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"{' '.join(command)} was not done within {within} s:\n{output}", pytrace=False)
    if process.returncode:
        pytest.fail(f"{' '.join(command)} ended with status {process.returncode}:\n{output}", pytrace=False)


def what_is_missing() -> str | None:
    """Why the suite cannot run on this machine; None if it can."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "needs Node.js and npm, which are not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < OLDEST_NODE:
        return f"needs Node.js {'.'.join(map(str, OLDEST_NODE))} or newer, found {version}"
    return None


@pytest.fixture(scope="module")
def installed() -> None:
    """The suite's packages, as its lock file names them, and its workflow code in one bundle."""
    if (missing := what_is_missing()) is not None:
        pytest.skip(missing)
    lock_file = SUITE / "package-lock.json"
    stamp = SUITE / "node_modules" / ".installed"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    with lock_file.open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # parallel test processes share the folder
        if not stamp.exists() or stamp.read_text() != wanted:
            run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", within=INSTALL_SECONDS)
            stamp.write_text(wanted)
        run("npm", "run", "bundle", within=SUITE_SECONDS)


@pytest.mark.usefixtures("installed")
def test_the_suite_uses_the_sdk_as_its_types_say() -> None:
    run("npm", "run", "check", within=SUITE_SECONDS)


@pytest.mark.usefixtures("installed")
def test_orders_on_a_running_development_server() -> None:
    with running_dev_server() as server:
        run("npm", "test", "--", "dev-server.test.ts", within=SUITE_SECONDS, PERDURE_ADDRESS=server.address)


@pytest.mark.usefixtures("installed")
def test_orders_on_development_servers_that_the_sdk_launches() -> None:
    run("npm", "test", "--", "launchers.test.ts", within=SUITE_SECONDS, PERDURE=str(EXECUTABLES / "perdure"))


@pytest.mark.usefixtures("installed")
def test_orders_on_a_test_server_that_skips_time() -> None:
    executable = str(EXECUTABLES / "perdure-test-server")
    run("npm", "test", "--", "time-skipping.test.ts", within=SUITE_SECONDS, PERDURE_TEST_SERVER=executable)
