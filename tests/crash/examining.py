"""`perdure doctor` on the file just as a death left it: a copy, so that the next server need not wait."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path


def copied(database: Path, number: int) -> Path:
    """A copy of a file that nobody has open, with its log."""
    copy = database.with_name(f"died-{number}.db")
    shutil.copy(database, copy)
    log = database.with_name(database.name + "-wal")
    if log.exists():
        shutil.copy(log, copy.with_name(copy.name + "-wal"))
    return copy


async def check_file(database: Path) -> None:
    """Nothing is wrong with the file. A copy is deleted when that is so."""
    command = [sys.executable, "-m", "perdure.cli.main", "doctor", "--db-filename", str(database)]
    doctor = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await doctor.communicate()
    assert doctor.returncode == 0, f"perdure doctor finds in {database}:\n{output.decode()}"


async def check_copy(copy: Path) -> None:
    await check_file(copy)
    for file in copy.parent.glob(f"{copy.name}*"):
        file.unlink()
