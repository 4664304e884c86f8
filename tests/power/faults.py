"""A disk that refuses: SQLite's files over the default ones, with errors on demand."""

from __future__ import annotations

import os
import threading
from itertools import count

import apsw

FULL = apsw.FullError("database or disk is full")
BROKEN = apsw.IOError("disk I/O error")

_numbers = count(1)


class FaultyVFS(apsw.VFS):
    """Operations ("write", "sync", "read", "open") on files whose names end with `of` raise while `fault` is set."""

    def __init__(self) -> None:
        self.name = f"faulty-{next(_numbers)}"
        super().__init__(self.name, "")
        self.fault: tuple[str, str, apsw.Error] | None = None
        self.raised = threading.Event()
        """Set when an operation was refused."""

    def break_down(self, operation: str, of: str, error: apsw.Error) -> None:
        self.raised.clear()
        self.fault = (operation, of, error)

    def mend(self) -> None:
        self.fault = None

    def check(self, operation: str, name: str) -> None:
        fault = self.fault
        if fault is not None and fault[0] == operation and name.endswith(fault[1]):
            self.raised.set()
            raise fault[2]

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self.check("open", path)
        return FaultyFile(self, os.path.basename(path), name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, base: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._name = base

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.check("write", self._name)
        super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._vfs.check("read", self._name)
        return super().xRead(amount, offset)

    def xSync(self, flags: int) -> None:
        self._vfs.check("sync", self._name)
        super().xSync(flags)
