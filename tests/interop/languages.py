"""How each language's suite is fetched, built and run, by the language's own tools."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

FETCH_SECONDS = 600
BUILD_SECONDS = 600
RUN_SECONDS = 120

HERE = Path(__file__).parent


class Missing(Exception):
    """The machine lacks the toolchain."""


class Failed(Exception):
    """A download, a build or a story failed; the text says which."""


class Language(Protocol):
    def toolchain(self) -> str:
        """What will be used. Raises Missing."""

    def build(self) -> None:
        """Fetch packages from the language's registry, compile. Raises Failed."""

    def run(self, settings: Mapping[str, str]) -> None:
        """Tell the stories; each prints its outcome. Raises Failed."""


class Go:
    folder = HERE / "go"

    def __init__(self) -> None:
        self._program = Path(tempfile.gettempdir()) / f"perdure-interop-go-{os.getuid()}"

    def toolchain(self) -> str:
        wanted = _version((self.folder / "go.mod").read_text(), r"^go (\S+)$")
        return _toolchain("Go", ("go", "version"), r"go version go(\S+)", wanted)

    def build(self) -> None:
        _do("fetching Go modules", self.folder, FETCH_SECONDS, "go", "mod", "download")
        _do("building", self.folder, BUILD_SECONDS, "go", "build", "-o", str(self._program), ".")

    def run(self, settings: Mapping[str, str]) -> None:
        try:
            _do("stories", self.folder, RUN_SECONDS, str(self._program), settings=settings)
        finally:
            self._program.unlink()


class Java:
    folder = HERE / "java"
    oldest = (17,)

    def toolchain(self) -> str:
        if shutil.which("mvn") is None:
            raise Missing("no Maven")
        return _toolchain("a JDK", ("javac", "-version"), r"javac (\S+)", self.oldest)

    def build(self) -> None:
        maven = ("mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "compile", "dependency:build-classpath")
        _do("fetching from Maven Central and building", self.folder, FETCH_SECONDS + BUILD_SECONDS, *maven)

    def run(self, settings: Mapping[str, str]) -> None:
        classpath = (self.folder / "target" / "classpath").read_text().strip()
        settings = {**settings, "CLASSPATH": f"target/classes{os.pathsep}{classpath}"}
        _do("stories", self.folder, RUN_SECONDS, "java", "interop.Main", settings=settings)


class TypeScript:
    """The suite of `tests/sdk/typescript`, which pytest runs too."""

    def toolchain(self) -> str:
        from tests.sdk.test_typescript import what_is_missing

        if (missing := what_is_missing()) is not None:
            raise Missing(missing)
        return _toolchain("Node.js", ("node", "--version"), r"v(\S+)", (20,))

    def build(self) -> None: ...

    def run(self, settings: Mapping[str, str]) -> None:
        command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/sdk/test_typescript.py")
        _do("stories", HERE.parents[1], FETCH_SECONDS + RUN_SECONDS, *command)


LANGUAGES: Mapping[str, Language] = {"go": Go(), "java": Java(), "typescript": TypeScript()}


def _version(text: str, pattern: str) -> tuple[int, ...]:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise Failed(f"no version in {text!r}")
    return tuple(int(part) for part in re.findall(r"\d+", found[1]))


def _toolchain(name: str, command: tuple[str, ...], pattern: str, oldest: tuple[int, ...]) -> str:
    if shutil.which(command[0]) is None:
        raise Missing(f"no {name}")
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    found = _version(told.stdout + told.stderr, pattern)
    if found < oldest:
        wanted, have = (".".join(map(str, version)) for version in (oldest, found))
        raise Missing(f"needs {name} {wanted} or newer, found {have}")
    return (told.stdout + told.stderr).strip()


def _do(what: str, folder: Path, within: float, *command: str, settings: Mapping[str, str] | None = None) -> None:
    print(f"{what}: {' '.join(command)}", flush=True)
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **(settings or {})}, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        status = process.wait(within)
    except subprocess.TimeoutExpired:
        # Compilers and servers that the command started share its group: none is left behind.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise Failed(f"{what}: not done within {within} s") from None
    if status:
        raise Failed(f"{what}: `{' '.join(command)}` ended with status {status}")
