"""A copy of the sources, in which faults are made and on which tests are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.fault import ROOT, SOURCES, Fault

TEST_SECONDS = 30
"""For one test, on a machine that does other things too: a fault that makes it hang fails it by name."""
RUN_SECONDS = 240
"""For all tests of a fault. What runs by then is the test that does not end (one that makes up examples swallows the
limit for itself)."""

_OF_THE_MACHINE = (
    "tests/skipping/test_by_hand.py::test_a_fresh_server_comes_and_goes_in_milliseconds_and_leaves_nothing",
)
"""Tests that measure time: on a busy machine they fail of no fault."""
_NOT_COPIED = shutil.ignore_patterns("__pycache__")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+.*?)(?: - (.*))?$", re.MULTILINE)
_RUNNING = re.compile(r"^(\S+\.py::.+?) *$")
_PASSED, _TESTS_FAILED, _INTERRUPTED = 0, 1, 2
_NO_END = -1


@dataclass(frozen=True, slots=True)
class Verdict:
    """`killed` with the test that noticed (`by`); survived; or neither, and then `trouble` says why."""

    killed: bool
    by: str = ""
    hung: bool = False
    """By its time limit: the test did not end."""
    trouble: str = ""


class Workbench:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sources = directory / "src" / "perdure"
        shutil.copytree(SOURCES, self._sources, ignore=_NOT_COPIED)

    def try_out(self, fault: Fault) -> Verdict:
        with self._made(fault):
            return self._verdict(fault)

    def failures(self, tests: Sequence[str]) -> list[str]:
        """What fails of `tests` on the sources as they are here."""
        code, output = self._run(tests)
        if code == _PASSED:
            return []
        return [name for name, _ in _FAILED.findall(output)] or [f"pytest says {code}: {output[-500:]}"]

    def place_of_package(self) -> str:
        """Where the tests find `perdure`."""
        found = subprocess.run(
            [sys.executable, "-c", "import perdure; print(perdure.__file__)"],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.strip()

    @contextmanager
    def _made(self, fault: Fault) -> Iterator[None]:
        whole = {file: (self._sources / file).read_text() for file in fault.applied(self._sources)}
        for file, text in fault.applied(self._sources).items():
            self._write(file, text)
        try:
            yield
        finally:
            for file, text in whole.items():
                self._write(file, text)

    def _write(self, file: str, text: str) -> None:
        path = self._sources / file
        path.write_text(text)
        # Compiled code is told from outdated one by second and size alone, which a small fault may not change.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()

    def _verdict(self, fault: Fault) -> Verdict:
        code, output = self._run([*fault.tests, "-x"])
        if code == _NO_END:
            running = _RUNNING.match(_last_line(output))
            if running is None:
                return Verdict(False, trouble=f"no end after {RUN_SECONDS} s, and no test to name for it")
            return Verdict(True, running[1], hung=True)
        if code == _PASSED:
            return Verdict(False)
        failed = _FAILED.search(output)
        if code not in (_TESTS_FAILED, _INTERRUPTED) or failed is None or "::" not in failed[1]:
            return Verdict(False, trouble=f"its tests could not be run: {_last_line(output)}")
        return Verdict(True, failed[1], hung="Timeout" in (failed[2] or ""))

    def _run(self, tests: Sequence[str]) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-v", "--tb=line", "-p", "no:cacheprovider"]
        command += ["-p", "tools.mutants.examples", *(f"--deselect={test}" for test in _OF_THE_MACHINE)]
        command += ["--timeout", str(TEST_SECONDS), *tests]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return _NO_END, process.communicate()[0]
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, output

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self._directory / "src"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(self._directory / "hypothesis"),  # what it learns of the sources
            "COLUMNS": "500",  # or the reason of a failure is cut off
        }


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
