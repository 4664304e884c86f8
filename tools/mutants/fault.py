"""What a deliberate fault is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "perdure"


class Misfit(Exception):
    """The fault no longer fits the code: mend it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`old` becomes `new` in `file`, a path below src/perdure, where it is exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """`name` is a sentence: what the server does wrong. `tests` are what pytest is given, quick ones first."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    area: str

    def applied(self, sources: Path = SOURCES) -> Mapping[str, str]:
        """The files with the fault in them, by path below `sources`. Raises Misfit."""
        files: dict[str, str] = {}
        for edit in self.edits:
            path = sources / edit.file
            if not path.is_file():
                raise Misfit(f"{self.name!r} no longer fits the code, mend it: there is no {edit.file}")
            text = files.get(edit.file) or path.read_text()
            found = text.count(edit.old)
            if found != 1:
                raise Misfit(
                    f"{self.name!r} no longer fits the code, mend it (tools/mutants/faults/{self.area}.py): "
                    f"{found} times in {edit.file}, not once:\n{edit.old}"
                )
            files[edit.file] = text.replace(edit.old, edit.new)
        return files

    def check(self) -> None:
        """Raises Misfit also for what would not even load."""
        for file, text in self.applied().items():
            if file.endswith(".py"):
                try:
                    compile(text, file, "exec")
                except SyntaxError as error:
                    raise Misfit(f"{self.name!r} is no Python any more, mend it: {error}") from error


class Area:
    """Faults of one part of the server, as its module in `faults/` lists them."""

    def __init__(self, name: str, *tests: str) -> None:
        """`tests` are those of faults that name none."""
        self.name = name
        self._tests = tests
        self.faults: list[Fault] = []

    def fault(self, name: str, file: str, old: str, new: str, *tests: str) -> None:
        self.faults.append(Fault(name, (Edit(file, old, new),), tests or self._tests, self.name))

    def fault_in_several_places(self, name: str, edits: tuple[Edit, ...], *tests: str) -> None:
        self.faults.append(Fault(name, edits, tests or self._tests, self.name))
