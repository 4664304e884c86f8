"""SQLite's files as a `Disk` sees them: an apsw VFS over the default one.

Reads, locks and shared memory are the default VFS's, on real files, so that WAL works with all its connections and
threads. Writes go to the real files too, and to the disk's model. Nothing is ever synced for real: what a sync is worth
is for the model to say.

When directories are synced is as in SQLite's `os_unix.c`: with the first sync of a journal or log that was opened to be
made if need be, whether it was there or not (a process that was killed may have made it and not synced), and with a
removal that asks for it. `test_vfs.py` compares the two.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import apsw

from tests.power.disk import Disk

_numbers = count(1)
_WITH_DIRECTORY = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class PowerVFS(apsw.VFS):
    """`folder` is where the real files of `disk` are put; nobody else may write there."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.name = f"power-{next(_numbers)}"
        super().__init__(self.name, "")
        self.folder = folder
        self.disk = disk
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in disk.contents.items():
            (folder / name).write_bytes(content)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or Path(path).parent != self.folder:
            return apsw.VFSFile("", name, flags)
        with self.disk.lock:
            return PowerFile(self.disk, path, name, flags)

    def xDelete(self, path: str, sync_directory: bool) -> None:
        name = os.path.basename(path)
        with self.disk.lock:
            self.disk.about_to("delete", name)
            super().xDelete(path, sync_directory)
            self.disk.delete(name)
            if sync_directory:
                self.disk.sync_directory()


class PowerFile(apsw.VFSFile):
    def __init__(self, disk: Disk, path: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        existed = os.path.exists(path)
        super().__init__("", name, flags)
        self._disk = disk
        self._name = os.path.basename(path)
        self._file = disk.file(self._name) if existed else disk.create(self._name)
        self._failures = self._file.failures
        self._directory_too = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _WITH_DIRECTORY)

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._disk.lock:
            self._disk.about_to("write", self._name)
            super().xWrite(data, offset)
            self._file.write(offset, data)

    def xTruncate(self, length: int) -> None:
        with self._disk.lock:
            self._disk.about_to("truncate", self._name)
            super().xTruncate(length)
            self._file.truncate(length)

    def xSync(self, flags: int) -> None:
        with self._disk.lock:
            try:
                self._disk.about_to("sync", self._name)
            except apsw.IOError:
                self._file.fail_to_sync(self._disk.chance)
            if self._failures < self._file.failures:
                self._failures = self._file.failures
                raise apsw.IOError("disk I/O error")
            self._file.sync()
            if self._directory_too:
                self._directory_too = False
                self._disk.sync_directory()
